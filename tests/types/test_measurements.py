import json
import math

from normadvisor.types import LayerMeasurements, Location, Measurements


def test_measurements_survive_json():
    layer = LayerMeasurements(
        name="conv1", cls="Conv2d", op="conv", order=1, parameters=9, trainable=9, units=4, location=Location(path="net.py", line=3, column=5),
        series={"grad_norm": (1.0, None)}, facts={"no_gradient": False},
    )  # fmt: skip
    measured = Measurements(
        target="net.py:Net", layers=(layer,), series={"loss": (2.5, 2.0)}, curves={"overfit": (2.0, 1.0)}, facts={"classes": 10},
        setup={"device": "cpu"}, missing={"noise_scale": "batches are random"}, notes=("loss: mse",),
    )  # fmt: skip
    assert Measurements.from_dict(json.loads(json.dumps(measured.to_dict()))) == measured


def test_numbers_that_are_not_finite_are_read_from_words():
    data = Measurements(target="net", series={"loss": (1.0,)}).to_dict()
    data["series"]["loss"] = ["inf", "-inf", "nan", None]
    infinite, negative, unknown, missing = Measurements.from_dict(data).series["loss"]
    assert (infinite, negative, missing) == (math.inf, -math.inf, None)
    assert unknown is not None
    assert math.isnan(unknown)


def test_steps_are_those_of_the_longest_series():
    assert Measurements(target="net", series={"loss": (1.0, 2.0, 3.0), "seconds": (1.0,)}, curves={"overfit": (1.0,) * 9}).steps == 3
    assert Measurements(target="net").steps == 0
