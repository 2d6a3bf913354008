import json
import textwrap

import pytest
import torch
from torch import nn

from benchmarks.fused.cpu import __main__ as program
from benchmarks.fused.cpu import measure as measuring
from benchmarks.fused.cpu.measure import Runner, measure, rounds
from benchmarks.fused.cpu.models import MODELS, build
from benchmarks.fused.cpu.table import shortfalls, tables
from benchmarks.fused.cpu.variants import ALONE, OURS, TOGETHER, VARIANTS, Variant


class Model(nn.Module):
    def __init__(self):
        super().__init__()
        self.conv, self.bn = nn.Conv2d(3, 4, 3), nn.BatchNorm2d(4)

    def forward(self, x):
        return self.bn(self.conv(x)).relu()


class Clocked:
    """A runner whose calls take as long as it is told."""

    def __init__(self, name, times, log):
        self.name, self.times, self.log = name, iter(times), log

    def seconds(self):
        self.log.append(self.name)
        return next(self.times)


def test_all_take_turns_and_eager_frames_each_round():
    log = []
    runners = {
        "eager": Clocked("eager", [1.0, 3.0, 4.0, 4.0], log),
        "one": Clocked("one", [1.0, 2.0], log),
        "two": Clocked("two", [4.0, 1.0], log),
    }
    assert rounds(runners, 2) == ({"one": [2.0, 2.0], "two": [0.5, 4.0]}, [2.0, 4.0])
    assert log == ["eager", "one", "two", "eager", "eager", "two", "one", "eager"]


def test_short_calls_are_repeated():
    calls = []
    runner = Runner(calls.append, torch.zeros(1))
    runner.warm_up()
    before = len(calls)
    runner.seconds()
    assert (runner.number, len(calls) - before) == (64, 64)


def test_variants_are_measured_beside_eager_and_the_model_stays(monkeypatch):
    def broken(model, images):
        raise ValueError("does not\n go")

    monkeypatch.setattr(measuring, "_AT_LEAST", 1e-4)
    monkeypatch.setitem(VARIANTS, "broken", Variant(broken))
    model = Model().eval()
    before = {name: value.clone() for name, value in model.state_dict().items()}
    found = measure(model, torch.randn(2, 3, 8, 8), ["fx fuse", "channels_last", "fx fuse + channels_last", "broken"], 3)
    assert list(found) == ["eager", "variants", "threads"]
    assert len(found["eager"]) == 3
    assert found["variants"].pop("broken") == {"failed": "ValueError: does not go"}
    assert list(found["variants"]) == ["fx fuse", "channels_last", "fx fuse + channels_last"]
    for variant in found["variants"].values():
        assert list(variant) == ["cold", "error", "ratios"]
        assert len(variant["ratios"]) == 3
        assert variant["error"] < 1e-5
    assert all(torch.equal(value, before[name]) for name, value in model.state_dict().items())
    assert model.conv.weight.is_contiguous()


def test_images_come_in_the_memory_format_that_a_model_computes_in(monkeypatch):
    given = []

    def made(memory_format):
        def make(model, images):
            model = model.to(memory_format=memory_format)
            model.register_forward_pre_hook(lambda _, args: given.append(args[0].is_contiguous(memory_format=torch.channels_last)))
            return model

        return make

    monkeypatch.setattr(measuring, "_AT_LEAST", 1e-4)
    monkeypatch.setitem(VARIANTS, "last", Variant(made(torch.channels_last), channels_last=None))
    monkeypatch.setitem(VARIANTS, "first", Variant(made(torch.contiguous_format), channels_last=None))
    model = nn.Sequential(nn.Conv2d(3, 4, 3)).eval()
    for name, wanted in (("last", True), ("first", False)):
        measure(model, torch.randn(2, 3, 8, 8), [name], 1)
        assert set(given) == {wanted}
        given.clear()


def test_the_models_hold_statistics_of_their_own():
    pytest.importorskip("torchvision", reason="NOT CHECKED: torchvision is not installed, so no model is built (extra `zoo`)")
    model = build("mobilenet_v3_large")
    norms = [module for module in model.modules() if isinstance(module, nn.BatchNorm2d)]
    assert norms
    assert not model.training
    assert all(norm.running_mean.abs().max() > 0 and not torch.equal(norm.weight, torch.ones_like(norm.weight)) for norm in norms)
    assert all(torch.equal(one, other) for one, other in zip(model.state_dict().values(), build("mobilenet_v3_large").state_dict().values(), strict=True))


def row(model, batch, **variants):
    return {"model": model, "batch": batch, "eager": [0.2, 0.1, 0.3], "threads": 4, "variants": variants}


