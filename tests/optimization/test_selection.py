from dataclasses import dataclass, replace

import pytest
import torch
from torch import nn

from normadvisor.optimization.candidate import Candidate, Kernel, Setting
from normadvisor.optimization.measuring.cache import RatioCache
from normadvisor.optimization.measuring.measurer import Measurer
from normadvisor.optimization.measuring.refusal import NotMeasured
from normadvisor.optimization.prepared import Given
from normadvisor.optimization.proving.function import FunctionProof
from normadvisor.optimization.proving.rounding import Rounding
from normadvisor.optimization.selection import Selection, applied
from normadvisor.rewrite.model.refusal import CannotChange
from normadvisor.types.optimization import Ratio, Replacement

pytestmark = pytest.mark.usefixtures("operation_clock")


class Slow(nn.Module):
    """An identity in five operations."""

    def forward(self, x):
        return x.neg().neg().neg().neg() + 0


def network():
    torch.manual_seed(0)
    return nn.Sequential(nn.Linear(4, 4), Slow(), nn.Linear(4, 4), Slow()).eval()


def put(new, *names):
    def apply(model, journal):
        for name in names:
            if name not in dict(model.named_modules()):
                raise CannotChange(f"there is no {name}")
            journal.set_item(model._modules, name, new)
        return ()

    return apply


def candidate(name="1", new=None, *, rule="NA701", shape="4", kernel=None, apply=None):
    return Candidate(
        rule=rule, pattern="slow", replacement="identity", modules=(name,), shape_key=shape,
        apply=apply or put(nn.Identity() if new is None else new, name), kernel=kernel,
    )  # fmt: skip


def kernel(before, after):
    """Operations alone: this many before, and after."""

    def run(count):
        def call(x):
            for _ in range(count):
                x = x + 0
            return x

        return call

    return lambda: Kernel(before=run(before), after=run(after), arguments=(torch.ones(2),))


def selection(model, **more):
    setting = Setting(mode="inference", device=torch.device("cpu"), dtype=torch.float32, inputs=Given((torch.randn(2, 4),)))
    measurer = Measurer.of(setting, RatioCache(None), seconds=60)
    return Selection(
        measurer=measurer, proof=FunctionProof(model=model, inputs=setting.inputs, mode="inference"),
        rounding=Rounding(model=model, setting=setting), gain=1.03, **more,
    )  # fmt: skip


@dataclass
class Outcome:
    verdict: str
    modules: tuple
    left_out: tuple = ()
    reason: str = ""


def outcome(chosen):
    row = chosen.replacement
    return Outcome(row.verdict, row.modules, row.left_out, row.reason)


def test_what_is_faster_is_kept_with_its_numbers():
    model = network()
    chosen = selection(model).decide(model, "cleanup", [candidate()])
    row = chosen.replacement
    expected = Replacement(
        rule="NA701", stage="cleanup", pattern="slow", replacement="identity", modules=("1",), kernel=None, end_to_end=row.end_to_end,
        memory=1.0, error=row.error, proof="outputs equal in float64, eval, 3 draws, worst 0e+00", verdict="kept",
    )  # fmt: skip
    assert row == expected
    assert row.end_to_end.median == pytest.approx(14 / 9)
    assert [type(module).__name__ for module in chosen.model] == ["Linear", "Identity", "Linear", "Slow"]
    assert [type(module).__name__ for module in model] == ["Linear", "Slow", "Linear", "Slow"]


def test_several_places_are_one_row():
    model = network()
    group = [candidate("1", kernel=kernel(5, 1)), candidate("3", kernel=kernel(5, 1))]
    chosen = selection(model).decide(model, "cleanup", group)
    assert outcome(chosen) == Outcome("kept", ("1", "3"))
    assert chosen.replacement.kernel.median == pytest.approx(5.0)
    assert chosen.candidates == tuple(group)


def test_several_places_of_one_forward_are_counted():
    group = [replace(candidate("1", kernel=kernel(5, 1)), places=3), candidate("3", kernel=kernel(5, 1))]
    chosen = selection(network()).decide(network(), "cleanup", group)
    assert outcome(chosen) == Outcome("kept", ("1", "1", "1", "3"))


def test_a_shape_is_measured_once():
    calls = []

    def counted():
        calls.append(1)
        return kernel(5, 1)()

    model = network()
    selection(model).decide(model, "cleanup", [candidate("1", kernel=counted), candidate("3", kernel=counted)])
    assert len(calls) == 2  # once for its time, once for its rounding


def test_shapes_that_lose_are_left_out():
    model = network()
    group = [candidate("1", kernel=kernel(5, 1)), candidate("3", shape="8", kernel=kernel(2, 3))]
    chosen = selection(model).decide(model, "cleanup", group)
    assert outcome(chosen) == Outcome("kept", ("1",), ("3",))
    assert chosen.replacement.kernel.median == pytest.approx(5.0)
    assert type(chosen.model[3]) is Slow


def test_a_shape_that_loses_by_chance_stays(monkeypatch):
    measured = Measurer.pair

    def uncertain(self, kernel, others=1):
        ratio = measured(self, kernel, others)
        return replace(ratio, median=0.98, low=0.9, high=1.1) if ratio.median < 5 else ratio

    monkeypatch.setattr(Measurer, "pair", uncertain)
    model = network()
    group = [candidate("1", kernel=kernel(20, 1)), candidate("3", shape="8", kernel=kernel(2, 3))]
    chosen = selection(model).decide(model, "cleanup", group)
    assert outcome(chosen) == Outcome("kept", ("1", "3"))
    assert chosen.replacement.kernel.median == pytest.approx((20 * 0.98) ** 0.5)


