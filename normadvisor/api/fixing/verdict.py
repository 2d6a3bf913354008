"""Applies fixes to the files as they are, and judges what comes of it."""

from __future__ import annotations

import os
import time
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING

from normadvisor.api.fixing.choices import Choice, FixOptions, Proven
from normadvisor.api.fixing.memory import Memory
from normadvisor.api.fixing.offers import SCRIPTS, Offer
from normadvisor.api.fixing.shift import Places, pairs
from normadvisor.api.job import CONVERT, Conversion, Job, ProofRequest
from normadvisor.api.outcome import Outcome
from normadvisor.api.progress import ProgressCallback
from normadvisor.errors import NormAdvisorError, RewriteError
from normadvisor.files.overlay import overlaid
from normadvisor.files.source import read_bytes
from normadvisor.rewrite.text.changes import changed_files
from normadvisor.types import Applicability, Finding, Severity, Withdrawn
from normadvisor.types.operation import OperationKind

if TYPE_CHECKING:
    from normadvisor.api.session import Session
    from normadvisor.api.static.check import Reading
    from normadvisor.rewrite.keys import KeyMap

__all__ = ["Attempt", "Failure", "State", "Verdict", "Verifier"]

_APART = 8
"""Fixes of a model that cannot be compared which are still tried in halves."""


@dataclass(frozen=True, slots=True, kw_only=True)
class State:
    """Files, and what was found in them."""

    contents: Mapping[Path, bytes] = field(default_factory=dict)
    """Those that are not as on the disk."""
    reading: Reading
    outcomes: Sequence[Sequence[Outcome]]


@dataclass(frozen=True, slots=True, eq=False)
class Attempt:
    """A choice that is being tried. Compared by identity."""

    choice: Choice
    offer: Offer

    @property
    def is_safe(self) -> bool:
        """Whether it has to be proven: a function in place of operations has to be the same one here, even if it need not be elsewhere."""
        fix = self.choice.fix
        functions = bool(fix.operations) and all(operation.kind is OperationKind.USE_FUNCTION for operation in fix.operations)
        return fix.applicability is Applicability.SAFE or functions

    @property
    def files(self) -> frozenset[str]:
        """Real paths of the files that it edits."""
        return frozenset(os.path.realpath(edit.path) for edit in self.choice.fix.edits)

    def may_change(self, model: tuple[int, int]) -> bool:
        """Whether a model need not stay the same function."""
        return not self.is_safe and (not self.choice.fix.operations or self.offer.holds(model))


