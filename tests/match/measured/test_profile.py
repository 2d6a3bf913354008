"""Numbers that compare layers with one another."""

from __future__ import annotations

from dataclasses import replace
from math import inf, nan

import pytest

from normadvisor.match.measured.views import views_of
from normadvisor.types import LayerMeasurements, Measurements


def derived(measurements, *words):
    layers, run = views_of(measurements)
    return [tuple(layer[word] for word in words) for layer in layers] if words else run


def test_influence_is_weight_times_gradient_and_compared_in_the_best_step(chain):
    found = derived(chain([[1, 2, 9], [4, 4, 4], [8, 2, 3]]), "influence", "relative_influence", "upstream_influence", "downstream_influence", "depth")
    assert found == [
        (2, 1.0, 1.0, 1.0, 0.0),
        (4, 1.0, 1.0, 1.0, 0.5),
        (3, 1.0, 1.0, 1.0, 1.0),
    ]
    one_step = derived(chain([[1], [4], [8]]), "relative_influence", "upstream_influence", "downstream_influence")
    assert one_step == [(0.125, 0.125, 1.0), (0.5, 0.5, 1.0), (1.0, 1.0, 1.0)]


def test_a_fade_is_gradual(chain):
    fading = derived(chain([[10.0**-index] for index in range(12, 0, -1)]))
    assert fading["fade"] == pytest.approx(1e-9)  # eleven rises of 10, two of them left out
    assert fading["growth"] == 1.0
    assert fading["front_influence"] == pytest.approx(1e-8)
    assert fading["back_influence"] == 1.0
    exploding = derived(chain([[10.0**-index] for index in range(12)]))
    assert (exploding["fade"], exploding["growth"]) == (1.0, pytest.approx(1e-9))
    # Two sharp steps are none, one of fewer than ten layers.
    assert derived(chain([[1e-6]] * 6 + [[1e-3]] * 3 + [[1]] * 3))["fade"] == pytest.approx(1.0)
    assert derived(chain([[1e-6]] * 3 + [[1e-3]] * 3 + [[1]] * 3))["fade"] == pytest.approx(1e-3)


def renamed(measurements, names):
    layers = [replace(layer, name=name) for layer, name in zip(measurements.layers, names, strict=True)]
    return replace(measurements, layers=tuple(layers))


def test_layers_that_repeat_are_compared_with_one_another_at_the_rate_of_the_whole_depth(chain):
    names = ["block.0.query", "block.0.out", "block.1.query", "block.1.out", "head"]
    # Three sharp steps, and blocks that are alike.
    same = renamed(chain([[1e-6], [1e-3], [2e-6], [1e-3], [1.0]]), names)
    assert derived(same)["twin_fade"] == pytest.approx((0.5**2 + 1) / 2)
    fading = renamed(chain([[1e-6], [1e-5], [1e-4], [1e-3], [1.0]]), names)
    assert derived(fading)["twin_fade"] == pytest.approx(1e-4)
    # Neighbours that fade by a third are nine layers that fade by 3 ** 8.
    neighbours = renamed(chain([[3.0**index] for index in range(9)]), [*"abcd", "conv1", "conv2", *"efg"])
    assert derived(neighbours)["twin_fade"] == pytest.approx(3.0**-8)
    assert derived(renamed(chain([[1e-3], [1.0], [2.0]]), "abc"))["twin_fade"] is None
    # Layers behind that get nothing show nothing.
    assert derived(renamed(chain([[1e-3], [1.0], [0.0]]), ["conv1", "a", "conv2"]))["twin_fade"] is None


def test_layers_in_front_that_get_nothing_are_one_step(chain):
    assert derived(chain([[0.0]] + [[1e-3]] * 3 + [[1]]))["fade"] == pytest.approx(1e-3)
    assert derived(chain([[0.0]] * 3 + [[1.0]]))["fade"] == 1.0
    assert derived(chain([[None]] + [[1e-3]] * 3 + [[1]]))["fade"] == pytest.approx(1e-3)


def test_scale_of_loss_and_weights_do_not_matter(chain):
    influences = [[0.01], [0.2], [0.1], [3.0]]
    one, other = derived(chain(influences)), derived(chain([[1e6 * value for value in values] for values in influences], loss=[1e6]))
    for word in ("fade", "growth", "front_influence", "back_influence", "strongest_influence"):
        assert other[word] == pytest.approx(one[word])


def test_the_strongest_influence_is_over_the_loss_and_takes_weights_as_fresh_ones(chain):
    found = derived(chain([[0.1, 0.2], [0.3, 0.1], [0.1, 0.1]], loss=[2.0, 0.5]))
    assert found["strongest_influence"] == pytest.approx(0.2 / 0.5)
    zeros = chain([[0.0], [0.0], [0.0]])
    head = LayerMeasurements(
        name="head", cls="Linear", op="linear", order=3, trainable=4, units=16, series={"weight_norm": (0.0,), "weight_grad_norm": (0.5,)}
    )
    with_head = Measurements(target="x", layers=(*zeros.layers, head), series=zeros.series)
    assert derived(with_head)["strongest_influence"] == 2.0  # sqrt(16) * .5 / 1


@pytest.mark.parametrize("loss", [[0.0], [nan], [inf]])
def test_what_cannot_be_compared_is_unknown(chain, loss):
    assert derived(chain([[1.0]] * 3, loss=loss)).get("strongest_influence") is None
    assert derived(chain([[inf]] * 3)).get("fade") is None
    assert derived(chain([[1.0]] * 2)).get("fade") is None
    assert derived(chain([])).get("weight_layers") == 0
    assert derived(chain([[1.0]] * 3, op="embedding")).get("weight_layers") == 0


def test_growth_of_outputs_and_the_last_layer(chain):
    assert derived(chain([[1.0]] * 3), "act_growth", "last") == [(1.0, False), (2.0, False), (4.0, True)]


@pytest.mark.parametrize(
    ("facts", "expected"),
    [
        ({"overfit_first": 2.0, "overfit_last": 0.5, "overfit_floor": 0.0}, 0.75),
        ({"overfit_first": 2.0, "overfit_last": 1.5, "overfit_floor": 1.0}, 0.5),
        ({"overfit_first": 2.0, "overfit_last": 3.0}, -0.5),
        ({"overfit_first": 2.0, "overfit_last": nan}, -inf),
        ({"overfit_first": nan, "overfit_last": 1.0}, None),
        ({"overfit_first": 1.0, "overfit_last": 1.0, "overfit_floor": 1.0}, None),
        ({"overfit_last": 1.0}, None),
        ({}, None),
    ],
)
def test_what_one_batch_learned(chain, facts, expected):
    assert derived(chain([[1.0]], **facts))["learned"] == expected


def test_losses_of_the_run(chain):
    found = derived(chain([[1.0, 1.0]], loss=[3.0, 2.0], initial_loss=3.0, expected_initial_loss=1.5))
    assert (found["loss_change"], found["initial_loss_ratio"]) == (-1.0, 2.0)
    unknown = derived(chain([[1.0, 1.0]], loss=[3.0, nan], initial_loss=3.0))
    assert (unknown.get("loss_change"), unknown.get("initial_loss_ratio")) == (None, None)
