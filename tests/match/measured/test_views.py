"""What expressions see of measurements."""

from __future__ import annotations

from math import inf, isnan, nan

import pytest

from normadvisor.match.measured.values import plain_value
from normadvisor.match.measured.views import context_view, views_of
from normadvisor.rulebook.vocabulary import CONTEXT, LAYER, RUN, RUN_LAYERS
from normadvisor.types import LayerMeasurements, Measurements, RunContext

SETUP = ("device", "precision", "steps", "batch_size", "inputs", "data", "loss", "optimizer", "lr", "seed", "world_size", "torch")


def test_views_know_the_words_of_the_vocabulary_and_no_others(chain):
    made = chain([[1.0]] * 3, initial_loss=1.0, expected_initial_loss=1.0, overfit_first=1.0, overfit_last=0.5)
    layers, run = views_of(Measurements(**{**{key: getattr(made, key) for key in ("target", "layers", "series", "facts")}, "setup": dict.fromkeys(SETUP)}))
    assert set(layers[0]) == set(LAYER)
    assert set(run) == set(RUN)
    assert set(RUN_LAYERS) < set(RUN)
    assert set(context_view(RunContext())) == set(CONTEXT)


def test_a_series_is_its_median_and_has_ends(chain):
    made = chain([[3.0, 1.0, None, 2.0]])
    layer = views_of(made)[0][0]
    assert [layer[f"weight_grad_norm{end}"] for end in ("", "_first", "_last", "_min", "_max")] == [1.0, 1.5, 1.0, 0.5, 1.5]
    assert [layer[f"grad_norm{end}"] for end in ("", "_first", "_last", "_min", "_max")] == [None] * 5
    assert (str(layer), layer["always_dead"]) == ("layers.0", None)


@pytest.mark.parametrize(("values", "median", "smallest", "largest"), [((1.0, nan, 3.0), 3.0, 1.0, nan), ((inf, 1.0, 2.0), 2.0, 1.0, inf)])
def test_numbers_that_are_not_finite_count_as_large(values, median, smallest, largest):
    layer = LayerMeasurements(name="a", cls="Linear", series={"act_std": values})
    view = views_of(Measurements(target="x", layers=(layer,)))[0][0]
    found = (view["act_std"], view["act_std_min"], view["act_std_max"])
    assert all(one == other or (isnan(one) and isnan(other)) for one, other in zip(found, (median, smallest, largest), strict=True))


def test_layers_come_in_order_of_execution_and_the_setup_has_words_of_its_own():
    layers = tuple(LayerMeasurements(name=name, cls="Linear", order=order) for name, order in (("b", 1), ("a", 0)))
    found, run = views_of(Measurements(target="net.py:Net", layers=layers, series={"loss": (1.0, 2.0)}, setup={"loss": "mse", "lr": 0.1}))
    assert [str(layer) for layer in found] == ["a", "b"]
    assert (run["layers"], run["loss_name"], run["loss"], run["lr"], run["measured_steps"], str(run)) == (found, "mse", 1.5, 0.1, 2, "net.py:Net")


def test_values_as_json(chain):
    layer = views_of(chain([[1.0]]))[0][0]
    values = [None, True, 3, "a", 0.12345678, nan, -inf, [layer, 1], (layer,), list(range(60))]
    expected = [None, True, 3, "a", 0.123457, "nan", "-inf", ["layers.0", 1], ["layers.0"], list(range(50))]
    assert [plain_value(value) for value in values] == expected
