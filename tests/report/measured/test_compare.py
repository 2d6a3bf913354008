from __future__ import annotations

from dataclasses import replace

from probe_samples import not_finite, resnet, transformer, vanishing

from normadvisor.report.measured.compare import FactPair, compare_runs, other_run
from normadvisor.types import LayerMeasurements, Measurements


def test_a_run_beside_itself():
    comparison = compare_runs(resnet(), resnet())
    assert (comparison.setup, comparison.only_here, comparison.only_there, comparison.most_different) == ((), (), (), [])
    assert len(comparison.layers) == 52
    assert all(pair.here == pair.there for pair in comparison.facts)


def layer(name, grad, dead=None, order=0):
    series = {"grad_rms": (grad,), "dead_share": (dead,)}
    return LayerMeasurements(name=name, cls="Linear", order=order, series=series)


def test_layers_are_paired_by_name_and_the_most_different_come_first():
    here = Measurements(target="a", layers=(layer("x", 1.0), layer("y", 1e-3), layer("z", 1.0, 0.9), layer("new", 1.0)), setup={"lr": 0.1, "seed": 0})
    there = Measurements(target="a", layers=(layer("old", 1.0), layer("z", 1.0, 0.1), layer("y", 1.0), layer("x", 1.0)), setup={"lr": 0.2, "seed": 0})
    comparison = compare_runs(here, there)
    assert [(item.here.name, round(item.size, 3)) for item in comparison.most_different] == [("y", 3.0), ("z", 0.8)]
    assert (comparison.only_here, comparison.only_there) == (("new",), ("old",))
    assert comparison.setup == (FactPair("learning rate", "0.1", "0.2"),)
    assert comparison.most_different[0].ratio("grad_rms") == 1e-3
    assert comparison.most_different[0].change("dead_share") is None
    assert round(comparison.most_different[1].change("dead_share"), 9) == 0.8


def test_numbers_that_have_no_ratio():
    pairs = compare_runs(Measurements(target="a", layers=(layer("x", 0.0), layer("y", float("nan")))), Measurements(target="a", layers=(layer("x", 1.0), layer("y", 1.0)))).layers
    assert [item.ratio("grad_rms") for item in pairs] == [None, None]
    assert [item.size for item in pairs] == [0.0, 0.0]


def test_other_run():
    a, b, c = resnet(), vanishing(), transformer(2)
    assert other_run(a, None) is None
    assert other_run(a, b) is b
    assert other_run(a, [b, a]) is a
    assert other_run(a, [b, c]) is None
    assert other_run(a, []) is None


def test_another_model_is_said():
    comparison = compare_runs(not_finite(), replace(resnet(), setup=not_finite().setup))
    assert comparison.setup == (FactPair("model", "models/attention.py:Attention", "models/resnet.py:Net"),)
