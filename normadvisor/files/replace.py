"""Files replaced in one step: whoever reads one finds the old contents or the new, whatever happens on the way."""

from __future__ import annotations

import errno
import os
import secrets
import stat
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

if sys.platform != "win32":
    import fcntl

__all__ = ["FileChangedError", "Replacement", "replace_file", "replacing", "sweep"]

_PREFIX, _SUFFIX = ".normadvisor-", ".tmp"
_PATIENCE = 10.0
"""Seconds to wait for another process that is replacing the same file; writing one takes far less."""
_ABANDONED = 86_400.0
"""Seconds after which a file left beside is taken for abandoned where the file system has no locks."""


class FileChangedError(OSError):
    """A file does not hold what it is expected to hold."""


class Replacement:
    """New contents that lie beside a file, complete and on the disk, and wait for :meth:`commit`. Made by :func:`replacing`.

    Attributes:
        target: the file, links followed.
        notes: what could not be kept, in words that follow the file's name.

    """

    def __init__(self, target: Path, expected: bytes | None) -> None:
        self.target = target
        self.notes: list[str] = []
        self._expected = expected
        self._lock: int | None = None
        self._beside: Path | None = None
        self._descriptor: int | None = None

    def prepare(self, data: bytes) -> None:
        """Write the new contents beside the file, with its owner, mode and extended attributes where that is allowed."""
        if self._expected is not None:
            self._lock = _locked(self.target)
            self.check()
        old = self.target.stat() if self.target.exists() else None
        # Contents of a private file are at no time open to others; a new file follows the umask.
        self._descriptor, self._beside = _create(self.target.parent, 0o666 if old is None else 0o600)
        left = memoryview(data)
        while left:
            left = left[os.write(self._descriptor, left) :]
        if old is not None:
            self._keep(old, self._descriptor)
        os.fsync(self._descriptor)

    def check(self) -> None:
        """See whether the file still holds what is expected.

        Raises:
            FileChangedError: it does not.
            OSError: it cannot be read.

        """
        if self._expected is None:
            return
        with self.target.open("rb") as file:
            data = file.read(len(self._expected) + 1)
            same = self._lock is None or os.path.sameopenfile(file.fileno(), self._lock)
        if data != self._expected or not same:
            raise FileChangedError(errno.EBUSY, "has changed since it was read")

    def commit(self) -> None:
        """Put the new contents in place.

        Raises:
            FileChangedError: the file does not hold what is expected; nothing happened.
            OSError: the folder does not allow it; nothing happened.

        """
        self.check()
        if self._beside is None:
            raise ValueError(self.target)
        self._beside.replace(self.target)
        self._beside = None
        _flush_folder(self.target.parent)

    def discard(self) -> None:
        """Remove what lies beside, unless it is in place by now."""
        if self._beside is not None:
            with suppress(OSError):
                self._beside.unlink()
            self._beside = None
        for descriptor in (self._descriptor, self._lock):
            if descriptor is not None:
                os.close(descriptor)
        self._descriptor = self._lock = None

    def _keep(self, old: os.stat_result, descriptor: int) -> None:
        mode = stat.S_IMODE(old.st_mode)
        own = os.fstat(descriptor)
        if (own.st_uid, own.st_gid) != (old.st_uid, old.st_gid) and not _chown(descriptor, old):
            mode &= ~(stat.S_ISUID | stat.S_ISGID)  # these rights were given to another owner
            self.notes.append("has another owner now, since only its owner may give it away")
        if not _copy_attributes(self.target, descriptor):
            self.notes.append("has lost extended attributes, which could not be copied")
        os.fchmod(descriptor, mode)
        if old.st_nlink > 1:
            self.notes.append(f"had {old.st_nlink} names (hard links): the others keep the old contents")


def _chown(descriptor: int, old: os.stat_result) -> bool:
    try:
        os.fchown(descriptor, old.st_uid, old.st_gid)
    except OSError:
        with suppress(OSError):
            os.fchown(descriptor, -1, old.st_gid)  # a group of ours may be given
        return os.fstat(descriptor).st_uid == old.st_uid and os.fstat(descriptor).st_gid == old.st_gid
    return True


def _copy_attributes(target: Path, descriptor: int) -> bool:
    """Copy extended attributes, access control lists among them; ``False`` if one is lost."""
    if sys.platform != "linux":
        return True
    try:
        names = os.listxattr(target)
    except OSError:
        return True  # the file system has none
    lost = False
    for name in names:
        try:
            os.setxattr(descriptor, name, os.getxattr(target, name))
        except OSError:
            lost = lost or not name.startswith("security.")  # labels are set by the system itself
    return not lost


