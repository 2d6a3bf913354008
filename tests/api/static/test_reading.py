"""Files side by side or one after another: the same results, whatever stands in them."""

from __future__ import annotations

import json
import sys

import pytest

from normadvisor.api.static import pool
from normadvisor.api.static.analyse import Analyser
from normadvisor.api.static.check import Learnt, Reading, read_scripts
from normadvisor.api.static.result import FileResult
from normadvisor.types import RunContext

DROPOUT = "import torch.nn.functional as F\nclass Net:\n    def forward(self, x):\n        return F.dropout(x)\n"
MODEL = """from torch import nn


# normadvisor: batch_size=4
class Net(nn.Module):
    def __init__(self):
        super().__init__()
        self.layer = nn.Linear(2, 2)

    def forward(self, x):
        return self.layer(x)


class Block(nn.Module):
    def __init__(self, width):
        super().__init__()
        self.layer = nn.Linear(width, 2)

    def forward(self, x):
        return self.layer(x)
"""


def read(paths, setup, jobs, monkeypatch):
    if jobs > 1:
        monkeypatch.setattr(pool, "SEQUENTIAL", 0)
        monkeypatch.setattr(pool, "_PER_PROCESS", 1)
    told = []
    reading = read_scripts(paths, setup, jobs=jobs, timeout=60, cache=None, told=lambda done, total, path: told.append((done, total, path)))
    assert sorted(path for _, _, path in told) == sorted(map(str, paths))
    assert [step[:2] for step in told] == [(number, len(paths)) for number in range(1, len(paths) + 1)]
    return reading


@pytest.fixture
def files(tmp_path):
    contents = {
        "broken.py": b"def (:\n", "deep.py": b"x = " + b"-" * 100_000 + b"1", "empty.py": b"", "latin.py": b"x = '\xe4'\n", "model.py": MODEL.encode(),
        "nul.py": b"x = 1\0", "ok.py": b"x = 1\n", "pragma.py": b"# normadvisor: nonsense\nfrom torch import nn\n",
        "new.py": b"type X[T = int] = list[T]\nx = t'{y}'\n", "r.ipynb": b'{"cells": [], "metadata": {"kernelspec": {"language": "R"}}}',
        "b.ipynb": json.dumps({"cells": [{"cell_type": "code", "source": "x = 1"}, {"cell_type": "code", "source": "y = ("}]}).encode(),
    }  # fmt: skip
    for name, content in contents.items():
        (tmp_path / name).write_bytes(content)
    return [tmp_path / name for name in sorted(contents)]


def test_every_number_of_processes_gives_the_same(files, setup, monkeypatch):
    plain = setup(rules=(), survey=True)
    alone = read(files, plain, 1, monkeypatch)
    assert read(files, plain, 3, monkeypatch) == alone
    assert [result.path for result in alone.results] == files
    problems = {problem.target: str(problem.location).rpartition("/")[2] for problem in alone.problems(lambda path: path.name, [])}
    assert (problems.pop("new.py", None) is None) == (sys.version_info >= (3, 14))
    assert problems == {
        "b.ipynb": "b.ipynb:cell 2:1:5", "broken.py": "broken.py:1:5", "deep.py": "deep.py:1:1", "latin.py": "latin.py:1:1", "nul.py": "nul.py:1:1",
        "pragma.py": "pragma.py:1:1",
    }  # fmt: skip
    by_name = {result.path.name: result for result in alone.results}
    survey = by_name["model.py"].survey
    assert [item.name for item in survey.candidates] == ["Net"]
    assert (survey.needing_arguments, survey.named_contexts) == ({"Block": ["width"]}, {"Net": RunContext(batch_size=4)})
    assert list(alone.notes(lambda path: path.name, [])) == ["r.ipynb was passed over: the cells of this notebook are in R, not in Python"]
    assert "r.ipynb" in {problem.target for problem in alone.problems(lambda path: path.name, [files[0].parent / "r.ipynb"])}


def test_results_survive_json(files, setup, fake):
    (files[0].parent / "ok.py").write_text(DROPOUT + "# uses model.py\n# loss model.py:Net mse\n# slow\n")
    analyser = Analyser(setup(survey=True))
    for path in files:
        result = analyser.read(path)
        assert FileResult.from_dict(json.loads(json.dumps(result.to_dict()))) == result


