"""The process that imports torch once and forks a child for every job.

It talks to the parent over one socket: jobs arrive pickled, together with the descriptors their child writes to; what it answers are JSON
lines (a child's process id, later its exit status). It runs no code of a target itself. When the parent goes away, however it goes, the
socket ends, and every process a target has left behind is killed.
"""

from __future__ import annotations

import contextlib
import gc
import importlib
import os
import pickle
import select
import signal
import socket
import struct
import sys
import traceback
from pathlib import Path
from typing import Any

from normadvisor.api.job import Job, Limits
from normadvisor.api.wire import encode

__all__ = ["HEADER", "main", "send_job"]

HEADER = struct.Struct(">Q")
"""Length of the pickle that follows."""

_SEVERAL = 2
"""Children after which more are to be expected."""

_BECOME_SUBREAPER = 36
"""``PR_SET_CHILD_SUBREAPER`` of Linux's ``prctl``: processes whose parent died become our children rather than init's."""

_ROUNDS = 20
"""How often to look again for processes that multiply while they are being killed."""

_NEEDED = (
    "torch",
    # What torch itself imports with the first convolution on the meta device, and with the first fake tensor: sympy takes long.
    "torch.fx.experimental.symbolic_shapes",
    "torch.utils._device",
    "normadvisor.api.child",
    "normadvisor.api.examine",
    "normadvisor.rulebook.evaluator",
    "normadvisor.targets.build",
)
"""Modules that children need and need not each import again."""

_LATER = (
    ("normadvisor.rewrite.source.writer", "write_source"),
    ("normadvisor.rewrite.proof", "prove"),
    ("normadvisor.rewrite.proof", "align"),
)
"""Names that some children need: those that write edits, and those that compare. Where there is one child it may need none of them."""


def send_job(connection: socket.socket, message: tuple[Any, ...], descriptors: tuple[int, ...] = ()) -> None:
    """Send one message to the zygote, with descriptors for the child.

    Raises:
        OSError: the zygote is gone.

    """
    body = pickle.dumps(message, protocol=pickle.HIGHEST_PROTOCOL)
    if descriptors:
        socket.send_fds(connection, [HEADER.pack(len(body))], list(descriptors))
    else:
        connection.sendall(HEADER.pack(len(body)))
    connection.sendall(body)


def main(descriptor: int) -> None:
    """Serve the parent at the other end of a socket until it closes it."""
    with socket.socket(fileno=descriptor) as connection:
        try:
            _prepare()
        except Exception as error:  # noqa: BLE001 - a broken installation of torch can raise anything; the parent explains it
            details = traceback.format_exc()
            connection.sendall(encode({"kind": "broken", "message": f"{type(error).__name__}: {error}", "details": details}))
            return
        connection.sendall(encode({"kind": "ready"}))
        _Server(connection).serve()


def _prepare() -> None:
    """Import what every child needs; children share the memory."""
    # Nothing imported here becomes garbage, so looking for it only costs time; children copy pages that the collector touches.
    gc.disable()
    for name in _NEEDED:
        importlib.import_module(name)

    gc.freeze()
    if sys.platform == "linux":
        import ctypes

        with contextlib.suppress(OSError, AttributeError):  # an unusual C library: orphans then go to init
            ctypes.CDLL(None).prctl(_BECOME_SUBREAPER, 1, 0, 0, 0)