def test_tables():
    plain, compiled = "fx fuse + channels_last", "compile"
    rows = [
        row("one", 1, **{plain: {"failed": "TraceError: no"}, OURS: {"ratios": [1.5], "cold": 12.34, "error": 2e-7}}),
        row("two", 8, **{plain: {"ratios": [1.5, 1.6, 1.7], "cold": 0.1, "error": 1e-6}, OURS: {"ratios": [0.9, 0.9], "cold": 1, "error": 3e-4}}),
        row("three", 8, **{compiled: {"ratios": [2.0, 2.0, 2.0], "cold": 30.0, "error": 1e-6}, OURS: {"failed": "ValueError: bad"}}),
    ]
    assert tables(rows) == textwrap.dedent("""\
        ## Times the speed of eager, batch 1

        | model | eager ms | fx fuse + channels_last | normadvisor | compile |
        | --- | --- | --- | --- | --- |
        | one | 200.0 | fails (TraceError) | 1.50 |  |
        | geometric mean (of models) | |  | 1.50 (1) |  |

        ## Times the speed of eager, batch 8

        | model | eager ms | fx fuse + channels_last | normadvisor | compile |
        | --- | --- | --- | --- | --- |
        | two | 200.0 | 1.60 (1.50 to 1.70) | 0.90 (0.90 to 0.90) |  |
        | three | 200.0 |  | fails (ValueError) | 2.00 (2.00 to 2.00) |
        | geometric mean (of models) | | 1.60 (1) | 0.90 (1) | 2.00 (1) |

        ## Seconds until the first result is there

        | model | batch | fx fuse + channels_last | normadvisor | compile |
        | --- | --- | --- | --- | --- |
        | one | 1 |  | 12.3 |  |
        | two | 8 | 0.1 | 1.0 |  |
        | three | 8 |  |  | 30.0 |

        ## Largest error relative to the largest output of eager

        | model | batch | fx fuse + channels_last | normadvisor | compile |
        | --- | --- | --- | --- | --- |
        | one | 1 |  | 2.0e-07 |  |
        | two | 8 | 1.0e-06 | 3.0e-04 |  |
        | three | 8 |  |  | 1.0e-06 |

        ## What failed

        - one, batch 1, fx fuse + channels_last: TraceError: no
        - three, batch 8, normadvisor: ValueError: bad

        ## Where the optimized model falls short

        - two, batch 8: 0.90 times the speed of eager, less than 0.98
        - two, batch 8: 0.90 times the speed of eager, less than the 1.60 of fx fuse + channels_last
        - two, batch 8: relative error 3.0e-04, more than 1e-04
        - three, batch 8: ValueError: bad""")
    assert shortfalls(rows[:1]) == []
    assert shortfalls([row("four", 8, compile={"failed": "no"})]) == []


def test_a_run_goes_on_where_it_was_interrupted(monkeypatch, tmp_path, capsys):
    asked = []

    def process(model, batch, variants, arguments):
        asked.append((model, batch, tuple(variants)))
        if model == "resnet50" and batch == 8:
            raise KeyboardInterrupt
        return {"eager": [1.0], "threads": 2, "variants": {name: {"ratios": [2.0], "cold": 1.0, "error": 0.0} for name in variants}}

    monkeypatch.setattr(program, "_process", process)
    rows, written = tmp_path / "rows.jsonl", tmp_path / "table.md"
    given = ["--busy", "--only", "resnet50", "vit_small_patch16_224", "--rows", str(rows), "--write", str(written)]
    with pytest.raises(KeyboardInterrupt):
        program.main(given)
    parts = [TOGETHER, *((name,) for name in ALONE)]
    assert asked == [(model, 1, part) for model in ("resnet50", "vit_small_patch16_224") for part in parts] + [("resnet50", 8, TOGETHER)]
    assert len(rows.read_text().splitlines()) == 6
    asked.clear()
    monkeypatch.setattr(program, "_process", lambda *given: process("again", *given[1:]))
    assert program.main(given) == 0
    assert asked == [("again", 8, part) for _ in range(2) for part in parts]
    assert [json.loads(line)["model"] for line in rows.read_text().splitlines()[-3:]] == ["vit_small_patch16_224"] * 3
    assert "| resnet50 | 1000.0 | 2.00 | 2.00 | 2.00 | 2.00 | 2.00 | 2.00 |" in written.read_text()


def test_a_busy_machine_is_not_measured_on(monkeypatch, capsys):
    monkeypatch.setattr(program.psutil, "cpu_percent", lambda _: 60.0)
    monkeypatch.setattr(program, "_process", lambda *_: pytest.fail("measured"))
    assert program.main(["--only", "resnet50", "--wait", "0"]) == 2
    assert capsys.readouterr().err == "others take more than 15% of the machine: what is measured beside them counts for nothing\n"


def test_a_process_that_fails_is_a_result(monkeypatch):
    class Arguments:
        rounds, side, threads = 1, 32, 1

    monkeypatch.setattr(program.sys, "executable", "/bin/false")
    assert program._process("resnet50", 1, ["compile"], Arguments) == {"variants": {"compile": {"failed": "Exit: code 1"}}}


def test_every_model_has_a_package():
    assert set(MODELS.values()) == {"torchvision", "timm"}
