"""Mends a module of this process, in place: every safe fix proven, every fix checked again, the rest rolled back."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from normadvisor.api.fixing.choices import Applied, Proven, RolledBack, Skipped
from normadvisor.api.ground import norms_behind
from normadvisor.api.live import check_module, input_texts
from normadvisor.config import Settings, load_settings, parse_context
from normadvisor.errors import NormAdvisorError, UsageError
from normadvisor.rewrite.keys import KeyMap
from normadvisor.types import Applicability, Finding, Fix, Report, RunContext

if TYPE_CHECKING:
    import torch

    from normadvisor.api.examine import Traced
    from normadvisor.rewrite.model import ModelChange
    from normadvisor.rewrite.proof.live import Before
    from normadvisor.rewrite.proof.result import Proof
    from normadvisor.rulebook.model import Rule

__all__ = ["FixResult", "fix"]

ROUNDS = 10
"""How often the model is looked at again for what can be mended, at most."""

_Key = tuple[str, tuple[str, ...]]
"""A finding by its rule and modules."""


@dataclass(frozen=True, slots=True, kw_only=True)
class FixResult:
    """What came of mending a module."""

    model: torch.nn.Module
    """The module itself, changed in place."""
    applied: tuple[Applied, ...] = ()
    rolled_back: tuple[RolledBack, ...] = ()
    """Fixes that were tried and taken back, with the reason."""
    skipped: tuple[Skipped, ...] = ()
    """Findings that were left alone, with the reason."""
    key_map: KeyMap = field(default_factory=KeyMap)
    """From the keys of the ``state_dict`` before to those after: ``key_map.apply(old_state_dict)`` loads into the model."""
    report: Report
    """The check of the model as it is now."""
    notes: tuple[str, ...] = ()
    """What was not carried over from layers that were replaced."""
    _changes: tuple[ModelChange, ...] = field(default=(), repr=False, compare=False)

    def save_key_map(self, path: str | Path) -> None:
        """Write :attr:`key_map` as JSON, for :meth:`normadvisor.rewrite.keys.KeyMap.load`."""
        self.key_map.save(path)

    def undo(self) -> None:
        """Put the model and its optimizer back; a second call does nothing."""
        for change in reversed(self._changes):
            change.undo()

    def __str__(self) -> str:
        """A line for each finding, what was proven, and the keys that changed."""
        lines = [f"fixed {_told(item.finding)}: {item.fix.title or item.fix.description}{_proven(item)}" for item in self.applied]
        lines += [f"rolled back {_told(item.finding)}: {item.reason}" for item in self.rolled_back]
        lines += [f"left {_told(item.finding)}: {item.reason}" for item in self.skipped]
        lines += [f"note: {note}" for note in self.notes]
        if self.key_map:
            lines += ["state_dict:", *(f"  {line}" for line in str(self.key_map).splitlines())]
        safe = sum(item.fix.applicability is Applicability.SAFE for item in self.applied)
        lines.append(f"{len(self.applied)} fixed ({safe} safe), {len(self.rolled_back)} rolled back, {len(self.skipped)} left")
        return "\n".join(lines)


def _told(finding: Finding) -> str:
    return f"{finding.rule} {', '.join(finding.modules[:3]) or finding.name}"


def _proven(item: Applied) -> str:
    if not item.proofs:
        return f" ({item.fix.applicability.value})"
    return f" (safe: {item.proofs[-1].proof})"


def fix(
    model: torch.nn.Module,
    inputs: Any = None,
    *,
    select: str | Sequence[str] | None = None,
    ignore: str | Sequence[str] | None = None,
    unsafe: bool = False,
    optimizer: torch.optim.Optimizer | Iterable[torch.optim.Optimizer] | None = None,
    settings: Settings | None = None,
    **context: Any,
) -> FixResult:
    """Mend what the rules find in a model of this process, in place.

    >>> result = fix(model, "8x3x224x224", select=["NA102"])  # doctest: +SKIP
    >>> print(result)  # doctest: +SKIP

    Fixes that keep the function are applied once it is shown that they do: outputs, gradients and buffers are compared in float64, in
    train and in eval mode (see :func:`normadvisor.rewrite.proof.prove`). After every change the model is traced and checked again; a fix
    that leaves its finding or brings another one is taken back. Parameters that stay are the same objects.

    Args:
        model: on any device, in any mode; parameters, buffers, hooks and mode of what is not concerned stay.
        inputs: as :func:`normadvisor.check` takes them: text, tensors, or a sequence of either; inferred when ``None``.
        select: rules to mend, ids or beginnings of ids; those of the configuration when ``None``.
        ignore: rules to leave alone.
        unsafe: whether fixes that change what is learned or stored are applied as well. Where a finding has several, the first one is.
        optimizer: one or several that hold the model's parameters; their groups and state follow.
        settings: the configuration; the nearest one above the working directory when ``None``.
        context: how the model is trained: ``batch_size=2``, ``task="detection"`` ...

    Raises:
        NormAdvisorError: ``model`` is no module, the configuration, a rule or the inputs are wrong, or the model cannot be traced.

    """
    import torch

    if not isinstance(model, torch.nn.Module):
        # A caller without a type checker may pass anything.
        message = f"a value of type {type(model).__name__} cannot be mended"  # type: ignore[unreachable]
        raise UsageError(message, hint="pass a torch.nn.Module, or targets as text")
    found = settings or load_settings(Path.cwd())
    found = replace(found, select=_texts(select) or found.select, ignore=(*found.ignore, *_texts(ignore)))
    flags = parse_context(context)
    optimizers = [] if optimizer is None else [optimizer] if isinstance(optimizer, torch.optim.Optimizer) else list(optimizer)
    session = _Session(model, found, input_texts(inputs), found.context.merged(flags), optimizers, unsafe=unsafe)
    session.run()
    return session.result(check_module(model, found, inputs=inputs, context=flags))


def _texts(value: str | Sequence[str] | None) -> tuple[str, ...]:
    return () if value is None else (value,) if isinstance(value, str) else tuple(value)


@dataclass(frozen=True, slots=True)
class _Look:
    """The model at one moment."""

    traced: Traced
    findings: tuple[Finding, ...]
    names: Mapping[int, str]
    """Name of each module, by ``id``."""


@dataclass(frozen=True, slots=True)
class _Choice:
    """A finding, and the fix that is tried."""

    finding: Finding
    fix: Fix

    @property
    def is_safe(self) -> bool:
        """Whether it has to be proven."""
        return self.fix.applicability is Applicability.SAFE

    @property
    def key(self) -> _Key:
        """What it is remembered by."""
        return _key(self.finding)

    @property
    def touched(self) -> set[tuple[str, str]]:
        """Layers and calls that it changes."""
        parts = (part for operation in self.fix.operations for part in (operation.part, operation.other) if part is not None)
        return {(part.module, "" if part.is_layer else part.node) for part in parts}


def _key(finding: Finding) -> _Key:
    return finding.rule, finding.modules


class _Refusal(Exception):  # noqa: N818 - it says what is the case
    """Why a group of fixes cannot stay.

    Args:
        reason: one sentence.
        culprit: the one that is to blame, where that is known.
        tried: whether the model was changed before that turned out.

    """

    def __init__(self, reason: str, culprit: _Choice | None = None, *, tried: bool = True) -> None:
        super().__init__(reason)
        self.reason, self.culprit, self.tried = reason, culprit, tried


@dataclass(slots=True)
class _Session:
    """One run over one model."""

    model: torch.nn.Module
    settings: Settings
    inputs: tuple[str, ...]
    context: RunContext
    optimizers: list[torch.optim.Optimizer]
    unsafe: bool
    applied: list[Applied] = field(default_factory=list)
    changes: list[ModelChange] = field(default_factory=list)
    rolled_back: dict[_Key, RolledBack] = field(default_factory=dict)
    refused: dict[_Key, Skipped] = field(default_factory=dict)
    left: tuple[Finding, ...] = ()
    _rules: list[Rule] = field(default_factory=list)
    _selected: frozenset[str] = frozenset()

    def run(self) -> None:
        """Try fixes until none is left: all together first, and where that fails, half of them at a time."""
        self._load_rules()
        look = self._look()
        rounds, most = 0, None
        while rounds < ROUNDS:
            batch = self._batch(look)[:most]
            if not batch:
                break
            try:
                look = self._try(look, batch)
            except _Refusal as refusal:
                if refusal.culprit is None and len(batch) > 1:
                    most = len(batch) // 2
                    continue
                self._remember(refusal.culprit or batch[0], refusal)
                most = None
            else:
                rounds += most is None
                most = None
        self.left = look.findings

    def _load_rules(self) -> None:
        """The rules that are selected, whose findings are mended, and all others that speak by default: none may come to speak."""
        from normadvisor.api.selection import load_selected

        _, selected = load_selected(self.settings)
        _, usual = load_selected(replace(self.settings, select=(), ignore=()))
        self._selected = frozenset(rule.id for rule in selected)
        self._rules = list({rule.id: rule for rule in (*selected, *usual)}.values())

    def _look(self) -> _Look:
        from normadvisor.api.examine import matched, traced
        from normadvisor.suppress import apply_per_file_ignores
        from normadvisor.targets.sites import site_of_code

        found = traced(
            self.model, target=type(self.model).__name__, inputs=self.inputs, context=self.context,
            defined_at=site_of_code(type(self.model)),
        )  # fmt: skip
        everything = matched(found.graph, self.model, self._rules, self.context, self.settings.root)
        findings = apply_per_file_ignores(tuple(everything), self.settings.per_file_ignores, root=self.settings.root)
        names = {id(module): name for name, module in self.model.named_modules()}
        return _Look(found, tuple(finding for finding in findings if finding.suppressed is None), names)

    def _batch(self, look: _Look) -> list[_Choice]:
        """Fixes to try next, safe ones before others but what they rest on; of those that change the same layer only the first."""
        choices = [choice for choice in self._choices(look.findings) if choice.key not in self.rolled_back | self.refused]
        changed = {module for choice in choices if not choice.is_safe for module, _ in choice.touched}
        # A bias does nothing because of the norm behind it: where another fix puts another norm there, that one goes first.
        safe = [
            choice for choice in choices if choice.is_safe and changed.isdisjoint(norms_behind(look.traced.graph, choice.fix.operations))
        ]
        choices = safe or [choice for choice in choices if not choice.is_safe]
        batch: list[_Choice] = []
        touched: set[tuple[str, str]] = set()
        for choice in choices:
            if touched.isdisjoint(choice.touched):
                batch.append(choice)
                touched |= choice.touched
        return batch

    def _choices(self, findings: Iterable[Finding]) -> Iterator[_Choice]:
        for finding in findings:
            chosen = _default(finding)
            if finding.rule in self._selected and chosen is not None and (self.unsafe or chosen.applicability is Applicability.SAFE):
                yield _Choice(finding, chosen)

    def _try(self, look: _Look, batch: Sequence[_Choice]) -> _Look:
        """Apply fixes together.

        Raises:
            _Refusal: they cannot stay; the model is as before.

        """
        from normadvisor.rewrite.model import CannotChange, change_model
        from normadvisor.rewrite.proof.live import Before

        before = Before.of(self.model) if batch[0].is_safe else None
        operations = [operation for choice in batch for operation in choice.fix.operations]
        try:
            change = change_model(self.model, operations, look.traced.graph, optimizer=self.optimizers or None)
        except CannotChange as error:
            raise _Refusal(error.message, tried=False) from error
        try:
            proof = None if before is None else self._prove(before, look, change, batch)
            after = self._look_again(look, batch)
        except BaseException:
            change.undo()
            raise
        self.changes.append(change)
        proofs = () if proof is None else (Proven(type(self.model).__name__, proof),)
        self.applied += [Applied(choice.finding, choice.fix, proofs) for choice in batch]
        return after

    def _prove(self, before: Before, look: _Look, change: ModelChange, batch: Sequence[_Choice]) -> Proof:
        """Show that the model is the same function.

        Raises:
            _Refusal: it is not, or that cannot be shown.

        """
        if look.traced.inputs is None:
            raise _Refusal("equality cannot be proven: the model was traced without inputs")
        parts = [sorted({module for module, _ in choice.touched}) for choice in batch]
        proof = before.prove(self.model, look.traced.inputs, change.key_map, parts=parts)
        if not proof.equal:
            raise _Refusal(proof.reason)
        return proof

    def _look_again(self, look: _Look, batch: Sequence[_Choice]) -> _Look:
        """The model after a change.

        Raises:
            _Refusal: it can no longer be traced, a finding remains, or there is a new one.

        """
        try:
            after = self._look()
        except NormAdvisorError as error:
            raise _Refusal(f"the model could no longer be checked: {error.message}") from error
        if look.traced.inputs is not None and after.traced.inputs is None:
            raise _Refusal(f"the model would no longer take the inputs {look.traced.inputs.spec}")
        known = Counter(_key(finding) for finding in look.findings)
        names = {name: look.names.get(number, name) for number, name in after.names.items()}
        wanted = {choice.key: choice for choice in batch}
        for finding in after.findings:
            # Layers that changed places are still the same layers.
            key = finding.rule, tuple(names.get(name, name) for name in finding.modules)
            if key in wanted:
                raise _Refusal("the finding would remain", wanted[key])
            if not known[key] and not known[_key(finding)]:
                raise _Refusal(f"it would bring {_told(finding)}: {finding.message}")
        return after

    def _remember(self, choice: _Choice, refusal: _Refusal) -> None:
        if refusal.tried:
            self.rolled_back[choice.key] = RolledBack(choice.finding, choice.fix, refusal.reason)
        else:
            self.refused[choice.key] = Skipped(choice.finding, refusal.reason)

    def result(self, report: Report) -> FixResult:
        """What came of it."""
        key_map = KeyMap()
        for change in self.changes:
            key_map = key_map.then(change.key_map)
        skipped = [
            self.refused.get(_key(finding)) or self._skipped(finding)
            for finding in self.left
            if finding.rule in self._selected and _key(finding) not in self.rolled_back
        ]
        return FixResult(
            model=self.model, applied=tuple(self.applied), rolled_back=tuple(self.rolled_back.values()), skipped=tuple(skipped),
            key_map=key_map, report=report, notes=tuple(note for change in self.changes for note in change.notes),
            _changes=tuple(self.changes),
        )  # fmt: skip

    def _skipped(self, finding: Finding) -> Skipped:
        chosen = _default(finding)
        if chosen is None:
            return Skipped(finding, "the fix is to be made by hand" if finding.fix is not None else "there is no fix")
        if not self.unsafe and chosen.applicability is not Applicability.SAFE:
            return Skipped(finding, f"only with unsafe fixes: {chosen.title or chosen.description}", unsafe=True)
        return Skipped(finding, f"nothing was left to try after {ROUNDS} rounds")


def _default(finding: Finding) -> Fix | None:
    """The first safe fix that changes layers, else the first of them."""
    fixes = [each for each in (finding.fix, *finding.alternatives) if each is not None and each.operations]
    able = [each for each in fixes if each.applicability is not Applicability.DISPLAY]
    return next((each for each in able if each.applicability is Applicability.SAFE), next(iter(able), None))
