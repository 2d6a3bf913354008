"""``check`` on scripts and notebooks: nothing is imported or run, and a second run is quick."""

from __future__ import annotations

import json
import os
import re
import signal
import subprocess
import sys
import time

import psutil
import pytest

MODEL = """from torch import nn


class Net(nn.Module):
    def __init__(self):
        super().__init__()
        self.conv = nn.Conv2d(3, 8, 3)
        self.bn = nn.BatchNorm2d(8)

    def forward(self, x):
        return self.bn(self.conv(x)).mean((2, 3))
"""
DROPOUT = """import torch.nn.functional as F
from torch import nn


class Net(nn.Module):
    def __init__(self):
        super().__init__()
        self.linear = nn.Linear(2, 2)

    def forward(self, x):
        return F.dropout(self.linear(x))
"""


def notebook(*cells):
    return json.dumps({"cells": [{"cell_type": "code", "source": cell} for cell in cells], "metadata": {}, "nbformat": 4, "nbformat_minor": 5})


@pytest.fixture
def static(tmp_path):
    """Run ``check --static`` as a program, with a torch that must not be imported."""
    fake = tmp_path / "fake"
    fake.mkdir()
    for name in ("torch", "torchvision", "timm", "transformers"):
        (fake / f"{name}.py").write_text("raise SystemExit('imported')\n")
    work = tmp_path / "work"
    work.mkdir()

    def call(*arguments, cached=False):
        command = [sys.executable, "-m", "normadvisor", "check", "--static", *map(str, arguments), *([] if cached else ["--no-cache"])]
        env = {**os.environ, "PYTHONPATH": str(fake)}
        return subprocess.run(command, cwd=work, capture_output=True, check=False, text=True, env=env)

    call.work = work
    return call


def without_time(text):
    return re.sub(r"\(\d+\.\d s\)", "(T)", text)


def test_nothing_is_imported_or_run(static):
    (static.work / "net.py").write_text("import torch\nopen('ran', 'w').close()\n" + MODEL + "\nmodel = Net()\n")
    done = static("net.py")
    assert (done.returncode, without_time(done.stdout), done.stderr) == (0, "No findings in 1 file (T).\n", "note: no model was traced (--static)\n")
    done = static(".", "--format", "json")
    data = json.loads(done.stdout)
    assert (data["models"], data["summary"]["files"], data["summary"]["models"]) == ([], 1, 0)
    assert [path.name for path in static.work.iterdir()] == ["net.py"]


def test_the_file_of_a_model_that_is_named_is_read(static):
    (static.work / "net.py").write_text(MODEL)
    (static.work / "pkg").mkdir()
    (static.work / "pkg" / "nets.py").write_text(MODEL)
    done = static("net.py:Net", "pkg.nets:Net(width=2)", "torchvision.models:resnet18", "--format", "concise")
    assert done.returncode == 2
    assert done.stderr == (
        "note: net.py:Net, pkg.nets:Net(width=2), torchvision.models:resnet18 were not traced (--static): their files were read instead\n"
    )
    assert without_time(done.stdout).splitlines() == [
        ("torchvision.models:resnet18: could not check torchvision.models:resnet18: torchvision.models is no file below the working directory, "
        "and is not imported (leave out --static, or name the file)"),
        "No findings in 2 files; 1 target could not be checked (T).",
    ]


def test_models_of_the_configuration(static):
    (static.work / "net.py").write_text(MODEL)
    (static.work / "normadvisor.toml").write_text('[[models]]\ntarget = "net.py:Net"\n[[models]]\ntarget = "nett.py:Net"\n')
    done = static("--format", "concise")
    assert done.returncode == 2
    assert "No findings in 1 file; 1 target could not be checked" in done.stdout
    assert "did you mean 'net.py:Net'?" in done.stdout


def test_what_is_wrong_with_one_file_does_not_keep_the_others(static):
    contents = {
        "a.py": "def (:\n", "b.py": "x = '\xe4'\n".encode("latin-1"), "c.py": "x = 1\n", "d.ipynb": notebook("x = 1", "!ls", "y = (\n"), "e.ipynb": "{",
        "f.py": "x = " + "-" * 100_000 + "1",
    }  # fmt: skip
    for name, content in contents.items():
        (static.work / name).write_bytes(content if isinstance(content, bytes) else content.encode())
    done = static(".", "--format", "concise")
    assert done.returncode == 2
    assert [line.partition(": could not")[0] for line in done.stdout.splitlines()[:-1]] == [
        "a.py:1:5", "b.py:1:1", "d.ipynb:cell 3:1:5", "e.ipynb:1:2", "f.py:1:1",
    ]  # fmt: skip
    assert done.stdout.splitlines()[-1].startswith("No findings in 1 file; 5 targets could not be checked")


def test_a_notebook_in_another_language(static):
    (static.work / "r.ipynb").write_text('{"cells": [], "metadata": {"kernelspec": {"language": "R"}}}')
    (static.work / "a.py").write_text("x = 1\n")
    done = static(".")
    assert (done.returncode, done.stderr.splitlines()[1]) == (0, "note: r.ipynb was passed over: the cells of this notebook are in R, not in Python")
    assert static("r.ipynb").returncode == 2


def test_models_of_notebooks_are_not_traced(cli, tmp_path):
    (tmp_path / "a.ipynb").write_text(notebook(MODEL))
    done = cli("check", "a.ipynb")
    assert (done.code, without_time(done.out)) == (0, "No findings in 1 file; no models were found (T).\n")
    done = cli("check", "a.ipynb:Net", "--format", "concise")
    assert done.code == 2
    assert "what a notebook defines cannot be imported, so it cannot be traced (name the notebook itself:" in done.out