@dataclass(frozen=True, slots=True)
class Failure:
    """Why fixes cannot stay."""

    reason: str
    suspects: frozenset[Attempt]
    """Those that it may be due to."""
    certain: bool = False
    """Whether it is due to each of them."""
    unprovable: bool = False
    """Whether models could not be compared, rather than that they differ."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Verdict:
    """What came of fixes that were applied together."""

    state: State
    failures: tuple[Failure, ...] = ()
    proofs: tuple[Proven, ...] = ()
    """Models that were shown to be the same function."""
    key_maps: Mapping[str, KeyMap] = field(default_factory=dict)


class Verifier:
    """Tries fixes on the targets of a session.

    Args:
        session: the targets.
        options: how to mend.
        progress: called at every step.

    """

    def __init__(self, session: Session, options: FixOptions, progress: ProgressCallback | None) -> None:
        self._session = session
        self._options = options
        self._began = time.time_ns()
        self._memory = Memory()
        self.progress = progress
        self.disk: dict[Path, bytes] = {}
        """What edited files held before anything was changed."""

    @property
    def conversion(self) -> Conversion | None:
        """What is reported beside the findings of rules."""
        options = self._options
        return None if options.to is None else Conversion(to=options.to, layers=options.layers, groups=options.groups)

    def first(self) -> State:
        """The files as they are on the disk."""
        jobs = [replace(job, conversion=self.conversion, list_files=True) for job in self._session.plan.jobs]
        return State(reading=self._session.scripts.reading, outcomes=self._session.run(jobs, self.progress))

    def verdict(self, base: State, attempts: Sequence[Attempt]) -> Verdict:
        """Apply fixes together, and look again at everything that runs or reads an edited file."""
        edits = list(dict.fromkeys(edit for attempt in attempts for edit in attempt.choice.fix.edits))
        everyone = frozenset(attempts)
        try:
            self._remember(Path(edit.path).resolve() for edit in edits)
            with overlaid({**self.disk, **base.contents}):
                changes = changed_files(edits)
        except NormAdvisorError as error:
            return Verdict(state=base, failures=(Failure(str(error), everyone, certain=len(attempts) == 1),))
        contents = {**base.contents, **{change.path: change.after for change in changes}}
        changed = frozenset(str(change.path) for change in changes)
        if not changed and attempts:
            return Verdict(state=base, failures=(Failure("the edits change nothing", everyone, certain=True),))
        places = Places(edits)
        with overlaid(contents):
            reading = self._session.scripts.reread(base.reading, changed)
        concerned = list(_concerned(base, self._session.plan.jobs, changed))
        found = self._outcomes(base, {model: self._job(base, contents, attempts, model) for model in concerned})
        outcomes = [list(of_job) for of_job in base.outcomes]
        failures = list(_script_failures(base.reading, reading, attempts, places))
        proofs: list[Proven] = []
        key_maps: dict[str, KeyMap] = {}
        for (job, model), looked_at in found.items():
            before = outcomes[job][model]
            after = outcomes[job][model] = self._as_measured(before, looked_at, places)
            failures += _model_failures((job, model), before, after, attempts, places)
            target = after.summary.target
            if after.proof is not None and after.proof.equal:
                proofs.append(Proven(target, after.proof))
            if after.key_map:
                key_maps[target] = after.key_map
        state = State(contents=contents, reading=reading, outcomes=outcomes)
        return Verdict(state=state, failures=tuple(failures), proofs=tuple(proofs), key_maps=key_maps)

    def _as_measured(self, before: Outcome, after: Outcome, places: Places) -> Outcome:
        """What was found after the edits, with what only measuring tells as it was before them, since nobody measures again.

        Findings that a measurement withdrew stay withdrawn, and those of rules that look at measurements stay.
        """
        if before.measurements is None:
            return after
        gone = {id(item.finding): item.reason for item in before.withdrawn}
        known = pairs((*before.findings, *(item.finding for item in before.withdrawn)), after.findings, places)
        withdrawn = [Withdrawn(finding=new, reason=gone[id(old)]) for old, new in known if new is not None and id(old) in gone]
        ids = {id(item.finding) for item in withdrawn}
        own = {rule.id for rule in self._session.rules if rule.scope == "probe"}
        findings = [finding for finding in after.findings if id(finding) not in ids]
        findings += [finding for finding in before.findings if finding.rule in own]
        return replace(after, findings=tuple(findings), withdrawn=tuple(withdrawn), measurements=before.measurements)

    def _outcomes(self, base: State, jobs: Mapping[tuple[int, int], Job]) -> dict[tuple[int, int], Outcome]:
        """What comes of models; those that were compared in the same way before are not compared again."""
        known = {model: self._memory.outcome(model, job) for model, job in jobs.items()}
        missing = [model for model, outcome in known.items() if outcome is None]
        ran = self._session.run([jobs[model] for model in missing], self.progress)
        for model, outcomes in zip(missing, ran, strict=True):
            known[model] = outcomes[0]
            self._memory.keep(model, jobs[model], base.outcomes[model[0]][model[1]], outcomes[0])
        return {model: outcome for model, outcome in known.items() if outcome is not None}

    def _remember(self, paths: Iterable[Path]) -> None:
        """Note what files hold, so that all trials are about the same.

        Raises:
            NormAdvisorError: one cannot be read, or was written to since the check began, which saw something else.

        """
        for path in paths:
            if path in self.disk:
                continue
            data = read_bytes(path)
            if self._began <= path.stat().st_mtime_ns <= time.time_ns():  # a time in the future tells nothing
                raise RewriteError(f"{path} was changed while it was being checked", hint="run it again")
            self.disk[path] = data

    def _job(self, base: State, contents: Mapping[Path, bytes], attempts: Sequence[Attempt], model: tuple[int, int]) -> Job:
        """What a worker does to compare one model."""
        job = self._session.plan.jobs[model[0]]
        asked = job.models[model[1]]
        changes = (attempt.offer.operations(attempt.choice.fix, model) for attempt in attempts)
        request = ProofRequest(
            base=tuple((str(path), base.contents.get(path, self.disk[path])) for path in contents),
            changes=tuple(change for change in changes if change),
            equal=not any(attempt.may_change(model) for attempt in attempts),
            draws=self._options.draws,
            seed=self._options.seed,
        )
        overlay = tuple((str(path), data) for path, data in contents.items())
        label = str(asked.target)
        return replace(
            job, label=label, models=(asked,), overlay=overlay, proof=request, conversion=self.conversion, list_files=True
        )  # fmt: skip


def _concerned(base: State, jobs: Sequence[Job], changed: frozenset[str]) -> Iterator[tuple[int, int]]:
    """Models that run code of changed files; those of which it is not known count where their own file is one."""
    for number, of_job in enumerate(base.outcomes):
        for position, outcome in enumerate(of_job):
            own = jobs[number].models[position].target.path
            files = outcome.files or (() if own is None else (str(own.resolve()),))
            if not changed.isdisjoint(files):
                yield number, position


def _model_failures(
    model: tuple[int, int], before: Outcome, after: Outcome, attempts: Sequence[Attempt], places: Places
) -> Iterator[Failure]:
    if before.problems:
        return  # it could not be looked at before; whatever it is now, the fixes are not to blame
    files = {*before.files, *after.files}
    suspects = frozenset(attempt for attempt in attempts if not files or not attempt.files.isdisjoint(files))
    target = after.summary.target
    if after.problems:
        compared = after.ended_in != "proving"
        said = f"{target} can no longer be checked" if compared else f"{target} could not be compared"
        yield Failure(f"{said}: {after.problems[0].message}", suspects, unprovable=not compared)
        return
    if before.summary.inputs is not None and after.summary.inputs is None:
        yield Failure(f"{target} no longer takes the inputs {before.summary.inputs}", suspects)
    if after.proof is None and not after.unchanged and not any(attempt.may_change(model) for attempt in attempts):
        yield Failure(f"{target} was not compared", suspects, unprovable=True)
    if after.proof is not None and not after.proof.equal:
        said = f"{target} would not be the same function" if after.proof.provable else f"{target} could not be compared"
        # That a model cannot be compared is nearly always its own doing, and trying many of its fixes one by one takes minutes.
        holders = frozenset(attempt for attempt in suspects if attempt.offer.holds(model))
        hopeless = not after.proof.provable and len(holders) > _APART
        reason = f"{said}: {after.proof.reason}"
        yield Failure(reason, holders if hopeless else suspects, certain=hopeless, unprovable=not after.proof.provable)
    yield from _finding_failures(model, before.findings, after.findings, attempts, places, suspects)


def _script_failures(before: Reading, after: Reading, attempts: Sequence[Attempt], places: Places) -> Iterator[Failure]:
    old_problems = {problem.message for result in before.results for problem in result.problems}
    for result in after.results:
        for problem in result.problems:
            if problem.message not in old_problems:
                path = os.path.realpath(result.path)
                suspects = frozenset(attempt for attempt in attempts if path in attempt.files) or frozenset(attempts)
                yield Failure(f"{result.path} can no longer be read: {problem.message}", suspects)
    old, new = before.findings(), after.findings()
    edited = {path for attempt in attempts for path in attempt.files}
    # What stands in other files and has not changed is the same without being looked for.
    same = {finding for finding in set(map(_key, old)) & set(map(_key, new)) if finding[0] not in edited}
    old, new = (tuple(finding for finding in findings if _key(finding) not in same) for findings in (old, new))
    yield from _finding_failures(SCRIPTS, old, new, attempts, places, frozenset(attempts))


def _key(finding: Finding) -> tuple[str, str, int | None, int | None, int | None, str]:
    return os.path.realpath(finding.path or ""), finding.rule, finding.cell, finding.line, finding.column, finding.message


def _finding_failures(
    model: tuple[int, int],
    before: Sequence[Finding],
    after: Sequence[Finding],
    attempts: Sequence[Attempt],
    places: Places,
    suspects: frozenset[Attempt],
) -> Iterator[Failure]:
    """Findings that should be gone, and those that were not there before."""
    owners = {
        id(sighting.finding): attempt for attempt in attempts for sighting in attempt.offer.sightings if sighting.model == model
    }
    converted = frozenset(_converted(model, attempts))
    for old, new in pairs(before, after, places):
        if new is None:
            continue
        if old is None:
            # Whoever asks for a conversion has it, whatever rules think of the norm that was asked for, unless it cannot work.
            if new.severity is not Severity.ERROR and not converted.isdisjoint(new.modules):
                continue
            place = f" at {Path(new.path).name}:{new.line}" if new.path is not None else ""
            yield Failure(f"it would bring {new.rule}{place}: {new.message}", suspects)
        elif (owner := owners.get(id(old))) is not None and _is_left(old, new):
            yield Failure(f"the finding would remain: {new.message}", frozenset({owner}), certain=True)


def _is_left(old: Finding, new: Finding) -> bool:
    """Whether what a fix should have mended is still there: a weaker form of it, at the layers that follow, is progress."""
    return new.severity.rank >= old.severity.rank


def _converted(model: tuple[int, int], attempts: Sequence[Attempt]) -> Iterator[str]:
    """Layers of a model that are converted because that was asked for."""
    for attempt in attempts:
        if attempt.choice.finding.rule == CONVERT:
            yield from (operation.part.module for operation in attempt.offer.operations(attempt.choice.fix, model))
