"""Samples of batches: counted, cut, and put together anew."""

import pytest
import torch
from torch import nn
from torch.nn.utils.rnn import pack_sequence

from normadvisor.probe.running.samples import Batch, UnequalSamplesError, count_samples, gather, sample_axis

T = torch.zeros


@pytest.mark.parametrize(
    ("inputs", "target", "expected"),
    [
        ((T(4, 3, 8, 8),), None, 4),
        ((T(16, 4, 5),), T(4), 4),
        ((T(16, 4, 5),), None, 16),
        ((T(4, 7), T(4, 2), T(1)), None, 4),
        (([T(3, 8, 8), T(3, 9, 9)], [{"boxes": T(5, 4)}, {"boxes": T(1, 4)}]), None, 2),
        ((pack_sequence([T(3, 2), T(2, 2)]),), None, 5),
        ((), None, None),
        ((3, "text"), None, None),
    ],
)
def test_samples_are_counted(inputs, target, expected):
    assert count_samples(inputs, target) == expected


@pytest.mark.parametrize(
    ("shape", "size", "axis"),
    [((4, 3), 4, 0), ((16, 4, 5), 4, 1), ((8, 3), 4, 0), ((3, 5), 4, None), ((), 4, None), ((7,), 1, None), ((1, 5), 1, 0)],
)
def test_axis_of_samples(shape, size, axis):
    assert sample_axis(T(shape), size) == axis


def batch(offset, size=3):
    rows = torch.arange(size) + offset
    return Batch(
        args=(rows.float()[:, None].repeat(1, 2), rows.float()[None, :, None].repeat(5, 1, 1)),
        kwargs={"mask": rows[:, None], "names": [f"sample {int(row)}" for row in rows], "flag": True},
        target=rows, whole=None, size=size,
    )  # fmt: skip


def test_batches_are_put_together_from_samples():
    joined = gather([batch(0), batch(10)], [(0, 0), (1, 2), (1, 1), (0, 0)], key=7)
    rows = [0, 12, 11, 0]
    assert (joined.size, joined.key, joined.target.tolist()) == (4, 7, rows)
    assert joined.args[0].tolist() == [[row, row] for row in rows]
    assert joined.args[1][:, :, 0].tolist() == [rows] * 5
    assert joined.kwargs["mask"].tolist() == [[row] for row in rows]
    assert (joined.kwargs["names"], joined.kwargs["flag"]) == ([f"sample {row}" for row in rows], True)


def test_lists_of_images_are_put_together():
    images = [torch.full((3, size, size), float(size)) for size in (4, 5, 6)]
    targets = [{"boxes": torch.full((size, 4), float(size))} for size in (4, 5, 6)]
    joined = gather([Batch(args=(images, targets), size=3)], [(0, 2), (0, 0)])
    assert [image.shape[1] for image in joined.args[0]] == [6, 4]
    assert [target["boxes"].shape[0] for target in joined.args[1]] == [6, 4]


def test_samples_of_unequal_shapes_do_not_fit():
    with pytest.raises(UnequalSamplesError, match="samples of different batches differ in shape"):
        gather([Batch(args=(T(2, 5),), size=2), Batch(args=(T(2, 6),), size=2)], [(0, 0), (1, 0)])


def test_samples_that_cannot_be_told_apart_are_refused():
    with pytest.raises(UnequalSamplesError, match="cannot be told apart"):
        gather([Batch(args=(T(()),))], [(0, 0)])


def test_modules_of_a_batch_are_left_alone():
    module = nn.Linear(1, 1)
    assert gather([Batch(args=(T(2, 1), module), size=2)], [(0, 0)]).args[1] is module
