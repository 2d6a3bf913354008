"""Tries fixes and keeps those that hold."""

from __future__ import annotations

from collections.abc import Callable, Hashable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING, Self

from normadvisor.api.fixing.choices import CONVERSIONS, Applied, Candidate, Choice, FixOptions, FixRun, Proven, RolledBack, Skipped, Trial
from normadvisor.api.fixing.offers import Offer, identity, offers
from normadvisor.api.fixing.order import in_turn
from normadvisor.api.fixing.settle import Settler
from normadvisor.api.fixing.verdict import Attempt, State, Verdict, Verifier
from normadvisor.api.job import CONVERT
from normadvisor.api.options import Checked
from normadvisor.api.progress import ProgressCallback
from normadvisor.api.session import Session
from normadvisor.config import Settings
from normadvisor.errors import UsageError
from normadvisor.files.overlay import overlaid
from normadvisor.rewrite.text.apply import merged
from normadvisor.rewrite.text.changes import FileChange
from normadvisor.types import Applicability, Finding

if TYPE_CHECKING:
    from normadvisor.rewrite.keys import KeyMap

__all__ = ["Fixer"]


class Fixer:
    """Checks targets and mends them, with one set of worker processes for all of it; use it in a ``with`` statement.

    ::

        with Fixer(["net.py"], load_settings, FixOptions()) as fixer:
            fixer.check()
            for candidate in fixer.candidates(): ...
            trial = fixer.try_choices([Choice(candidate.finding, candidate.fixes[0])])

    No file is written: the callers of :meth:`try_choices` and :meth:`fix_all` write the changes they get.

    Args:
        targets: as on the command line.
        find_settings: the settings that apply from a file or folder on; called once.
        options: how to check and to mend.
        progress: called at every step; phases are those of a check, ``writing`` edits, and ``proving``.

    Raises:
        NormAdvisorError: the configuration, a rule or an option is wrong.

    """

    def __init__(
        self,
        targets: Sequence[str],
        find_settings: Callable[[Path], Settings],
        options: FixOptions | None = None,
        progress: ProgressCallback | None = None,
    ) -> None:
        self._options = options or FixOptions()
        if self._options.to is not None and self._options.to not in CONVERSIONS:
            raise UsageError(f"there is no conversion to {self._options.to!r}", hint=f"one of {', '.join(CONVERSIONS)}")
        self._session = Session(targets, find_settings, self._options.check, progress)
        self._verifier = Verifier(self._session, self._options, progress)
        self._state: State | None = None
        self._checked: Checked | None = None
        self._offers: dict[Hashable, Offer] | None = None

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        self.close()

    def close(self) -> None:
        """End every process."""
        self._session.close()

    @property
    def contents(self) -> Mapping[Path, bytes]:
        """What kept trials (:meth:`keep`) made of files; those that are as on the disk are left out."""
        return {} if self._state is None else dict(self._state.contents)

    def check(self) -> Checked:
        """The check of the files as they are, kept trials included; run once for each state of the files.

        Raises:
            NormAdvisorError: the configuration, a rule or an option is wrong.

        """
        if self._checked is None:
            self._checked = self._checked_as(self._now())
        return self._checked

    def candidates(self) -> list[Candidate]:
        """Every active finding that has a fix, in the order of the report.

        Findings of several models at one place that ask for the same edits are one candidate; where they ask for different ones, none can
        be applied. A fix that is safe for one model only is unsafe.
        """
        return [offer.candidate for offer in self._offered().values()]

    def try_choices(self, choices: Sequence[Choice]) -> Trial:
        """Apply fixes to the files as :meth:`check` saw them, and look what comes of it; nothing is kept.

        Safe fixes are tried first and have to be proven: every model that runs changed code is the same function as before. Unsafe ones on
        top have to leave models that can be built and traced, and those that do not hold the finding the same function as before. Each has
        to leave no finding of its own and to bring no new one. Where that fails, fixes are tried in halves until the culprits are known.

        Args:
            choices: fixes of :meth:`candidates`; of two that change the same text a safe one goes before an unsafe one, and the earlier
                before the later one, which waits.

        """
        attempts = sorted(self._attempts(choices), key=lambda attempt: not attempt.is_safe)
        parted = merged(attempt.choice.fix.edits for attempt in attempts)
        base = self._now()
        settler = Settler(lambda tried: self._verifier.verdict(base, tried))
        taken = [attempts[position] for position in parted.taken]
        safe = settler.settled([], [attempt for attempt in taken if attempt.is_safe])
        proofs = {proven.model: proven for proven in settler.verdict(safe).proofs} if safe else {}
        held = [*safe, *settler.settled(safe, [attempt for attempt in taken if not attempt.is_safe])]
        verdict = settler.verdict(held) if held else Verdict(state=base)
        proofs |= {proven.model: proven for proven in verdict.proofs}
        state = verdict.state
        return Trial(
            held=tuple(self._applied(attempt, base, proofs) for attempt in taken if attempt in held),
            rolled_back=tuple(
                RolledBack(attempt.choice.finding, attempt.choice.fix, failure.reason, failure.unprovable)
                for attempt, failure in settler.failed.items()
            ),
            waiting=tuple(attempts[position].choice for position in parted.waiting),
            changes=self._changes(state),
            proofs=tuple(proofs.values()),
            after=self._checked_as(state) if held else self.check(),
            key_maps=verdict.key_maps,
            state=state,
        )

    def keep(self, trial: Trial) -> None:
        """Go on from the files that a trial gave: :meth:`check` and :meth:`candidates` are about those from now on."""
        if trial.state is not None and trial.state is not self._state:
            self._state, self._checked, self._offers = trial.state, trial.after, None

    def fix_all(self, *, unsafe: bool = False, progress: ProgressCallback | None = None) -> FixRun:
        """Apply the default fix of every candidate, in rounds, until there is nothing left to apply.

        Args:
            unsafe: whether unsafe fixes are applied as well; conversions that were asked for are in any case.
            progress: instead of the one given at the beginning.

        """
        self._verifier.progress = progress or self._verifier.progress
        before = self.check()
        gathered = _Gathered(unsafe=unsafe or self._options.to is not None)
        while gathered.rounds < self._options.rounds:
            choices, waiting = in_turn(gathered.choices(self.candidates()), gathered.has_failed)
            if not choices:
                break
            trial = self.try_choices(choices)
            gathered.take(trial)
            if not trial.held and not waiting:
                break
            self.keep(trial)
        return FixRun(
            before=before,
            after=self.check(),
            applied=tuple(gathered.applied),
            rolled_back=tuple(gathered.rolled_back.values()),
            skipped=tuple(gathered.skipped(self.candidates())),
            proofs=tuple(gathered.proofs.values()),
            changes=self._changes(self._now()),
            key_maps={target: key_map for target, key_map in gathered.key_maps.items() if key_map},
            rounds=gathered.rounds,
        )

    def _now(self) -> State:
        if self._state is None:
            self._state = self._verifier.first()
        return self._state

    def _checked_as(self, state: State) -> Checked:
        with overlaid(state.contents):
            return self._session.checked(state.outcomes, state.reading)

    def _offered(self) -> dict[Hashable, Offer]:
        if self._offers is None:
            state = self._now()
            active = self.check().report.active
            if self._options.to is not None:
                active = tuple(finding for finding in active if finding.rule == CONVERT)
            self._offers = offers(active, state.reading.findings(), state.outcomes)
        return self._offers

    def _attempts(self, choices: Iterable[Choice]) -> Iterable[Attempt]:
        """Choices with what is known of their findings.

        Raises:
            UsageError: there is no such candidate, or the fix has no edits.

        """
        for choice in choices:
            offer = self._offered().get(identity(choice.finding))
            if offer is None or not choice.fix.edits:
                message = f"there is no such fix of {choice.finding.rule}"
                raise UsageError(message, hint="choose among the fixes of candidates()")
            yield Attempt(choice, offer)

    def _applied(self, attempt: Attempt, base: State, proofs: Mapping[str, Proven]) -> Applied:
        """A fix that held, with the proofs of the models that run what it edits."""
        choice = attempt.choice
        concerned = {
            outcome.summary.target for of_job in base.outcomes for outcome in of_job if not attempt.files.isdisjoint(outcome.files)
        }
        shown = tuple(proven for target, proven in proofs.items() if target in concerned) if attempt.is_safe else ()
        return Applied(choice.finding, choice.fix, shown)

    def _changes(self, state: State) -> tuple[FileChange, ...]:
        disk = self._verifier.disk
        changes = (FileChange(path, disk[path], data) for path, data in sorted(state.contents.items()))
        return tuple(change for change in changes if change.before != change.after)


