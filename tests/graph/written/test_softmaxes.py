from types import SimpleNamespace

import pytest
import torch
from torch import nn

from normadvisor.graph.written.model import Surroundings
from normadvisor.graph.written.softmaxes import softmax_at
from normadvisor.optimization.forward import local_graphs


def found_in(forward):
    class Model(nn.Module):
        def forward(self, x):
            return forward(x)

    model = Model()
    local = next(iter(local_graphs(model, SimpleNamespace(args=(torch.randn(4, 7, 9),), kwargs={}))))
    root = next(node for node in local.graph.nodes if node.op == "output").args[0]
    found = softmax_at(root, Surroundings(local.graph, model))
    return None if found is None else (found.op, str(found.inputs["input"]), dict(found.arguments))


def shifted(x):
    e = torch.exp(x - x.amax(-1, keepdim=True))
    return e / e.sum(-1, keepdim=True)


def with_indices(x):
    e = torch.exp(x - x.max(dim=1, keepdim=True)[0])
    return e / e.sum(dim=1, keepdim=True)


@pytest.mark.parametrize(
    ("forward", "expected"),
    [
        (lambda x: torch.log(torch.softmax(x, -1)), ("log_softmax", "x", {"dim": -1})),
        (lambda x: x.softmax(0).log(), ("log_softmax", "x", {"dim": -3})),
        (lambda x: x - x.logsumexp(1, keepdim=True), ("log_softmax", "x", {"dim": -2})),
        (shifted, ("softmax", "x", {"dim": -1})),
        (with_indices, ("softmax", "x", {"dim": -2})),
        (lambda x: (torch.tanh(x)).softmax(-1).log(), ("log_softmax", "tanh", {"dim": -1})),
        (lambda x: torch.log(x.softmax(-1) + 1e-6), None),
        (lambda x: torch.exp(x) / torch.exp(x).sum(), None),
        (lambda x: x.softmax(-1), None),
        (lambda x: x.log() - x.sum(), None),
    ],
)
def test_what_is_computed_counts(forward, expected):
    assert found_in(forward) == expected
