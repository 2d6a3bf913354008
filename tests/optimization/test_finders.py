import pytest
import torch
from torch import nn

from normadvisor.graph import trace
from normadvisor.optimization import finders
from normadvisor.optimization.candidate import Candidate, Refused, Setting
from normadvisor.optimization.finders import Found, find
from normadvisor.optimization.prepared import Given
from normadvisor.types.optimization import STAGES

INPUTS = Given((torch.ones(1, 2),))
SETTING = Setting(mode="inference", device=torch.device("cpu"), dtype=torch.float32, inputs=INPUTS)


def candidate(rule):
    return Candidate(rule=rule, pattern="a", replacement="b", modules=("0",), shape_key="", apply=lambda model, journal: ())


def found(monkeypatch, *functions, rules=()):
    monkeypatch.setattr(finders, "finders", lambda: {"fold": functions})
    model = nn.Linear(2, 2).eval()
    return find(model, trace(model, INPUTS, target="net", sites={}), SETTING, "fold", rules)


def test_every_module_with_finders_is_found():
    known = finders.finders()
    assert tuple(known) == STAGES
    names = {function.__module__.removeprefix("normadvisor.optimization.") for stage in known.values() for function in stage}
    assert {"folding.finders", "fusing.finders", "layout.finders", "upgrades.finders"} <= names


def test_what_finders_yield_is_sorted(monkeypatch):
    one, other = candidate("NA701"), Refused(rule="NA701", modules=("1",), reason="shared")
    assert found(monkeypatch, lambda *_: iter([one, other])) == Found([one], [other], [])


def test_rules_that_are_not_wanted_are_left_out(monkeypatch):
    one, other = candidate("NA701"), candidate("NA702")
    refused = Refused(rule="NA702", modules=("1",), reason="shared")
    assert found(monkeypatch, lambda *_: iter([one, other, refused]), rules=("NA701",)) == Found([one], [], [])


def test_a_finder_that_fails_keeps_what_it_found_and_does_not_stop_the_others(monkeypatch):
    one, other = candidate("NA701"), candidate("NA702")

    def broken(*_):
        yield one
        raise ZeroDivisionError("by zero")

    expected = Found([one, other], [], ["broken could not look at the model: ZeroDivisionError: by zero"])
    assert found(monkeypatch, broken, lambda *_: iter([other])) == expected


def test_a_stage_that_does_not_exist_is_an_error(monkeypatch):
    monkeypatch.setattr(finders, "_modules", lambda: ["normadvisor.optimization.layout.finders"])
    monkeypatch.setattr("normadvisor.optimization.layout.finders.FINDERS", (("never", print),))
    finders.finders.cache_clear()
    with pytest.raises(ValueError, match=r"^normadvisor\.optimization\.layout\.finders: there is no stage 'never'$"):
        finders.finders()
    finders.finders.cache_clear()