@contextmanager
def replacing(path: Path, data: bytes, expected: bytes | None = None) -> Iterator[Replacement]:
    """New contents for a file, written beside it; they are dropped on the way out unless they were committed.

    Args:
        path: the file; a link stays a link, and the file it leads to is replaced.
        data: the new contents.
        expected: what it must hold for that. Other processes that replace it in this way meanwhile wait. ``None`` for a file of which
            the old contents do not matter, and which need not exist.

    Raises:
        FileChangedError: the file holds something else.
        OSError: the folder or the file cannot be read or written, the disk is full; what was there before is untouched.

    """
    replacement = Replacement(path.resolve(), expected)
    try:
        replacement.prepare(data)
        yield replacement
    finally:
        replacement.discard()


def replace_file(path: Path, data: bytes, expected: bytes | None = None) -> list[str]:
    """Write ``data`` beside ``path`` and put it in its place in one step; a link stays a link, permissions stay as they are.

    Args:
        path: the file.
        data: the new contents.
        expected: see :func:`replacing`.

    Returns:
        What could not be kept.

    Raises:
        FileChangedError: the file does not hold ``expected``.
        OSError: the folder or the file cannot be written; what was there before is untouched.

    """
    with replacing(path, data, expected) as replacement:
        replacement.commit()
        return replacement.notes


def sweep(folder: Path) -> list[Path]:
    """Remove what processes that were killed while they replaced a file left in a folder; what others are writing now stays.

    Returns:
        The files that were removed.

    """
    removed: list[Path] = []
    try:
        entries = [Path(entry.path) for entry in os.scandir(folder) if entry.name.startswith(_PREFIX) and entry.name.endswith(_SUFFIX)]
    except OSError:
        return removed
    for path in entries:
        with suppress(OSError):
            # Neither a link nor a pipe of that name is ours.
            descriptor = os.open(path, os.O_RDONLY | getattr(os, "O_NOFOLLOW", 0) | getattr(os, "O_NONBLOCK", 0))
            try:
                if stat.S_ISREG(os.fstat(descriptor).st_mode) and _is_abandoned(descriptor) and _is_at(descriptor, path):
                    path.unlink()
                    removed.append(path)
            finally:
                os.close(descriptor)
    return removed


def _is_abandoned(descriptor: int) -> bool:
    """Whether nobody is writing a file: its writer holds a lock on it until it dies."""
    taken = _try_lock(descriptor)
    return time.time() - os.fstat(descriptor).st_mtime > _ABANDONED if taken is None else taken


def _try_lock(descriptor: int) -> bool | None:
    """Lock a file for this process; ``False`` if another holds it, ``None`` if its file system has no locks."""
    if sys.platform == "win32":
        return None
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    except OSError:
        return None
    return True


def _is_at(descriptor: int, path: Path) -> bool:
    """Whether an open file is the one that stands at a path now."""
    try:
        return os.path.samestat(os.fstat(descriptor), path.stat())
    except OSError:
        return False


def _create(folder: Path, mode: int) -> tuple[int, Path]:
    """A new file that is locked, so that :func:`sweep` of another process leaves it alone."""
    while True:
        # Not the tempfile module: its files are the owner's alone, while a new file should follow the umask.
        path = folder / f"{_PREFIX}{secrets.token_hex(8)}{_SUFFIX}"
        descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, mode)
        # Another process may have come by between these two lines.
        if _try_lock(descriptor) is not False and _is_at(descriptor, path):
            return descriptor, path
        os.close(descriptor)
        with suppress(OSError):
            path.unlink()


def _locked(target: Path) -> int:
    """The open file at a path, locked against other processes that replace it."""
    deadline = time.monotonic() + _PATIENCE
    while True:
        descriptor = os.open(target, os.O_RDONLY)
        taken = _try_lock(descriptor)
        # Who held the lock may have put another file in place.
        if taken is not False and _is_at(descriptor, target):
            return descriptor
        os.close(descriptor)
        if time.monotonic() > deadline:
            raise OSError(errno.EAGAIN, "is being replaced by another process")
        if taken is False:
            time.sleep(0.005)


def _flush_folder(folder: Path) -> None:
    """Have the new name survive a power cut; not every file system can, and the file is whole either way."""
    with suppress(OSError):
        descriptor = os.open(folder, os.O_RDONLY)
        try:
            os.fsync(descriptor)
        finally:
            os.close(descriptor)
