"""One run of one job in one child process, as the parent sees it: what arrived, when it is late, how it ended."""

from __future__ import annotations

import os
import signal
import threading
import time
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass, field
from queue import SimpleQueue
from typing import Any

from normadvisor.api.job import Job, Limits
from normadvisor.api.wire import MAX_LINE, decode

__all__ = ["GRACE", "MAX_PRINTED", "Attempt", "Event", "read_lines"]

GRACE = 1.0
"""Seconds a child that is over time gets to dump its frames before it is killed."""
MAX_PRINTED = 64 * 2**20
"""Bytes a target may print."""
_KEPT = 64 * 2**10
"""Bytes of text kept of what a child prints or dumps."""

Event = tuple[str, int, Any]
"""Kind, number of the attempt, payload."""


@dataclass(slots=True)
class Attempt:
    """A job's models from ``first`` on, in one child."""

    number: int
    job: Job
    limits: Limits
    first: int = 0
    """Position in the caller's job of this job's first model; greater than 0 after a crash."""
    position: int = 0
    """Position of the caller's job among all."""
    alone: bool = False
    """Whether it must run with no other beside it, because a worker process went down while it ran."""
    pid: int | None = None
    model: int = 0
    """The model being worked on."""
    phase: str = ""
    part: str = ""
    """What is being done within the phase."""
    deadline: float | None = None
    results: dict[int, dict[str, Any]] = field(default_factory=dict)
    partial: dict[int, dict[str, Any]] = field(default_factory=dict)
    """What was found of a model before it was measured."""
    ended: bool = False
    """Whether the child said that it was done."""
    status: int | None = None
    """Exit code; the negative number of a signal."""
    overdue: bool = False
    over_memory: int | None = None
    """MiB in use when it was killed for that."""
    flooded: bool = False
    broken: dict[str, Any] | None = None
    """Why a fresh process could not even import torch."""
    dump: bytearray = field(default_factory=bytearray)
    """Frames dumped by a crash or a late child."""
    printed: bytearray = field(default_factory=bytearray)
    """The beginning of what was printed."""
    printed_bytes: int = 0
    printed_lines: int = 0
    readers: list[threading.Thread] = field(default_factory=list)

    def take(self, line: bytes) -> dict[str, Any] | None:
        """Note one line from the child; returns the message in it, if there is one that was expected."""
        message = decode(line)
        index = message.get("model") if message else None
        if message is None:
            if len(self.dump) < _KEPT:
                self.dump += line
            return None
        kind = message["kind"]
        if kind not in {"phase", "part", "partial", "model"}:
            index = 0
        if not isinstance(index, int) or not 0 <= index < len(self.job.models):
            return None
        if kind == "phase":
            self.model, self.phase, self.part = index, str(message.get("phase")), ""
            seconds = self.limits.seconds(self.phase)
            if seconds is not None or self.deadline is None:
                self.deadline = time.monotonic() + (self.limits.timeout if seconds is None else seconds) + GRACE
        elif kind == "part":
            self.part = str(message.get("part"))
        elif kind == "partial":
            self.partial[index] = message
        elif kind == "model":
            self.results[index] = message
        elif kind == "broken":
            self.broken = message
        elif kind == "end":
            # Not before there is an answer about every model: a target that writes to our pipe must not pass for clean.
            self.ended = len(self.results) == len(self.job.models) or any(result.get("import_failed") for result in self.results.values())
        return message

    def take_printed(self, data: bytes) -> None:
        """Note what the target printed."""
        self.printed_bytes += len(data)
        self.printed_lines += data.count(b"\n")
        if len(self.printed) < _KEPT:
            self.printed += data[: _KEPT - len(self.printed)]

    def kill(self) -> None:
        """Kill the child and everything in its process group."""
        self.kill_group()
        if self.pid is not None and self.status is None:
            with suppress(ProcessLookupError, PermissionError):
                os.kill(self.pid, signal.SIGKILL if hasattr(signal, "SIGKILL") else signal.SIGTERM)

    def kill_group(self) -> None:
        """Kill what the child has started, where there are process groups."""
        if self.pid is not None and hasattr(os, "killpg"):
            with suppress(ProcessLookupError, PermissionError):
                os.killpg(self.pid, signal.SIGKILL)

    def read_from(self, output: int, log: int, events: SimpleQueue[Event]) -> None:
        """Start to read what the child sends and prints; a ``closed`` event tells the end of the former."""
        number = self.number

        def messages() -> None:
            read_lines(output, lambda line: events.put(("line", number, line)))
            events.put(("closed", number, None))

        def prints() -> None:
            with suppress(OSError):
                while data := os.read(log, 1 << 16):
                    self.take_printed(data)
                    if self.printed_bytes > MAX_PRINTED and not self.flooded:
                        self.flooded = True
                        events.put(("flood", number, None))
            os.close(log)

        for function in (messages, prints):
            thread = threading.Thread(target=function, daemon=True)
            thread.start()
            self.readers.append(thread)


def read_lines(descriptor: int, take: Callable[[bytes], None]) -> None:
    """Pass on every line read from a descriptor, and close it; what exceeds :data:`MAX_LINE` without a line end is dropped."""
    with os.fdopen(descriptor, "rb", buffering=1 << 16) as stream, suppress(OSError):
        whole = True
        while line := stream.readline(MAX_LINE):
            complete = line.endswith(b"\n")
            if whole and (complete or len(line) < MAX_LINE):
                take(line)
            whole = complete
