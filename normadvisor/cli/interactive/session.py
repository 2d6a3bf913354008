"""What is asked and what follows from each answer, without a terminal: events go in, views come out."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field, replace
from typing import TypeAlias

from normadvisor.types import Applicability, Finding, Fix

__all__ = [
    "Answer",
    "Checking",
    "Event",
    "Explained",
    "Explanation",
    "Finished",
    "Item",
    "Menu",
    "Pick",
    "Pressed",
    "Question",
    "Session",
    "Verified",
    "View",
]


@dataclass(frozen=True, slots=True, kw_only=True)
class Item:
    """A finding and every way to mend it, the one that its rule prefers first."""

    finding: Finding
    fixes: tuple[Fix, ...]


@dataclass(frozen=True, slots=True, order=True)
class Pick:
    """A fix that was asked for: the positions of its finding, and of the fix among those of the finding."""

    item: int
    fix: int


@dataclass(frozen=True, slots=True)
class Pressed:
    """A key, or the first character of a line. Empty where the input has ended."""

    key: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Verified:
    """What came of trying the picks of a :class:`Checking` together with those that hold already."""

    held: tuple[Pick, ...]
    """All that hold now, earlier ones included."""
    failed: tuple[tuple[Pick, str], ...] = ()
    """Those that were rolled back, each with the reason."""
    gone: frozenset[int] = frozenset()
    """Items whose finding went away with what holds now, though no fix of their own was picked."""
    waiting: frozenset[int] = frozenset()
    """Items whose fix changes the same text as one that holds, so that it was not tried."""
    proof: str = ""
    """What was shown of those that hold."""


@dataclass(frozen=True, slots=True)
class Explained:
    """The explanation of the rule has been read."""


Event: TypeAlias = Pressed | Verified | Explained


@dataclass(frozen=True, slots=True)
class Answer:
    """A key and its words: ``y`` and ``yes``, shown as ``[y]es``."""

    key: str
    words: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Question:
    """Ask what to do about one finding."""

    number: int
    """1-based, among all findings that are asked about."""
    total: int
    item: Item
    fix: int
    """Which of its fixes is shown."""
    answers: tuple[Answer, ...]
    picks: tuple[Pick, ...] = ()
    """What holds already."""
    notices: tuple[str, ...] = ()
    """What happened since the last view."""
    again: bool = False
    """Whether the same question stands above already, so that its prompt is enough."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Menu:
    """Ask which of the fixes of one finding to take."""

    item: Item
    fix: int
    """The one that is shown at present."""
    failed: tuple[tuple[int, str], ...] = ()
    """Those that were rolled back, each with the reason."""
    notices: tuple[str, ...] = ()
    again: bool = False
    """As in :class:`Question`."""


@dataclass(frozen=True, slots=True)
class Explanation:
    """Show the page of a rule; answered by :class:`Explained`."""

    rule: str


