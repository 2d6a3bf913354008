"""Values that are drawn for inputs."""


import pytest
import torch
from torch import nn

from normadvisor.probe.running.draw import Drawing, batch_of, smooth_noise
from normadvisor.targets.inputs import Inputs
from normadvisor.targets.inputs.spec import TensorSpec, make_tensors


def drawing(args=(), kwargs=None, size=5, model=None, seed=0):
    made = Inputs(tuple(make_tensors(spec, "cpu") for spec in args), {name: make_tensors(spec, "cpu") for name, spec in (kwargs or {}).items()})
    return Drawing(inputs=made, model=model or nn.Identity(), size=size, seed=seed)


def test_batches_differ_by_number_and_seed_and_by_nothing_else():
    one, same, other = drawing([TensorSpec((2, 6))]), drawing([TensorSpec((2, 6))]), drawing([TensorSpec((2, 6))], seed=1)
    state = torch.get_rng_state()
    values = [source.batch(number).args[0] for source in (one, other) for number in (0, 1)]
    assert all(not torch.equal(a, b) for i, a in enumerate(values) for b in values[:i])
    assert torch.equal(one.batch(1).args[0], same.batch(1).args[0])
    assert torch.equal(torch.get_rng_state(), state)


@pytest.mark.parametrize(
    ("shape", "expected"), [((2, 6), (5, 6)), ((2, 3, 16, 16), (5, 3, 16, 16)), ((16, 2, 4), (16, 5, 4)), ((8, 6), (8, 6)), ((3,), (3,))]
)
def test_the_axis_of_samples_gets_the_size_that_is_wanted(shape, expected):
    found = drawing([TensorSpec((2, 1)), TensorSpec(shape)]).batch(0)
    assert (found.args[1].shape, found.size) == (expected if shape != (8, 6) else (20, 6), 5)


def test_ids_stay_below_the_bound_they_were_drawn_under_and_reach_it():
    found = drawing([TensorSpec((2, 16), "int64", high=100)], size=200, model=nn.Embedding(50000, 2)).batch(0).args[0]
    assert (int(found.min()), int(found.max())) == (0, 99)
    table = drawing([TensorSpec((2, 16), "int64", high=5000)], size=2000, model=nn.Embedding(5000, 2)).batch(0).args[0]
    assert 4900 < int(table.max()) < 5000


def test_values_that_mean_something_are_repeated():
    boxes = TensorSpec((2, 4), values=(1.0, 2.0, 3.0, 4.0, 5.0, 6.0, 7.0, 8.0))
    grid = TensorSpec((2, 3), "int64", values=(1.0, 40.0, 4.0, 1.0, 40.0, 4.0))
    found = drawing([TensorSpec((2, 6))], {"boxes": boxes, "grid": grid}).batch(3).kwargs
    assert found["boxes"][:, 0].tolist() == [1.0, 5.0, 1.0, 5.0, 1.0]
    assert found["grid"].tolist() == [[1, 40, 4]] * 5


def test_masks_are_all_set_and_positions_count():
    kwargs = {
        "attention_mask": TensorSpec((2, 4), "int64"), "pixel_mask": TensorSpec((2, 4), "bool"), "position_ids": TensorSpec((2, 4), "int64")
    }  # fmt: skip
    found = drawing([TensorSpec((2, 6))], kwargs).batch(0).kwargs
    assert {name: value.tolist() for name, value in found.items()} == {
        "attention_mask": [[1] * 4] * 5, "pixel_mask": [[True] * 4] * 5, "position_ids": [[0, 1, 2, 3]] * 5,
    }  # fmt: skip


def test_lists_of_images_become_as_long_as_wanted():
    images, boxes = [TensorSpec((3, 16, 16))] * 2, [{"boxes": TensorSpec((1, 4), values=(1.0, 1.0, 9.0, 9.0))}] * 2
    found = drawing([images, boxes])
    assert batch_of(found.inputs) == 2
    batch = found.batch(0)
    assert [image.shape for image in batch.args[0]] == [(3, 16, 16)] * 5
    assert not torch.equal(batch.args[0][0], batch.args[0][1])
    assert [target["boxes"].tolist() for target in batch.args[1]] == [[[1.0, 1.0, 9.0, 9.0]]] * 5


def test_complex_numbers_keep_their_dtype():
    assert drawing([TensorSpec((2, 6), "complex64")]).batch(0).args[0].dtype is torch.complex64


def test_images_have_mean_0_variance_1_and_as_much_power_in_every_octave():
    images = smooth_noise((400, 3, 64, 64), torch.Generator().manual_seed(0))
    assert float(images.mean()) == pytest.approx(0.0, abs=0.03)
    assert float(images.var()) == pytest.approx(1.0, rel=0.05)
    spectrum = torch.fft.fft2(images).abs().square().mean((0, 1))
    frequency = torch.fft.fftfreq(64)
    radius = (frequency[:, None] ** 2 + frequency[None] ** 2).sqrt() * 64
    powers = [float(spectrum[(radius >= low) & (radius < 2 * low)].sum()) for low in (2, 4, 8, 16)]
    # White noise would have four times the power in each octave of twice the frequency.
    assert max(powers) / min(powers) < 2.5
    means = images.mean((2, 3)).var()
    assert float(means) > 10 / 64**2, "samples of white noise would be alike behind average pooling"
