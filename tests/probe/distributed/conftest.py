"""Runs code on several ranks."""

import json
import os
import subprocess
import sys
import textwrap
from dataclasses import dataclass
from pathlib import Path

import pytest

PRELUDE = """
import os, time
import torch
from torch import nn
import torch.distributed as dist
from normadvisor.config.ranks import RankEnvironment
from normadvisor.probe.distributed import announce, join, live_ranks
environment = RankEnvironment.read(os.environ)
"""


@dataclass
class Rank:
    """What became of one rank."""

    status: int | str
    """Exit code: 1 after an exception; ``late`` where it had to be killed."""
    seconds: float | None
    result: object
    error: tuple[str, str] | None
    printed: str


class Harness:
    def __init__(self):
        path = Path(__file__).parent / "harness.py"
        environment = {**os.environ, "OMP_NUM_THREADS": "1", "PYTHONPATH": str(Path(__file__).parents[3])}
        self._process = subprocess.Popen(
            [sys.executable, str(path)], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, env=environment, start_new_session=True
        )

    def __call__(self, code, *, ranks=2, seconds=200, agent=True, until=None):
        """Run code on each rank, where ``rank`` and ``world`` are known; its ``result`` comes back as JSON. All end with the rank ``until``.

        Whoever has not ended after ``seconds`` is killed: they are to end a hang, and nothing else.
        """
        request = {"code": PRELUDE + textwrap.dedent(code), "ranks": ranks, "seconds": seconds, "agent": agent, "until": until}
        self._process.stdin.write(json.dumps(request) + "\n")
        self._process.stdin.flush()
        answers = json.loads(self._process.stdout.readline())
        return [
            Rank(answer["status"], answer["seconds"], answer.get("result"), tuple(answer["error"]) if "error" in answer else None, answer["printed"])
            for answer in answers
        ]

    def results(self, code, **options):
        """The same where nothing may go wrong: the results alone."""
        found = self(code, **options)
        assert [rank.status for rank in found] == [0] * len(found), "\n".join(rank.printed for rank in found)
        return [rank.result for rank in found]

    def close(self):
        self._process.stdin.close()
        self._process.wait(timeout=300)
        self._process.stdout.close()


@pytest.fixture(scope="session")
def on_ranks():
    harness = Harness()
    yield harness
    harness.close()
