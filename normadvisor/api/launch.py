"""Two ways to start children: forked by a zygote that has imported torch, or one fresh process per job."""

from __future__ import annotations

import os
import pickle
import socket
import subprocess
import tempfile
import threading
from collections.abc import Sequence
from contextlib import suppress
from queue import SimpleQueue
from typing import TYPE_CHECKING, Protocol

from normadvisor.api.attempt import Attempt, Event, read_lines
from normadvisor.api.command import python_command
from normadvisor.api.wire import decode

if TYPE_CHECKING:
    from normadvisor.rulebook.model import Rule

__all__ = ["ForkLauncher", "FreshLauncher", "Launcher", "can_fork"]

_STOPPING = 5.0
"""Seconds the zygote gets to kill what targets left behind."""


class Launcher(Protocol):
    """Starts the child of an attempt; events of all attempts arrive in one queue."""

    def send_rules(self, rules: Sequence[Rule]) -> None:
        """Tell the rules that jobs refer to; once, before the first job."""

    def start(self, attempt: Attempt) -> None:
        """Start a child. Events follow: ``started`` (process id), ``line``, ``closed``, ``flood``, ``ended`` (exit code)."""

    def stop(self) -> None:
        """End every process that was started."""


def can_fork() -> bool:
    """Whether this platform can fork a process and hand descriptors to it."""
    return hasattr(os, "fork") and hasattr(socket, "send_fds")


def _environment() -> dict[str, str]:
    # One thread each: children run side by side, and models on the meta device compute nothing. No progress bars, no telemetry, no
    # downloads from libraries that read these variables.
    extra = {"HF_HUB_OFFLINE": "1", "TRANSFORMERS_OFFLINE": "1", "TOKENIZERS_PARALLELISM": "false", "PYTHONIOENCODING": "utf-8"}
    threads = dict.fromkeys(("OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS", "VECLIB_MAXIMUM_THREADS"), "1")
    # What measures sets more threads. Those that wait must not spin: beside other work, where threads wait for one that was put aside, a
    # step of a small convolution takes 0.8 s in place of 0.01 s.
    return {"OMP_WAIT_POLICY": "PASSIVE", **os.environ, **extra, **threads}


class ForkLauncher:
    """Children of a zygote. Starting it returns at once; torch is imported meanwhile."""

    def __init__(self, events: SimpleQueue[Event]) -> None:
        self._events = events
        self._stopped = False
        self._ready = False
        ours, theirs = socket.socketpair()
        self._connection = ours
        self._output = tempfile.TemporaryFile()  # noqa: SIM115 - lives as long as the zygote
        with theirs:
            self.process = subprocess.Popen(
                python_command("normadvisor.api.zygote", f"main({theirs.fileno()})"),
                stdin=subprocess.DEVNULL, stdout=self._output, stderr=self._output, pass_fds=[theirs.fileno()], env=_environment(),
                start_new_session=True,
            )  # fmt: skip
        threading.Thread(target=self._listen, daemon=True).start()

    def _listen(self) -> None:
        read_lines(os.dup(self._connection.fileno()), self._hear)
        if not self._stopped:
            self._events.put(("gone", -1, self._last_words()))

    def _hear(self, line: bytes) -> None:
        message = decode(line) or {}
        kind = message.get("kind")
        if kind == "started":
            self._events.put(("started", message["job"], message["pid"]))
        elif kind == "ended":
            self._events.put(("ended", message["job"], message["status"]))
        elif kind in {"broken", "ready"}:
            self._ready = True
            self._events.put((kind, -1, message))

    def _last_words(self) -> str:
        with suppress(OSError, ValueError):
            self._output.seek(0)
            return self._output.read(1 << 16).decode(errors="replace").strip()
        return ""

    def send_rules(self, rules: Sequence[Rule]) -> None:
        """See :class:`Launcher`."""
        from normadvisor.api.zygote import send_job

        with suppress(OSError):  # a zygote that is gone is noticed by whoever listens to it
            send_job(self._connection, ("rules", list(rules)))

    def start(self, attempt: Attempt) -> None:
        """See :class:`Launcher`."""
        from normadvisor.api.zygote import send_job

        output, child_output = os.pipe()
        log, child_log = os.pipe()
        try:
            with suppress(OSError):
                send_job(self._connection, ("job", attempt.number, attempt.job, attempt.limits), (child_output, child_log))
        finally:
            os.close(child_output)
            os.close(child_log)
        attempt.read_from(output, log, self._events)

    def stop(self) -> None:
        """See :class:`Launcher`; what targets left behind is killed by the zygote itself."""
        self._stopped = True
        with suppress(OSError):
            self._connection.shutdown(socket.SHUT_RDWR)
        if not self._ready:
            # While it imports torch it does not listen, and it has no children yet that it would have to end.
            self.process.kill()
        try:
            self.process.wait(timeout=_STOPPING)
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.wait()
        self._connection.close()
        self._output.close()


class FreshLauncher:
    """One new Python per job: slower, but works without ``fork``."""

    def __init__(self, events: SimpleQueue[Event]) -> None:
        self._events = events
        self._rules: list[Rule] = []
        self._running: list[Attempt] = []

    def send_rules(self, rules: Sequence[Rule]) -> None:
        """See :class:`Launcher`."""
        self._rules = list(rules)

    def start(self, attempt: Attempt) -> None:
        """See :class:`Launcher`."""
        process = subprocess.Popen(
            python_command("normadvisor.api.single", "main()"),
            stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE, env=_environment(), start_new_session=True,
        )  # fmt: skip
        self._running.append(attempt)
        if process.stdin is None or process.stdout is None or process.stderr is None:
            raise AssertionError  # all three were asked for
        attempt.read_from(os.dup(process.stdout.fileno()), os.dup(process.stderr.fileno()), self._events)
        process.stdout.close()
        process.stderr.close()
        with suppress(OSError), process.stdin:  # a process that is gone already reports itself below
            process.stdin.write(pickle.dumps((self._rules, attempt.job, attempt.limits)))

        def wait() -> None:
            status = process.wait()
            attempt.kill_group()
            self._running.remove(attempt)
            self._events.put(("ended", attempt.number, status))

        self._events.put(("started", attempt.number, process.pid))
        threading.Thread(target=wait, daemon=True).start()

    def stop(self) -> None:
        """See :class:`Launcher`."""
        for attempt in list(self._running):
            attempt.kill()
