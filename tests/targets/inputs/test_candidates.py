from __future__ import annotations

import importlib.util
from pathlib import Path

import pytest
import torch
import torch.nn.functional as F
from torch import nn

from normadvisor.errors import InputError

_spec = importlib.util.spec_from_file_location("driver", Path(__file__).with_name("driver.py"))
driver = importlib.util.module_from_spec(_spec)
_spec.loader.exec_module(driver)


def model(forward, **layers):
    """A model of the given layers; ``forward`` is an ordinary function whose first argument is the model."""
    kind = type("Model", (nn.Module,), {"forward": forward})
    made = kind()
    for name, layer in layers.items():
        setattr(made, name, layer)
    return made


def lenet(m, x):
    x = F.max_pool2d(m.c1(x), 2)
    x = F.max_pool2d(m.c2(x), 2)
    return m.f(x.view(-1, 16 * 5 * 5))


def flat(m, x):
    return m.f(torch.flatten(m.c(x), 1))


def call(m, x):
    return m.f(x)


def embedded(m, idx, targets=None):
    return m.f(idx)


def channels_last(m, x):
    return m.c(x.permute(0, 3, 1, 2))


def unsqueezed(m, x):
    return m.c(x.unsqueeze(1))


def concatenated(m, state, action):
    return m.f(torch.cat([state, action], -1))


def conditional(m, z, labels):
    return m.f(torch.cat([z, m.e(labels)], 1))


def masked(m, x, mask):
    return m.t(m.e(x), src_key_padding_mask=mask)


def branches(m, rgb, depth, extra):
    return m.a(rgb).mean((2, 3)) + m.b(depth).mean((2, 3)) + m.c(extra)


def positions(m, x):
    return m.p(x).flatten(2).transpose(1, 2) + m.table


def one_hot(m, x):
    return m.f(F.one_hot(x, 27).float())


def skipped(m, x):
    a = m.a(x)
    return a + F.interpolate(m.b(F.max_pool2d(a, 4)), scale_factor=4)


def optional(m, x, scale=None):
    return m.f(x) * scale


def siamese(m, a, b):
    return flat(m, a) - flat(m, b)


class Encoding(nn.Module):
    def forward(self, t):
        return t[:, None] * torch.ones(1, 32, device=t.device)


def denoiser(m, x, t):
    return m.c(x) + m.e(t)[:, :, None, None]


def fixed(m, x):
    return flat(m, x.expand(x.shape[0], 3, 28, 28))


def flagged(m, x, return_all: bool, steps: int):
    return m.f(x) if not return_all else (m.f(x), steps)


def table(m, x_num, x_cat):
    """Columns of numbers, each scaled to a token, and columns of categories, each with a table of its own."""
    numbers = x_num.unsqueeze(-1) * m.scale
    return m.f(torch.cat([numbers, torch.stack([e(x_cat[:, i]) for i, e in enumerate(m.tables)], 1)], 1))


def tables(*sizes):
    return nn.ModuleList(nn.Embedding(size, 8) for size in sizes)


def annotated(m, factors: torch.FloatTensor, ids):
    return m.f(m.e(ids).mean(1) + torch.sigmoid(factors))


CASES = [
    (lambda: model(lenet, c1=nn.Conv2d(3, 6, 5), c2=nn.Conv2d(6, 16, 5), f=nn.Linear(400, 10)), "2x3x32x32"),
    (lambda: model(lenet, c1=nn.Conv2d(1, 6, 5, padding=2), c2=nn.Conv2d(6, 16, 5), f=nn.Linear(400, 10)), "2x1x28x28"),
    (lambda: model(flat, c=nn.Conv2d(1, 4, 3), f=nn.Linear(4 * 26 * 26, 10)), "2x1x28x28"),
    (lambda: model(flat, c=nn.Conv2d(3, 4, 3, stride=2, padding=1), f=nn.Linear(4 * 48 * 48, 10)), "2x3x96x96"),
    (lambda: model(flat, c=nn.Conv2d(3, 4, 3, stride=2, padding=1), f=nn.Linear(4 * 112 * 112, 10)), "2x3x224x224"),
    (lambda: model(flat, c=nn.Conv1d(1, 4, 9, stride=4), f=nn.Linear(4 * 3998, 10)), "2x1x16000"),
    (lambda: model(flat, c=nn.Conv3d(3, 4, 3, padding=1), f=nn.LazyLinear(3)), "2x3x16x112x112"),
    (lambda: model(call, f=nn.Linear(784, 10)), "2x784"),
    (lambda: model(call, f=nn.LSTM(28, 8, batch_first=True)), "2x16x28"),
    (lambda: model(call, f=nn.GRU(28, 8)), "16x2x28"),
    (lambda: model(call, f=nn.BatchNorm1d(20)), "2x20"),
    (lambda: model(call, f=nn.ConvTranspose2d(100, 8, 4)), "2x100x1x1"),
    (lambda: model(embedded, f=nn.Embedding(65, 8)), "2x16:int64"),
    (lambda: model(channels_last, c=nn.Conv2d(3, 4, 3)), "2x224x224x3"),
    (lambda: model(unsqueezed, c=nn.Conv2d(1, 4, 3)), "2x28x28"),
    (lambda: model(concatenated, f=nn.Linear(10, 1)), "2x5 2x5"),
    (lambda: model(conditional, e=nn.Embedding(10, 10), f=nn.Linear(110, 3)), "2x100 2:int64"),
    (lambda: model(masked, e=nn.Embedding(99, 8), t=nn.TransformerEncoderLayer(8, 2, batch_first=True)), "2x16:int64 2x16:bool"),
    (lambda: model(branches, a=nn.Conv2d(3, 8, 3), b=nn.Conv2d(1, 8, 3), c=nn.Linear(12, 8)), "2x3x224x224 2x1x224x224 2x12"),
    (lambda: model(positions, p=nn.Conv2d(3, 8, 16, 16), table=nn.Parameter(torch.zeros(1, 64, 8))), "2x3x128x128"),
    (lambda: model(one_hot, f=nn.Linear(27, 3)), "2:int64"),
    (lambda: model(skipped, a=nn.Conv2d(1, 8, 3, padding=1), b=nn.Conv2d(8, 8, 3, padding=1)), "2x1x28x28"),
    (lambda: model(siamese, c=nn.Conv2d(1, 8, 10), f=nn.Linear(8 * 96 * 96, 16)), "2x1x105x105 2x1x105x105"),
    (lambda: model(flat, c=nn.Conv3d(3, 4, 3, padding=1, stride=2), f=nn.Linear(4 * 4 * 28 * 28, 3)), "2x3x8x56x56"),
    (lambda: model(denoiser, c=nn.Conv2d(3, 8, 3), e=nn.Sequential(Encoding(), nn.Linear(32, 8))), "2x3x224x224 2:int64"),
    (lambda: model(fixed, c=nn.Conv2d(3, 8, 3), f=nn.Linear(8 * 26 * 26, 2)), "2x3x28x28"),
    (lambda: model(table, tables=tables(12, 7, 4), scale=nn.Parameter(torch.ones(6, 8)), f=nn.Linear(8, 3)), "2x6 2x16:int64"),
    (lambda: model(annotated, e=nn.Embedding(9, 16), f=nn.Linear(16, 3)), "2x16 2x16:int64"),
    (lambda: model(flagged, f=nn.Linear(4, 4)), "2x4 False 2"),
]


