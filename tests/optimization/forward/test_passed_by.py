"""Layers that a changed forward does not call any more: where they have become something else, the forward before runs."""

import copy
from types import SimpleNamespace

import pytest
import torch
import torch.nn.functional as F
from torch import nn

from normadvisor.optimization.forward import find, install, local_graphs, replace
from normadvisor.rewrite.model.journal import Journal


class Model(nn.Module):
    def __init__(self):
        super().__init__()
        self.norms = nn.ModuleList([nn.LayerNorm(4)])
        self.act = nn.GELU()

    def forward(self, x):
        return self.act(self.norms[0](x))


def to_functions(graph, module):
    """Functions with the settings that the layers have now."""
    norm, act = find(graph, "norms_0"), find(graph, "act")
    with graph.inserting_before(act):
        layer = module.norms[0]
        held = [graph.get_attr(f"norms.0.{name}") for name in ("weight", "bias")]
        normed = graph.call_function(F.layer_norm, (norm.args[0], list(layer.normalized_shape), *held, layer.eps))
        new = graph.call_function(F.gelu, (normed,), {"approximate": module.act.approximate})
    replace(graph, act, new, [norm, act])


X = torch.linspace(-2, 2, 12).reshape(3, 4)


@pytest.fixture
def pair():
    torch.manual_seed(0)
    model = Model().eval()
    plain = copy.deepcopy(model)
    local = next(each for each in local_graphs(model, SimpleNamespace(args=(X,), kwargs={})) if not each.name)
    install(model, "", to_functions, local, Journal(), watched=True)
    return model, plain


def test_nothing_has_changed(pair):
    model, plain = pair
    seen = []
    nn.LayerNorm.forward, before = lambda self, x: seen.append(1) or before(self, x), nn.LayerNorm.forward
    try:
        found = model(X), copy.deepcopy(model)(X)
    finally:
        nn.LayerNorm.forward = before
    assert [torch.equal(each, plain(X)) for each in found] == [True, True]
    assert seen == []


@pytest.mark.parametrize(
    "change",
    [
        lambda model: setattr(model.norms[0], "eps", 0.5),
        lambda model: setattr(model.act, "approximate", "tanh"),
        lambda model: setattr(model, "act", nn.ReLU()),
        lambda model: model.norms.__setitem__(0, nn.Identity()),
        lambda model: model.norms[0].register_forward_hook(lambda module, args, result: result + 1),
        lambda model: model.norms[0].register_forward_pre_hook(lambda module, args: (args[0] * 2,)),
        lambda model: setattr(model.norms[0], "bias", None),
        lambda model: model.norms[0].weight.data.fill_(3.0),
        lambda model: setattr(model.norms[0], "weight", nn.Parameter(torch.full((4,), 2.0))),
        lambda model: torch.nn.utils.parametrize.register_parametrization(model.norms[0], "weight", nn.Hardtanh(-0.5, 0.5)),
        lambda model: model.double(),
    ],
)
def test_what_has_become_of_a_layer_counts(pair, change):
    model, plain = pair
    for each in pair:
        change(each)
    x = X.to(plain.norms[0].weight.dtype) if isinstance(plain.norms[0], nn.LayerNorm) else X
    assert torch.equal(model(x), plain(x))
    assert torch.equal(copy.deepcopy(model)(x), plain(x))


def test_the_changed_forward_can_be_traced_and_changed_again(pair):
    model, plain = pair
    local = next(each for each in local_graphs(model, SimpleNamespace(args=(X,), kwargs={})) if not each.name)
    assert [str(node.target) for node in local.graph.nodes if node.op == "call_module"] == []
    install(model, "", lambda graph, module: None, local, Journal(), watched=True)
    assert torch.equal(model(X), plain(X))
    for each in pair:
        each.norms[0].eps = 0.5
    assert torch.equal(model(X), plain(X))


def test_a_backward_hook_runs(pair):
    model, _ = pair
    seen = []
    model.norms[0].register_full_backward_hook(lambda module, before, after: seen.append("backward"))
    model(X.clone().requires_grad_()).sum().backward()
    assert seen == ["backward"]


def test_where_the_forward_before_cannot_run_any_more_an_error_says_so():
    torch.manual_seed(0)
    model = Model().eval()
    local = next(each for each in local_graphs(model, SimpleNamespace(args=(X,), kwargs={})) if not each.name)
    install(model, "", to_functions, local, Journal(), gone="its layers were merged for inputs of another kind")
    model(X)
    with pytest.raises(RuntimeError, match=r"^its layers were merged for inputs of another kind$"):
        model([X])
