"""What TensorBoard reads of our logs."""

from __future__ import annotations

import math

import pytest
from log_samples import FINDING, NAN_AND_INFINITE

from normadvisor.errors import UsageError
from normadvisor.report.logs import StepNumbers, log_measurements, start_log

pytest.importorskip("tensorboard", reason="tensorboard is not installed")


def read(folder):
    """``{tag: {step: value}}`` and ``{tag: {step: text}}``, as TensorBoard itself loads them."""
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    events = EventAccumulator(str(folder)).Reload()
    scalars = {tag: {event.step: event.value for event in events.Scalars(tag)} for tag in events.Tags()["scalars"]}
    texts = {tag: {event.step: event.tensor_proto.string_val[0].decode() for event in events.Tensors(tag)} for tag in events.Tags()["tensors"]}
    return scalars, texts


def test_every_number_of_a_probe_is_a_point_of_a_curve(tmp_path):
    log_measurements([NAN_AND_INFINITE], f"tensorboard:{tmp_path}")
    scalars, texts = read(tmp_path / "net")
    assert math.isnan(scalars["run/loss"].pop(1))
    assert math.isnan(scalars["act_mean/conv1"].pop(1))
    assert scalars["act_mean/conv1"].pop(0) == pytest.approx(1 / 3)
    assert scalars["grad_norm/conv1"].pop(0) == pytest.approx(0.1)
    assert scalars == {
        "run/loss": {0: 2.5},
        "run/grad_norm": {0: 1.0},
        "run/overfit": {0: 3.0, 1: 2.0, 2: 1.0},
        "grad_norm/conv1": {},
        "act_mean/conv1": {},
        "grad_norm/(model)": {0: math.inf, 1: 0.0},
    }
    assert texts == {}


def test_findings_are_text_and_names_are_cleaned(tmp_path):
    log = start_log(f"tensorboard:{tmp_path}/deep/er")
    log.write(StepNumbers(step=3, layers={'a<"b>/é': {"grad_norm": 1e300}}, findings=(FINDING,)))
    log.write(StepNumbers(step=4))
    log.close()
    assert read(tmp_path / "deep" / "er") == (
        {"grad_norm/a__b_/é": {3: math.inf}},
        {"findings": {3: "* NA601 vanishing-gradient (warning): the gradient fades"}},
    )


def test_points_can_be_read_while_training_goes_on(tmp_path):
    log = start_log(f"tensorboard:{tmp_path}")
    log.write(StepNumbers(step=0, run={"loss": 1.0}))
    assert read(tmp_path)[0] == {"run/loss": {0: 1.0}}
    log.close()


def test_folder_that_cannot_be_made(tmp_path):
    (tmp_path / "file").touch()
    log = start_log(f"tensorboard:{tmp_path}/file/below")
    with pytest.raises(UsageError, match=r"cannot write to '.*/file/below': Not a directory"):
        log.write(StepNumbers(step=0, run={"loss": 1.0}))
    log.close()
