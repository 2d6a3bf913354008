"""Reads many files, side by side in several processes where that pays."""

from __future__ import annotations

import contextlib
import json
import os
import threading
import time
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from queue import Empty, SimpleQueue
from typing import TYPE_CHECKING, Self

from normadvisor.api.static.analyse import Analyser, Setup
from normadvisor.api.static.result import FileResult
from normadvisor.types import Problem

if TYPE_CHECKING:
    import subprocess

__all__ = ["read_files"]

SEQUENTIAL = 300_000
"""Bytes of source that are read in this process: starting others takes as long as reading this much."""
_PER_PROCESS = 150_000
"""Bytes of source that make a further process worth its start."""
_OVERHEAD = 2_000
"""What a file costs whatever its size, in bytes."""
_TICK = 0.2
"""Seconds between two looks at the clock."""

Done = Callable[[int, FileResult], None]
"""Told of every file that was read: its position, and what came of it."""


def read_files(paths: Sequence[Path], setup: Setup, done: Done, *, jobs: int, timeout: float) -> None:
    """Read files; ``done`` is called from this thread, in whatever order they are finished.

    Args:
        paths: what to read.
        setup: what is the same for all of them.
        done: takes the results.
        jobs: processes at most.
        timeout: seconds one file may take in a process.

    """
    size = sum(_size(path) for path in paths)
    if jobs <= 1 or len(paths) <= 1 or size <= SEQUENTIAL:
        analyser = Analyser(setup)
        for position, path in enumerate(paths):
            done(position, analyser.read(path))
        return
    jobs = min(jobs, len(paths), max(2, size // _PER_PROCESS))
    with _Readers(paths, setup, jobs) as readers:
        for position, result in readers.results(timeout):
            done(position, result)


def _size(path: Path) -> int:
    try:
        return path.stat().st_size
    except OSError:
        return 0


def _parted(paths: Sequence[Path], parts: int) -> list[deque[int]]:
    """Positions of files in runs of about the same size."""
    sizes = [_size(path) + _OVERHEAD for path in paths]
    share = sum(sizes) / parts
    found: list[deque[int]] = [deque() for _ in range(parts)]
    before = 0
    for position, size in enumerate(sizes):
        found[min(int(before / share), parts - 1)].append(position)
        before += size
    return found


class _Readers:
    """Processes that read files, each served by a thread of ours."""

    def __init__(self, paths: Sequence[Path], setup: Setup, jobs: int) -> None:
        self._paths = paths
        import pickle

        self._setup = pickle.dumps(setup, protocol=pickle.HIGHEST_PROTOCOL)
        self._waiting = _parted(paths, jobs)
        """What each process is to read: files that stand together, since they read the same files on their behalf."""
        self._finished: SimpleQueue[tuple[int, bytes]] = SimpleQueue()
        self._running: dict[subprocess.Popen[bytes], tuple[int, float]] = {}
        """What every process is reading, and since when."""
        self._late: set[int] = set()
        self._processes: list[subprocess.Popen[bytes]] = []
        self._lock = threading.Lock()
        self._closed = False
        self._threads = [threading.Thread(target=self._serve, args=(waiting,), daemon=True) for waiting in self._waiting]
        for thread in self._threads:
            thread.start()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_error: object) -> None:
        with self._lock:
            self._closed = True
            for process in self._processes:
                process.kill()
        for thread in self._threads:  # with its process gone, each is at its end
            thread.join(timeout=1.0)
        for process in self._processes:
            process.wait()
            for stream in (process.stdin, process.stdout):
                if stream is not None:
                    with contextlib.suppress(OSError):  # what could not be written any more
                        stream.close()

    def results(self, timeout: float) -> Iterator[tuple[int, FileResult]]:
        """What came of every file, as it comes."""
        left = len(self._paths)
        while left:
            try:
                position, line = self._finished.get(timeout=_TICK)
            except Empty:
                self._end_late(timeout)
                continue
            left -= 1
            yield position, self._result(position, line, timeout)

    def _end_late(self, timeout: float) -> None:
        now = time.monotonic()
        with self._lock:
            for process, (position, since) in self._running.items():
                if now - since > timeout:
                    self._late.add(position)
                    process.kill()

    def _result(self, position: int, line: bytes, timeout: float) -> FileResult:
        path = self._paths[position]
        with contextlib.suppress(ValueError, KeyError, TypeError, AttributeError, RecursionError):
            return FileResult.from_dict(json.loads(line))
        if position in self._late:
            message, hint = f"reading it took longer than {timeout:g} s", "raise the limit with --timeout, or exclude the file"
        else:
            message, hint = "the process that read it died", "this is a bug of normadvisor or of Python; --exclude leaves the file out"
        return FileResult(path=path, problems=(Problem(target="", message=message, hint=hint),))

    def _serve(self, waiting: deque[int]) -> None:
        """Hand files to a process until there are none; a process that died is replaced.

        Args:
            waiting: the files meant for this process. When these are done it takes over from whoever has most before it.

        """
        process: subprocess.Popen[bytes] | None = None
        while not self._closed:
            try:
                position = waiting.popleft()
            except IndexError:
                try:
                    position = max(self._waiting, key=len).pop()
                except IndexError:
                    break
            process = process or self._started()
            line = b"" if process is None else self._asked(process, position)
            if not line:
                process = None
            self._finished.put((position, line))

    def _asked(self, process: subprocess.Popen[bytes], position: int) -> bytes:
        """A process's answer about one file; empty if it died over it."""
        if process.stdin is None or process.stdout is None:
            raise AssertionError  # both were asked for
        with self._lock:
            self._running[process] = (position, time.monotonic())
        try:
            process.stdin.write(json.dumps(str(self._paths[position])).encode("ascii") + b"\n")
            process.stdin.flush()
            return process.stdout.readline()
        except (OSError, ValueError):
            return b""
        finally:
            with self._lock:
                del self._running[process]

    def _started(self) -> subprocess.Popen[bytes] | None:
        import subprocess

        from normadvisor.api.command import python_command

        with self._lock:
            if self._closed:
                return None
            process = subprocess.Popen(
                python_command("normadvisor.api.static.worker", "main()"), stdin=subprocess.PIPE, stdout=subprocess.PIPE,
                stderr=subprocess.DEVNULL, env={**os.environ, "PYTHONIOENCODING": "utf-8"},
            )  # fmt: skip
            self._processes.append(process)
        with contextlib.suppress(OSError):  # a process that is gone already gives no answers
            if process.stdin is not None:
                process.stdin.write(self._setup)
        return process
