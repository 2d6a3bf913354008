"""Signs of life: each rank tells the others through the store that it lives, where it stands, and what went wrong."""

from __future__ import annotations

import json
import os
import sys
import threading
import time
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from normadvisor.errors import RankError

if TYPE_CHECKING:
    from types import FrameType

    from torch._C._distributed_c10d import Store

__all__ = ["BEAT", "SILENT", "Lookout", "Trouble", "note_trouble"]

BEAT = 0.5
"""Seconds between two signs of life."""
SILENT = 15.0
"""Seconds without one after which a rank counts as gone: a machine that swaps, or code that holds Python's lock, delays them."""
_MOST = 2000
"""Characters of a message that are handed on."""
_TROUBLE = "trouble"
_OURS = (str(Path(__file__).parents[2]), str(Path(threading.__file__).parent))


@dataclass(frozen=True, slots=True)
class Trouble:
    """What went wrong first."""

    rank: int
    """Whose fault it is, as far as anybody can tell."""
    text: str
    """In words that name the rank."""
    fatal: bool = False
    """Whether the rank will not come to the next meeting either."""

    def error(self) -> RankError:
        """The error that every rank ends with."""
        return RankError(self.text)


def note_trouble(store: Store, trouble: Trouble) -> Trouble:
    """Tell all ranks what went wrong, unless something went wrong before.

    Args:
        store: of this meeting; for what is fatal, of all meetings.
        trouble: what went wrong.

    Returns:
        What went wrong first.

    Raises:
        RuntimeError: the store is gone.

    """
    text = json.dumps({"rank": trouble.rank, "text": trouble.text[:_MOST], "fatal": trouble.fatal})
    return _read(store.compare_set(_TROUBLE, "", text)) or trouble


def _read(data: bytes | str) -> Trouble | None:
    try:
        found = json.loads(data)
        return Trouble(int(found["rank"]), str(found["text"]), fatal=bool(found["fatal"]))
    except (ValueError, KeyError, TypeError):  # somebody else wrote into the store
        return None


