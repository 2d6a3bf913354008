import pytest
import torch
from torch import nn

from normadvisor.optimization.candidate import Setting
from normadvisor.optimization.measuring.busy import Mark, Watch
from normadvisor.optimization.measuring.cache import RatioCache
from normadvisor.optimization.measuring.measurer import Measurer
from normadvisor.optimization.prepared import Given
from normadvisor.optimization.variants import variants
from normadvisor.types.optimization import Variant

pytestmark = pytest.mark.filterwarnings("ignore:Guards may run slower on Python 3.13.0")


def measurer(mode="inference"):
    setting = Setting(mode=mode, device=torch.device("cpu"), dtype=torch.float32, inputs=Given((torch.randn(2, 4),)))
    watch = Watch(1, cores=4, mark=lambda: Mark(0.0, 0.0, 0.0))
    return Measurer(setting=setting, cache=RatioCache(None), watch=watch, seconds=2, tolerant=True)


@pytest.fixture
def eager(monkeypatch):
    """The compiler that compiles nothing, which needs no compiler for C++."""
    compile_model = torch.compile
    monkeypatch.setattr(torch, "compile", lambda model: compile_model(model, backend="eager"))


@pytest.mark.usefixtures("eager")
def test_in_inference_both_ways_are_measured():
    told = []
    model = nn.Sequential(nn.Linear(4, 4), nn.ReLU()).eval()
    found = variants(model, model, measurer(), told.append)
    assert [each.name for each in found] == ["torch.compile", "torch.compile + freezing"]
    assert all(each.reason == "" and each.cold_start > 0 and each.end_to_end.pairs >= 5 and each.error.between == 0.0 for each in found)
    assert told == ["starting the compiler", "measuring torch.compile", "measuring torch.compile + freezing"]


@pytest.mark.usefixtures("eager")
def test_in_training_weights_are_not_frozen():
    model = nn.Linear(4, 4)
    [found] = variants(model, model, measurer("training"), lambda what: None)
    assert (found.name, found.reason, found.error) == ("torch.compile", "", None)


@pytest.mark.usefixtures("eager")
def test_the_settings_of_the_compiler_are_put_back():
    from torch._inductor import config

    variants(nn.Linear(4, 4).eval(), nn.Linear(4, 4).eval(), measurer(), lambda what: None)
    assert config.freezing is False


def test_a_compiler_that_is_not_there_is_a_reason(monkeypatch):
    def missing(model):
        raise RuntimeError("no C++ compiler")

    monkeypatch.setattr(torch, "compile", missing)
    model = nn.Linear(4, 4).eval()
    reason = "the compiler does not work here: RuntimeError: no C++ compiler"
    assert variants(model, model, measurer(), lambda what: None) == (
        Variant(name="torch.compile", reason=reason), Variant(name="torch.compile + freezing", reason=reason),
    )  # fmt: skip


def test_a_model_that_cannot_be_compiled_is_a_reason(monkeypatch):
    def compile_model(model):
        if isinstance(model, nn.Module):
            raise TypeError("a loop without end")
        return model

    monkeypatch.setattr(torch, "compile", compile_model)
    found = variants(nn.Linear(4, 4), nn.Linear(4, 4), measurer("training"), lambda what: None)
    assert found == (Variant(name="torch.compile", reason="it cannot be compiled: TypeError: a loop without end"),)