def test_a_second_run_uses_the_cache(static, tmp_path):
    (static.work / "net.py").write_text(MODEL)
    first = static("net.py", cached=True)
    folder = static.work / ".normadvisor_cache"
    assert len(list((folder / "v1").iterdir())) == 1
    (entry,) = (folder / "v1").iterdir()
    before = entry.stat().st_mtime_ns
    assert without_time(static("net.py", cached=True).stdout) == without_time(first.stdout)
    assert entry.stat().st_mtime_ns == before
    assert static(".", cached=True).stdout.startswith("No findings in 1 file")


@pytest.mark.parametrize("way", ["flag", "environment", "configuration", "project"])
def test_where_the_cache_is(static, tmp_path, monkeypatch, way):
    (static.work / "sub").mkdir()
    (static.work / "sub" / "net.py").write_text(MODEL)
    flags = []
    if way == "flag":
        flags = ["--cache-dir", "kept"]
    elif way == "environment":
        monkeypatch.setenv("NORMADVISOR_CACHE_DIR", str(static.work / "kept"))
    elif way == "configuration":
        (static.work / "normadvisor.toml").write_text('cache-dir = "kept"\n')
    else:
        (static.work / "sub" / "normadvisor.toml").write_text("")
    assert static("sub", *flags, cached=True).returncode == 0
    place = static.work / "sub" / ".normadvisor_cache" if way == "project" else static.work / "kept"
    assert [path.name for path in static.work.rglob("CACHEDIR.TAG")] == ["CACHEDIR.TAG"]
    assert (place / "CACHEDIR.TAG").exists()


def test_the_number_of_processes_changes_nothing(static):
    for number in range(12):
        (static.work / f"m{number}.py").write_text(DROPOUT + "x = 1  # a long file\n" * 4000 + ("def (\n" if number == 5 else ""))
    outputs = {without_time(re.sub(r'"seconds": .*', '"seconds": 0', static(".", "--format", "json", "--jobs", jobs).stdout)) for jobs in (1, 2, 4)}
    assert len(outputs) == 1
    (output,) = outputs
    assert len(json.loads(output)["summary"]["problems"]) == 1


def test_ctrl_c_while_files_are_read_leaves_no_process(started, tmp_path):
    for number in range(400):
        (tmp_path / f"m{number}.py").write_text("x = [" + "1, (2, 3), " * 4000 + "]\n" * 1)
    process = started("check", "--static", ".", "--no-cache", "--jobs", "2", start_new_session=True)
    family = readers_of(process)
    os.killpg(process.pid, signal.SIGINT)
    out, err = process.communicate()
    assert (process.returncode, out, err) == (130, b"", b"interrupted\n")
    _, alive = psutil.wait_procs(family, timeout=100)
    assert alive == []


def readers_of(process):
    """Both of them, as soon as there are two."""
    family = []
    while len(family) < 2:
        assert process.poll() is None
        family = psutil.Process(process.pid).children(recursive=True)
        time.sleep(0.01)
    return family


def test_a_parent_that_is_killed_leaves_no_reader(started, tmp_path):
    for number in range(400):
        (tmp_path / f"m{number}.py").write_text("x = [" + "1, (2, 3), " * 4000 + "]\n")
    process = started("check", "--static", ".", "--no-cache", "--jobs", "2")
    family = readers_of(process)
    process.kill()
    process.wait()
    _, alive = psutil.wait_procs(family, timeout=100)
    assert alive == []


def test_little_is_loaded_for_one_clean_file(tmp_path):
    (tmp_path / "a.py").write_text("import torch\nx = 1\n")
    code = (
        "import sys\nfrom normadvisor.cli.run import run\nassert run(['check', '--static', '--no-cache', 'a.py', '-q']) == 0\n"
        "heavy = {'torch', 'numpy', 'libcst', 'pydantic', 'rich', 'asyncio', 'multiprocessing', 'jinja2'} & set(sys.modules)\n"
        "assert not heavy, heavy"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, check=False, cwd=tmp_path)
    assert (done.returncode, done.stderr) == (0, b"")


SOFTMAX = """from torch import nn


class Net(nn.Module):
    def __init__(self):
        super().__init__()
        self.body = nn.Sequential(nn.Linear(8, 16), nn.ReLU(), nn.Linear(16, 10))
        self.out = nn.Softmax(dim=1)

    def forward(self, x):
        return self.out(self.body(x))
"""
TRAIN = """import torch
from torch import nn
from torch.utils.data import DataLoader

from net import Net


def main(data):
    model = Net()
    criterion = nn.CrossEntropyLoss()
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
    for x, y in DataLoader(data, batch_size=4):
        optimizer.zero_grad()
        loss = criterion(model(x), y)
        loss.backward()
        optimizer.step()
"""


def test_script_and_model_are_joined(cli, tmp_path):
    (tmp_path / "net.py").write_text(SOFTMAX)
    (tmp_path / "train.py").write_text(TRAIN)
    done = cli("check", ".", "--format", "json", "--select", "NA501")
    data = json.loads(done.out)
    (finding,) = data["findings"]
    assert (finding["path"], finding["line"], finding["modules"], finding["model"]) == ("train.py", 14, ["out"], "net.py:Net")
    assert ("net.py", 8) in {(place["path"], place["line"]) for place in finding["related"]}
    assert "note: net.py:Net: the loss cross_entropy is that of train.py, the batch size 4 is that of train.py" in done.err.splitlines()
