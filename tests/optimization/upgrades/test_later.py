"""An upgraded model in the hands of somebody who changes it, and calls it otherwise than it was traced."""

import copy
import pickle
from types import SimpleNamespace

import pytest
import torch
from torch import nn

from normadvisor.graph import trace
from normadvisor.optimization.candidate import Candidate, Setting
from normadvisor.optimization.forward import local_graphs
from normadvisor.optimization.upgrades.finders import find_upgrades
from normadvisor.rewrite.model.journal import Journal


class Config:
    def __init__(self):
        self.centered = False
        self.gate = "gelu"
        self.eps = 1e-5


class Norm(nn.Module):
    def __init__(self, config):
        super().__init__()
        self.config = config
        self.weight = nn.Parameter(torch.rand(8) + 0.5)

    def forward(self, x):
        if self.config.centered:
            x = x - x.mean(-1, keepdim=True)
        return x * torch.rsqrt(x.pow(2).mean(-1, keepdim=True) + self.config.eps) * self.weight


class Attention(nn.Module):
    def __init__(self, config):
        super().__init__()
        self.config, self.heads = config, 2
        self.qkv, self.project = nn.Linear(8, 24), nn.Linear(8, 8)
        self.softmax, self.drop = nn.Softmax(dim=-1), nn.Dropout(0.5)

    def forward(self, x, mask=None):
        q, k, v = self.qkv(x).unflatten(-1, (3, self.heads, -1)).permute(2, 0, 3, 1, 4)
        scores = q @ k.transpose(-2, -1) * 0.5
        if mask is not None:
            scores = scores + mask
        return self.project((self.drop(self.softmax(scores)) @ v).transpose(1, 2).flatten(2))

    def weights(self, x):
        q, k, _ = self.qkv(x).unflatten(-1, (3, self.heads, -1)).permute(2, 0, 3, 1, 4)
        return self.softmax(q @ k.transpose(-2, -1) * 0.5)


class Block(nn.Module):
    def __init__(self):
        super().__init__()
        self.config = Config()
        self.norm, self.attention, self.up = Norm(self.config), Attention(self.config), nn.Linear(8, 8)

    def forward(self, x, mask=None):
        x = x + self.attention(self.norm(x), mask)
        y = self.up(x)
        if self.config.gate == "gelu":
            return y * 0.5 * (1.0 + torch.erf(y / 2**0.5))
        return torch.relu(y)

    def features(self, x):
        return self.norm(x)


X = torch.randn(2, 5, 8, generator=torch.Generator().manual_seed(1))
MASK = torch.randn(2, 1, 5, 5, generator=torch.Generator().manual_seed(2))


@pytest.fixture(scope="module")
def upgraded():
    torch.manual_seed(0)
    model = Block().eval()
    inputs = SimpleNamespace(args=(X, MASK), kwargs={}, given=True)
    graph = trace(model, inputs, target="model", sites={}, mode="eval")
    found = list(find_upgrades(model, graph, Setting(mode="inference", device=torch.device("cpu"), dtype=X.dtype, inputs=inputs)))
    assert [each.replacement for each in found if isinstance(each, Candidate)] == [
        "F.gelu",
        "F.rms_norm",
        "F.scaled_dot_product_attention",
    ]
    changed = copy.deepcopy(model)
    for each in found:
        each.apply(changed, Journal())
    return model, changed


@pytest.fixture
def pair(upgraded):
    return tuple(copy.deepcopy(each) for each in upgraded)


def called(run):
    """How often torch's three functions are called."""
    names = []

    class Mode(torch.overrides.TorchFunctionMode):
        def __torch_function__(self, func, types, args=(), kwargs=None):
            names.append(getattr(func, "__name__", ""))
            return func(*args, **(kwargs or {}))

    with Mode():
        run()
    return [names.count(name) for name in ("gelu", "rms_norm", "scaled_dot_product_attention")]


def close(actual, expected, tolerance=1e-5):
    assert actual.dtype == expected.dtype
    torch.testing.assert_close(actual, expected, rtol=tolerance, atol=tolerance, equal_nan=True)


def test_as_it_was_traced(pair):
    model, changed = pair
    assert called(lambda: changed(X, MASK)) == [1, 1, 1]
    close(changed(X, MASK), model(X, MASK))


def test_what_was_changed_can_be_followed_again(pair):
    _, changed = pair
    refused = []
    found = {each.name: each for each in local_graphs(changed, SimpleNamespace(args=(X, MASK), kwargs={}), refused)}
    assert refused == []
    assert list(found) == ["", "norm", "attention"]
    assert [str(node.target) for node in found["attention"].graph.nodes if node.op == "call_module"] == ["qkv", "project"]


def switch(name, value):
    return lambda model: setattr(model.config, name, value)