@dataclass(frozen=True, slots=True)
class Checking:
    """Try these together; answered by :class:`Verified`."""

    held: tuple[Pick, ...]
    """They held before."""
    new: tuple[Pick, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Finished:
    """Everything was asked, or the user had enough."""

    picks: tuple[Pick, ...]
    notices: tuple[str, ...] = ()
    waiting: frozenset[int] = frozenset()
    """Items to ask about again once what was picked is in place."""
    declined: frozenset[int] = frozenset()
    """Items that are to stay as they are."""
    left: int = 0
    """Findings that were not asked about any more, because the user had enough."""
    ended: bool = False
    """Whether the user had enough."""


View: TypeAlias = Question | Menu | Explanation | Checking | Finished

YES, NO, ALL, SKIP, CHOOSE, EXPLAIN, UNDO, QUIT = "ynasceuq"
_BACK = frozenset({"b", "q", "c", "\x1b", "\r", "\n"})
"""Keys that leave the menu."""


@dataclass(frozen=True, slots=True, kw_only=True)
class _State:
    """Everything an undo brings back."""

    position: int
    fix: int = 0
    picks: tuple[Pick, ...] = ()
    declined: frozenset[int] = frozenset()
    gone: frozenset[int] = frozenset()
    waiting: frozenset[int] = frozenset()
    failed: dict[Pick, str] = field(default_factory=dict)


class Session:
    """One round of questions about findings.

    Begin with :attr:`view`, show it, and give what came of it to :meth:`handle`, which says what to show next, until that is
    :class:`Finished`. Nothing is read, printed or written here.

    Args:
        items: the findings in the order in which they are asked. Those none of whose fixes has edits are passed over.

    """

    def __init__(self, items: Iterable[Item]) -> None:
        self._items = tuple(items)
        self._history: list[_State] = []
        self._state = self._moved(_State(position=-1))
        self.view: View = self._question() if self._state.position < len(self._items) else Finished(picks=())

    def handle(self, event: Event) -> View:
        """The next view.

        Raises:
            ValueError: the event does not answer the view.

        """
        match self.view, event:
            case Question(), Pressed(key):
                self.view = self._answered(key)
            case Menu(), Pressed(key):
                self.view = self._chosen(key)
            case Explanation(), Explained():
                self.view = self._question()
            case Checking(), Verified():
                self.view = self._verified(self.view, event)
            case _:
                raise ValueError(event)
        return self.view

    def _answered(self, key: str) -> View:
        if not key:
            return self._finished()
        key = key.lower()
        if key not in {answer.key for answer in self._answers()}:
            return replace(self._question("press one of " + " ".join(answer.key for answer in self._answers())), again=True)
        state, item = self._state, self._item
        match key:
            case "y":
                return self._try([Pick(state.position, state.fix)])
            case "a":
                return self._try([Pick(state.position, state.fix), *self._alike()])
            case "n":
                return self._decline({state.position})
            case "s":
                rest = self._same_rule()
                notice = f"skipped {_counted(len(rest) + 1, 'finding')} of {item.finding.rule}"
                return self._decline({state.position, *rest}, notice)
            case "c":
                return self._menu()
            case "e":
                return Explanation(item.finding.rule)
            case "u":
                self._state = self._history.pop()
                return self._question("took the last answer back")
            case _:
                return self._finished()

    @property
    def _item(self) -> Item:
        return self._items[self._state.position]

    def _answers(self) -> Iterator[Answer]:
        """What may be answered now: only what would do something."""
        rule, fix = self._item.finding.rule, self._item.fixes[self._state.fix]
        if fix.edits:
            yield Answer(YES, "yes")
        yield Answer(NO, "no")
        if fix.edits and self._alike():
            yield Answer(ALL, f"all of {rule}")
        if self._same_rule():
            yield Answer(SKIP, f"skip {rule}")
        if len(self._item.fixes) > 1:
            yield Answer(CHOOSE, "choose another fix")
        yield Answer(EXPLAIN, "explain")
        if self._history:
            yield Answer(UNDO, "undo")
        yield Answer(QUIT, "quit")

    def _question(self, *notices: str) -> Question:
        asked = [index for index in range(len(self._items)) if _is_asked(self._items[index])]
        return Question(
            number=asked.index(self._state.position) + 1, total=len(asked), item=self._item, fix=self._state.fix,
            answers=tuple(self._answers()), picks=self._state.picks, notices=notices,
        )  # fmt: skip

    def _open(self, state: _State) -> set[int]:
        """Findings that nothing was decided about, and that a fix is left for."""
        closed = {pick.item for pick in state.picks} | state.declined | state.gone | state.waiting
        return {index for index in range(len(self._items)) if index not in closed and self._usable(index, state) is not None}

    def _usable(self, index: int, state: _State) -> int | None:
        """The fix to show first: the preferred one in words where nothing else was tried, else the first that was not rolled back."""
        fixes = self._items[index].fixes
        left = [number for number, fix in enumerate(fixes) if fix.edits and Pick(index, number) not in state.failed]
        if not left:
            return None
        tried = any(pick.item == index for pick in state.failed)
        preferred_in_words = fixes[0].applicability is Applicability.DISPLAY
        return 0 if preferred_in_words and not tried else left[0]

    def _moved(self, state: _State) -> _State:
        """At the next open finding; behind the last one where there is none."""
        position = min((index for index in self._open(state) if index > state.position), default=len(self._items))
        return replace(state, position=position, fix=(self._usable(position, state) or 0) if position < len(self._items) else 0)

    def _same_rule(self) -> list[int]:
        """Open findings of the same rule that come later."""
        rule, position = self._item.finding.rule, self._state.position
        return [index for index in sorted(self._open(self._state)) if index > position and self._items[index].finding.rule == rule]

    def _alike(self) -> list[Pick]:
        """The same fix for the later findings of the rule."""
        shown = self._item.fixes[self._state.fix]
        return [Pick(index, number) for index in self._same_rule() if (number := self._alike_in(index, shown)) is not None]

    def _alike_in(self, index: int, shown: Fix) -> int | None:
        for number, fix in enumerate(self._items[index].fixes):
            same = fix.title == shown.title if shown.title else number == self._state.fix
            if same and fix.edits and fix.applicability is shown.applicability and Pick(index, number) not in self._state.failed:
                return number
        return None

    def _decline(self, items: set[int], *notices: str) -> View:
        self._history.append(self._state)
        return self._advance(replace(self._state, declined=self._state.declined | items), *notices)

    def _advance(self, state: _State, *notices: str) -> View:
        self._state = self._moved(state)
        if self._state.position == len(self._items):
            return replace(self._finished(), notices=notices, ended=False)
        return self._question(*notices)

    def _finished(self) -> Finished:
        state = self._state
        return Finished(picks=state.picks, waiting=state.waiting, declined=state.declined, left=len(self._open(state)), ended=True)

    def _try(self, picks: list[Pick]) -> Checking:
        return Checking(held=self._state.picks, new=tuple(picks))

    def _verified(self, view: Checking, event: Verified) -> View:
        """Keep what holds; where the finding at hand still has another fix ask about it again, else go on."""
        before = self._state
        failed = {**before.failed, **dict(event.failed)}
        waiting = before.waiting | event.waiting
        state = replace(before, picks=event.held, failed=failed, gone=before.gone | event.gone, waiting=waiting)
        notices = [self._rolled_back(pick, reason, view) for pick, reason in event.failed]
        if event.waiting:
            one = len(event.waiting) == 1
            who = "it changes" if one else f"{len(event.waiting)} fixes change"
            notices.append(f"{who} the same text as a fix that holds: {'this is' if one else 'these are'} asked again afterwards")
        new = [pick for pick in view.new if pick in event.held]
        if new or event.waiting:
            self._history.append(before)
        if new:
            notices.insert(0, self._fixed(len(new), event.proof, len(event.gone - before.gone)))
        if state.position in self._open(state):
            self._state = replace(state, fix=self._usable(state.position, state) or 0)
            return self._question(*notices, "another fix of the same finding:")
        return self._advance(state, *notices)

    @staticmethod
    def _fixed(number: int, shown: str, gone: int) -> str:
        proof = f": {shown}" if shown else ""
        more = f"; {_counted(gone, 'more finding')} went away with {'it' if number == 1 else 'them'}" if gone else ""
        return ("fixed" if number == 1 else f"fixed {number} findings") + proof + more

    def _rolled_back(self, pick: Pick, reason: str, view: Checking) -> str:
        finding = self._items[pick.item].finding
        where = "" if view.new == (pick,) else f" {finding.path}:{finding.line} {finding.rule}"
        return f"rolled back{where}: {reason}"

    def _menu(self, *notices: str) -> Menu:
        position = self._state.position
        failed = tuple((pick.fix, reason) for pick, reason in sorted(self._state.failed.items()) if pick.item == position)
        return Menu(item=self._item, fix=self._state.fix, failed=failed, notices=notices, again=bool(notices))

    def _chosen(self, key: str) -> View:
        if not key:
            return self._finished()
        if key.lower() in _BACK:
            return self._question()
        fixes = self._item.fixes
        if not (key.isascii() and key.isdigit() and 1 <= int(key) <= len(fixes)):
            return self._menu(f"press 1 to {len(fixes)}, or b to go back")
        number = int(key) - 1
        if reason := self._state.failed.get(Pick(self._state.position, number)):
            return self._menu(f"{key} was rolled back: {reason}")
        if not fixes[number].edits:
            return self._menu(f"{key} cannot be applied: {fixes[number].refused or 'it is in words only'}")
        self._state = replace(self._state, fix=number)
        return self._question()


def _is_asked(item: Item) -> bool:
    return any(fix.edits for fix in item.fixes)


def _counted(number: int, noun: str) -> str:
    return f"{number} {noun}" if number == 1 else f"{number} {noun}s"
