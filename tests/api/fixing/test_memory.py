"""What came of models before."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from normadvisor.api.fixing import Choice
from normadvisor.api.fixing.memory import Memory
from normadvisor.api.job import Job, ProofRequest
from normadvisor.api.outcome import Outcome, unusable
from normadvisor.types import ModelSummary, Operation, OperationKind, Part, Problem, TraceKind

MODEL = (0, 0)
CHANGE = (Operation(kind=OperationKind.REMOVE_LAYER, part=Part("a"), arguments={"p": 1}),)
JOB = Job(label="", models=(), overlay=(("/a.py", b"new"),), proof=ProofRequest(base=(("/a.py", b"old"),), changes=(CHANGE,)))


def outcome(*files):
    return Outcome(summary=ModelSummary(target="a.py:Net", trace=TraceKind.SYMBOLIC), findings=(), files=files)


def kept(before, after):
    memory = Memory()
    memory.keep(MODEL, JOB, before, after)
    return memory


def test_the_same_is_known():
    after = outcome("/a.py")
    memory = kept(outcome("/a.py"), after)
    assert memory.outcome(MODEL, JOB) is after
    assert memory.outcome((0, 1), JOB) is None


def test_files_that_a_model_does_not_run_are_of_no_interest():
    other = (("/b.py", b"x"),)
    job = replace(JOB, overlay=(*JOB.overlay, *other), proof=replace(JOB.proof, base=(*JOB.proof.base, *other)))
    assert kept(outcome("/a.py"), outcome("/a.py")).outcome(MODEL, job) is not None
    assert kept(outcome(), outcome("/a.py")).outcome(MODEL, job) is None
    assert kept(outcome("/a.py", "/b.py"), outcome("/a.py")).outcome(MODEL, job) is None


@pytest.mark.parametrize(
    "job",
    [
        replace(JOB, overlay=(("/a.py", b"newer"),)),
        replace(JOB, overlay=()),
        replace(JOB, proof=replace(JOB.proof, base=(("/a.py", b"older"),))),
        replace(JOB, proof=replace(JOB.proof, changes=())),
        replace(JOB, proof=replace(JOB.proof, equal=False)),
        replace(JOB, proof=replace(JOB.proof, draws=9)),
    ],
)
def test_what_differs_is_not_known(job):
    assert kept(outcome("/a.py"), outcome("/a.py")).outcome(MODEL, job) is None


def test_what_ended_a_model_is_tried_again():
    assert kept(outcome("/a.py"), unusable(Problem(target="a.py:Net", message="took too long"))).outcome(MODEL, JOB) is None


def test_accepting_one_fix_after_another_compares_each_model_once(fixing, monkeypatch):
    net = "from torch import nn\n\nmodel = nn.Sequential(nn.Conv2d(3, 4, 3), nn.BatchNorm2d(4))\n"
    names = [f"{letter}.py" for letter in "abc"]
    fixer = fixing(dict.fromkeys(names, net))
    choices = [Choice(candidate.finding, candidate.default) for candidate in fixer.candidates()]
    compared, run = [], fixer._session.run

    def counted(jobs, progress=None):
        compared.append([Path(job.models[0].target.path).name for job in jobs])
        return run(jobs, progress)

    monkeypatch.setattr(fixer._session, "run", counted)
    trials = [fixer.try_choices(choices[:number]) for number in (1, 2, 3, 2)]
    assert [item.reason for trial in trials for item in trial.rolled_back] == []
    assert compared == [["a.py"], ["b.py"], ["c.py"], []]
    assert [len(trial.proofs) for trial in trials] == [1, 2, 3, 2]
    assert [change.path.name for change in trials[2].changes] == names
