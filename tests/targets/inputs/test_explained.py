from __future__ import annotations

import inspect

import pytest
import torch
from torch import nn

from normadvisor.targets.inputs.explained import explain_failure


class Block(nn.Module):
    def __init__(self, layer):
        super().__init__()
        self.layer = layer

    def forward(self, x):
        return self.layer(x)


class Net(nn.Module):
    def __init__(self, layer):
        super().__init__()
        self.body = nn.Sequential(Block(layer))

    def forward(self, x):
        return self.body(x)


class Broken(nn.Module):
    def forward(self, x):
        return x + self.missing


def failure(model, x):
    with pytest.raises(Exception) as caught:
        model(x)
    return explain_failure(model, caught.value)


@pytest.mark.parametrize(
    ("layer", "given", "words"),
    [
        (nn.Conv2d(3, 16, 3), (2, 1, 8, 8), "body.0.layer: Conv2d(3, 16) takes Nx3xHxW and got 2x1x8x8"),
        (nn.Conv1d(3, 16, 3), (2, 1, 8), "body.0.layer: Conv1d(3, 16) takes Nx3xL and got 2x1x8"),
        (nn.Linear(99, 10), (2, 16), "body.0.layer: Linear(99, 10) takes ...x99 and got 2x16"),
        (nn.BatchNorm2d(8), (2, 4, 3, 3), "body.0.layer: BatchNorm2d(8) takes Nx8xHxW and got 2x4x3x3"),
        (nn.BatchNorm1d(8), (2, 4), "body.0.layer: BatchNorm1d(8) takes Nx8 and got 2x4"),
        (nn.LayerNorm((4, 8)), (2, 8), "body.0.layer: LayerNorm((4, 8)) takes ...x4x8 and got 2x8"),
        (nn.GroupNorm(2, 8), (2, 4, 3), "body.0.layer: GroupNorm(2, 8) takes Nx8x... and got 2x4x3"),
        (nn.LSTM(5, 6), (4, 2, 3), "body.0.layer: LSTM(5, 6) takes ...x5 and got 4x2x3"),
        (nn.MaxPool2d(9), (2, 3, 4, 4), "body.0.layer: MaxPool2d(kernel_size=9, stride=9, padding=0, dilation=1, ...) got 2x3x4x4"),
    ],
    ids=lambda value: type(value).__name__ if isinstance(value, nn.Module) else "",
)
def test_a_layer_says_what_it_takes_and_what_came(layer, given, words):
    explained = failure(Net(layer), torch.zeros(given))
    assert explained.short == words
    assert explained.words.startswith(f"{words} (")
    assert explained.words.endswith(")")
    lines, first = inspect.getsourcelines(Block.forward)
    place = explained.location
    assert (place.path, place.line, place.column) == (__file__, first + len(lines) - 1, 16)


def test_ids_beyond_a_table():
    explained = failure(Net(nn.Embedding(10, 4)), torch.tensor([[3, 12]]))
    assert explained.words == "body.0.layer: Embedding(10, 4) takes ids from 0 to 9 and got ids from 3 to 12 (IndexError: index out of range in self)"


@pytest.mark.parametrize(
    ("given", "words"),
    [
        (torch.zeros(2, 3, dtype=torch.int64), "body.0.layer: Conv2d(3, 16) takes Nx3xHxW and got int64 values of shape 2x3"),
        (torch.tensor(1), "body.0.layer: Conv2d(3, 16) takes Nx3xHxW and got a single int64 value"),
        (torch.tensor(1.0), "body.0.layer: Conv2d(3, 16) takes Nx3xHxW and got a single value"),
    ],
)
def test_what_came_is_said_in_words(given, words):
    assert failure(Net(nn.Conv2d(3, 16, 3)), given).short == words


def test_an_error_of_a_part_that_is_no_layer():
    explained = failure(Net(Broken()), torch.zeros(1))
    assert explained.words == "AttributeError: 'Broken' object has no attribute 'missing' in body.0.layer: Broken"
    assert explained.location.line == inspect.getsourcelines(Broken.forward)[1] + 1


def test_an_error_of_the_model_itself():
    assert failure(Broken(), torch.zeros(1)).words == "AttributeError: 'Broken' object has no attribute 'missing'"


def test_an_exception_from_nowhere():
    explained = explain_failure(Broken(), KeyError("x"))
    assert (explained.words, explained.location) == ("KeyError: 'x'", None)
