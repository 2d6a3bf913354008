"""Measuring on several ranks at once: what each process tells its worker, and what it tells the others when its worker is gone.

Imports no torch; the worker's side is :mod:`normadvisor.api.on_ranks`.
"""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import replace

from normadvisor.api.attempt import Attempt
from normadvisor.api.job import Announcement, Job, Meeting, ModelJob
from normadvisor.config.ranks import RankEnvironment
from normadvisor.types import Problem

__all__ = ["announcement_of", "of_rank", "ranked"]


def ranked(jobs: Sequence[Job], turn: int) -> list[Job]:
    """The jobs, with a meeting of all ranks for each model that is measured; as they are where there is one process.

    Args:
        jobs: the same on all ranks.
        turn: how many jobs this process ran before in one go.

    Raises:
        UsageError: the variables that say so make no sense.

    """
    environment = RankEnvironment.read(os.environ)
    if environment is None:
        return list(jobs)
    found = []
    for position, job in enumerate(jobs):
        meetings = [Meeting(environment, f"{turn}.{position}.{index} {model.target}") for index, model in enumerate(job.models)]
        models = (
            model if model.probing is None else _meeting_for(model, meeting) for model, meeting in zip(job.models, meetings, strict=True)
        )
        found.append(replace(job, models=tuple(models)))
    return found


def _meeting_for(model: ModelJob, meeting: Meeting) -> ModelJob:
    """A batch size that is said is that of all ranks together, as everywhere in the run context."""
    context = model.context
    if context.world_size is None:
        context = replace(context, world_size=meeting.environment.world_size)
    return replace(model, meeting=meeting, context=context)


def announcement_of(attempt: Attempt, problem: Problem) -> Job | None:
    """A job that tells the other ranks why a worker is gone; ``None`` where there are none."""
    meeting = _meeting(attempt)
    if meeting is None:
        return None
    place = f" ({problem.location})" if problem.location else ""
    return Job(label=attempt.job.label, models=(), announcement=Announcement(meeting.environment, f"{problem.message}{place}"))


def of_rank(attempt: Attempt, problem: Problem) -> Problem:
    """The problem with the rank that it is of, where there are several."""
    meeting = _meeting(attempt)
    return problem if meeting is None else replace(problem, message=f"rank {meeting.environment.rank}: {problem.message}")


def _meeting(attempt: Attempt) -> Meeting | None:
    models = attempt.job.models
    return models[min(attempt.model, len(models) - 1)].meeting if models else None