def test_where_all_shapes_lose_nothing_is_tried():
    model = network()
    chosen = selection(model).decide(model, "cleanup", [candidate("1", kernel=kernel(2, 3))])
    assert outcome(chosen) == Outcome("slower", ("1",), (), "at none of its shapes is it faster")
    assert (chosen.candidates, chosen.model, chosen.replacement.end_to_end) == ((), None, None)


def test_a_small_gain_alone_is_none():
    model = network()
    chosen = selection(model).decide(model, "cleanup", [candidate("1", kernel=kernel(102, 100))])
    assert outcome(chosen) == Outcome("no gain", ("1",))


def test_what_is_rather_slower_alone_is_called_so(monkeypatch):
    ratio = Ratio(median=0.9, low=0.8, high=1.1, pairs=9, before=0.9, after=1.0)
    monkeypatch.setattr(Measurer, "kernel", lambda *_: ratio)
    chosen = selection(network()).decide(network(), "cleanup", [candidate("1", kernel=kernel(1, 1))])
    assert outcome(chosen) == Outcome("slower", ("1",))


def test_what_makes_the_model_slower_is_taken_back():
    model = network()
    chosen = selection(model).decide(model, "cleanup", [candidate("1", nn.Sequential(Slow(), Slow()), kernel=kernel(5, 1))])
    reason = "the operations alone are 5.00 times as fast, but the whole model is slower"
    assert outcome(chosen) == Outcome("slower", ("1",), (), reason)
    assert chosen.model is None


def test_what_computes_something_else_is_taken_back_unmeasured():
    model = network()
    chosen = selection(model).decide(model, "cleanup", [candidate("1", nn.Tanh())])
    assert chosen.replacement.verdict == "not equal"
    assert chosen.replacement.reason.startswith("the output 0 differs by")
    assert (chosen.model, chosen.replacement.end_to_end) == (None, None)


class Coarse(nn.Module):
    def forward(self, x):
        return x.bfloat16().to(x.dtype) if x.dtype is torch.float32 else x


def test_what_rounds_worse_is_taken_back():
    model = network()
    chosen = selection(model).decide(model, "cleanup", [candidate("1", Coarse())])
    assert chosen.replacement.verdict == "not equal"
    assert chosen.replacement.reason.startswith("it rounds worse: an error of ")


def test_what_rounds_worse_alone_is_taken_back_though_the_model_hides_it():
    def coarse():
        return Kernel(
            before=lambda x: x * 1.0 * 1.0 * 1.0, after=lambda x: x.bfloat16().float(), arguments=(torch.randn(64),), exact=lambda x: x * 1.0
        )

    model = network()
    made = candidate("1", kernel=coarse)
    chosen = selection(model).decide(model, "cleanup", [made])
    assert chosen.replacement.verdict == "not equal"
    assert chosen.replacement.reason.startswith("alone it rounds worse: an error of ")
    assert chosen.replacement.reason.endswith(", at 1")


def test_what_cannot_be_changed_is_told_and_the_rest_goes_on():
    model = network()
    gone = candidate("9")
    chosen = selection(model).decide(model, "cleanup", [candidate("1"), gone])
    assert outcome(chosen) == Outcome("kept", ("1",))
    assert chosen.refused == ((gone, "there is no 9"),)


def test_where_nothing_can_be_changed_there_is_no_proof():
    model = network()
    assert outcome(selection(model).decide(model, "cleanup", [candidate("9")])) == Outcome("not proven", (), (), "there is no 9")


def test_a_busy_machine_measures_nothing(monkeypatch):
    def busy(self, *_args, **_more):
        raise NotMeasured("the machine is busy")

    monkeypatch.setattr(Measurer, "models", busy)
    model = network()
    chosen = selection(model).decide(model, "cleanup", [candidate("1")])
    assert outcome(chosen) == Outcome("not measured", ("1",), (), "the machine is busy")
    assert chosen.model is None


def test_operations_that_fail_alone_are_not_measured():
    def broken():
        raise ValueError("no such shape")

    model = network()
    chosen = selection(model).decide(model, "cleanup", [candidate("1", kernel=broken)])
    assert outcome(chosen) == Outcome("not measured", ("1",), (), "ValueError: no such shape")


def test_what_is_asked_for_is_kept_though_it_is_slower():
    model = network()
    chosen = selection(model, forced=frozenset({"NA706"})).decide(
        model, "layout", [candidate("1", nn.Sequential(Slow(), Slow()), rule="NA706")]
    )
    assert outcome(chosen) == Outcome("kept", ("1",), (), "it was asked for")


def test_a_later_replacement_comes_after_what_was_taken():
    model = network()
    one = selection(model)
    first = one.decide(model, "cleanup", [candidate("1")])
    one.take(first)
    second = one.decide(first.model, "cleanup", [candidate("3")])
    assert [type(module).__name__ for module in second.model] == ["Linear", "Identity", "Linear", "Identity"]
    assert second.replacement.end_to_end.median == pytest.approx(9 / 4)


def test_changes_are_applied_one_by_one():
    model = network()
    gone = candidate("9")
    assert applied(model, [candidate("1"), gone, candidate("3")]) == [(gone, "there is no 9")]
    assert [type(module).__name__ for module in model] == ["Linear", "Identity", "Linear", "Identity"]