class _Server:
    """Forks, reaps, and answers."""

    def __init__(self, connection: socket.socket) -> None:
        self._connection = connection
        self._rules: list[Any] = []
        self._running: dict[int, int] = {}
        """Job number by process id."""
        self._forked = 0
        self._wake, self._wake_write = os.pipe()
        os.set_blocking(self._wake, False)
        os.set_blocking(self._wake_write, False)

    def serve(self) -> None:
        signal.set_wakeup_fd(self._wake_write, warn_on_full_buffer=False)
        signal.signal(signal.SIGCHLD, lambda *_: None)
        try:
            while True:
                ready, _, _ = select.select([self._connection.fileno(), self._wake], [], [])
                if self._wake in ready:
                    with contextlib.suppress(BlockingIOError):
                        os.read(self._wake, 4096)
                    self._reap()
                if self._connection.fileno() in ready and not self._take_message():
                    return
                if self._forked == _SEVERAL:
                    self._forked += 1
                    self._import_more()
        except (BrokenPipeError, ConnectionResetError):
            return  # the parent is gone
        finally:
            self._kill_everything()

    @staticmethod
    def _import_more() -> None:
        """Import what children of a longer session would each import, while those that run are at work."""
        with contextlib.suppress(Exception):  # a child that needs what cannot be imported tells so
            for module, name in _LATER:
                getattr(importlib.import_module(module), name)
        gc.freeze()

    def _take_message(self) -> bool:
        header, descriptors, _, _ = socket.recv_fds(self._connection, HEADER.size, 4)
        if not header:
            return False
        while len(header) < HEADER.size:
            header += self._exactly(HEADER.size - len(header))
        message = pickle.loads(self._exactly(HEADER.unpack(header)[0]))  # noqa: S301 - from our own parent over a private socket
        if message[0] == "rules":
            self._rules = message[1]
        elif message[0] == "job":
            self._fork(*message[1:], *descriptors)
        return True

    def _exactly(self, size: int) -> bytes:
        parts = bytearray()
        while len(parts) < size:
            part = self._connection.recv(min(size - len(parts), 1 << 20))
            if not part:
                raise ConnectionResetError
            parts += part
        return bytes(parts)

    def _fork(self, number: int, job: Job, limits: Limits, output: int, log: int) -> None:
        pid = os.fork()
        if pid == 0:
            self._become_child(job, limits, output, log)
        os.close(output)
        os.close(log)
        self._forked += 1
        self._running[pid] = number
        self._answer({"kind": "started", "job": number, "pid": pid})

    def _become_child(self, job: Job, limits: Limits, output: int, log: int) -> None:
        """Run a job and end the process; never returns."""
        status = 70
        # Bound before the target's code runs: with something else in its place the child would go on as a second zygote.
        leave = os._exit
        try:
            signal.set_wakeup_fd(-1)
            signal.signal(signal.SIGCHLD, signal.SIG_DFL)
            self._connection.close()
            os.close(self._wake)
            os.close(self._wake_write)
            from normadvisor.api.child import enter, run_job

            output = enter(output, log, limits)
            run_job(job, self._rules, limits, output)
            status = 0
        except BaseException:  # noqa: BLE001 - whatever happens, the child must not go on as a second zygote
            with contextlib.suppress(BaseException):
                traceback.print_exc()
        finally:
            leave(status)

    def _answer(self, message: dict[str, Any]) -> None:
        self._connection.sendall(encode(message))

    def _reap(self) -> None:
        finished = []
        while True:
            try:
                pid, status = os.waitpid(-1, os.WNOHANG)
            except ChildProcessError:
                break
            if pid == 0:
                break
            if pid in self._running:
                with contextlib.suppress(ProcessLookupError, PermissionError):
                    os.killpg(pid, signal.SIGKILL)
                finished.append((self._running.pop(pid), status))
        if finished and not self._running:
            self._kill_strays()
        for number, status in finished:
            self._answer({"kind": "ended", "job": number, "status": os.waitstatus_to_exitcode(status)})

    def _kill_strays(self) -> None:
        """Kill what targets started and detached: with no job running, every child we have is one of those.

        The children of what is killed become ours in turn, so it takes several rounds to get to the last.
        """
        for _ in range(_ROUNDS):
            strays = _children()
            if not strays:
                return
            for pid in strays:
                with contextlib.suppress(ProcessLookupError, PermissionError):
                    os.kill(pid, signal.SIGKILL)
            for pid in strays:
                with contextlib.suppress(ChildProcessError):
                    os.waitpid(pid, 0)

    def _kill_everything(self) -> None:
        for pid in self._running:
            with contextlib.suppress(ProcessLookupError, PermissionError):
                os.killpg(pid, signal.SIGKILL)
        self._kill_strays()
        # Taking torch down in order takes longer than all of the above.
        os._exit(0)


def _children() -> list[int]:
    """Process ids of this process's children, adopted ones included; empty where the system does not tell."""
    with contextlib.suppress(OSError, ValueError):
        return [int(pid) for pid in Path(f"/proc/self/task/{os.getpid()}/children").read_text(encoding="ascii").split()]
    return []
