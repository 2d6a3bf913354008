"""Optimizes one model: finds, proves, measures, keeps what is faster."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from contextlib import suppress
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, TypeAlias

import torch

from normadvisor.optimization.candidate import Candidate, Refused, Setting, StateStep
from normadvisor.optimization.finders import find
from normadvisor.optimization.measuring.cache import RatioCache
from normadvisor.optimization.measuring.measurer import Measurer, device_name
from normadvisor.optimization.measuring.refusal import NotMeasured
from normadvisor.optimization.prepared import Subject, copied, prepared, traced
from normadvisor.optimization.proving.function import FunctionProof
from normadvisor.optimization.proving.rounding import Rounding
from normadvisor.optimization.selection import Selection
from normadvisor.optimization.variants import variants
from normadvisor.optimization.verdict import is_slower
from normadvisor.rewrite.model.journal import Journal
from normadvisor.types.optimization import STAGES, Errors, Left, Optimization, OptimizeOptions, Ratio, Replacement, Variant

if TYPE_CHECKING:
    from torch import nn

    from normadvisor.graph.model import ModelGraph
    from normadvisor.rewrite.proof.inputs import Arguments

__all__ = ["Optimized", "Taken", "Told", "optimize_model"]

Told: TypeAlias = Callable[[str, int, int], None]
"""Takes what is being done, how much of it is done, and how much there is."""

_BUDGET = 120.0
"""Seconds for all measurements where nobody says how many."""
_ROUNDS = 4
"""How often a stage is looked at again after something was kept: what was folded may be folded once more."""
_LAYOUT = "NA706"
_LOOKING = {
    "cleanup": "looking for layers that do nothing", "upgrade": "looking for operations written out by hand", "fold": "looking for folds",
    "merge": "looking for layers to merge", "fuse": "looking for operations to fuse", "layout": "looking at the memory format",
    "activate": "looking for activations to fuse",
}  # fmt: skip
"""What is being done in each stage."""
_MOST_REMARKS = 3


@dataclass(frozen=True, slots=True)
class Taken:
    """A replacement at one place that was kept."""

    stage: str
    turn: int
    """Which trace of the model it was found in."""
    candidate: Candidate


@dataclass(frozen=True, slots=True, kw_only=True)
class Optimized:
    """A model with everything that was kept."""

    model: nn.Module
    """In inference a copy of the original in eval mode, in training the original itself."""
    optimization: Optimization
    inputs: Arguments
    """What it was measured with, on its device."""
    taken: tuple[Taken, ...]
    """What was kept, in its order."""
    steps: tuple[StateStep, ...]
    """How its state comes from that of the original."""
    journal: Journal
    """Takes it back."""


def optimize_model(
    subject: Subject, options: OptimizeOptions, *, told: Told = lambda _what, _done, _total: None, cache: RatioCache | None = None
) -> Optimized:
    """Optimize a model.

    Args:
        subject: the model; in inference left as it is, in training changed in place once everything is decided.
        options: what to do.
        told: called as the work goes on.
        cache: ratios of earlier runs; that of the user when ``None``, and none where the options say so.

    Raises:
        NormAdvisorError: the model cannot be copied, or followed.

    """
    base, setting = prepared(subject, options)
    cache = cache or (RatioCache.of_user() if options.cache else RatioCache(None))
    seconds = _BUDGET if options.budget is None else options.budget
    measurer = Measurer.of(setting, cache, seconds=seconds, tolerant=options.allow_busy, gain=options.minimum_gain)
    tell = _Teller(told=told, measurer=measurer)
    selection = _selection(base, setting, options, measurer, tell)
    work = _Work(subject=subject, options=options, base=base, setting=setting, tell=tell, selection=selection)
    tell("seeing whether the machine is idle")
    measurer.look()
    tell("running the model")
    with suppress(NotMeasured):  # said where something is to be measured
        measurer.try_pass(copied(base))  # which may change buffers and attributes: the result begins with those of the original
    try:
        model = work.searched()
        return work.finished(model)
    finally:
        cache.save()


def _selection(base: nn.Module, setting: Setting, options: OptimizeOptions, measurer: Measurer, tell: Callable[[str], object]) -> Selection:
    return Selection(
        measurer=measurer,
        told=tell,
        proof=FunctionProof(model=base, inputs=setting.inputs, mode=options.mode, seed=options.seed),
        rounding=Rounding(model=base, setting=setting, seed=options.seed),
        gain=options.minimum_gain,
        forced=frozenset({_LAYOUT}) if options.channels_last == "on" else frozenset(),
    )  # fmt: skip


@dataclass(slots=True, kw_only=True)
class _Teller:
    """Says what is being done, and how much time is left for it."""

    told: Told
    measurer: Measurer
    stage: int = 0
    """How many stages are done."""

    def __call__(self, what: str) -> None:
        """Say it."""
        self.told(f"{what}, {self.measurer.left:.0f} s left", self.stage, len(STAGES))


@dataclass(slots=True, kw_only=True)
class _Work:
    """One run."""

    subject: Subject
    options: OptimizeOptions
    base: nn.Module
    setting: Setting
    selection: Selection
    tell: _Teller
    rows: list[Replacement] = field(default_factory=list)
    refused: list[Refused] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)
    taken: list[Taken] = field(default_factory=list)
    turn: int = 0
    """Rounds so far."""
    _traced: tuple[nn.Module, ModelGraph] | None = None
    """The model that was traced last, and its trace."""
    _seen: set[tuple[str, tuple[str, ...]]] = field(default_factory=set)

    def searched(self) -> nn.Module:
        """Go through all stages; returns a copy with everything that was kept."""
        model = copied(self.base)
        for number, stage in enumerate(STAGES):
            if stage == "layout" and self.options.channels_last == "off":
                continue
            self.tell.stage = number
            for _ in range(1 if stage == "layout" else _ROUNDS):
                self.tell(_LOOKING.get(stage, f"looking for {stage}"))
                after = self._round(model, stage)
                if after is model:
                    break
                model = after
        return model

    def _round(self, model: nn.Module, stage: str) -> nn.Module:
        """Find once, and decide on each group that is new; the same model where none was kept."""
        graph = self._graph(model)
        self.turn += 1
        found = find(model, graph, self.setting, stage, self.options.rules)
        self.refused += found.refused
        self.notes += [*graph.notes, *found.notes]
        for group in self._new_groups(found.candidates):
            chosen = self.selection.decide(model, stage, group)
            self.rows.append(chosen.replacement)
            self.refused += [Refused(rule=each.rule, modules=each.modules, reason=reason) for each, reason in chosen.refused]
            self.selection.take(chosen)
            self.taken += [Taken(stage, self.turn, candidate) for candidate in chosen.candidates]
            model = chosen.model or model
        return model

    def _graph(self, model: nn.Module) -> ModelGraph:
        """The trace of a model; made once as long as the model stays what it is."""
        if self._traced is None or self._traced[0] is not model:
            self._traced = model, traced(model, self.subject, self.setting)
        return self._traced[1]

    def _new_groups(self, candidates: Iterable[Candidate]) -> list[list[Candidate]]:
        groups: dict[str, list[Candidate]] = {}
        for candidate in candidates:
            if self.options.channels_last == "on" and candidate.rule == _LAYOUT and not candidate.replacement.startswith("channels_last"):
                continue  # the model has what is asked for, and nobody asks for the other format
            key = (candidate.group, candidate.modules)
            if key not in self._seen:
                self._seen.add(key)
                groups.setdefault(candidate.group, []).append(candidate)
        return list(groups.values())

    def finished(self, model: nn.Module) -> Optimized:
        """Do everything that was kept once more, to the model that is handed back, and measure it as a whole."""
        whole, memory, error = self._together(model)
        taken = self.selection.taken  # less than before where it turned out slower
        ways = self._variants(model if taken else self.base)
        del model
        training = self.options.mode == "training"
        final, journal = self.subject.model if training else copied(self.base), Journal()
        steps = _changed(final, taken, journal)
        report = Optimization(
            target=self.subject.target, mode=self.options.mode, device=self._device(),
            dtype=str(self.setting.dtype).removeprefix("torch."), inputs=self.subject.spec, replacements=tuple(self.rows),
            left=tuple(_left(self.refused, self.rows)), variants=ways, end_to_end=whole, memory=memory, error=error, keys=_keys(steps),
            notes=tuple(dict.fromkeys([*self.notes, *self.selection.measurer.cache.notes, *self._remarks()])),
        )  # fmt: skip
        return Optimized(
            model=final, optimization=report, inputs=self.setting.inputs, taken=tuple(self.taken), steps=tuple(steps), journal=journal
        )  # fmt: skip

    def _together(self, model: nn.Module) -> tuple[Ratio | None, float | None, Errors | None]:
        """All that was kept against the original; where that is slower after all, everything is taken back."""
        selection, measurer, rows = self.selection, self.selection.measurer, self.selection.rows
        if not rows:
            return None, None, None
        # Each row was looked at with those before it: the last has the errors of all, and a single one is all.
        error = rows[-1].error or selection.rounding.errors(selection.change(()))
        if len(rows) == 1 and rows[0].end_to_end is not None:
            return rows[0].end_to_end, rows[0].memory, error
        self.tell.stage = len(STAGES)
        self.tell("measuring all that is kept")
        try:
            whole = measurer.models(self.base, model, 1.0)
            if is_slower(whole):  # each part was not: what has gone wrong may have been the measurement
                whole = measurer.models(self.base, model, 1.0)
            if is_slower(whole) and not selection.forced:
                self._take_back(whole)
                return None, None, None
            return whole, measurer.memory(self.base, model), error
        except NotMeasured as refusal:
            self.notes.append(f"all that was kept together could not be measured: {refusal.reason}")
            return None, None, error

    def _take_back(self, whole: Ratio) -> None:
        """Keep nothing."""
        reason = f"with all that was kept the whole model was {whole.median:.2f} times as fast, measured twice"
        self.rows = [replace(row, verdict="slower", reason=reason) if row.kept else row for row in self.rows]
        self.taken.clear()
        self.selection.taken.clear()
        self.selection.rows.clear()

    def _variants(self, model: nn.Module) -> tuple[Variant, ...]:
        if not self.options.compile:
            return ()
        return variants(self.base, model, self.selection.measurer, self.tell)

    def _device(self) -> str:
        name, device = device_name(self.setting.device), self.setting.device
        threads = torch.get_num_threads()
        own = f"{name}, {threads} thread{'s' if threads > 1 else ''}" if device.type == "cpu" else name
        return f"{device.type} ({own})"

    def _remarks(self) -> Iterable[str]:
        remarks = list(dict.fromkeys(each.remark for each in self.selection.taken if each.remark))
        yield from remarks[:_MOST_REMARKS]
        if len(remarks) > _MOST_REMARKS:
            yield f"and {len(remarks) - _MOST_REMARKS} more notes of this kind"
        if self.selection.taken and (names := self.selection.proof.left_out):
            told = ", ".join(names[:_MOST_REMARKS]) + (f" and {len(names) - _MOST_REMARKS} more" if len(names) > _MOST_REMARKS else "")
            yield f"compared without {told}: what forward computes with {'them' if len(names) > 1 else 'it'} was not"
        if overrun := self.selection.measurer.overrun:
            yield overrun
        if self.options.allow_busy:
            yield "measured although the machine may have been busy with other things, as was asked for: spreads may be wide"
        if self.options.mode == "training":
            yield "a pass is forward and backward; the optimizer's step is not in it"


def _changed(model: nn.Module, taken: Sequence[Candidate], journal: Journal) -> list[StateStep]:
    """Make all changes, or none."""
    steps: list[StateStep] = []
    try:
        with torch.no_grad():
            for candidate in taken:
                steps += candidate.apply(model, journal)
    except BaseException:
        journal.undo()
        raise
    return steps


def _left(refused: Sequence[Refused], rows: Sequence[Replacement]) -> Iterable[Left]:
    """Places that stay as they are, those of one rule and reason together; without what was replaced after all."""
    kept = {(row.rule, name) for row in rows if row.kept for name in row.modules}
    groups: dict[tuple[str, str], list[str]] = {}
    for each in refused:
        if not each.modules or (each.rule, each.modules[0]) not in kept:
            groups.setdefault((each.rule, each.reason), []).append(each.modules[0] if each.modules else "")
    for (rule, reason), names in groups.items():
        yield Left(rule=rule, modules=tuple(dict.fromkeys(names)), reason=reason)


def _keys(steps: Sequence[StateStep]) -> dict[str, str]:
    """What became of keys, in words."""
    found: dict[str, str] = {}
    for step in steps:
        for key in step.into:
            others = [source for source in step.sources if source != key]
            found[key] = f"from {', '.join(step.sources)}" if others else "changed"
        for key in step.dropped:
            found.setdefault(key, f"in {', '.join(step.into)}" if step.into else "dropped")
    return found
