import gc
import math
import subprocess
import sys
from types import SimpleNamespace

import torch
import torch.nn.functional as F
from torch import nn

from normadvisor.optimization.forward import LocalGraph, local_graphs


def given(*args, **kwargs):
    return SimpleNamespace(args=args, kwargs=kwargs)


def calls(local):
    return [str(node) for node in local.graph.nodes]


class Block(nn.Module):
    def __init__(self):
        super().__init__()
        self.conv = nn.Conv2d(3, 3, 3, padding=1)
        self.norm = nn.BatchNorm2d(3)

    def forward(self, x):
        out = self.norm(self.conv(x))
        out += x
        return F.relu(out)


class Stages(nn.Module):
    def __init__(self):
        super().__init__()
        self.stages = nn.ModuleList([nn.Sequential(Block(), nn.ReLU()), Block()])

    def forward(self, x):
        for stage in self.stages:
            x = stage(x)
        return x.mean((2, 3))


def test_every_module_with_a_forward_of_its_own_is_traced_alone():
    model = Stages().eval()
    found = {local.name: calls(local) for local in local_graphs(model, given(torch.randn(2, 3, 8, 8)))}
    block = ["x", "conv", "norm", "iadd", "relu", "output"]
    expected = {
        "": ["x", "stages_0", "stages_1", "mean", "output"],
        "stages.0": ["input_1", "_0", "_1", "output"],
        "stages.0.0": block,
        "stages.1": block,
    }
    assert expected == found


def test_nodes_know_shape_dtype_strides_and_line(traced):
    local = traced(Block().eval(), torch.randn(2, 3, 8, 8))
    nodes = {str(node): (node.meta["shape"], node.meta["dtype"], node.meta["stride"]) for node in local.graph.nodes}
    here = ((2, 3, 8, 8), torch.float32, (192, 64, 8, 1))
    assert {"x": here, "conv": here, "norm": here, "iadd": here, "relu": here, "output": (None, None, None)} == nodes
    first = Block.forward.__code__.co_firstlineno
    lines = [node.meta["line"] for node in local.graph.nodes]
    assert lines == [None, first + 1, first + 1, first + 2, first + 3, None]


def test_the_model_is_left_as_it_was():
    model = Stages().train()
    before = {key: value.clone() for key, value in model.state_dict().items()}
    attributes = [dict(vars(module)) for module in model.modules()]
    hooks = [len(module._forward_hooks) + len(module._forward_pre_hooks) for module in model.modules()]
    state = torch.get_rng_state()
    assert len(list(local_graphs(model, given(torch.randn(2, 3, 8, 8, generator=torch.Generator().manual_seed(0)))))) == 4
    assert all(torch.equal(value, before[key]) for key, value in model.state_dict().items())
    assert [dict(vars(module)) for module in model.modules()] == attributes
    assert [len(module._forward_hooks) + len(module._forward_pre_hooks) for module in model.modules()] == hooks
    assert torch.equal(torch.get_rng_state(), state)
    assert isinstance(1, int)
    assert math.sqrt(4) == 2


class Attention(nn.Module):
    def __init__(self):
        super().__init__()
        self.heads = 2
        self.project = nn.Linear(8, 24)

    def forward(self, x, mask=None, *, scale: float = 0.5):
        batch, length, width = x.shape
        query, key, value = self.project(x).reshape(batch, length, 3, self.heads, -1).permute(2, 0, 3, 1, 4)
        scores = query @ key.transpose(-2, -1) * scale / math.sqrt(width)
        if mask is not None:
            scores = scores.masked_fill(mask[:, None], torch.finfo(scores.dtype).min)
        positions = torch.arange(length, device=x.device)
        return (scores.softmax(-1) @ value).transpose(1, 2).reshape(batch, length, width) + positions[:, None]


def test_sizes_are_nodes_and_numbers_of_the_module_are_guards(traced):
    local = traced(Attention().eval(), torch.randn(2, 5, 8), torch.zeros(2, 5, 5, dtype=torch.bool))
    assert local.guards.conditions == [
        "isinstance(x, _tensors)",
        "isinstance(mask, _tensors)",
        "type(scale) is float and scale == 0.5",
        "len(x.shape) == 3",
        "type(self.heads) is int and self.heads == 2",
    ]
    names = [str(node.target) for node in local.graph.nodes if "sqrt" in str(node.target) or "arange" in str(node.target)]
    assert len(names) == 2


