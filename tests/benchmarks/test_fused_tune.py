import json
import math

import pytest
import torch

from benchmarks.fused.gpu import tune as tuning
from benchmarks.fused.gpu.clock import Clock
from benchmarks.fused.gpu.shapes import Case
from normadvisor.fused.common.launch import Launch, all_launches, launch, load_launches, register_launches

CASE = Case("swiglu", (2, 3, 8), "tiny")


@pytest.fixture(autouse=True)
def tables(monkeypatch):
    """Two regimes of a kernel that is the faster the nearer it is to 4096 and 2 warps, and cannot run with 16."""
    from normadvisor.fused.common import launch as module

    monkeypatch.setattr(module, "_tables", {})
    monkeypatch.setattr(module, "_overrides", {})
    monkeypatch.setattr(module, "_loaded", {"environment": True})
    register_launches("toy", {"one": Launch(tile=1024, num_warps=8), "two": Launch(tile=512, num_warps=4), "other": Launch(tile=512, num_warps=4)})


class Kernel:
    def __init__(self):
        self.seconds = 0.0

    def __call__(self):
        one = launch("toy.one")
        launch("toy.two")
        if one.num_warps == 16:
            raise RuntimeError("out of registers")
        self.seconds = 1 + abs(math.log2(one.tile / 4096)) + abs(math.log2(one.num_warps / 2))


class Told(Clock):
    def __init__(self, kernel):
        super().__init__(torch.device("cpu"))
        self.kernel = kernel

    def seconds(self, run, number):
        run()
        return [self.kernel.seconds] * number


def test_what_a_kernel_asks_for():
    assert tuning.used(Kernel()) == ["toy.one", "toy.two"]


def test_steps():
    held = {"tile": 256, "num_warps": 32, "num_stages": 1, "programs": 8, "limit": 0}
    assert list(tuning.changes(held)) == [("tile", 512), ("num_warps", 16), ("num_stages", 2), ("programs", 4), ("programs", 16)]


def test_faster_parameters_are_kept(monkeypatch):
    kernel = Kernel()
    monkeypatch.setattr(tuning, "_runner", lambda case, clock: kernel)
    held, faster = tuning.tune(CASE, Told(kernel), {}, math.inf)
    assert (held, faster) == ({"toy.one": {"tile": 2048, "num_warps": 4}}, 5 / 3)
    held, faster = tuning.tune(CASE, Told(kernel), held, math.inf)
    assert (held, faster) == ({"toy.one": {"tile": 4096, "num_warps": 2}}, 3.0)
    assert tuning.tune(CASE, Told(kernel), held, math.inf) == (held, 1.0)
    assert tuning.tune(CASE, Told(kernel), {}, 0.0) == ({}, 1.0)
    assert all_launches()["toy.one"]["tile"] == 1024


def test_what_is_written_can_be_loaded(monkeypatch, tmp_path, capsys):
    kernel, out = Kernel(), tmp_path / "launches.json"
    monkeypatch.setattr(tuning, "_runner", lambda case, clock: kernel)
    monkeypatch.setattr(tuning, "Clock", lambda device: Told(kernel))
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(torch.cuda, "current_device", lambda: 0)
    monkeypatch.setattr(tuning, "CASES", (CASE, Case("geglu", (2, 3, 8), "tiny")))
    assert tuning.main(["--out", str(out), "--only", "swiglu"]) == 0
    assert json.loads(out.read_text()) == {"toy.one": {"num_warps": 4, "tile": 2048}}
    assert tuning.main(["--out", str(out), "--only", "swiglu"]) == 0
    assert capsys.readouterr().out == "swiglu, 2x3x8, bfloat16: 1.67 times as fast\nswiglu, 2x3x8, bfloat16: 3.00 times as fast\n"
    load_launches(out)
    assert (launch("toy.one").tile, launch("toy.one").num_warps) == (4096, 2)


def test_without_a_gpu_nothing_is_tuned(monkeypatch, tmp_path, capsys):
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    assert tuning.main(["--out", str(tmp_path / "launches.json")]) == 2
    assert capsys.readouterr().err == "there is no CUDA device here\n"


def test_the_runner_goes_forward_and_backward():
    first, second = tuning._runner(CASE, Clock(torch.device("cpu")))()
    assert first.shape == second.shape == (2, 3, 8)
