import json
import multiprocessing
import textwrap
from dataclasses import replace

import pytest
import torch

from benchmarks.fused.gpu import __main__ as program
from benchmarks.fused.gpu import ahead, steps
from benchmarks.fused.gpu import measure as measuring
from benchmarks.fused.gpu.clock import Clock, copy_bandwidth
from benchmarks.fused.gpu.measure import error, failure, measure
from benchmarks.fused.gpu.networks import GPT, ResNet, UNet
from benchmarks.fused.gpu.operations import OPERATIONS, draw
from benchmarks.fused.gpu.peers import COMPILED
from benchmarks.fused.gpu.shapes import CASES, SMALL, Case
from benchmarks.fused.gpu.steps import FUSED, SMALL_NETWORKS, fuse, measure_steps
from benchmarks.fused.gpu.table import goals_table, operations_table, shortfalls, steps_table
from normadvisor.optimization.fusing.finders import find_fused

CPU = torch.device("cpu")


@pytest.mark.parametrize("case", SMALL, ids=lambda case: f"{case.operation} {case.words}")
def test_operations_agree_with_eager(case):
    operation = OPERATIONS[case.operation]
    inputs = draw(case, operation, CPU)
    assert len(inputs.data) == operation.data
    assert all(tensor.shape == case.shape and tensor.dtype == getattr(torch, case.dtype) for tensor in inputs.data)
    assert all(tensor.is_contiguous(memory_format=torch.channels_last) for tensor in inputs.data if case.channels_last)
    wide = inputs.to(torch.float64)
    assert all(tensor.requires_grad and tensor.dtype == torch.float64 for tensor in wide.differentiated)
    for one, other in zip(_listed(operation.eager(wide)), _listed(operation.fused(wide)), strict=True):
        torch.testing.assert_close(one, other)


def _listed(found):
    return found if isinstance(found, tuple) else (found,)


def test_every_case_has_an_operation_and_sizes_that_fit():
    assert {case.operation for case in (*CASES, *SMALL)} == set(OPERATIONS)
    assert len(set(CASES)) == len(CASES)
    assert all(case.shape[1] % 32 == 0 for case in CASES if case.operation.startswith("group_norm"))


def test_a_case_is_measured_in_every_way():
    row = measure(Case("group_norm + silu", (1, 32, 2, 2), "tiny", dtype="float32"), Clock(CPU), backend="eager", rounds=2)
    keys = {"eager": ["both", "error", "forward"], "fused": ["both", "error", "forward"], COMPILED: ["both", "error"]}
    assert {name: sorted(way) for name, way in row["ways"].items()} == keys
    assert all(len(way["both"]) == len(way.get("forward", way["both"])) == 2 and way["error"] <= 2 for way in row["ways"].values())
    del row["ways"]
    assert row == {
        "operation": "group_norm + silu", "shape": "1x32x2x2", "dtype": "float32", "where": "tiny", "bytes": 512, "passes": {"forward": 3, "both": 8},
    }  # fmt: skip


def test_gradients_come_in_the_order_of_what_each_way_gives(monkeypatch):
    came = {}

    class Noted(torch.autograd.Function):
        @staticmethod
        def forward(ctx, x, name):
            ctx.name = name
            return x.clone()

        @staticmethod
        def backward(ctx, dy):
            came.setdefault(ctx.name, set()).add(dy.is_contiguous())
            return dy, None

    eager = lambda inputs: Noted.apply(inputs.data[0].contiguous(), "eager")  # noqa: E731
    fused = lambda inputs: Noted.apply(inputs.data[0], "fused")  # noqa: E731
    monkeypatch.setitem(OPERATIONS, "group_norm + silu", replace(OPERATIONS["group_norm + silu"], eager=eager, fused=fused, kind="free"))
    row = measure(Case("group_norm + silu", (1, 32, 2, 2), "tiny", channels_last=True, dtype="float32"), Clock(CPU), backend="", rounds=1)
    assert {name: way["error"] for name, way in row["ways"].items()} == {"eager": 0, "fused": 0}
    # Fused gets the order of eager once, where errors are looked at, and its own where it is timed.
    assert came == {"eager": {True}, "fused": {True, False}}


