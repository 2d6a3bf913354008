"""Outputs: how they end, which is the main one, and how far two are apart."""

import math
from collections import namedtuple
from dataclasses import dataclass

import pytest
import torch
from torch import nn
from torch.nn import functional as F

from normadvisor.probe.running.capture import layer_gaps, paired, snapshot, thinned
from normadvisor.probe.running.outputs import Ending, Makers, difference, ending_of, leads_to, loss_in, losses_in, primary, similarity
from normadvisor.probe.running.trees import float_tensors, map_tensors, moved, named_tensors

X = torch.randn(16, 5, generator=torch.Generator().manual_seed(0))


@pytest.mark.parametrize(
    ("values", "made_by", "expected"),
    [
        (X, "linear", Ending.LINEAR), (X, "conv", Ending.LINEAR), (X, "NormedLinear", Ending.LINEAR), (X, None, Ending.OTHER),
        (X.softmax(1), None, Ending.SOFTMAX), (X.log_softmax(1), None, Ending.LOG_SOFTMAX), (X.sigmoid(), None, Ending.SIGMOID),
        (X.softmax(1), "softmax", Ending.SOFTMAX), (X.tanh(), "tanh", Ending.TANH), (X.relu(), "relu", Ending.OTHER),
        (X, "layer_norm", Ending.OTHER), (X.sigmoid(), "linear", Ending.LINEAR), (X * math.nan, "linear", Ending.LINEAR),
        (torch.complex(X, X), None, Ending.OTHER),
    ],
)  # fmt: skip
def test_endings(values, made_by, expected):
    assert ending_of(values, made_by, 1) is expected


def test_the_module_that_made_a_tensor_is_known_through_views():
    makers = Makers()
    model = nn.Sequential(nn.Linear(5, 6), nn.Flatten(0), nn.Identity())
    with makers.watching(model):
        output = model(X)
    assert [makers.op_of(tensor) for tensor in (output, output.view(8, 12), output + 1)] == ["linear", "linear", None]
    assert not any(module._forward_hooks for module in model.modules())


Named = namedtuple("Named", "x logits")  # noqa: PYI024


@dataclass
class Result:
    hidden: torch.Tensor
    logits: torch.Tensor
    loss: torch.Tensor | None = None


A, B = torch.ones(2, requires_grad=True) * 1, torch.ones(3, requires_grad=True) * 2


@pytest.mark.parametrize(
    ("output", "expected"),
    [
        (A, ""), ((A, B), "0"), ({"a": A, "logits": B}, "logits"), (Named(A, B), "logits"), (Result(A, B), "logits"),
        ((torch.ones(2), B), "1"), ([torch.arange(3), {"u": (A,)}], "1.u.0"),
    ],
)  # fmt: skip
def test_the_main_output(output, expected):
    found = primary(output)
    assert found is not None
    assert found[0] == expected


def test_outputs_without_real_numbers_have_no_main_one():
    assert [primary(output) for output in (None, 3, "text", torch.arange(3), {"a": torch.zeros(0)})] == [None] * 5


def test_losses_in_outputs():
    loss = A.sum()
    assert loss_in(Result(A, B, loss)) is not None
    assert [loss_in(output) for output in (Result(A, B), {"loss": torch.tensor(1.0)}, {"loss": A}, A)] == [None] * 4
    both = {"a": loss, "b": B.sum()}
    assert losses_in(both) == both
    assert [losses_in(output) for output in ({"a": loss, "b": B}, {}, A, {"a": torch.tensor(1.0)})] == [None] * 4


def test_what_leads_to_an_output():
    hidden = nn.Linear(5, 4)(X)
    other = nn.Linear(5, 4)(X)
    logits = hidden.relu() * 2
    assert leads_to(logits, [hidden, other, logits, X]) == [True, False, True, False]