def test_code_too_deep_to_be_followed_is_a_problem_of_that_file(tmp_path, setup, fake):
    (tmp_path / "a.py").write_text("# deep\n")
    (tmp_path / "b.py").write_text(DROPOUT)
    analyser = Analyser(setup())
    assert [problem.message for problem in analyser.read(tmp_path / "a.py").problems] == ["the code is nested too deeply to be followed"]
    assert [finding.line for finding in analyser.read(tmp_path / "b.py").findings] == [4]


def test_a_process_that_dies_or_hangs_costs_one_file(tmp_path, setup, monkeypatch):
    names = ["a.py", "die.py", "hang.py", "z.py"]
    for name in names:
        (tmp_path / name).write_text("x = 1\n")
    (tmp_path / "sitecustomize.py").write_text(
        "import os, time\nfrom pathlib import Path\nimport normadvisor.api.static.analyse as analyse\noriginal = analyse.Analyser.read\n"
        "def read(self, path):\n    if path.name == 'die.py': os._exit(3)\n    if path.name == 'hang.py': time.sleep(1000)\n"
        "    return original(self, path)\nanalyse.Analyser.read = read\n"
    )
    monkeypatch.setenv("PYTHONPATH", str(tmp_path))
    monkeypatch.setattr(pool, "SEQUENTIAL", 0)
    monkeypatch.setattr(pool, "_PER_PROCESS", 1)
    paths = [tmp_path / name for name in names]
    reading = read_scripts(paths, setup(rules=()), jobs=2, timeout=6, cache=None, told=None)
    messages = {result.path.name: [problem.message for problem in result.problems] for result in reading.results}
    assert messages == {"a.py": [], "die.py": ["the process that read it died"], "hang.py": ["reading it took longer than 6 s"], "z.py": []}


def test_one_event_seen_from_two_scripts_is_one_finding(tmp_path, setup, fake):
    (tmp_path / "a.py").write_text(DROPOUT)
    analyser = Analyser(setup())
    result = analyser.read(tmp_path / "a.py")
    assert len(Reading(results=(result, result)).findings()) == 1


HELPER = """\
import torch


def accuracy(model, loader):
    with torch.no_grad():
        return sum((model(x).argmax(1) == y).sum().item() for x, y in loader)
"""
SCRIPT = """\
from torchvision.models import resnet18

from helper import accuracy

print("accuracy", accuracy(resnet18(weights="DEFAULT"), loader))
"""


def test_what_a_script_does_in_a_file_that_is_not_read_stands_at_the_call(tmp_path, setup, rules):
    (tmp_path / "helper.py").write_text(HELPER)
    for name in ("one.py", "two.py"):
        (tmp_path / name).write_text(SCRIPT + "# torch.no_grad\n")

    def found(*names):
        paths = [tmp_path / name for name in names]
        reading = read_scripts(paths, setup(rules=(rules["NA401"],)), jobs=1, timeout=60, cache=None, told=None)
        assert all(FileResult.from_dict(json.loads(json.dumps(result.to_dict()))) == result for result in reading.results)
        return [(finding.path.rpartition("/")[2], finding.line) for finding in reading.findings()]

    assert found("one.py", "two.py") == [("one.py", 5), ("two.py", 5)]
    assert found("one.py", "two.py", "helper.py") == [("helper.py", 6)]
    assert found("helper.py") == []


def test_scripts_tell_how_models_are_trained(tmp_path):
    learnt = Learnt()
    path = str(tmp_path / "net.py")
    learnt.note(f"{path}:Net", "loss", "cross_entropy", "train.py")
    learnt.note(f"{path}:Net", "loss", "cross_entropy", "other.py")
    learnt.note(f"{path}:Net", "batch_size", 4, "train.py")
    learnt.note(f"{path}:Two", "loss", "mse", "a.py")
    learnt.note(f"{path}:Two", "loss", "l1", "b.py")
    words = "the loss cross_entropy is that of train.py, the batch size 4 is that of train.py"
    assert learnt.complete(RunContext(), tmp_path / "net.py", "Net") == (RunContext(loss="cross_entropy", batch_size=4), words)
    said = RunContext(loss="nll", batch_size=64)
    assert learnt.complete(said, tmp_path / "net.py", "Net") == (said, None)
    spread = learnt.complete(RunContext(loss="nll", world_size=8), tmp_path / "net.py", "Net")
    assert spread == (RunContext(loss="nll", world_size=8, batch_size=32), "the batch size 32 is that of train.py")
    assert learnt.complete(RunContext(), tmp_path / "net.py", "Two") == (RunContext(), None)
    assert learnt.complete(RunContext(), tmp_path / "net.py", "Other") == (RunContext(), None)
