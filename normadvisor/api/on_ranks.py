"""Checks one model on several ranks at once: what fails on one of them ends it on all. In the worker."""

from __future__ import annotations

import threading
from collections.abc import Callable
from dataclasses import replace
from typing import TYPE_CHECKING, TypeAlias

from normadvisor.api.examine import Examined, failed, problem_of
from normadvisor.errors import RankError

if TYPE_CHECKING:
    from normadvisor.api.job import Limits, Meeting, ModelJob
    from normadvisor.probe.distributed import Ranks
    from normadvisor.probe.distributed.lookout import Trouble
    from normadvisor.types import Problem

__all__ = ["check_on_ranks", "device_on", "with_ranks"]

_ARRIVING = 2.0
"""Times ``--timeout`` that ranks wait for each other in the beginning: each imports torch, and the slowest disk counts."""
_PATIENCE = 60.0
"""Seconds at most to wait for a rank that shows no progress."""
_REACTION = 10.0
"""Seconds in which the model's own code must come to an exchange, and so hear of trouble, before the process ends without it."""

Check: TypeAlias = Callable[["Ranks"], tuple[Examined, bool]]


def check_on_ranks(
    model: ModelJob, meeting: Meeting, limits: Limits, check: Check, give_up: Callable[[Problem], None]
) -> tuple[Examined, bool]:
    """Check a model together with the other ranks.

    Args:
        model: the same on all ranks.
        meeting: where the ranks come together.
        limits: of this worker.
        check: gives what comes of the model, and whether its file failed to be imported.
        give_up: called in a thread to end this process with a problem while the model's code does not return.

    Returns:
        What ``check`` gave; with a problem that names the rank where any failed, on all of them.

    """
    from normadvisor.probe.distributed import join

    name = str(model.target)
    over = threading.Event()

    def on_trouble(trouble: Trouble) -> None:
        if not over.wait(_REACTION):
            give_up(problem_of(trouble.error(), name))

    result: tuple[Examined, bool] | None = None
    common = False
    try:
        with join(
            meeting.environment, run=meeting.run, device=device_on(meeting, model), patience=min(_PATIENCE, limits.timeout),
            arrival=_ARRIVING * limits.timeout, on_trouble=on_trouble,
        ) as ranks:  # fmt: skip
            result = check(ranks)
            if result[0].problems:
                common = ranks.tell(result[0].problems[0].message)
    except RankError as error:
        problem = problem_of(error, name)
        if result is None:
            return failed(name, problem), False
        return result if common else (_with_problem(result[0], problem, meeting), result[1])
    finally:
        over.set()
    return result


def with_ranks(model: ModelJob, limits: Limits, check: Check, give_up: Callable[[Problem], None]) -> tuple[Examined, bool]:
    """Check a model: alone, or with the ranks of its meeting. See :func:`check_on_ranks`."""
    from normadvisor.probe.distributed import ALONE

    return check(ALONE) if model.meeting is None else check_on_ranks(model, model.meeting, limits, check, give_up)


def device_on(meeting: Meeting, model: ModelJob) -> str:
    """The device that this rank measures on."""
    from normadvisor.probe.distributed import rank_device

    return rank_device(meeting.environment, "cpu" if model.probing is None else model.probing.options.device)


def _with_problem(result: Examined, problem: Problem, meeting: Meeting) -> Examined:
    """What was found, without numbers that not all ranks agree on, and with the rank that its own problem is of."""
    rank = meeting.environment.rank
    own = [replace(each, message=f"rank {rank}: {each.message}") for each in result.problems if each.message != problem.message]
    return replace(result, problems=tuple(own) or (problem,), measurements=None, withdrawn=())
