"""Runs jobs in worker processes, several at once, and survives whatever the targets do to them. Never imports torch."""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Sequence
from dataclasses import replace
from queue import Empty, SimpleQueue
from types import TracebackType
from typing import TYPE_CHECKING, Any, Self

from normadvisor.api.attempt import Attempt, Event
from normadvisor.api.explain import explain, importing_all
from normadvisor.api.job import Job, Limits
from normadvisor.api.launch import ForkLauncher, FreshLauncher, Launcher, can_fork
from normadvisor.api.memory import MemoryWatch
from normadvisor.api.outcome import Outcome, outcome_of, unusable
from normadvisor.api.progress import Progress, ProgressCallback
from normadvisor.api.ranked import announcement_of, of_rank
from normadvisor.api.scripts import default_jobs
from normadvisor.types import Problem

if TYPE_CHECKING:
    from normadvisor.rulebook.model import Rule

__all__ = ["WorkerPool"]

_TICK = 0.1
"""Seconds between two looks at clocks and memory."""
_START = 300.0
"""Seconds a worker may take to import torch: a cold network disk takes minutes."""
_CLOSING = 1.0
"""Seconds to wait for the rest of a dead child's messages; longer only if another process holds the pipe open."""


class WorkerPool:
    """Worker processes for any number of jobs.

    Making one starts a process that imports torch, and returns at once: make it as early as possible. Use it in a ``with`` statement, which
    ends every process on the way out.

    Args:
        limits: what one model may use up.
        jobs: children to run side by side; :func:`default_jobs` when ``None``.
        fork: whether to fork children from one process; as the platform allows when ``None``.

    """

    def __init__(self, limits: Limits | None = None, *, jobs: int | None = None, fork: bool | None = None) -> None:
        self.limits = limits or Limits()
        self._jobs = jobs or default_jobs()
        self._fork = can_fork() if fork is None else fork
        self._events: SimpleQueue[Event] = SimpleQueue()
        self._rules: Sequence[Rule] = ()
        self._numbers = 0
        self._ready_by = time.monotonic() + _START
        self._ready = not self._fork
        self._launcher: Launcher = self._launch()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        self.close()

    def close(self) -> None:
        """End every process."""
        self._launcher.stop()

    def run(
        self, jobs: Sequence[Job], rules: Sequence[Rule], progress: ProgressCallback | None = None, *, keep_prints: bool = False
    ) -> list[list[Outcome]]:
        """Check the models of every job.

        Args:
            jobs: what to check.
            rules: the rules that the jobs refer to.
            progress: called from this thread at every step.
            keep_prints: whether the outcomes should tell what the targets printed.

        Returns:
            For each job the outcomes of its models, in order; a single one when the file could not be imported.

        """
        self._rules = rules
        self._launcher.send_rules(rules)
        return _Run(self, jobs, progress, keep_prints=keep_prints).finish()

    def _launch(self) -> Launcher:
        return ForkLauncher(self._events) if self._fork else FreshLauncher(self._events)

    def _relaunch(self) -> None:
        """Start a new zygote after the old one died."""
        self._launcher.stop()
        self._ready, self._ready_by = False, time.monotonic() + _START
        self._launcher = self._launch()
        self._launcher.send_rules(self._rules)

    def _next_number(self) -> int:
        self._numbers += 1
        return self._numbers


