"""Why a worker ended, in words."""

from __future__ import annotations

import signal
from pathlib import Path

import pytest

from normadvisor.api.attempt import Attempt
from normadvisor.api.explain import explain
from normadvisor.api.job import Job, Limits, ModelJob
from normadvisor.targets.parse import parse_target

FRAMES = b'Thread 0x00007f9536befb80 (most recent call first):\n  File "net.py", line 9 in forward\n'
TIMEOUT = b"Timeout (0:00:08)!\n"
CRASH = b"Fatal Python error: Segmentation fault\n\n"


def ended(status: int | None, dump: bytes, *, overdue: bool = False) -> str:
    job = Job(label="nets.build:Net", models=(ModelJob(target=parse_target("nets.build:Net", Path.cwd())),))
    attempt = Attempt(number=1, job=job, limits=Limits(timeout=8), phase="tracing", status=status, overdue=overdue)
    attempt.dump += dump
    return explain(attempt).message


@pytest.mark.parametrize(
    ("status", "dump", "overdue", "words"),
    [
        (-signal.SIGKILL, TIMEOUT + FRAMES, True, "took longer than 8 s"),
        (-signal.SIGSEGV, TIMEOUT + FRAMES + CRASH, False, "took longer than 8 s"),
        (-signal.SIGSEGV, CRASH + FRAMES, False, "crashed with a segmentation fault (SIGSEGV)"),
        (3, TIMEOUT + FRAMES, False, "ended the process with exit code 3"),
    ],
    ids=["killed in the end", "crashed while its frames were read", "crashed", "left late"],
)
def test_time_that_ran_out_is_told_whatever_came_of_it(status, dump, overdue, words):
    assert ended(status, dump, overdue=overdue) == f"tracing nets.build:Net {words}"
