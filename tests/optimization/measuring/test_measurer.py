import json

import pytest
import torch
from torch import nn

from normadvisor import __version__
from normadvisor.optimization.candidate import Candidate, Kernel, Setting
from normadvisor.optimization.measuring import measurer as module
from normadvisor.optimization.measuring.busy import Mark, Watch
from normadvisor.optimization.measuring.cache import RatioCache
from normadvisor.optimization.measuring.measurer import Measurer, device_name
from normadvisor.optimization.measuring.refusal import Busy, NotMeasured
from normadvisor.optimization.prepared import Given
from normadvisor.types.optimization import Ratio

RATIO = Ratio(median=1.5, low=1.4, high=1.6, pairs=9, before=0.3, after=0.2)


def measurer(cache=None, watch=None, **more):
    setting = Setting(mode="inference", device=torch.device("cpu"), dtype=torch.float32, inputs=Given((torch.randn(2, 4),)))
    idle = Watch(1, cores=4, mark=lambda: Mark(0.0, 0.0, 0.0))
    return Measurer(setting=setting, cache=cache or RatioCache(None), watch=watch or idle, seconds=5.0, **more)


def candidate(kernel):
    return Candidate(rule="NA701", pattern="a", replacement="b", modules=("0",), shape_key="2x4", apply=lambda model, journal: (), kernel=kernel)


def identity():
    return Kernel(before=torch.neg, after=torch.neg, arguments=(torch.ones(4),))


@pytest.mark.usefixtures("operation_clock")
def test_a_place_is_measured_once_and_then_known():
    cache = RatioCache(None)
    one = measurer(cache)
    first = one.kernel(candidate(identity))
    assert (first.median, one.kernel(candidate(lambda: 1 / 0))) == (1.0, first)


def test_what_another_run_measured_is_taken(tmp_path):
    cache = RatioCache(tmp_path)
    cache.put(measurer().key(candidate(identity).group, "2x4"), RATIO)
    cache.save()
    found = measurer(RatioCache(tmp_path)).kernel(candidate(lambda: 1 / 0))
    assert (found.median, found.cached) == (1.5, True)


def test_the_key_names_everything_that_a_ratio_depends_on(monkeypatch):
    monkeypatch.setattr(module, "_cpu_name", lambda: "Test CPU")
    assert json.loads(measurer().key("NA701 a -> b", "2x4")) == [
        "Test CPU", torch.get_num_threads(), torch.__version__, __version__, "inference", "float32", "NA701 a -> b", "2x4",
    ]  # fmt: skip


@pytest.mark.parametrize(
    ("kernel", "reason"),
    [
        (None, "there are no operations that could be measured alone"),
        (lambda: 1 / 0, "ZeroDivisionError: division by zero"),
        (lambda: Kernel(before=torch.neg, after=lambda x: x.nothing, arguments=(torch.ones(1),)), "'Tensor' object has no attribute 'nothing'"),
    ],
    ids=["none", "cannot be built", "fails"],
)
def test_what_cannot_be_measured_says_why(kernel, reason):
    with pytest.raises(NotMeasured) as refusal:
        measurer().kernel(candidate(kernel))
    assert refusal.value.reason.endswith(reason)


@pytest.mark.usefixtures("operation_clock")
def test_models_are_compared_in_time_and_memory():
    model = nn.Sequential(nn.Linear(4, 64), nn.Linear(64, 4)).eval()
    wide = nn.Sequential(nn.Linear(4, 128), nn.Linear(128, 4), nn.Identity(), nn.ReLU()).eval()
    one = measurer()
    assert one.models(wide, model).median > 1
    assert one.memory(wide, model) == pytest.approx((64 + 4) / (128 + 4), rel=0.05)


class Load:
    """What others compute in each look, in cores; the last goes on."""

    def __init__(self, *cores):
        self.cores, self.at, self.done = list(cores), 0.0, 0.0
        self.started = False

    def __call__(self):
        if self.started:
            self.at += 1.0
            self.done += self.cores.pop(0) if len(self.cores) > 1 else self.cores[0]
        self.started = not self.started
        return Mark(self.at, self.done, 0.0)


@pytest.fixture
def naps(monkeypatch):
    taken = []
    monkeypatch.setattr(module.time, "sleep", taken.append)
    return taken


def test_a_machine_that_grows_idle_is_waited_for(naps):
    one = measurer(watch=Watch(4, cores=4, mark=Load(3, 3, 0)))
    one.look()
    assert (one.busy, len(naps)) == ("", 5)


def test_a_machine_that_stays_busy_is_given_up_for_all_measurements(naps):
    one = measurer(watch=Watch(4, cores=4, mark=Load(3)))
    one.look()
    assert one.busy == "the machine is busy: other processes use 3.0 of its 4 cores"
    looked = len(naps)
    for _ in range(2):
        with pytest.raises(Busy, match=r"^the machine is busy: other processes use 3\.0 of its 4 cores$"):
            one.pair(identity())
    assert (looked, len(naps)) == (21, 23)


@pytest.mark.usefixtures("operation_clock")
def test_a_machine_that_is_idle_again_is_measured_on(naps):
    one = measurer(watch=Watch(4, cores=4, mark=Load(*[3] * 11, 0)))
    one.look()
    assert one.busy
    assert one.pair(identity()).pairs >= 5
    assert one.busy == ""


@pytest.mark.usefixtures("operation_clock")
def test_what_others_do_does_not_matter_where_that_is_asked_for(naps):
    one = measurer(watch=Watch(4, cores=4, mark=Load(3)), tolerant=True)
    one.look()
    assert (one.busy, naps, one.pair(identity()).pairs >= 5) == ("", [], True)


def test_the_budget_runs_out(monkeypatch):
    now = [100.0]
    monkeypatch.setattr(module.time, "monotonic", lambda: now[0])
    one = measurer(_begin=100.0)
    now[0] += 3
    assert one.left == 2.0
    now[0] += 3
    assert one.left == 0.0


@pytest.mark.usefixtures("operation_clock")
def test_what_would_take_too_long_is_not_begun(monkeypatch):
    now = [100.0]
    monkeypatch.setattr(module.time, "monotonic", lambda: now[0])
    one = measurer(_begin=100.0)
    one.try_pass(nn.Sequential(nn.Linear(4, 4), nn.ReLU()).eval())  # two operations, and one that transposes: 3 ms a pass
    with one.step("comparing in float64"):
        now[0] += 2
    one.check_time("comparing in float64")
    now[0] += 1
    with pytest.raises(NotMeasured) as refusal:
        one.check_time("comparing in float64")
    told = "about 2 s would be needed, and 2 s of 5 s are left"
    assert refusal.value.reason == f"the budget of time does not allow it: {told}"
    one.check_time()
    assert one.overrun == ""
    now[0] += 4
    assert one.overrun == "it took 7 s, more than the budget of 5 s; comparing in float64 took up to 2 s"


@pytest.mark.usefixtures("operation_clock")
def test_the_memory_of_a_model_is_asked_once():
    calls = []

    class Counting(nn.Module):
        def forward(self, x):
            calls.append(1)
            return x + 1

    one, first, second = measurer(), Counting(), Counting()
    assert (one.memory(first, second), one.memory(first, second), one.memory(second, first)) == (1.0, 1.0, 1.0)
    assert len(calls) == 4  # each runs once before it is counted


def test_a_device_has_a_name():
    assert device_name(torch.device("cpu"))
    assert device_name(torch.device("meta")).startswith("meta ")