def test_what_fails_is_told_and_the_others_are_timed(monkeypatch):
    def fails(inputs):
        if not torch.is_grad_enabled():
            raise RuntimeError("not without gradients")
        return OPERATIONS["swiglu"].eager(inputs)

    monkeypatch.setitem(OPERATIONS, "swiglu", replace(OPERATIONS["swiglu"], fused=fails))
    case = Case("swiglu", (2, 8), "tiny", dtype="float32")
    row = measure(case, Clock(CPU), backend="", rounds=1)
    assert row["ways"]["fused"]["failed"] == "RuntimeError: not without gradients"
    assert sorted(row["ways"]["eager"]) == ["both", "error", "forward"]
    assert failure(case, torch.OutOfMemoryError("too large")) == {
        "operation": "swiglu", "shape": "2x8", "dtype": "float32", "where": "tiny", "bytes": 64, "passes": {"forward": 3, "both": 8},
        "ways": {"fused": {"failed": "OutOfMemoryError: too large"}},
    }  # fmt: skip


def test_gradients_beside_a_kink_are_not_looked_at(monkeypatch):
    own = OPERATIONS["batch_norm + relu"]

    class Moved(torch.autograd.Function):
        @staticmethod
        def forward(ctx, z):
            ctx.save_for_backward(z)
            return z.relu()

        @staticmethod
        def backward(ctx, dy):
            return dy * (ctx.saved_tensors[0] > -0.1)  # Torch asks for more than zero.

    monkeypatch.setitem(OPERATIONS, "batch_norm + relu", replace(own, fused=lambda inputs: Moved.apply(own.before(inputs))))
    case = Case("batch_norm + relu", (2, 8, 16, 16), "some entries are that near to zero")
    assert measure(case, Clock(CPU), backend="", rounds=1)["ways"]["fused"]["error"] <= 2
    monkeypatch.setattr(measuring, "_NEAR", 0.0)
    assert measure(case, Clock(CPU), backend="", rounds=1)["ways"]["fused"]["error"] > 2


def test_errors_are_in_times_of_eager_or_of_rounding():
    exact = (torch.tensor([1.0, 100.0], dtype=torch.float64),)
    eager, worse = (torch.tensor([1.0, 100.5]),), (torch.tensor([1.0, 102.0]),)
    assert error(worse, eager, exact) == pytest.approx(4.0)
    assert error(eager, worse, exact) == pytest.approx(0.25)
    exactly = (torch.tensor([1.0, 100.0]),)
    assert error(exactly, exactly, exact) == 0
    assert error(eager, exactly, exact) == pytest.approx(0.005 / (4 * torch.finfo(torch.float32).eps))


def test_clock():
    clock = Clock(CPU)
    calls = []
    found = clock.rounds([lambda: calls.append(1), lambda: calls.append(2)], 2, each=2)
    assert calls == [1, 1, 2, 2, 2, 2, 1, 1]
    assert [len(times) for times in found] == [2, 2]
    assert copy_bandwidth(clock, 2**16) > 0


def test_on_a_gpu_launches_are_queued_while_it_sleeps(monkeypatch):
    done = []

    class Event:
        def __init__(self, enable_timing):
            assert enable_timing

        def record(self):
            done.append("event")

        def elapsed_time(self, other):
            return 2.5

    class Flushed(torch.Tensor):
        def zero_(self):
            done.append("flush")

    clock = Clock(CPU)
    clock.device, clock._other = torch.device("cuda:0"), torch.zeros(1).as_subclass(Flushed)
    monkeypatch.setattr(torch.cuda, "Event", Event)
    monkeypatch.setattr(torch.cuda, "_sleep", lambda cycles: done.append("sleep"))
    monkeypatch.setattr(torch.cuda, "synchronize", lambda device: done.append(f"wait for {device}"))
    assert clock.seconds(lambda: done.append("run"), 2) == [0.0025, 0.0025]
    assert done == [*["flush", "sleep", "event", "run", "event"] * 2, "wait for cuda:0"]


def test_networks():
    x = torch.randn(2, 4, 8, 8)
    assert UNet(32, (1, 2), 1, 4, 2)(x, torch.tensor([3, 500])).shape == x.shape
    assert ResNet((1, 1), 8, 5)(torch.randn(2, 3, 32, 32)).shape == (2, 5)
    assert GPT(32, 2, 2, 50, 8)(torch.zeros(2, 8, dtype=torch.long)).shape == (2, 8, 50)
    with torch.device("meta"):
        assert sum(parameter.numel() for parameter in ResNet().parameters()) == 25_557_032
        assert sum(parameter.numel() for parameter in GPT().parameters()) == 124_439_808
        assert sum(parameter.numel() for parameter in UNet().parameters()) > 300_000_000


def test_steps_with_fused_operations_give_the_same_loss():
    found = measure_steps(SMALL_NETWORKS["diffusion U-Net"], Clock(CPU), FUSED, rounds=1, force=True)
    assert found["places"] == {"group_norm + silu": {"fused": 15}, "add + layer_norm": {"fused": 3}, "gelu * up": {"fused": 3}}
    assert found["losses"]["fused"] == pytest.approx(found["losses"]["eager"], rel=1e-2)
    assert {name: len(times) for name, times in found["seconds"].items()} == {"eager": 1, "fused": 1}


