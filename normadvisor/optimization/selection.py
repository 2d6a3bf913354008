"""Decides on one group of candidates: gate, proof, measurement, verdict."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING

import torch

from normadvisor.optimization.measuring.measurer import Measurer
from normadvisor.optimization.measuring.paired import joined
from normadvisor.optimization.measuring.refusal import NotMeasured
from normadvisor.optimization.prepared import copied
from normadvisor.optimization.proving.function import FunctionProof
from normadvisor.optimization.proving.rounding import Rounding, acceptable, kernel_errors
from normadvisor.optimization.verdict import SLOWER, judged
from normadvisor.rewrite.model.journal import Journal
from normadvisor.rewrite.model.refusal import CannotChange
from normadvisor.rewrite.proof.words import told
from normadvisor.types.optimization import Errors, Ratio, Replacement

if TYPE_CHECKING:
    from torch import nn

    from normadvisor.optimization.candidate import Candidate

__all__ = ["Chosen", "Selection", "applied"]

_PROVING = "comparing in float64"
_ROUNDING = "measuring rounding errors"
"""Kinds of steps, of which each group has one."""


@dataclass(frozen=True, slots=True)
class Chosen:
    """What came of one group."""

    replacement: Replacement
    candidates: tuple[Candidate, ...] = ()
    """Those that are kept."""
    refused: tuple[tuple[Candidate, str], ...] = ()
    """Those that could not be applied after all, and why."""
    model: nn.Module | None = None
    """The model with them."""


@dataclass(slots=True, kw_only=True)
class _Row:
    """A replacement as it comes about."""

    stage: str
    group: list[Candidate]
    left_out: list[Candidate] = field(default_factory=list)
    refused: list[tuple[Candidate, str]] = field(default_factory=list)
    kernel: Ratio | None = None
    end_to_end: Ratio | None = None
    memory: float | None = None
    error: Errors | None = None
    proof: str = ""

    @property
    def what(self) -> str:
        """``conv2d + batch_norm -> conv2d``."""
        return f"{self.group[0].pattern} -> {self.group[0].replacement}"

    def chosen(self, verdict: str, reason: str = "", model: nn.Module | None = None) -> Chosen:
        """What came of it."""
        first = (self.group or self.left_out or [each for each, _ in self.refused])[0]
        row = Replacement(
            rule=first.rule, stage=self.stage, pattern=first.pattern, replacement=first.replacement,
            modules=_leads(self.group or self.left_out), left_out=_leads(self.left_out),
            kernel=self.kernel, end_to_end=self.end_to_end, memory=self.memory, error=self.error, proof=self.proof, verdict=verdict,
            reason=reason,
        )  # fmt: skip
        row = replace(row, left_out=()) if not self.group else row
        return Chosen(row, tuple(self.group) if row.kept else (), tuple(self.refused), model if row.kept else None)


def _leads(candidates: Iterable[Candidate]) -> tuple[str, ...]:
    """The name of the layer that leads, once for each place."""
    return tuple(_lead(each) for each in candidates for _ in range(each.places))


def _lead(candidate: Candidate) -> str:
    return candidate.modules[0] if candidate.modules else ""


def applied(model: nn.Module, candidates: Sequence[Candidate], journal: Journal | None = None) -> list[tuple[Candidate, str]]:
    """Make changes to a model one after the other.

    Returns:
        Those that could not be made, and why; the model is as if they had not been tried.

    """
    journal = Journal() if journal is None else journal
    failed = []
    with torch.no_grad():
        for candidate in candidates:
            try:
                candidate.apply(model, journal)
            except CannotChange as refusal:
                failed.append((candidate, refusal.reason))
    return failed


@dataclass(slots=True, kw_only=True)
class Selection:
    """Takes replacements in one after the other, each beside the model with those before it."""

    measurer: Measurer
    proof: FunctionProof
    rounding: Rounding
    gain: float
    told: Callable[[str], object] = lambda _what: None
    """Told what is being done."""
    forced: frozenset[str] = frozenset()
    """Rules whose replacements are taken without being faster: they are asked for."""
    taken: list[Candidate] = field(default_factory=list)
    """All that were kept, in their order."""
    rows: list[Replacement] = field(default_factory=list)
    """Of these."""

    def decide(self, model: nn.Module, stage: str, group: Sequence[Candidate]) -> Chosen:
        """Try a group of candidates on a copy of ``model``, which has everything that was kept before."""
        row = _Row(stage=stage, group=list(group))
        forced = group[0].rule in self.forced
        if not forced and self.measurer.is_busy():
            return row.chosen("not measured", self.measurer.busy)
        try:
            if not forced:
                self.measurer.check_time(_PROVING, _ROUNDING)
            if any(each.kernel is not None for each in group):
                self.told(f"measuring {row.what} alone")
            self._gate(row, forced=forced)
        except NotMeasured as refusal:
            if not forced:
                return row.chosen("not measured", refusal.reason)
        if not row.group:
            return row.chosen("slower", "at none of its shapes is it faster")
        if not forced and row.kernel is not None and row.kernel.median < self.gain:
            return row.chosen("slower" if row.kernel.median < 1 else "no gain")
        trial = copied(model)
        row.refused = applied(trial, row.group)
        failed = {id(candidate) for candidate, _ in row.refused}
        row.group = [candidate for candidate in row.group if id(candidate) not in failed]
        if not row.group:
            return row.chosen("not proven", row.refused[0][1])
        if not self.taken:
            self.told("running the model in float64")
            self.proof.prepare()
        self.told(f"proving that {row.what} changes nothing")
        with self.measurer.step(_PROVING):
            proof = self.proof.of(self.change(row.group))
        if not proof.equal:
            return row.chosen("not equal" if proof.provable else "not proven", proof.reason)
        row.proof = str(proof)
        self.told(f"measuring the rounding errors of {row.what}")
        with self.measurer.step(_ROUNDING):
            worse = self._rounds_worse(row)
        if worse is not None and not forced:
            return row.chosen(*worse)
        self.told(f"measuring the model with and without {row.what}")
        try:
            row.end_to_end = self.measurer.models(model, trial, *(() if row.kernel is None else (SLOWER,)))
            row.memory = self.measurer.memory(model, trial)
        except NotMeasured as refusal:
            return row.chosen("kept" if forced else "not measured", refusal.reason, trial)
        if forced:
            return row.chosen("kept", "it was asked for" + (f", though {worse[1]}" if worse else ""), trial)
        return row.chosen(*judged(row.kernel, row.end_to_end, self.gain), trial)

    def take(self, chosen: Chosen) -> None:
        """Count what was kept among what everything later comes after."""
        if chosen.candidates:
            self.taken += chosen.candidates
            self.rows.append(chosen.replacement)

    def change(self, candidates: Sequence[Candidate]) -> FunctionChange:
        """What makes all changes so far and some more to a copy of the original."""
        return FunctionChange((*self.taken, *candidates))

    def _gate(self, row: _Row, *, forced: bool) -> None:
        """Measure each shape once, and leave those out that are slower: with both quartiles, since at 1 chance decides on the median."""
        places = {key: each for key, each in _first_of(row.group).items() if each.kernel is not None}
        ratios = {key: self.measurer.kernel(each, len(places)) for key, each in places.items()}
        if not ratios:
            return
        losers = set() if forced else {key for key, ratio in ratios.items() if ratio.high < 1}
        counts = Counter(each.shape_key for each in row.group)
        chosen = ratios.keys() - losers or ratios.keys()
        row.kernel = joined((ratios[key], counts[key]) for key in ratios if key in chosen)
        row.left_out = [each for each in row.group if each.shape_key in losers]
        row.group = [each for each in row.group if each.shape_key not in losers]

    def _rounds_worse(self, row: _Row) -> tuple[str, str] | None:
        """The verdict where a group rounds worse than what it replaces, and why; ``None`` where it does not."""
        dtype = self.measurer.setting.dtype
        try:
            row.error = self.rounding.errors(self.change(row.group))
            for candidate in _first_of(row.group).values():
                errors = None if candidate.kernel is None else kernel_errors(candidate.kernel())
                if errors is not None and not acceptable(errors, dtype):
                    return "not equal", f"alone it rounds worse: {_error_words(errors)}, at {_lead(candidate)}"
        except Exception as error:  # noqa: BLE001 -- runs code that is not ours
            return "not proven", f"the rounding error could not be measured: {told(error)}"
        if not acceptable(row.error, dtype):
            return "not equal", f"it rounds worse: {_error_words(row.error)}"
        return None


def _first_of(group: Sequence[Candidate]) -> dict[str, Candidate]:
    """The first candidate of each shape."""
    return {each.shape_key: each for each in reversed(group)}


def _error_words(errors: Errors) -> str:
    return f"an error of {errors.after:.1e} against float64, {errors.before:.1e} before"


@dataclass(frozen=True, slots=True)
class FunctionChange:
    """Makes changes to a copy of a model; what cannot be made is an error."""

    candidates: tuple[Candidate, ...]

    def __call__(self, model: nn.Module) -> None:
        """Make them.

        Raises:
            CannotChange: one of them cannot be made.

        """
        journal = Journal()
        for candidate in self.candidates:
            candidate.apply(model, journal)