def test_differences_and_similarities():
    a, b = torch.tensor([3.0, 4.0]), torch.tensor([0.0, 5.0])
    assert difference([a], [b]) == pytest.approx(math.sqrt(9 + 1) / 5)
    assert similarity([a], [b]) == pytest.approx(20 / 25)
    assert difference([a, b], [b, b]) == pytest.approx(math.sqrt(10) / math.sqrt(50))
    masked = torch.tensor([-math.inf, 3.0])
    assert difference([masked], [masked]) == 0.0
    assert [difference([a], [0 * a]), difference([a], [a * math.nan]), similarity([a], [0 * a])] == [None] * 3


def test_outputs_are_paired_by_path_and_shape_else_by_shape():
    one, other = snapshot({"a": A, "b": B}), snapshot({"b": B + 1, "c": A})
    assert [[tensor.tolist() for tensor in side] for side in paired(one, other)] == [[[2.0] * 3], [[3.0] * 3]]
    assert [[tensor.tolist() for tensor in side] for side in paired(one, snapshot(A + 1))] == [[[1.0] * 2], [[2.0] * 2]]
    assert paired(one, snapshot(torch.zeros(7))) == ([], [])


def test_large_outputs_are_thinned_over_all_positions():
    values = torch.arange(64 * 64 * 64).reshape(64, 64, 64)
    found = thinned(values.float(), 4096).long()
    assert found.numel() <= 4096
    places = [found % 64, found // 64 % 64, found // 4096]
    assert [len(place.unique()) for place in places] == [64, 64, 64]


def test_samples_of_a_batch_are_looked_at_alone_and_pairs_of_samples_not_at_all():
    found = snapshot({"pairs": torch.zeros(6, 6), "rows": torch.arange(12.0).reshape(6, 2)}, sample=(6, 2))
    assert {name: tensor.tolist() for name, (_, tensor) in found.items()} == {"rows": [0.0, 1.0, 2.0, 3.0]}


def test_layers_are_compared_where_they_ran_alike():
    one = {"a": [torch.ones(2)], "b": [torch.ones(2)], "c": [torch.ones(2)] * 2}
    other = {"a": [2 * torch.ones(2)], "b": [torch.ones(3)], "c": [torch.ones(2)]}
    assert layer_gaps(one, other) == {"a": 0.5}


def test_trees_are_walked_and_kept():
    value = {"a": [A, (B, "text")], "n": Named(A, 3), "r": Result(A, B), "none": None}
    assert [name for name, _ in named_tensors(value)] == ["a.0", "a.1.0", "n.x", "r.hidden", "r.logits"]
    doubled = map_tensors(value, lambda tensor: tensor * 2)
    assert (type(doubled["n"]), doubled["n"].logits, type(doubled["r"]), doubled["a"][1][1]) == (Named, 3, Result, "text")
    assert torch.equal(doubled["r"].logits, B * 2)
    assert [name for name, _ in float_tensors([A, A, torch.arange(2)])] == ["0"]


def test_packed_sequences_and_objects_that_know_how_are_moved():
    packed = nn.utils.rnn.pack_sequence([torch.ones(2, 1), torch.ones(1, 1)])

    class Graph:
        device = None

        def to(self, device):
            self.device = device
            return self

    device = torch.device("cpu")
    assert isinstance(moved(packed, device), nn.utils.rnn.PackedSequence)
    assert moved(Graph(), device).device == device
    assert moved({"x": X}, device, torch.bfloat16)["x"].dtype is torch.bfloat16


def test_random_calls_are_seen_with_their_modules():
    from normadvisor.probe.running.random_calls import watching_random_calls

    class Draws(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.layer, self.off, self.attention = nn.Linear(4, 4), nn.Dropout(0.5), nn.MultiheadAttention(4, 1, dropout=0.5)

        def forward(self, x):
            x = F.dropout(F.dropout(self.layer(x), training=False), 0.0)
            x = self.off(x) + torch.rand_like(x)
            return self.attention(x, x, x)[0] * torch.empty_like(x).bernoulli_(0.5)

    model = Draws().eval()
    with watching_random_calls(model) as calls:
        model(torch.ones(2, 4))
    assert calls == [("rand_like", ""), ("bernoulli", "")]
    assert not any(module._forward_hooks or module._forward_pre_hooks for module in model.modules())