@pytest.mark.parametrize(
    ("change", "functions"),
    [
        (switch("centered", value=True), [1, 0, 1]),
        (switch("gate", "relu"), [0, 1, 1]),
        (switch("eps", 0.5), [1, 0, 1]),
        (lambda model: setattr(model, "config", Config()), [1, 1, 1]),
        (lambda model: setattr(model.norm, "config", SimpleNamespace(centered=True, eps=1e-5)), [1, 0, 1]),
        (lambda model: setattr(model.attention, "softmax", nn.Softmax(dim=-2)), [1, 1, 0]),
        (lambda model: setattr(model.attention, "drop", nn.Identity()), [1, 1, 0]),
        (lambda model: setattr(model.attention.softmax, "dim", -2), [1, 1, 0]),
        (lambda model: setattr(model.attention, "heads", 4), [1, 1, 0]),
        (lambda model: model.attention.softmax.register_forward_hook(lambda module, args, result: result * 2), [1, 1, 0]),
        (lambda model: model.attention.drop.register_forward_pre_hook(lambda module, args: (args[0] * 2,)), [1, 1, 0]),
        (lambda model: model.norm.register_forward_hook(lambda module, args, result: result * 2), [1, 1, 1]),
        (lambda model: model.norm.weight.data.mul_(2), [1, 1, 1]),
        (lambda model: setattr(model.norm, "weight", nn.Parameter(torch.full((8,), 2.0))), [1, 1, 1]),
        (lambda model: setattr(model, "norm", nn.Identity()), [1, 0, 1]),
        (lambda model: model.double(), [1, 1, 1]),
    ],
)
def test_what_is_changed_later_counts(pair, change, functions):
    for each in pair:
        change(each)
    model, changed = pair
    dtype = model.up.weight.dtype
    hooked = any(layer._forward_hooks or layer._forward_pre_hooks for layer in model.modules())
    for one in (changed, copy.deepcopy(changed), *([] if hooked else [pickle.loads(pickle.dumps(changed))])):
        assert called(lambda one=one: one(X.to(dtype), MASK.to(dtype))) == functions
        close(one(X.to(dtype), MASK.to(dtype)), model(X.to(dtype), MASK.to(dtype)))


@pytest.mark.parametrize("shape", [(1, 1, 8), (3, 7, 8), (0, 5, 8), (1, 129, 8), (2, 1, 8)])
def test_other_sizes(pair, shape):
    model, changed = pair
    x, mask = torch.randn(shape), torch.randn(shape[0], 1, shape[1], shape[1])
    assert called(lambda: changed(x, mask)) == [1, 1, 1]
    close(changed(x, mask), model(x, mask))


@pytest.mark.parametrize(
    "mask",
    [None, MASK > 0, (MASK > 0).long(), MASK[0, 0], MASK[0, 0, 0], MASK[0, 0, 0, 0], MASK[:1], MASK[..., :1], MASK.double()],
    ids=["none", "bool", "integer", "of two axes", "of one axis", "a number", "for all samples", "for all keys", "of another dtype"],
)
def test_other_masks(pair, mask):
    model, changed = pair
    if mask is not None and mask.dtype is torch.float64:
        with pytest.raises(RuntimeError):
            model(X, mask)
        with pytest.raises(RuntimeError):
            changed(X, mask)
    else:
        close(changed(X, mask), model(X, mask))


@pytest.mark.parametrize(("dtype", "tolerance"), [(torch.bfloat16, 0.05), (torch.float16, 0.01), (torch.float64, 1e-9)])
def test_other_dtypes(pair, dtype, tolerance):
    model, changed = (each.to(dtype) for each in pair)
    assert called(lambda: changed(X.to(dtype), MASK.to(dtype))) == [1, 1, 1]
    close(changed(X.to(dtype), MASK.to(dtype)), model(X.to(dtype), MASK.to(dtype)), tolerance)


def test_other_methods(pair):
    model, changed = pair
    assert torch.equal(changed.attention.weights(X), model.attention.weights(X))
    close(changed.features(X), model.features(X))


def test_other_modes(pair):
    model, changed = pair
    for each in pair:
        each.train()
    torch.manual_seed(3)
    expected = model(X, MASK)
    torch.manual_seed(3)
    close(changed(X, MASK), expected)
    assert called(lambda: changed(X, MASK))[2] == 0
    for each in pair:
        each.eval()
    with torch.inference_mode():
        close(changed(X, MASK), model(X, MASK))
    with torch.autocast("cpu", dtype=torch.bfloat16):
        assert called(lambda: changed(X, MASK))[2] == 0
        close(changed(X, MASK), model(X, MASK), 0.02)


def test_gradients(pair):
    found = []
    for each in pair:
        x, mask = X.clone().requires_grad_(), MASK.clone().requires_grad_()
        found.append(torch.autograd.grad(each(x, mask).square().sum(), [x, mask, *each.parameters()]))
    for expected, actual in zip(*found, strict=True):
        close(actual, expected, 1e-4)


@pytest.mark.filterwarnings("ignore:There is a performance drop:UserWarning")
def test_transforms_of_functions(pair):
    def tangent(model):
        return torch.func.jvp(lambda x: model(x, MASK), (X,), (torch.ones_like(X),))[1]

    def jacobian(model):
        return torch.func.jacrev(lambda x: model(x[None], MASK[:1]).sum((0, 1)))(X[0])

    def mapped(model):
        return torch.func.vmap(lambda x, mask: model(x[None], mask[None]))(X, MASK)

    model, changed = pair
    for transform in (tangent, jacobian, mapped):
        close(transform(changed), transform(model), 1e-4)


@pytest.mark.filterwarnings("ignore:Guards may run slower:RuntimeWarning")
def test_compiled(pair):
    model, changed = pair
    torch.compiler.reset()
    compiled = torch.compile(changed, backend="aot_eager", fullgraph=True)
    close(compiled(X, MASK), model(X, MASK))
    for each in pair:
        each.config.gate = "relu"
    close(compiled(X, MASK), model(X, MASK))
    close(compiled(X[:, :3], MASK[..., :3, :3]), model(X[:, :3], MASK[..., :3, :3]))
