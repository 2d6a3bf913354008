"""What came of models before: trials in a long session are mostly about the same fixes as those before."""

from __future__ import annotations

from collections import deque
from collections.abc import Collection, Mapping
from dataclasses import dataclass, field
from typing import TypeAlias

from normadvisor.api.job import Job
from normadvisor.api.outcome import Outcome

__all__ = ["Memory"]

_MOST = 64
"""Outcomes that are kept for each model."""

_Contents: TypeAlias = Mapping[str, tuple[bytes | None, bytes]]
"""Contents of files before edits and after them, by path."""


@dataclass(frozen=True, slots=True)
class _Entry:
    asked: str
    files: frozenset[str] | None
    """Files of the model before and after; ``None`` where they are not known."""
    contents: _Contents
    """Of those among its files that were edited, or of all."""
    outcome: Outcome


@dataclass(slots=True)
class Memory:
    """Outcomes of models that were compared, by what was asked and by the contents of the files that they run.

    Edits of files that a model does not run are no reason to compare it again.
    """

    _entries: dict[tuple[int, int], deque[_Entry]] = field(init=False, default_factory=dict)

    def outcome(self, model: tuple[int, int], job: Job) -> Outcome | None:
        """What came of the model when it was compared in the same way, with the same contents of its files."""
        asked, contents = _asked(job), _contents(job)
        for entry in self._entries.get(model, ()):
            if entry.asked == asked and entry.contents == _own(contents, entry.files):
                return entry.outcome
        return None

    def keep(self, model: tuple[int, int], job: Job, before: Outcome, after: Outcome) -> None:
        """Note what came of a model; not what ended it, which may have been the moment."""
        if after.problems:
            return
        files = frozenset((*before.files, *after.files)) if before.files and after.files else None
        entry = _Entry(_asked(job), files, _own(_contents(job), files), after)
        self._entries.setdefault(model, deque(maxlen=_MOST)).append(entry)


def _asked(job: Job) -> str:
    request = job.proof
    return "" if request is None else repr((request.changes, request.equal, request.draws, request.seed))


def _contents(job: Job) -> _Contents:
    before = {} if job.proof is None else dict(job.proof.base)
    return {path: (before.get(path), data) for path, data in job.overlay}


def _own(contents: _Contents, files: Collection[str] | None) -> _Contents:
    return {path: held for path, held in contents.items() if files is None or path in files}
