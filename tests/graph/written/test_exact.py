from types import SimpleNamespace

import pytest
import torch
from torch import nn

from normadvisor.graph import trace
from normadvisor.graph.written.exact import CannotEvaluate, evaluated, is_fixed, number_of
from normadvisor.optimization.forward import local_graphs


class Model(nn.Module):
    def __init__(self):
        super().__init__()
        self.layer = nn.Identity()  # so that it is no layer that is recognised as a whole

    def forward(self, x):
        batch, width = x.shape[0], x.size(-1)
        y = x.to(torch.float32).pow(2).mean(-1, keepdim=True)
        return (x / y.sqrt().to(x.dtype)) * (batch // 2 + width)


X = torch.randn(4, 6)


def graph():
    return next(iter(local_graphs(Model(), SimpleNamespace(args=(X,), kwargs={})))).graph


def named(nodes):
    return {str(node): node for node in nodes}


def test_a_part_of_a_graph_runs_in_double_precision_whatever_it_casts_to():
    nodes = [node for node in graph().nodes if node.op not in {"placeholder", "output"}]
    x = X.double()
    found = evaluated(nodes, {nodes[0].args[0]: x})
    assert found.dtype is torch.float64
    torch.testing.assert_close(found, x / x.square().mean(-1, keepdim=True).sqrt() * 8, rtol=1e-14, atol=1e-14)


def test_what_is_missing_cannot_be_evaluated():
    nodes = [node for node in graph().nodes if str(node) == "truediv"]
    with pytest.raises(CannotEvaluate, match="truediv: KeyError"):
        evaluated(nodes, {})


def test_numbers_are_told_by_values_or_by_shapes():
    found = named(graph().nodes)
    assert [number_of(found[name]) for name in ("getitem", "size", "floordiv", "add")] == [4, 6, 2, 8]
    inputs = SimpleNamespace(args=(X,), kwargs={}, given=True)
    symbolic = named(trace(Model(), inputs, target="model", sites={}).fx_graph.nodes)
    assert [number_of(symbolic[name]) for name in ("getitem", "size", "floordiv", "add")] == [4, 6, 2, 8]


def test_which_dtypes_are_written_down():
    found = named(graph().nodes)
    assert {name: is_fixed(found[name]) for name in ("x", "to", "mean", "sqrt", "to_1", "truediv")} == {
        "x": False, "to": True, "mean": True, "sqrt": True, "to_1": False, "truediv": False,
    }  # fmt: skip
