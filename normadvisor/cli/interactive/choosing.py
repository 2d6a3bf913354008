"""Lets the user choose among the fixes of targets, each tried as soon as it is wanted."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, TypeVar

from normadvisor.api.fixing import Candidate, Choice, Fixer, FixOptions, FixRun, RolledBack, Skipped, Trial
from normadvisor.cli.interactive.dialog import Dialog
from normadvisor.cli.interactive.keys import Keys, open_keys
from normadvisor.cli.interactive.screen import Screen, dialogue_stream
from normadvisor.cli.interactive.session import Checking, Finished, Item, Pick, Question, Verified
from normadvisor.cli.interactive.views import Painter
from normadvisor.cli.outcome import proof_words
from normadvisor.cli.printing import print_notes
from normadvisor.cli.progress import shown_progress
from normadvisor.types import Applicability, Edit, Finding

if TYPE_CHECKING:
    from normadvisor.api.check import Checked
    from normadvisor.api.fixing import Applied, Proven
    from normadvisor.api.progress import Progress, ProgressCallback
    from normadvisor.cli.printing import Printing
    from normadvisor.config import Settings
    from normadvisor.rewrite.keys import KeyMap

__all__ = ["chosen"]


def chosen(targets: Sequence[str], find_settings: Callable[[Path], Settings], options: FixOptions, printing: Printing) -> FixRun:
    """Ask about every finding that can be mended.

    Returns:
        What the user chose and what held. Nothing is written.

    Raises:
        KeyboardInterrupt: Ctrl-C.
        NormAdvisorError: the configuration, a rule or an option is wrong.

    """
    progress = _Relay()
    with Fixer(targets, find_settings, options, progress) as fixer:
        with shown_progress(quiet=printing.quiet) as progress.sink:
            before = fixer.check()
            candidates = fixer.candidates()
        print_notes(before, printing)
        screen = Screen(dialogue_stream(), printing.use_color)
        with open_keys() as keys:
            return _Choosing(fixer, before, screen, keys, progress).run(candidates)


class _Relay:
    """Hands progress on to whoever shows it at present."""

    def __init__(self) -> None:
        self.sink: ProgressCallback | None = None

    def __call__(self, step: Progress) -> None:
        if self.sink is not None:
            self.sink(step)


@dataclass(slots=True)
class _Round:
    """The questions between two states of the files."""

    candidates: Sequence[Candidate]
    items: list[Item]
    trials: dict[tuple[Pick, ...], Trial] = field(default_factory=dict)
    """What came of every set of picks that was tried."""
    failed: dict[int, RolledBack] = field(default_factory=dict)
    """The last fix of an item that was rolled back."""

    def choice(self, pick: Pick) -> Choice:
        """A pick as the fixer knows it."""
        item = self.items[pick.item]
        return Choice(item.finding, item.fixes[pick.fix])


class _Choosing:
    """Rounds of questions: fixes that change the same text as one that was chosen are asked about in the next."""

    def __init__(self, fixer: Fixer, before: Checked, screen: Screen, keys: Keys, progress: _Relay) -> None:
        self._fixer = fixer
        self._before = before
        self._screen = screen
        self._keys = keys
        self._progress = progress
        self._applied: list[Applied] = []
        self._rolled_back: list[RolledBack] = []
        self._proofs: dict[str, Proven] = {}
        self._key_maps: dict[str, KeyMap] = {}
        self._last: Trial | None = None
        self._rounds = 0

    def run(self, candidates: Sequence[Candidate]) -> FixRun:
        """Ask until nothing is left or the user has enough."""
        skipped = tuple(Skipped(candidate.finding, candidate.reason) for candidate in candidates if not candidate.fixes)
        settled: set[tuple[str, str]] = set()
        while True:
            current = _Round(candidates, [item_of(each) for each in candidates if each.fixes and _identity(each.finding) not in settled])
            finished = self._asked(current)
            self._rounds += 1
            if finished.ended or not finished.waiting or not finished.picks:
                break
            settled |= {_identity(item.finding) for number, item in enumerate(current.items) if number not in finished.waiting}
            candidates = self._fixer.candidates()
        last = self._last
        return FixRun(
            before=self._before, after=self._before if last is None else last.after, applied=tuple(self._applied),
            rolled_back=tuple(self._rolled_back), skipped=skipped, proofs=tuple(self._proofs.values()),
            changes=() if last is None else last.changes, key_maps=self._key_maps, rounds=self._rounds,
        )  # fmt: skip

    def _asked(self, current: _Round) -> Finished:
        rules, contents = self._before.rules, self._fixer.contents
        painter = Painter(options=self._screen.options, rules=rules, diff=lambda view: self._diff(current, view), contents=contents)
        dialog = Dialog(self._screen, self._keys, painter, lambda view, tell: self._tried(current, view, tell))
        finished = dialog.run(current.items)
        fixed = {pick.item for pick in finished.picks}
        self._rolled_back += [failed for item, failed in sorted(current.failed.items()) if item not in fixed]
        if finished.picks:
            self._keep(current.trials[tuple(sorted(finished.picks))])
        return finished

    def _keep(self, trial: Trial) -> None:
        self._fixer.keep(trial)
        self._last = trial
        self._applied += trial.held
        self._proofs |= {proof.model: proof for proof in trial.proofs}
        for target, key_map in trial.key_maps.items():
            earlier = self._key_maps.get(target)
            self._key_maps[target] = key_map if earlier is None else earlier.then(key_map)

    def _tried(self, current: _Round, view: Checking, tell: Callable[[str], None]) -> Verified:
        """Try what is wanted together with what holds already."""
        picks = [*view.held, *view.new]
        choices = {pick: current.choice(pick) for pick in picks}
        self._progress.sink = lambda step: tell(f"{step.phase} {step.target}".strip())
        trial = self._fixer.try_choices(list(choices.values()))
        applied = {pick: done for pick in picks if (done := _of(choices[pick], trial.held)) is not None}
        failed = {pick: undone for pick in picks if (undone := _of(choices[pick], trial.rolled_back)) is not None}
        held = tuple(applied)
        current.trials[tuple(sorted(held))] = trial
        current.failed |= {pick.item: undone for pick, undone in failed.items()}
        return Verified(
            held=held,
            failed=tuple((pick, undone.reason) for pick, undone in failed.items()),
            gone=self._gone(current, trial, held),
            waiting=frozenset(pick.item for pick in picks if choices[pick] in trial.waiting),
            proof=_shown([done for pick, done in applied.items() if pick in view.new]),
        )

    @staticmethod
    def _gone(current: _Round, trial: Trial, held: Sequence[Pick]) -> frozenset[int]:
        left = {_identity(finding) for finding in trial.after.report.active}
        own = {pick.item for pick in held}
        return frozenset(
            number for number, item in enumerate(current.items) if number not in own and held and _identity(item.finding) not in left
        )

    def _diff(self, current: _Round, view: Question) -> str:
        """What a fix changes in the files as those leave them that hold already."""
        from normadvisor.errors import NormAdvisorError, RewriteError

        fix = view.item.fixes[view.fix]
        held = [edit for pick in view.picks for edit in current.choice(pick).fix.edits]
        try:
            with suppress(RewriteError):  # it changes the same text as one that holds
                return self._diff_between(held, [*held, *fix.edits])
            return self._diff_between([], fix.edits)
        except NormAdvisorError as error:  # the file changed since it was checked
            return f"there is no diff: {error}"

    def _diff_between(self, before: Sequence[Edit], after: Sequence[Edit]) -> str:
        from normadvisor.files.source import read_bytes
        from normadvisor.rewrite.text.changes import changed_files, diff

        contents: Mapping[Path, bytes] = self._fixer.contents

        def now(path: Path) -> bytes:
            return contents[path] if path in contents else read_bytes(path)

        earlier = {change.path: change.after for change in changed_files(before, now)}
        changes = [replace(change, before=earlier.get(change.path, change.before)) for change in changed_files(after, now)]
        return "".join(diff(change, root=Path.cwd(), color=True) for change in changes)


def item_of(candidate: Candidate) -> Item:
    """What is asked about: fixes that can be applied first, unless the rule prefers one in words."""
    preferred = [fix for fix in candidate.others if fix.applicability is Applicability.DISPLAY and fix == candidate.finding.fix]
    default = [fix for fix in candidate.fixes if fix is candidate.default]
    rest = [fix for fix in (*candidate.fixes, *candidate.others) if fix not in preferred and fix not in default]
    return Item(finding=candidate.finding, fixes=(*preferred, *default, *rest))


def _identity(finding: Finding) -> tuple[str, str]:
    return finding.rule, finding.fingerprint or f"{finding.path}:{finding.line}:{finding.column}:{finding.message}"


_Result = TypeVar("_Result", "Applied", "RolledBack")


def _of(choice: Choice, results: Sequence[_Result]) -> _Result | None:
    return next((result for result in results if result.finding == choice.finding and result.fix == choice.fix), None)


def _shown(applied: Sequence[Applied]) -> str:
    """What was shown of fixes that hold."""
    if applied and all(item.fix.applicability is Applicability.SAFE for item in applied):
        return proof_words([proof for item in applied for proof in item.proofs])
    return "the finding is gone, and no other came" if len(applied) == 1 else ""
