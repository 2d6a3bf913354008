import pytest
import torch

from normadvisor.fused.common.implementations import Implementation
from normadvisor.optimization.candidate import Kernel, Setting
from normadvisor.optimization.fusing.choice import fastest

SIZE = 600
SETTING = Setting(mode="inference", device=torch.device("cpu"), dtype=torch.float32, inputs=None)


def slow(x):
    for _ in range(8):
        x @ x
    return x


def fast(x):
    return x


def broken(x):
    raise RuntimeError("no such shape")


def one(name, run, **given):
    return Implementation(name=name, run=run, refuses=lambda: "", **given)


def kernel(implementation):
    return Kernel(before=slow, after=implementation.run, arguments=(torch.randn(SIZE, SIZE),))


def chosen(*known, refused=lambda _: ""):
    return fastest(known, kernel, refused, SETTING).name


def test_the_own_one_is_taken_where_there_is_no_other():
    assert chosen(one("fused", broken), one("torch", fast)) == "fused"


@pytest.mark.parametrize(
    ("others", "wanted"),
    [
        ([one("quick", fast)], "quick"),
        ([one("slower", lambda x: (slow(x), slow(x)))], "fused"),
        ([one("broken", broken), one("quick", fast)], "quick"),
        ([one("careful", fast, caution="writes over its input")], "fused"),
    ],
)
def test_others_are_measured(others, wanted):
    assert chosen(one("fused", slow), one("torch", fast), *others) == wanted


def test_what_refuses_is_not_chosen():
    assert chosen(one("fused", slow), one("quick", fast), refused=lambda each: "no" if each.name == "quick" else "") == "fused"
