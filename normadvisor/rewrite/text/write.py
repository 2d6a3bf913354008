"""Write changes to the disk: each file is replaced whole, and only if it still holds what it held when it was read."""

from __future__ import annotations

import errno
import os
import stat
from collections.abc import Collection, Iterable, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path

from normadvisor.files.replace import Replacement, replace_file, replacing, sweep
from normadvisor.rewrite.text.changes import FileChange

__all__ = ["Written", "write"]


@dataclass(frozen=True, slots=True)
class Written:
    """What came of writing."""

    written: tuple[Path, ...] = ()
    """Files that hold their new contents."""
    failed: tuple[tuple[Path, str], ...] = ()
    """Files that were not written, each with the reason: ``is read-only``."""
    notes: tuple[tuple[Path, str], ...] = ()
    """What could not be kept of files that were written, such as a hard link."""


def write(changes: Iterable[FileChange], *, together: Iterable[Collection[Path]] = ()) -> Written:
    """Replace files by what edits made of them.

    A process that is killed, a full disk, a folder without write permission, an editor that saved the file meanwhile: each file is the
    old one or the new one, complete. Runs that write the same files at the same time wait for one another, and the later one finds them
    changed. What a killed run left in the folders is removed.

    Args:
        changes: files, each once; one that does not change is not touched.
        together: sets of files of which none is to be written if one cannot be, such as those of one fix; sets with a file in common are
            one set.

    """
    wanted: dict[Path, FileChange] = {}
    failed: dict[Path, str] = {}
    for change in changes:
        path = change.path.resolve()
        if path in wanted:
            raise ValueError(f"{path} is to be written twice")
        wanted[path] = change
    wanted = {path: change for path, change in sorted(wanted.items()) if change.before != change.after}
    for folder in {path.parent for path in wanted}:
        sweep(folder)
    notes: list[tuple[Path, str]] = []
    for group in _groups(wanted, together):
        own = [wanted[path] for path in group]
        reasons, said = _write_group(own)
        failed.update(reasons)
        notes += said
    every = wanted.values()
    return Written(
        tuple(change.path for change in every if change.path not in failed),
        tuple((change.path, failed[change.path]) for change in every if change.path in failed),
        tuple(notes),
    )


def _groups(paths: Collection[Path], together: Iterable[Collection[Path]]) -> list[list[Path]]:
    """Files that go together, sorted, so that two runs lock them in one order."""
    group_of: dict[Path, set[Path]] = {path: {path} for path in paths}
    for named in together:
        members = {path.resolve() for path in named} & group_of.keys()
        union: set[Path] = set().union(*(group_of[path] for path in members))
        for path in union:
            group_of[path] = union
    return sorted(sorted(group) for group in {id(group): group for group in group_of.values()}.values())


def _write_group(changes: Sequence[FileChange]) -> tuple[dict[Path, str], list[tuple[Path, str]]]:
    """Write files of which none is to be written if one cannot be; returns reasons of failure and notes."""
    reasons: dict[Path, str] = {}
    done: list[tuple[FileChange, Replacement]] = []
    with ExitStack() as stack:
        ready: list[tuple[FileChange, Replacement]] = []
        for change in changes:
            try:
                _check_kind(change.path)
                ready.append((change, stack.enter_context(replacing(change.path, change.after, change.before))))
            except (OSError, RuntimeError) as error:
                reasons[change.path] = _reason(error)
        for change, replacement in [] if reasons else ready:
            try:
                replacement.commit()
            except OSError as error:
                reasons[change.path] = _reason(error)
                break
            done.append((change, replacement))
    if not reasons:
        return {}, [(change.path, note) for change, replacement in done for note in replacement.notes]
    for change, _ in done:
        try:
            replace_file(change.path, change.before, change.after)
        except OSError as error:
            reasons[change.path] = f"was written though others were not, and could not be put back: it {_reason(error)}"
    first = next(iter(reasons))
    for change in changes:
        reasons.setdefault(change.path, f"was left as it is, since {first} goes with it and could not be written")
    return reasons, []


def _check_kind(path: Path) -> None:
    """See to it that a path is a file that its owner lets be written; renaming would not ask for that."""
    mode = path.stat().st_mode
    if not stat.S_ISREG(mode):
        raise OSError(errno.EINVAL, "is no regular file")
    if not mode & (stat.S_IWUSR | stat.S_IWGRP | stat.S_IWOTH) or not os.access(path, os.W_OK):
        raise OSError(errno.EACCES, "is read-only")
    if not os.access(path.resolve().parent, os.W_OK | os.X_OK):
        raise OSError(errno.EACCES, "stands in a folder that is read-only")


def _reason(error: OSError | RuntimeError) -> str:
    """Words that follow the name of the file."""
    if isinstance(error, FileNotFoundError):
        return "is gone"
    words = (error.strerror if isinstance(error, OSError) else None) or str(error)
    own = words.startswith(("is ", "has ", "stands "))
    return words if own else f"cannot be written: {words}"
