"""``torchrun -m normadvisor probe``, as users start it."""

import json
import os
import re
import signal
import subprocess
import sys
import time
from pathlib import Path

import psutil
import pytest

MODEL = """
import ctypes, os, time
import torch
from torch import nn

class Net(nn.Module):
    def __init__(self):
        super().__init__()
        self.conv = nn.Conv2d(3, 8, 3)
        self.bn = nn.BatchNorm2d(8)
        self.fc = nn.Linear(8, 10)

    def forward(self, x):
        return self.fc(torch.relu(self.bn(self.conv(x))).mean((2, 3)))

class Broken(Net):
    passes = 0

    def forward(self, x):
        if os.environ.get("RANK") == "1" and type(x) is torch.Tensor and x.device.type == "cpu" and not self.traced():
            Broken.passes += 1
            if Broken.passes > 4:
                self.fail()
        return super().forward(x)

    def traced(self):
        return any(p.device.type == "meta" for p in self.parameters())

class Crash(Broken):
    def fail(self):
        ctypes.string_at(0)

class Hang(Broken):
    def fail(self):
        time.sleep(1000)

def batches():
    print("who prints this?")
    return [(torch.randn(6, 3, 8, 8) + 4 * i, torch.randint(0, 10, (6,))) for i in range(4)]
"""


def torchrun(folder, *arguments, seconds=1000):
    (folder / "net.py").write_text(MODEL)
    environment = {**os.environ, "OMP_NUM_THREADS": "1", "PYTHONPATH": str(Path(__file__).parents[3]), "PYTHONWARNINGS": "ignore", "COLUMNS": "400"}
    command = [
        sys.executable, "-m", "torch.distributed.run", "--nproc-per-node", "2", "--rdzv-backend", "c10d", "--rdzv-endpoint", "127.0.0.1:0",
        "-m", "normadvisor", *arguments,
    ]  # fmt: skip
    # What its processes leave behind is looked for by a mark in their environment.
    mark = f"torchrun-{os.getpid()}-{time.monotonic_ns()}"
    with subprocess.Popen(
        command, cwd=folder, env={**environment, "NORMADVISOR_TEST_MARK": mark}, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, start_new_session=True
    ) as process:  # fmt: skip
        try:
            out, err = process.communicate(timeout=seconds)
        finally:
            if process.poll() is None:
                os.killpg(process.pid, signal.SIGKILL)
    deadline = time.monotonic() + 100
    while (left := marked(mark)) and time.monotonic() < deadline:
        time.sleep(0.1)
    return process.returncode, out, err, left


def marked(mark):
    found = []
    for process in psutil.process_iter():
        try:
            if process.environ().get("NORMADVISOR_TEST_MARK") == mark and process.status() != psutil.STATUS_ZOMBIE:
                found.append(process.cmdline())
        except psutil.Error:
            continue
    return found


@pytest.mark.slow
def test_rank_0_reports_for_all(tmp_path):
    code, out, err, left = torchrun(tmp_path, "probe", "net.py:Net", "--data", "net.py:batches", "--steps", "2", "--json", "out.json", "--fail-on", "error")
    assert code == 0, err
    assert left == []
    assert out.count("net.py:Net") == 1
    assert "who prints this?" not in out
    (measured,) = json.loads((tmp_path / "out.json").read_text())["probe"]["measurements"]
    setup, facts = measured["setup"], measured["facts"]
    assert (setup["world_size"], setup["batch_size"], setup["batches"]) == (2, 6, 2)
    assert (facts["rank_gradient_gap"], facts["rank_weight_gap"], facts["restored"]) == (0.0, 0.0, True)
    # Rank 0 has batches 0 and 2 of the four, rank 1 the others, which lie four units higher.
    norm = next(layer for layer in measured["layers"] if layer["name"] == "bn")
    assert norm["facts"]["bn_rank_gap"] > 0.5


@pytest.mark.slow
@pytest.mark.parametrize(
    ("target", "words"),
    [
        ("net.py:Crash", r"rank 1: probing net\.py:Crash crashed with a segmentation fault \(SIGSEGV\) \(\S*net\.py:\d+:1\)"),
        ("net.py:Hang", r"rank 1 does not go on: it is at \D*\d+ of \d+, in net\.py:\d+ in fail, while others have waited 10 s at .*"),
    ],
)
def test_rank_that_fails_ends_the_run(tmp_path, target, words):
    code, out, err, left = torchrun(tmp_path, "probe", target, "--input", "4x3x8x8", "--timeout", "60" if "Crash" in target else "10")
    assert left == []
    assert code == 1  # torchrun's own, where any process failed
    plain = " ".join(out.split())
    assert re.search(words, plain), out + err
    assert plain.count("rank 1") == 1
    assert re.search(r"exitcode\s*: 2 ", err), err


def test_wrong_usage_is_told_once(tmp_path):
    code, out, err, left = torchrun(tmp_path, "probe", "net.py:Missing")
    assert code == 1
    assert left == []
    assert (out + err).count("net.py has no 'Missing'") == 1
    assert "rank 0" not in out  # it is the same on all ranks