class Deep(nn.Module):
    def __init__(self):
        super().__init__()
        self.layers = nn.ModuleList([nn.Dropout(0.5)])
        self.norms = nn.ModuleDict({"a": nn.LayerNorm(2)})

    def forward(self, x):
        return F.dropout(x, self.layers[0].p, self.norms.a.training) * self.norms["a"].weight


def test_settings_of_children_are_guards_too(traced):
    assert traced(Deep().eval(), torch.ones(2)).guards.conditions == [
        "isinstance(x, _tensors)",
        "len(self._modules['layers']._modules) == 1",
        "type(self._modules['layers']._modules['0'].p) is float and self._modules['layers']._modules['0'].p == 0.5",
        "self._modules['norms']._modules['a'].training is False",
        "len(self._modules['norms']._modules) == 1",
    ]


class Nested(nn.Module):
    def forward(self, pair, settings, *rest, flag=True, **named):
        first, second = pair
        total = first + second * settings["factor"] + rest[0]
        return (total + named["extra"], None) if flag else total


def test_nested_arguments_are_taken_apart(traced):
    x = torch.ones(2)
    local = traced(Nested(), (x, x), {"factor": 2.0}, x, extra=x, other=None)
    assert local.guards.places == {"pair_0": "pair[0]", "pair_1": "pair[1]", "rest_0": "rest[0]", "extra": "named['extra']"}
    assert local.guards.conditions == [
        "type(pair) is tuple and len(pair) == 2",
        "isinstance(pair[0], _tensors)",
        "isinstance(pair[1], _tensors)",
        "type(settings) is dict and settings.keys() == {'factor'}",
        "type(settings['factor']) is float and settings['factor'] == 2.0",
        "len(rest) == 1",
        "isinstance(rest[0], _tensors)",
        "flag is True",
        "named.keys() == {'extra', 'other'}",
        "isinstance(named['extra'], _tensors)",
        "named['other'] is None",
    ]


class Cache:
    def __init__(self):
        self.held = []

    def update(self, x):
        self.held.append(x)
        return torch.stack(self.held).sum(0)


class Caching(nn.Module):
    def forward(self, x, cache):
        return cache.update(x) * 2


def test_objects_are_handed_over_and_left_alone(traced):
    cache = Cache()
    local = traced(Caching(), torch.ones(2), cache)
    assert [str(node) for node in local.graph.nodes] == ["x", "cache", "update", "mul", "output"]
    assert len(cache.held) == 1  # by the one run of the model, not by the trace


def doubled(layer, x):
    if torch.overrides.has_torch_function((x,)):
        return torch.overrides.handle_torch_function(doubled, (x,), layer, x)
    return layer(x) * 2


class CallsOverridable(nn.Module):
    def __init__(self):
        super().__init__()
        self.layer = nn.Linear(2, 2)

    def forward(self, x):
        return doubled(self.layer, x)


def test_functions_that_ask_to_be_overridden_are_one_call(traced):
    local = traced(CallsOverridable(), torch.ones(3, 2))
    assert [(node.op, str(node), node.meta["shape"]) for node in local.graph.nodes] == [
        ("placeholder", "x", (3, 2)),
        ("get_attr", "layer", None),
        ("call_function", "doubled", (3, 2)),
        ("output", "output", None),
    ]
    assert local.graph.find_nodes(op="call_function", target=doubled)[0].args == tuple(local.graph.nodes)[1::-1]


class MakesLayers(nn.Module):
    def forward(self, x):
        return nn.Softmax(dim=-1)(nn.ReLU(inplace=False)(x))


def test_layers_that_are_made_while_it_runs_are_followed(traced):
    assert calls(traced(MakesLayers(), torch.ones(2))) == ["x", "relu", "softmax", "output"]


class Result:
    value = None


class Rewrites(nn.Module):
    def __init__(self):
        super().__init__()
        self.inner = Gives()

    def forward(self, x):
        result = self.inner(x)
        result.value = result.value * 2
        return result.value


class Gives(nn.Module):
    def forward(self, x):
        result = Result()
        result.value = x
        return result


class Reads(nn.Module):
    def forward(self, x):
        return x * 2 if x.sum() > 0 else x


class Loops(nn.Module):
    def forward(self, x):
        return x * x.max().item()


class Writes(nn.Module):
    def forward(self, x):
        self.last = x
        return x * 2


class Swish(torch.autograd.Function):
    @staticmethod
    def forward(ctx, x):
        return x.clone()

    @staticmethod
    def backward(ctx, grad):
        return grad


class OwnBackward(nn.Module):
    def forward(self, x):
        return Swish.apply(x)


class WithoutGrad(nn.Module):
    def forward(self, x):
        with torch.no_grad():
            y = x * 2
        return x + y


