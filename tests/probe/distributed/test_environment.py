"""Where a process stands among several, what it measures, and what it prints."""

import os
import signal
import sys
import threading
import time
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from torch.utils.data import DataLoader, DistributedSampler, TensorDataset

from normadvisor.api.attempt import Attempt
from normadvisor.api.job import Announcement, Job, Limits, Meeting, ModelJob, Probing
from normadvisor.api.ranked import announcement_of, of_rank, ranked
from normadvisor.cli import ranked as cli
from normadvisor.config.ranks import RankEnvironment
from normadvisor.errors import UsageError
from normadvisor.targets.functions import UserBatches
from normadvisor.targets.parse import parse_target
from normadvisor.types import Location, Problem, RunContext

TORCHRUN = {
    "RANK": "3", "WORLD_SIZE": "4", "LOCAL_RANK": "1", "LOCAL_WORLD_SIZE": "2", "MASTER_ADDR": "node0", "MASTER_PORT": "29500",
    "TORCHELASTIC_USE_AGENT_STORE": "True", "TORCHELASTIC_RESTART_COUNT": "2",
}  # fmt: skip
THERE = RankEnvironment(rank=3, world_size=4, local_rank=1, local_world_size=2, address="node0", port=29500, agent_store=True, attempt=2)


def test_environment_of_torchrun():
    assert RankEnvironment.read(TORCHRUN) == THERE


def test_environment_by_hand():
    found = RankEnvironment.read({"RANK": "1", "WORLD_SIZE": "2", "MASTER_ADDR": "host", "MASTER_PORT": "1"})
    assert found == RankEnvironment(rank=1, world_size=2, local_rank=1, local_world_size=2, address="host", port=1, agent_store=False)


@pytest.mark.parametrize("environ", [{}, {"MASTER_PORT": "x"}, {"RANK": "0", "WORLD_SIZE": "1"}])
def test_alone(environ):
    assert RankEnvironment.read(environ) is None


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"RANK": "4"}, "RANK is 4, but WORLD_SIZE is 4"),
        ({"RANK": "-1"}, "RANK is '-1', which is no number in its range"),
        ({"WORLD_SIZE": "many"}, "WORLD_SIZE is 'many', which is no number in its range"),
        ({"WORLD_SIZE": None}, "WORLD_SIZE is not set, but other variables say that several processes run together"),
        ({"MASTER_ADDR": None}, "MASTER_ADDR is not set, so the processes cannot meet"),
        ({"MASTER_PORT": "70000"}, "MASTER_PORT is '70000', which is no number in its range"),
    ],
)
def test_environment_that_makes_no_sense(changes, words):
    with pytest.raises(UsageError) as error:
        RankEnvironment.read({key: value for key, value in {**TORCHRUN, **changes}.items() if value is not None})
    assert error.value.message == words


def job(*probing, **context):
    target = parse_target("net:Net", Path.cwd())
    return Job(label="net.py", models=tuple(ModelJob(target=target, probing=each, context=RunContext(**context)) for each in probing))


def test_jobs_meet(monkeypatch):
    for key, value in TORCHRUN.items():
        monkeypatch.setenv(key, value)
    plain, measured = ranked([job(None, Probing(), batch_size=8)], 1)[0].models
    assert (plain.meeting, plain.context.world_size) == (None, None)
    assert measured.meeting == Meeting(THERE, "1.0.1 net:Net")
    assert measured.context.per_device_batch == 2
    assert ranked([job(Probing(), world_size=16)], 0)[0].models[0].context.world_size == 16


def test_jobs_of_one_process_stay_as_they_are(monkeypatch):
    for key in TORCHRUN:
        monkeypatch.delenv(key, raising=False)
    jobs = [job(Probing())]
    assert ranked(jobs, 0) == jobs


def test_others_are_told_of_a_crash():
    problem = Problem(target="net:Net", message="it crashed", location=Location("net.py", 3))
    alone = Attempt(number=1, job=job(Probing()), limits=Limits())
    assert announcement_of(alone, problem) is None
    assert of_rank(alone, problem) == problem
    together = replace(alone, job=replace(alone.job, models=(replace(alone.job.models[0], meeting=Meeting(THERE, "x")),)))
    announced = announcement_of(together, problem)
    assert (announced.models, announced.announcement) == ((), Announcement(THERE, "it crashed (net.py:3:1)"))
    assert of_rank(together, problem).message == "rank 3: it crashed"


def shares(found, ranks):
    result = []
    for rank in range(ranks):
        batches = UserBatches(found, parse_target("net:batches", Path.cwd()))
        batches.share(rank, ranks)
        first = batches.first()
        again = list(batches)
        assert again[0] is first or torch.equal(again[0], first)
        result.append([float(each.sum()) for each in again])
    return result


@pytest.mark.parametrize(("count", "expected"), [(5, [[0, 2, 4], [1, 3]]), (2, [[0], [1]]), (1, [[0], [0]])])
def test_batches_are_shared_out(count, expected):
    assert shares([torch.tensor([float(i)]) for i in range(count)], 2) == expected


def test_loader_shares_them_out_itself():
    data = TensorDataset(torch.arange(4.0))
    loader = DataLoader(data, batch_size=2, sampler=DistributedSampler(data, 2, 1, shuffle=False), collate_fn=lambda rows: torch.stack([row[0] for row in rows]))
    assert shares(loader, 2) == [[4.0], [4.0]]


@pytest.mark.parametrize(
    ("rank", "arguments", "silent"),
    [
        ("3", ["probe", "net.py"], True),
        ("3", ["--debug", "audit", "net.py"], True),
        ("3", ["check", "--probe", "net.py"], True),
        ("3", ["check", "net.py"], False),
        ("3", [], False),
        ("0", ["probe", "net.py"], False),
        ("wrong", ["probe", "net.py"], False),
    ],
)
def test_rank_0_speaks(monkeypatch, rank, arguments, silent):
    for key, value in {**TORCHRUN, "RANK": rank}.items():
        monkeypatch.setenv(key, value)
    assert cli.is_silent(arguments) is silent
    given = {"output": Path("a"), "html": Path("b"), "steps": 3}
    assert cli.for_rank(given) == ({"output": None, "html": None, "steps": 3} if rank == "3" else given)


def test_silence(capsys):
    with cli.silenced():
        sys.stdout.write("out")
        sys.stderr.write("err")
    assert capsys.readouterr() == ("", "")


def test_error_waits_for_rank_0(monkeypatch):
    before = signal.getsignal(signal.SIGTERM)
    try:
        assert cli.linger(0) == 0
        begin = time.monotonic()
        threading.Timer(0.2, os.kill, (os.getpid(), signal.SIGTERM)).start()
        assert cli.linger(1) == 1
        assert 0.1 < time.monotonic() - begin < cli._LINGERING
        monkeypatch.setattr(cli, "_LINGERING", 0.1)
        assert cli.linger(2) == 2
    finally:
        signal.signal(signal.SIGTERM, before)