@pytest.mark.parametrize("device", ["meta", "cpu"])
@pytest.mark.parametrize(("make", "expected"), CASES, ids=[f"{i}-{expected}" for i, (_, expected) in enumerate(CASES)])
def test_inferred(make, expected, device):
    with torch.device(device):
        made = make()
    inputs, trials = driver.find(made)
    assert inputs.spec == expected
    assert (inputs.given, trials <= 8) == (False, True)
    assert {tensor.device.type for tensor in inputs.args if isinstance(tensor, torch.Tensor)} <= {device, "cpu"}


def test_an_optional_argument_that_is_needed_is_added():
    inputs, _ = driver.find(model(optional, f=nn.Linear(4, 4)))
    assert inputs.spec == "2x4 scale=2x4"


def test_given_inputs_are_tried_alone():
    inputs, trials = driver.find(model(call, f=nn.Linear(784, 10)), "7x784")
    assert (inputs.spec, inputs.given, inputs.why, trials) == ("7x784", True, "given", 1)


def test_given_inputs_by_name():
    made = model(masked, e=nn.Embedding(99, 8), t=nn.TransformerEncoderLayer(8, 2, batch_first=True))
    inputs, _ = driver.find(made, "2x4:int64", "mask=2x4:bool")
    assert (inputs.spec, list(inputs.kwargs)) == ("2x4:int64 mask=2x4:bool", ["mask"])


@pytest.mark.parametrize(
    ("specs", "words"),
    [
        (["2x3"], "forward failed with the given inputs 2x3: f: Linear(784, 10) takes ...x784 and got 2x3 (RuntimeError: "),
        (["2x784", "2x784"], "the inputs do not fit forward(x): too many positional arguments"),
        (["y=2x784"], "the inputs do not fit forward(x)"),
        (["x=2x784", "x=2x784"], "the input 'x' is given twice"),
    ],
)
def test_given_inputs_that_do_not_fit(specs, words):
    with pytest.raises(InputError) as caught:
        driver.find(model(call, f=nn.Linear(784, 10)), *specs)
    assert words in str(caught.value)


def test_exhausted_says_what_was_tried_and_how_to_say_it():
    def picky(m, batch, other):
        raise KeyError("images")

    with pytest.raises(InputError) as caught:
        driver.find(model(picky, f=nn.Linear(8, 8)))
    lines = caught.value.message.splitlines()
    assert lines[0].startswith("no inputs found for Model.forward(batch, other); ")
    assert lines[0].endswith(" tried, among them:")
    assert lines[1:] == ["  2x8 2x8: KeyError: 'images'"]
    assert caught.value.location.line == picky.__code__.co_firstlineno + 1
    assert caught.value.hint == "say them, sizes joined by x, a dtype after a colon: --input batch=2x8 --input other=2x8"


def test_a_module_without_forward():
    with pytest.raises(InputError, match="ModuleList has no forward"):
        driver.find(nn.ModuleList([nn.Linear(1, 1)]))


def test_models_that_read_values_are_given_up_soon():
    with torch.device("meta"):
        made = model(lambda m, x: m.f(x).sum().item(), f=nn.Linear(3, 3))
    with pytest.raises(InputError):
        driver.find(made)


def test_a_layer_that_is_given_a_number_ends_in_a_clear_error():
    def summed(m, x):
        return m.fc(x.sum())

    with pytest.raises(InputError, match="no inputs found"):
        driver.find(model(summed, fc=nn.Linear(3, 4)))