def test_places_that_are_not_faster_are_left():
    class Alike(Clock):
        def rounds(self, runs, number, each=3):
            return [[1.0] * number for _ in runs]

    network = SMALL_NETWORKS["ResNet-50"]
    model, inputs = network.build(CPU).train(), network.inputs(CPU)
    assert fuse(model, inputs, Alike(CPU)) == {}  # On a CPU there is nothing to fuse.
    assert fuse(model, inputs, Alike(CPU), force=True) == {"batch_norm + relu": {"fused": 5}, "batch_norm + add + relu": {"fused": 2}}


def row(operation, size, fused, eager=None, compiled=None, error=1.0, **others):
    ways = {"eager": {"error": 1.0, "forward": [eager or 1.0], "both": [eager or 1.0]}}
    ways["fused"] = {"error": error, "forward": [fused / 2], "both": [fused]} if fused else {"failed": "RuntimeError: no"}
    if compiled:
        ways["torch.compile"] = {"error": 1.0, "forward": [compiled], "both": [compiled]}
    ways |= {name: {"error": 1.0, "forward": [time], "both": [time]} for name, time in others.items()}
    return {
        "operation": operation, "shape": "2x3", "dtype": "bfloat16", "where": "here", "bytes": size, "passes": {"forward": 3, "both": 8}, "ways": ways,
    }  # fmt: skip


ROWS = [
    row("group_norm + silu", 128 * 2**20, 1e-3, 4e-3, 2e-3, apex=1.1e-3),
    row("group_norm + silu", 2**20, 1e-5, 1e-5),
    row("batch_norm + relu", 128 * 2**20, 2e-3, 1e-3, 1e-3, error=3.0),
    row("swiglu", 2**20, None),
]


def test_operations_table():
    assert operations_table(ROWS, 2e12) == textwrap.dedent("""\
        | operation | shape | dtype | where | MiB | forward µs | both µs | forward share | both share | to eager | to compile | to others | error |
        | --- | --- | --- | --- | --- | --- | --- | --- | --- | --- | --- | --- | --- |
        | group_norm + silu | 2x3 | bfloat16 | here | 128 | 500.0 | 1000.0 | 40% | 54% | 4.00 | 2.00 | apex 1.10 | 1.00 |
        | group_norm + silu | 2x3 | bfloat16 | here | 1 | 5.0 | 10.0 | 31% | 42% | 1.00 |  |  | 1.00 |
        | batch_norm + relu | 2x3 | bfloat16 | here | 128 | 1000.0 | 2000.0 | 20% | 27% | 0.50 | 0.50 |  | 3.00 |
        | swiglu | 2x3 | bfloat16 | here | 1 | fails: RuntimeError: no | | | | | | | |

        | operation | cases | share of bandwidth over 64 MiB | to eager | to compile |
        | --- | --- | --- | --- | --- |
        | group_norm + silu | 2 | 54% | 2.00 | 2.00 |
        | batch_norm + relu | 1 | 27% | 0.50 | 0.50 |
        | swiglu | 1 |  |  |  |

        What failed:

        - swiglu, 2x3, bfloat16, fused: RuntimeError: no""")


def test_shortfalls():
    assert shortfalls(ROWS, 2e12) == [
        "group_norm + silu, 2x3, bfloat16: 54% of the bandwidth of a copy, wanted 80%",
        "batch_norm + relu, 2x3, bfloat16: the error is 3.0 times that of eager",
        "batch_norm + relu, 2x3, bfloat16: 0.50 times the speed of eager",
        "swiglu, 2x3, bfloat16: RuntimeError: no",
        "batch_norm + relu: 0.50 times the speed of eager in geometric mean, wanted 1.3",
        "batch_norm + relu: 0.50 times the speed of torch.compile in geometric mean, wanted 1.0",
    ]
    assert shortfalls([row("group_norm + silu", 128 * 2**20, 1e-3, 4e-3, 2e-3)], 1.2e12) == []


def test_goals_table():
    assert goals_table(ROWS, 2e12) == textwrap.dedent("""\
        | goal | wanted | measured | met |
        | --- | --- | --- | --- |
        | group_norm + silu, share of bandwidth, lowest over 64 MiB | 80% | 54% | **no** |
        | group_norm + silu, times the speed of eager, geometric mean | 2.00 | 2.00 | yes |
        | group_norm + silu, times the speed of torch.compile, geometric mean | 1.20 | 2.00 | yes |
        | batch_norm + relu, times the speed of eager, geometric mean | 1.30 | 0.50 | **no** |
        | batch_norm + relu, times the speed of torch.compile, geometric mean | 1.00 | 0.50 | **no** |
        | batch_norm + add + relu, times the speed of eager, geometric mean | 1.30 |  | not measured |
        | batch_norm + add + relu, times the speed of torch.compile, geometric mean | 1.00 |  | not measured |
        | any shape, times the speed of eager, lowest | 0.97 | 0.50 | **no** |""")