class Lookout:
    """A thread that says "I live" for this rank, and hears what others say.

    Args:
        store: of this meeting, and for this lookout alone: a blocking call of somebody else would delay it.
        rank: of this process.
        world_size: number of ranks.
        lasting: store of all meetings; the same as ``store`` where there is but one.
        served: whether rank 0 serves the store, so that both end together.
        on_trouble: called once in that thread when a rank has failed; a process that cannot be interrupted otherwise may end itself.

    """

    def __init__(
        self, store: Store, rank: int, world_size: int, *, lasting: Store | None = None, served: bool = False,
        on_trouble: Callable[[Trouble], None] | None = None,
    ) -> None:  # fmt: skip
        self._store = store
        self._lasting = lasting or store
        self._lock = threading.Lock()
        self.rank = rank
        self.world_size = world_size
        self.trouble: Trouble | None = None
        self._served = served
        self._on_trouble = on_trouble
        self._turn = 0
        self.meetings = 0
        """How often this rank has come to where all ranks exchange something."""
        self.waits = False
        """Whether this rank can do nothing but wait for others."""
        self._where = "the beginning"
        self._beats = 0
        self._seen: dict[int, tuple[int, float]] = {}
        self._lost = 0
        self._stopped = threading.Event()
        self._main = threading.get_ident()
        self._thread = threading.Thread(target=self._watch, name="normadvisor-lookout", daemon=True)

    def start(self) -> None:
        """Say so for the first time, and go on in the background."""
        self._beat()
        self._thread.start()

    def stop(self) -> None:
        """Fall silent."""
        self._stopped.set()
        if self._thread.is_alive() and self._thread is not threading.current_thread():
            self._thread.join(timeout=SILENT)

    def at(self, where: str) -> None:
        """Note where this rank stands."""
        self._turn, self._where = self._turn + 1, where

    @property
    def where(self) -> str:
        """Where this rank stands."""
        return self._where

    def tell(self, text: str, *, rank: int | None = None, fatal: bool = False) -> Trouble:
        """Tell the others what went wrong; returns what went wrong first."""
        trouble = Trouble(self.rank if rank is None else rank, text, fatal=fatal)
        try:
            with self._lock:
                if fatal:
                    trouble = note_trouble(self._lasting, trouble)
                trouble = note_trouble(self._store, trouble)
        except RuntimeError:
            pass  # without the store nobody can be told, but they will notice that
        self.trouble = self.trouble or trouble
        return self.trouble

    def is_common(self, text: str, seconds: float) -> bool:
        """Whether all ranks call this, with the same text, within some seconds."""
        keys = [f"problem/{rank}" for rank in range(self.world_size)]
        deadline = time.monotonic() + seconds
        try:
            with self._lock:
                self._store.set(keys[self.rank], text)
            while time.monotonic() < deadline:
                with self._lock:
                    if self._store.check(keys):
                        return {str(each, "utf-8") for each in self._store.multi_get(keys)} == {text}
                time.sleep(BEAT / 10)
        except RuntimeError:  # the store is gone
            pass
        return False

    def heard(self) -> Trouble | None:
        """What went wrong on any rank, asking the store now."""
        if self.trouble is None:
            with suppress(RuntimeError), self._lock:
                for store in (self._lasting, self._store):
                    if self.trouble is None and store.check([_TROUBLE]):
                        self.trouble = _read(store.get(_TROUBLE))
        return self.trouble

    def standing(self) -> dict[int, dict[str, Any]]:
        """What every rank said last; without those that never said anything.

        ``beats`` and ``turn`` count signs of life and places told, ``meetings`` and ``waits`` are as the attributes, ``where`` is the last
        place told, and ``frame`` the line of code that the main thread is at.

        Raises:
            RuntimeError: the store is gone.

        """
        with self._lock:
            known = [rank for rank in range(self.world_size) if self._store.check([f"alive/{rank}"])]
            said = self._store.multi_get([f"alive/{rank}" for rank in known]) if known else []
        return {rank: json.loads(text) for rank, text in zip(known, said, strict=True)}

    def unreachable(self) -> Trouble:
        """What it means that the store does not answer."""
        who = "rank 0 is gone, and with it the place where the ranks meet" if self._served else "the place where the ranks meet is gone"
        return Trouble(0, f"{who}; others are at {self._where}", fatal=True)

    def silent(self) -> dict[int, float]:
        """Ranks that were heard before, and for how many seconds they have said nothing; those below :data:`SILENT` are left out."""
        now = time.monotonic()
        try:
            standing = self.standing()
        except RuntimeError:
            return {}
        for rank, said in standing.items():
            if self._seen.get(rank, (-1, now))[0] != said["beats"]:
                self._seen[rank] = (said["beats"], now)
        return {rank: now - since for rank, (_, since) in self._seen.items() if now - since > SILENT and rank != self.rank}

    def _watch(self) -> None:
        while not self._stopped.wait(BEAT):
            try:
                self._beat()
                self._lost = 0
            except RuntimeError:
                self._lost += 1
                if self._lost * BEAT > SILENT:
                    self.trouble = self.trouble or self.unreachable()
            found = self.heard()
            if found is not None:
                if self._on_trouble is not None:
                    self._on_trouble(found)
                return

    def _beat(self) -> None:
        self._beats += 1
        frame = sys._current_frames().get(self._main)  # noqa: SLF001 - documented, for telling where a thread hangs
        said = {
            "beats": self._beats, "turn": self._turn, "meetings": self.meetings, "waits": self.waits, "where": self._where,
            "frame": _frame(frame),
        }  # fmt: skip
        with self._lock:
            self._store.set(f"alive/{self.rank}", json.dumps(said))


def _frame(frame: FrameType | None) -> str | None:
    """The innermost line of code that is neither ours nor torch's nor Python's own, as ``file:line in function``."""
    while frame is not None:
        path = frame.f_code.co_filename
        if not path.startswith((*_OURS, "<")) and f"{os.sep}torch{os.sep}" not in path:
            return f"{os.path.basename(path)}:{frame.f_lineno} in {frame.f_code.co_name}"  # noqa: PTH119 - any text may be a file name
        frame = frame.f_back
    return None