@dataclass(slots=True)
class _Gathered:
    """What several rounds came to."""

    unsafe: bool
    rounds: int = 0
    applied: list[Applied] = field(default_factory=list)
    rolled_back: dict[Hashable, RolledBack] = field(default_factory=dict)
    proofs: dict[str, Proven] = field(default_factory=dict)
    key_maps: dict[str, KeyMap] = field(default_factory=dict)

    def choices(self, candidates: Iterable[Candidate]) -> list[Choice]:
        """What is to be tried next: nothing that was rolled back before, but where other fixes may have made it possible to compare."""
        return [
            Choice(candidate.finding, fix)
            for candidate in candidates
            if (fix := candidate.default) is not None
            and (self.unsafe or fix.applicability is Applicability.SAFE)
            and not ((known := self.rolled_back.get(_mark(candidate.finding))) and not known.unprovable)
        ]

    def has_failed(self, finding: Finding) -> bool:
        """Whether the fix of a finding was taken back."""
        return _mark(finding) in self.rolled_back

    def take(self, trial: Trial) -> None:
        """Note what came of a round."""
        self.rounds += 1
        self.applied += trial.held
        for held in trial.held:
            self.rolled_back.pop(_mark(held.finding), None)
        for item in trial.rolled_back:
            self.rolled_back[_mark(item.finding)] = item
        self.proofs |= {proven.model: proven for proven in trial.proofs}
        for target, key_map in trial.key_maps.items():
            known = self.key_maps.get(target)
            self.key_maps[target] = key_map if known is None else known.then(key_map)

    def skipped(self, candidates: Iterable[Candidate]) -> Iterable[Skipped]:
        """What was left alone."""
        for candidate in candidates:
            if self.has_failed(candidate.finding):
                continue
            fix = candidate.default
            if fix is None:
                yield Skipped(candidate.finding, candidate.reason or "there are several ways, each with its price: choose one")
            elif fix.applicability is Applicability.UNSAFE and not self.unsafe:
                yield Skipped(candidate.finding, f"only with unsafe fixes: {fix.title or fix.description}", unsafe=True)
            else:
                yield Skipped(candidate.finding, "there were too many rounds")


def _mark(finding: Finding) -> Hashable:
    """What stays of a finding when lines above it move."""
    return finding.rule, finding.path, finding.fingerprint