def test_steps_table():
    fused = {
        "words": "2 images", "places": {"batch_norm + relu": {"fused": 3, "left": 1}}, "cold": 31.4, "losses": {"eager": 1.25, "fused": 1.26},
        "memory": {"eager": 2**20, "fused": None}, "seconds": {"eager": [0.2, 0.2, 0.2], "fused": [0.1, 0.2, 0.25]},
    }  # fmt: skip
    assert steps_table({"net": {"fused": fused}, "other": {"torch.compile": {"failed": "OutOfMemoryError: no"}}}) == textwrap.dedent("""\
        | network | way | ms a step | times the speed of eager | peak MiB | first loss | first loss after s | places fused |
        | --- | --- | --- | --- | --- | --- | --- | --- |
        | net, 2 images | eager | 200.0 |  | 1 | 1.2500 |  |  |
        | net, 2 images | fused | 200.0 | 1.000 (0.800 to 2.000) |  | 1.2600 | 31 | 3 of 4 batch_norm + relu |
        | other | torch.compile | fails: OutOfMemoryError: no | | | | | |""")


def test_kernels_are_compiled_ahead_in_processes_of_their_own(monkeypatch, tmp_path):
    monkeypatch.setenv("TRITON_CACHE_DIR", str(tmp_path))
    monkeypatch.setattr(ahead.os, "cpu_count", lambda: 2)
    assert ahead.compile_ahead([], [], CPU, 60) == ([], True)
    wrong = Case("group_norm + silu", (1, 33, 2, 2), "33 channels are not 32 groups")
    assert ahead.compile_ahead([SMALL[0], wrong], [], CPU, 200) == (["group_norm + silu: RuntimeError"], True)


def test_what_takes_too_long_is_compiled_later():
    class Waiting:
        def get(self, seconds):
            assert seconds == 0
            raise multiprocessing.TimeoutError

    assert ahead._result(Waiting(), 0.0) is None


def test_what_is_compiled_ahead_is_what_is_run(monkeypatch):
    ran = []
    monkeypatch.setattr(steps, "kernel_runs", lambda kernel, mode: (None, lambda: ran.append(mode)))
    monkeypatch.setattr(steps, "find_fused", lambda model, graph, setting: find_fused(model, graph, replace(setting, force=True)))
    monkeypatch.setattr(ahead, "NETWORKS", SMALL_NETWORKS)
    assert ahead.prepare(("diffusion U-Net", "cpu")) == ""
    assert ran == ["training"] * 9  # Of 21 places that many are different.


def test_without_a_gpu_nothing_is_measured(monkeypatch, capsys):
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    assert program.main([]) == 2
    assert capsys.readouterr().err == "there is no CUDA device here; --smoke tries the program out on a CPU\n"


def test_the_program_runs_and_writes(monkeypatch, tmp_path, capsys):
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    written = tmp_path / "table.md"
    assert program.main(["--smoke", "--backend", "none", "--rounds", "1", "--out", str(written)]) == 0
    text, kept = written.read_text(encoding="utf-8"), json.loads(written.with_suffix(".json").read_text(encoding="utf-8"))
    assert text.startswith("# Fused operations on a GPU\n")
    assert text.endswith(capsys.readouterr().out)
    assert "**Tiny shapes to try the program out: the numbers mean nothing.**" in text
    assert [row["operation"] for row in kept["operations"]] == [case.operation for case in SMALL]
    assert all("failed" not in way for row in kept["operations"] for way in row["ways"].values())
    assert {name: list(ways) for name, ways in kept["steps"].items()} == {name: ["fused"] for name in SMALL_NETWORKS}
    assert all("failed" not in row for ways in kept["steps"].values() for row in ways.values())
    assert kept["left_out"] == []


def test_what_there_is_no_time_for_is_said(monkeypatch, capsys):
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    assert program.main(["--smoke", "--seconds", "0", "--only", "G", "--rounds", "1"]) == 0
    assert program.main(["--smoke", "--seconds", "0", "--only", "swiglu", "--no-steps"]) == 0
    told = capsys.readouterr().out
    assert "There was no time left for:\n\n- GPT-2, fused\n" in told
    assert "There was no time left for:\n\n- swiglu, 2x3x16\n" in told