SHIFT = torch.ones(2)


class Outside(nn.Module):
    def forward(self, x):
        return x + SHIFT


class Holder:
    def __init__(self, value):
        self.value = value


class Wraps(nn.Module):
    def forward(self, x):
        return Holder(x * 2)


class Catches(nn.Module):
    def __init__(self):
        super().__init__()
        self.layer = nn.Linear(2, 2)

    def forward(self, x):
        return x.numpy() if isinstance(x, str) else self.layer(x).detach().numpy()


def reason_of(traced, model):
    found = traced(model.eval(), torch.ones(2))
    assert isinstance(found, str)
    path, _, rest = found.partition(": ")
    return (path.rpartition("/")[2].rpartition(":")[0], int(path.rpartition(":")[2]) - type(model).forward.__code__.co_firstlineno, rest)


def test_what_cannot_be_traced_is_refused_with_reason_and_line(traced):
    here = "test_recording.py"
    models = [Reads(), Loops(), Writes(), OwnBackward(), WithoutGrad(), Outside(), Catches(), Rewrites()]
    assert [reason_of(traced, model) for model in models] == [
        (here, 1, "decides by the values of a tensor"),
        (here, 1, "reads values of a tensor (item)"),
        (here, 1, "writes last of a Writes while it runs"),
        (here, 1, "calls Swish, which has a backward of its own"),
        (here, 1, "does a part of its work under no_grad, which no graph can hold"),
        (here, 1, "uses a tensor that is no parameter or buffer of the module"),
        (here, 1, "reads values of a tensor (numpy)"),
        (here, 2, "writes value of what another call returned"),
    ]
    assert traced(Wraps(), torch.ones(2)) == "uses a Holder, which no graph can hold"


class Fragile(nn.Module):
    def forward(self, x):
        names = {torch.float32: 1.0}
        return x * names[x.dtype]


def test_any_error_of_the_forward_is_a_reason(traced):
    assert ": cannot be followed: KeyError: " in traced(Fragile(), torch.ones(2))


def test_layers_of_torch_are_no_forwards_of_their_own(traced):
    model = nn.Sequential(nn.Linear(2, 2), nn.LayerNorm(2), nn.MultiheadAttention(2, 1), nn.Identity())
    model = nn.Sequential(model[:2], nn.TransformerEncoderLayer(2, 1, 4))
    assert [local.name for local in local_graphs(model.eval(), given(torch.ones(1, 2, 2)))] == ["", "0"]


def test_scripted_parts_cannot_be_followed(traced):
    model = nn.Sequential(nn.Linear(2, 2), torch.jit.script(Outsider()))
    assert traced(model.eval(), torch.ones(1, 2)) == "calls 1, which is scripted"


class Outsider(nn.Module):
    def forward(self, x):
        return x * 2


class Asks(nn.Module):
    def forward(self, x):
        if torch.is_grad_enabled() and self.training:
            return x * 2
        return x


def test_questions_about_the_state_of_torch_are_guards(traced):
    local = traced(Asks().train(), torch.ones(2))
    assert isinstance(local, LocalGraph)
    assert local.guards.conditions == ["isinstance(x, _tensors)", "torch.is_grad_enabled()", "self.training is True"]
    assert local.mode == "train"


def test_what_the_garbage_collector_calls_is_no_part_of_a_forward(traced):
    def counted(_phase, _info):
        global _collections  # noqa: PLW0603 -- what a forward may not do
        _collections += 1

    before = gc.get_threshold()
    gc.callbacks.append(counted)
    gc.set_threshold(1)
    try:
        local = traced(Block().eval(), torch.randn(2, 3, 8, 8))
    finally:
        gc.set_threshold(*before)
        gc.callbacks.remove(counted)
    assert calls(local) == ["x", "conv", "norm", "iadd", "relu", "output"]
    assert gc.isenabled()


_collections = 0


def test_default_devices_hold_after_a_trace():
    """In a process of its own: torch looks up which functions make tensors when it first has to, and keeps what it found."""
    code = """
import torch
from torch import nn
from types import SimpleNamespace
from normadvisor.optimization.forward import local_graphs

class Net(nn.Module):
    def forward(self, x):
        return torch.relu(x) + torch.ones(2)

[local] = local_graphs(Net().eval(), SimpleNamespace(args=(torch.ones(2),), kwargs={}, given=True), [])
with torch.device("meta"):
    print([make(2).device.type for make in (torch.empty, torch.ones, torch.rand, torch.zeros)], nn.Linear(2, 2).weight.device)
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout == "['meta', 'meta', 'meta', 'meta'] meta\n"