class _Run:
    """One call of :meth:`WorkerPool.run`."""

    def __init__(self, pool: WorkerPool, jobs: Sequence[Job], progress: ProgressCallback | None, *, keep_prints: bool) -> None:
        self._pool = pool
        self._keep_prints = keep_prints
        self._jobs = jobs
        self._progress = progress
        self._total = sum(len(job.models) for job in jobs)
        self._outcomes: list[dict[int, Outcome]] = [{} for _ in jobs]
        self._waiting: deque[Attempt] = deque(self._attempt(position, 0) for position in range(len(jobs)))
        self._running: dict[int, Attempt] = {}
        self._ended_at: dict[int, float] = {}
        self._closed: set[int] = set()
        self._memory = MemoryWatch()

    def finish(self) -> list[list[Outcome]]:
        self._tell("", "starting")
        while self._waiting or self._running:
            self._start_some()
            try:
                event = self._pool._events.get(timeout=_TICK)  # noqa: SLF001 - the two classes are one, cut by lifetime
            except Empty:
                pass
            else:
                self._handle(*event)
            self._look_at_clocks()
        return [[outcomes[index] for index in sorted(outcomes)] for outcomes in self._outcomes]

    def _attempt(self, position: int, first: int, *, alone: bool = False) -> Attempt:
        job = self._jobs[position]
        rest = replace(job, models=job.models[first:])
        number = self._pool._next_number()  # noqa: SLF001
        # What is measured computes on every core, and would be measured wrong with others beside it.
        alone = alone or (not self._pool.limits.side_by_side and any(model.runs for model in rest.models))
        return Attempt(number=number, job=rest, limits=self._pool.limits, first=first, position=position, alone=alone)

    def _start_some(self) -> None:
        while self._waiting and len(self._running) < self._pool._jobs:  # noqa: SLF001
            if self._running and (self._waiting[0].alone or any(attempt.alone for attempt in self._running.values())):
                return
            attempt = self._waiting.popleft()
            self._running[attempt.number] = attempt
            self._pool._launcher.start(attempt)  # noqa: SLF001

    def _handle(self, kind: str, number: int, payload: Any) -> None:
        if kind == "ready":
            self._pool._ready = True  # noqa: SLF001
        elif kind == "broken":
            self._give_up(str(payload.get("message")), str(payload.get("details")))
        elif kind == "gone":
            self._recover(payload)
        attempt = self._running.get(number)
        if attempt is None:
            return
        if kind == "started":
            attempt.pid = payload
            attempt.deadline = attempt.deadline or time.monotonic() + _START
        elif kind == "line":
            message = attempt.take(payload)
            if message and message["kind"] in {"phase", "part"}:
                self._tell(str(attempt.job.models[attempt.model].target), attempt.phase, attempt.part)
            if attempt.ended:
                # Waiting until the process is gone would only cost time.
                attempt.kill()
                self._settle(attempt)
                return
        elif kind == "flood":
            attempt.kill()
        elif kind == "closed":
            self._closed.add(number)
        elif kind == "ended":
            attempt.status = payload
            self._ended_at[number] = time.monotonic()
        if attempt.status is not None and number in self._closed:
            self._settle(attempt)

    def _look_at_clocks(self) -> None:
        now = time.monotonic()
        if not self._pool._ready and self._running and now > self._pool._ready_by:  # noqa: SLF001
            self._give_up(f"it took longer than {_START:g} s", "")
        for attempt in list(self._running.values()):
            if attempt.number in self._ended_at:
                if now > self._ended_at[attempt.number] + _CLOSING:
                    self._settle(attempt)
            elif attempt.deadline is not None and now > attempt.deadline:
                attempt.overdue = True
                attempt.deadline = now + _START
                attempt.kill()
        for attempt, used in self._memory.over(self._running.values()):
            attempt.over_memory = used
            attempt.kill()

    def _settle(self, attempt: Attempt) -> None:
        """Take over what an ended child found, and go on behind the model that it ended at."""
        del self._running[attempt.number]
        if attempt.job.announcement is not None:
            return
        outcomes = self._outcomes[attempt.position]
        for index, message in sorted(attempt.results.items()):
            outcome = outcome_of(message, attempt.job, index)
            outcomes[attempt.first + index] = outcome
        self._note_prints(attempt)
        if not attempt.ended:
            if attempt.broken is not None:
                self._give_up(str(attempt.broken.get("message")), str(attempt.broken.get("details")))
                outcomes[attempt.first] = _without_torch(attempt.job.label, attempt.broken)
                return
            if attempt.model in attempt.results:
                # It ended between two models.
                attempt.model = min(attempt.model + 1, len(attempt.job.models) - 1)
            outcomes[attempt.first + attempt.model] = self._ended_early(attempt)
            following = attempt.first + attempt.model + 1
            if following < len(self._jobs[attempt.position].models) and not importing_all(attempt):
                self._waiting.appendleft(self._attempt(attempt.position, following, alone=attempt.alone))
            self._announce(attempt)
        self._tell(attempt.job.label, "done")

    def _announce(self, attempt: Attempt) -> None:
        """Tell other ranks that measure the same model why this one's worker is gone."""
        job = announcement_of(attempt, explain(attempt))
        if job is not None:
            number, first = self._pool._next_number(), attempt.first + attempt.model  # noqa: SLF001
            self._waiting.appendleft(Attempt(number=number, job=job, limits=attempt.limits, first=first, position=attempt.position))

    @staticmethod
    def _ended_early(attempt: Attempt) -> Outcome:
        """What is known of the model that a child was working on when it ended."""
        partial, problem = attempt.partial.get(attempt.model), of_rank(attempt, explain(attempt))
        if partial is None:
            return unusable(problem, attempt.phase)
        return outcome_of(partial, attempt.job, attempt.model).failed_later(problem, attempt.phase)

    def _note_prints(self, attempt: Attempt) -> None:
        if not self._keep_prints:
            return
        for thread in attempt.readers:
            thread.join(timeout=_CLOSING)
        outcomes = self._outcomes[attempt.position]
        if attempt.printed_bytes and attempt.first in outcomes:
            lines = attempt.printed_lines
            outcomes[attempt.first] = outcomes[attempt.first].with_prints(lines, attempt.printed.decode(errors="replace"))

    def _recover(self, last_words: str) -> None:
        """The zygote died. What ran alone is to blame; what ran beside others is tried again, one at a time."""
        running, self._running = list(self._running.values()), {}
        if not running and not self._waiting:
            return
        blamed = len(running) == 1 and (running[0].alone or not self._waiting or bool(running[0].phase))
        if not self._pool._ready and not any(attempt.phase for attempt in running):  # noqa: SLF001
            self._running = {attempt.number: attempt for attempt in running}
            self._give_up("the worker process died while importing it", last_words)
            return
        for attempt in running:
            attempt.kill()
        if blamed:
            attempt = running[0]
            attempt.status = None
            self._running[attempt.number] = attempt
            self._settle(attempt)
        else:
            for attempt in reversed(running):
                if attempt.job.announcement is None:
                    self._waiting.appendleft(self._attempt(attempt.position, attempt.first, alone=True))
        if self._waiting:
            self._pool._relaunch()  # noqa: SLF001

    def _give_up(self, message: str, details: str) -> None:
        """Without torch nothing can be checked."""
        broken = {"message": message, "details": details}
        for attempt in (*self._running.values(), *self._waiting):
            attempt.kill()
            self._outcomes[attempt.position].setdefault(attempt.first, _without_torch(attempt.job.label, broken))
        self._running.clear()
        self._waiting.clear()

    def _tell(self, target: str, phase: str, part: str = "") -> None:
        if self._progress is not None:
            done = sum(len(outcomes) for outcomes in self._outcomes)
            self._progress(Progress(done=done, total=self._total, target=target, phase=phase, part=part))


def _without_torch(label: str, broken: dict[str, Any]) -> Outcome:
    message = f"torch cannot be imported, so no model can be checked: {broken.get('message')}"
    hint = "install it (pip install torch) into the environment that runs normadvisor"
    return unusable(Problem(target=label, message=message, hint=hint, details=str(broken.get("details")) or None))
