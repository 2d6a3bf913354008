"""Run a function for each of many arguments, each in a forked process with a time limit, several at once."""

from __future__ import annotations

import multiprocessing
import resource
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from multiprocessing.connection import Connection, wait
from multiprocessing.process import BaseProcess
from typing import Any

__all__ = ["Outcome", "run_isolated"]


@dataclass(frozen=True, slots=True)
class Outcome:
    """What became of one argument: ``value`` if the function returned, else ``error``; wall seconds either way."""

    argument: Any
    value: Any
    error: str | None
    seconds: float


@dataclass(slots=True)
class _Running:
    process: BaseProcess
    argument: Any
    started: float


def _call(function: Callable[[Any], Any], argument: Any, pipe: Connection, memory: int) -> None:
    resource.setrlimit(resource.RLIMIT_DATA, (memory, memory))
    pipe.send(function(argument))
    pipe.close()


def _finish(pipe: Connection, job: _Running, error: str | None) -> Outcome:
    value = None
    seconds = time.monotonic() - job.started
    if error is None:
        try:
            value = pipe.recv()
        except EOFError:
            job.process.join()
            error = f"the process ended with code {job.process.exitcode}"
    else:
        job.process.kill()
    job.process.join()
    pipe.close()
    return Outcome(job.argument, value, error, seconds)


def run_isolated(
    function: Callable[[Any], Any], arguments: Sequence[Any], *, jobs: int, timeout: float, memory: int
) -> Iterator[Outcome]:
    """Yield an outcome per argument as they finish; ``memory`` is the most bytes of data one process may hold.

    The processes are forked, so what the caller has imported is there already.
    """
    context = multiprocessing.get_context("fork")
    waiting = list(reversed(arguments))
    running: dict[Connection, _Running] = {}
    while waiting or running:
        while waiting and len(running) < jobs:
            argument = waiting.pop()
            ours, theirs = context.Pipe(duplex=False)
            process = context.Process(target=_call, args=(function, argument, theirs, memory), daemon=True)
            process.start()
            theirs.close()
            running[ours] = _Running(process, argument, time.monotonic())
        ready = wait(list(running), timeout=0.5)
        for pipe in [pipe for pipe in running if pipe in ready]:
            yield _finish(pipe, running.pop(pipe), None)
        now = time.monotonic()
        for pipe in [pipe for pipe, job in running.items() if now - job.started > timeout]:
            yield _finish(pipe, running.pop(pipe), f"no result within {timeout:.0f} s")
