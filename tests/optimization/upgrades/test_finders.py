import copy
import inspect
import math
import pickle
from types import SimpleNamespace

import pytest
import torch
import torch.nn.functional as F
from torch import nn

from normadvisor.graph import trace
from normadvisor.optimization.candidate import Candidate, Refused, Setting
from normadvisor.optimization.upgrades.finders import find_upgrades
from normadvisor.rewrite.model.journal import Journal

CPU = torch.device("cpu")


def given(*args, **kwargs):
    return SimpleNamespace(args=args, kwargs=kwargs, given=True)


def found_in(model, *args, mode="inference"):
    inputs = given(*args)
    graph = trace(model, inputs, target="model", sites={}, mode="eval" if mode == "inference" else "train")
    setting = Setting(mode=mode, device=CPU, dtype=args[0].dtype, inputs=inputs)
    return list(find_upgrades(model, graph, setting))


def rows(found):
    return [
        (each.rule, each.pattern, each.replacement, each.modules) if isinstance(each, Candidate) else (each.rule, each.modules, each.reason)
        for each in found
    ]


def applied(model, found, journal=None):
    """A copy of a model with all candidates."""
    changed = model if journal is not None else copy.deepcopy(model)
    for each in found:
        if isinstance(each, Candidate):
            assert each.apply(changed, journal or Journal()) == ()
    return changed


def functions(model, *args):
    """Names of the torch functions that a run calls."""
    called = []

    class Mode(torch.overrides.TorchFunctionMode):
        def __torch_function__(self, func, types, args=(), kwargs=None):
            called.append(getattr(func, "__name__", ""))
            return func(*args, **(kwargs or {}))

    with Mode(), torch.no_grad():
        model(*args)
    return called


def randomised(model):
    generator = torch.Generator().manual_seed(0)
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.copy_(torch.randn(parameter.shape, generator=generator) * 0.3 + (parameter.dim() == 1))
    return model.eval()


class LlamaNorm(nn.Module):
    def __init__(self, width):
        super().__init__()
        self.weight = nn.Parameter(torch.ones(width))
        self.eps = 1e-6

    def forward(self, x):
        dtype = x.dtype
        x = x.to(torch.float32)
        x = x * torch.rsqrt(x.pow(2).mean(-1, keepdim=True) + self.eps)
        return self.weight * x.to(dtype)


class GemmaNorm(LlamaNorm):
    def forward(self, x):
        y = x.float()
        y = y * torch.rsqrt(y.pow(2).mean(-1, keepdim=True) + self.eps)
        return (y * (1.0 + self.weight.float())).type_as(x)


class T5Norm(LlamaNorm):
    def forward(self, x):
        variance = x.to(torch.float32).pow(2).mean(-1, keepdim=True)
        x = x * torch.rsqrt(variance + self.eps)
        if self.weight.dtype in [torch.float16, torch.bfloat16]:
            x = x.to(self.weight.dtype)
        return self.weight * x


class ChannelsFirst(nn.Module):
    def __init__(self, width):
        super().__init__()
        self.weight, self.bias = nn.Parameter(torch.ones(width)), nn.Parameter(torch.zeros(width))

    def forward(self, x):
        mean = x.mean(1, keepdim=True)
        variance = (x - mean).pow(2).mean(1, keepdim=True)
        x = (x - mean) / torch.sqrt(variance + 1e-6)
        return self.weight[:, None, None] * x + self.bias[:, None, None]


class Annotated(ChannelsFirst):
    def forward(self, x):
        return self.weight * (x - x.mean(-1, keepdim=True)) / (x.std(-1, keepdim=True) + 1e-6) + self.bias


class Attention(nn.Module):
    def __init__(self, width, heads=2):
        super().__init__()
        self.qkv, self.out, self.heads, self.drop = nn.Linear(width, 3 * width), nn.Linear(width, width), heads, nn.Dropout(0.1)
        self.register_buffer("causal", torch.ones(1, 1, 32, 32).tril())

    def forward(self, x):
        batch, length, width = x.shape
        q, k, v = self.qkv(x).reshape(batch, length, 3, self.heads, width // self.heads).permute(2, 0, 3, 1, 4)
        scores = q @ k.transpose(-2, -1) * (1.0 / math.sqrt(k.size(-1)))
        scores = scores.masked_fill(self.causal[:, :, :length, :length] == 0, float("-inf"))
        x = self.drop(F.softmax(scores, dim=-1)) @ v
        return self.out(x.transpose(1, 2).reshape(batch, length, width))


class Tanh(nn.Module):
    def forward(self, x):
        return 0.5 * x * (1.0 + torch.tanh(math.sqrt(2.0 / math.pi) * (x + 0.044715 * torch.pow(x, 3.0))))


class Block(nn.Module):
    def __init__(self, norm=LlamaNorm, width=8):
        super().__init__()
        self.norm, self.attention, self.up, self.down, self.act = norm(width), Attention(width), *_linears(width), Tanh()

    def forward(self, x):
        x = x + self.attention(self.norm(x))
        y = self.up(x)
        y = y * torch.sigmoid(y)
        return x + self.down(self.act(y))


def _linears(width):
    return nn.Linear(width, 2 * width), nn.Linear(2 * width, width)


X = torch.randn(2, 5, 8, generator=torch.Generator().manual_seed(3))


def test_a_block_of_a_language_model():
    model = randomised(nn.Sequential(Block(), Block(GemmaNorm)))
    found = found_in(model, X)
    expected = [
        row
        for name in ("0", "1")
        for row in (
            ("NA705", "silu written out", "F.silu", (name,)),
            ("NA704", "rms_norm written out", "F.rms_norm", (f"{name}.norm",)),
            ("NA705", "attention written out", "F.scaled_dot_product_attention", (f"{name}.attention",)),
            ("NA705", "gelu written out", "F.gelu", (f"{name}.act",)),
        )
    ]
    assert rows(found) == expected
    assert len({each.group for each in found}) == 4
    changed = applied(model, found)
    torch.testing.assert_close(changed(X), model(X), rtol=2e-6, atol=2e-6)
    called = functions(changed, X)
    assert [name for name in called if name in {"silu", "gelu", "rms_norm", "scaled_dot_product_attention"}] == [
        "rms_norm", "scaled_dot_product_attention", "silu", "gelu",
    ] * 2  # fmt: skip
    assert {"sigmoid", "tanh", "softmax", "rsqrt", "pow"} & set(called) == set()
    assert list(changed.state_dict()) == list(model.state_dict())


@pytest.mark.parametrize("norm", [LlamaNorm, GemmaNorm, T5Norm])
@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16, torch.float16])
def test_the_rounding_error_is_at_most_twice_that_of_the_original(norm, dtype):
    model = randomised(nn.Sequential(norm(64))).to(dtype)
    x = (torch.randn(16, 64, generator=torch.Generator().manual_seed(1)) * 3).to(dtype)
    found = found_in(model, x)
    assert [type(each) for each in found] == [Candidate]
    changed = applied(model, found)
    weight = model[0].weight.double() + (norm is GemmaNorm)
    exact = x.double() * torch.rsqrt(x.double().square().mean(-1, keepdim=True) + 1e-6) * weight
    before, after = ((each(x).double() - exact).abs().max() for each in (model, changed))
    assert changed(x).dtype == model(x).dtype == dtype
    assert after <= 2 * before
    assert "rms_norm" in functions(changed, x)


def test_a_norm_that_was_found_in_single_precision_serves_a_model_in_half():
    for norm in (LlamaNorm, GemmaNorm):
        model = randomised(nn.Sequential(norm(8)))
        changed = applied(model, found_in(model, X)).bfloat16()
        x = X.bfloat16()
        assert changed(x).dtype is torch.bfloat16
        assert "rms_norm" in functions(changed, x)
        torch.testing.assert_close(changed(x), model.bfloat16()(x), rtol=2e-2, atol=2e-2)
    model = randomised(nn.Sequential(T5Norm(8)))
    changed = applied(model, found_in(model, X)).bfloat16()
    assert "rms_norm" not in functions(changed, X.bfloat16())  # there it takes another way
    assert torch.equal(changed(X.bfloat16()), model.bfloat16()(X.bfloat16()))


def test_a_norm_over_channels():
    model = randomised(nn.Sequential(ChannelsFirst(6)))
    x = torch.randn(2, 6, 4, 5, generator=torch.Generator().manual_seed(0))
    found = found_in(model, x)
    assert rows(found) == [("NA704", "layer_norm written out", "F.layer_norm over permuted axes", ("0",))]
    changed = applied(model, found)
    torch.testing.assert_close(changed(x), model(x))
    assert "layer_norm" in functions(changed, x)
    assert "layer_norm" in functions(changed, torch.randn(1, 6, 3, 3))


def test_what_cannot_be_replaced_is_told_with_the_reason():
    model = nn.Sequential(Annotated(8), Returns(8))
    assert rows(found_in(model.eval(), X)) == [
        ("NA704", ("0",), "its standard deviation divides by n - 1, and that of torch's layer_norm by n"),
        ("NA705", ("1",), "its attention weights are returned or read elsewhere, and scaled_dot_product_attention does not give them"),
    ]


class Returns(Attention):
    def forward(self, x):
        q, k, v = self.qkv(x).chunk(3, -1)
        weights = (q @ k.transpose(-2, -1)).softmax(-1)
        return weights @ v, weights


class Branching(LlamaNorm):
    def forward(self, x):
        if x.sum() == 0:
            return x
        return super().forward(x)


def test_a_norm_that_cannot_be_followed_is_told():
    (refused,) = found_in(nn.Sequential(Branching(8)).eval(), X)
    assert isinstance(refused, Refused)
    assert (refused.rule, refused.modules) == ("NA704", ("0",))
    assert refused.reason.endswith(": decides by the values of a tensor")


class Clipped(torch.autograd.Function):
    @staticmethod
    def forward(_, x):
        return x.clamp(max=1)

    @staticmethod
    def backward(_, gradient):
        return gradient


class Follows(nn.Module):
    def forward(self, x):
        x = Clipped.apply(x)
        x = x * torch.sigmoid(x) + x * torch.tanh(F.softplus(x))
        return x * torch.rsqrt(x.pow(2).mean(-1, keepdim=True) + 1e-6)


class Stops(nn.Module):
    def forward(self, x):
        x = x * torch.sigmoid(x)
        return x if x.sum() > 0 else -x


_BACKWARD = "which has a backward of its own"


@pytest.mark.parametrize(
    ("cls", "expected"),
    [
        (Follows, [("NA704", "rms_norm", f"calls Clipped, {_BACKWARD}"), ("NA705", "silu, mish", f"calls Clipped, {_BACKWARD}")]),
        (Stops, [("NA705", "silu", "decides by the values of a tensor")]),
    ],
)  # fmt: skip
def test_what_stands_in_a_forward_that_cannot_be_followed_is_told(cls, expected):
    model = nn.Sequential(nn.Linear(8, 8), cls()).eval()
    line = inspect.getsourcelines(cls)[1] + (3 if cls is Stops else 2)
    assert rows(found_in(model, X)) == [
        (rule, ("1",), f"{ops} written out in a forward that cannot be changed: {__file__}:{line}: {why}") for rule, ops, why in expected
    ]


class Overwrites(nn.Module):
    def forward(self, x):
        x = x + 0
        gate = torch.sigmoid(x)
        x.mul_(2)
        return x * gate


class Shared(nn.Module):
    def forward(self, x):
        gate = torch.sigmoid(x)
        return x * gate + gate


def test_what_is_written_over_or_read_elsewhere_is_left_alone():
    assert rows(found_in(nn.Sequential(Overwrites(), Shared()).eval(), X)) == [
        ("NA705", ("0",), "what it reads is written over before it is done"),
    ]


class Triangle(Attention):
    def mask(self, length, x):
        return torch.triu(torch.ones(length, length, dtype=torch.bool, device=x.device), diagonal=1)

    def forward(self, x):
        batch, length, width = x.shape
        q, k, v = self.qkv(x).reshape(batch, length, 3, self.heads, width // self.heads).permute(2, 0, 3, 1, 4)
        scores = (q @ k.transpose(-2, -1)) / 2
        return self.out((scores.masked_fill(self.mask(length, x), -1e9).softmax(-1) @ v).transpose(1, 2).reshape(batch, length, width))


class Window(Triangle):
    def mask(self, length, x):
        return torch.triu(torch.ones(length, length, dtype=torch.bool, device=x.device), diagonal=2)


class Latest(Triangle):
    def mask(self, length, x):
        return self.causal[0, 0, 32 - length :, 32 - length :] == 0


class Cut(Attention):
    """Its buffer is triangular for as many positions as are recorded, and no further."""

    def __init__(self, width):
        super().__init__(width)
        self.causal[..., 10:, :] = 1


@pytest.mark.parametrize(("cls", "causal"), [(Attention, True), (Triangle, True), (Window, False), (Latest, False), (Cut, False)])
def test_a_causal_mask_becomes_a_flag(cls, causal):
    model = randomised(cls(8))
    (found,) = found_in(model, X)
    assert found.shape_key.count("is_causal=True") == causal
    assert found.shape_key.count("attn_mask") == (not causal)
    changed = applied(model, [found])
    for length in (1, 5, 17):
        x = torch.randn(3, length, 8)
        torch.testing.assert_close(changed(x), model(x), rtol=1e-5, atol=1e-5)
        assert "scaled_dot_product_attention" in functions(changed, x)
        assert causal == (not {"masked_fill", "triu", "logical_not"} & set(functions(changed, x)))


def test_layers_with_hooks_are_called_on():
    model = randomised(Attention(8))
    model.drop.register_forward_hook(lambda module, args, result: None)
    assert rows(found_in(model, X)) == [("NA705", ("",), "drop, which would not be called any more, has hooks")]


def test_dropout_that_draws_is_left_alone_in_training():
    model = randomised(nn.Sequential(Attention(8))).train()
    assert rows(found_in(model, X, mode="training")) == [
        ("NA705", ("0",), "its dropout draws other random numbers than that of torch's function"),
    ]
    model[0].drop.p = 0.0
    found = found_in(model, X, mode="training")
    assert [row[2] for row in rows(found)] == ["F.scaled_dot_product_attention"]
    changed = applied(model, found)
    x, y = X.clone().requires_grad_(), X.clone().requires_grad_()
    model(x).square().sum().backward()
    changed(y).square().sum().backward()
    torch.testing.assert_close(y.grad, x.grad)
    for own, other in zip(changed.parameters(), model.parameters(), strict=True):
        torch.testing.assert_close(own.grad, other.grad)


def test_dropout_that_is_switched_on_later_is_that_of_the_original():
    model = randomised(nn.Sequential(Attention(8)))
    changed = applied(model, found_in(model, X)).train()
    assert "scaled_dot_product_attention" not in functions(changed, X)
    assert "softmax" in functions(changed, X)


def test_under_autocast_the_original_runs():
    model = randomised(Block())
    changed = applied(model, found_in(model, X))
    with torch.autocast("cpu", dtype=torch.bfloat16):
        assert changed(X).dtype == model(X).dtype
        assert not {"rms_norm", "scaled_dot_product_attention"} & set(functions(changed, X))


def test_undo_takes_everything_back():
    model, journal = randomised(Block()), Journal()
    expected, classes = model(X), [type(module) for module in model.modules()]
    applied(model, found_in(model, X), journal)
    assert [type(module) for module in model.modules()] != classes
    journal.undo()
    assert [type(module) for module in model.modules()] == classes
    assert torch.equal(model(X), expected)


def test_the_operations_alone_agree_before_and_after_and_in_double_precision():
    for layer, x in ((Block(), X), (Block(GemmaNorm), X.bfloat16()), (ChannelsFirst(6), torch.randn(2, 6, 4, 5))):
        model = randomised(nn.Sequential(layer)).to(x.dtype)
        for each in found_in(model, x):
            kernel = each.kernel()
            before, after = kernel.before(*kernel.arguments), kernel.after(*kernel.arguments)
            exact = kernel.exact(*(argument.double() if argument.is_floating_point() else argument for argument in kernel.arguments))
            errors = [(result.double() - exact).abs().max() for result in (before, after)]
            assert exact.dtype is torch.float64
            assert before.dtype == after.dtype
            assert errors[1] <= 2 * max(errors[0], 4 * torch.finfo(before.dtype).eps * exact.abs().max())


def test_places_of_one_shape_have_one_key():
    model = randomised(nn.Sequential(Block(), Block(), nn.Linear(8, 16), Block(width=16)))
    keys = [each.shape_key for each in found_in(model, X) if each.replacement == "F.rms_norm"]
    assert keys[0] == keys[1] != keys[2]


class Twice(nn.Module):
    def forward(self, x):
        y = x * torch.sigmoid(x)
        return torch.tanh(y * torch.sigmoid(y))


def test_several_places_in_one_forward_are_one_candidate():
    model = nn.Sequential(Twice()).eval()
    found = found_in(model, X)
    assert rows(found) == [("NA705", "silu written out", "F.silu", ("0",))]
    assert [each.places for each in found] == [2]
    changed = applied(model, found)
    assert functions(changed, X).count("silu") == 2
    torch.testing.assert_close(changed(X), model(X))
    assert len(found[0].kernel().after(*found[0].kernel().arguments)) == 2


@pytest.mark.filterwarnings("ignore:Guards may run slower:RuntimeWarning")
def test_the_changed_model_is_pickled_compiled_and_exported():
    model = randomised(Block())
    changed = applied(model, found_in(model, X))
    expected = changed(X)
    assert torch.equal(pickle.loads(pickle.dumps(changed))(X), expected)
    torch.testing.assert_close(torch.compile(copy.deepcopy(changed), backend="aot_eager", fullgraph=True)(X), expected)
    with torch.no_grad():
        exported = torch.export.export(changed, (X,))
    torch.testing.assert_close(exported.module()(X), expected)
    assert sum("scaled_dot_product_attention" in str(node.target) for node in exported.graph.nodes) == 1


def test_the_gradients_of_a_training_step_are_the_same():
    model = randomised(Block()).train()
    model.attention.drop.p = 0.0
    changed = applied(model, found_in(model, X, mode="training")).double()
    model = model.double()
    for each in (model, changed):
        each(X.double()).square().sum().backward()
    for own, other in zip(changed.parameters(), model.parameters(), strict=True):
        torch.testing.assert_close(own.grad, other.grad, rtol=1e-5, atol=1e-5)  # the original norms in float32


class Weighted(nn.Module):
    def __init__(self, *shape):
        super().__init__()
        self.weight = nn.Parameter(torch.ones(shape))
        self.bias = nn.Parameter(torch.zeros(shape))
        self.register_buffer("mask", torch.ones(64, 64).tril()[None, None], persistent=False)


def standard(x, axes):
    mean = x.mean(axes, keepdim=True)
    return (x - mean) / (x.var(axes, keepdim=True, unbiased=False) + 1e-5).sqrt()


def instance_norm(self, x):
    return standard(x, (2, 3)) * self.weight + self.bias


def global_norm(self, x):
    return standard(x, (1, 2, 3)) * self.weight + self.bias


def group_norm(self, x):
    n, c, h, w = x.shape
    return standard(x.view(n, 4, -1), -1).view(n, c, h, w) * self.weight + self.bias


def rms_of_steps(self, x):
    return x * torch.rsqrt(x.pow(2).mean(1, keepdim=True) + 1e-6)


def batch_statistics(self, x):
    return standard(x, (0, 2, 3))


def channels_of_steps(self, x):
    return x * torch.rsqrt(x.pow(2).mean(1, keepdim=True) + 1e-6) * self.weight


def softmax_of_batch(self, x):
    return x.exp() / x.exp().sum((0, 1), keepdim=True)


def rms_of_few_steps(self, x):
    return x * torch.rsqrt(x.pow(2).sum(1, keepdim=True) / 16 + 1e-6)


def last_of_two(self, x):
    return x * torch.rsqrt(x.pow(2).mean(1, keepdim=True) + 1e-6) * self.weight


def log_softmax_of_second(self, x):
    return torch.log(torch.softmax(x, 1))


def causal(self, q, k, v):
    scores = q @ k.transpose(-2, -1) / math.sqrt(q.size(-1))
    scores = scores.masked_fill(self.mask[:, :, : q.size(2), : k.size(2)] == 0, float("-inf"))
    return torch.softmax(scores, -1) @ v


def late_causal(self, q, k, v):
    late = torch.ones(q.size(2), k.size(2), dtype=torch.bool, device=q.device).triu(k.size(2) - q.size(2) + 1)
    scores = (q @ k.transpose(-2, -1) / math.sqrt(q.size(-1))).masked_fill(late, float("-inf"))
    return torch.softmax(scores, -1) @ v


def scaled_by_a_number(self, q, k, v):
    return torch.softmax(q @ k.transpose(-2, -1) * 0.25, -1) @ v


def scaled_by_steps(self, q, k, v):
    return torch.softmax(q @ k.transpose(-2, -1) / math.sqrt(q.size(-2)), -1) @ v


MAPS = [(2, 8, 16, 16), (2, 8, 12, 20), (3, 8, 4, 5), (1, 8, 1, 7)]
HEADS = [[(2, 2, 16, 16)] * 3, [(2, 2, 9, 16)] * 3, [(3, 2, 1, 16), (3, 2, 5, 16), (3, 2, 5, 16)], [(1, 2, 7, 8)] * 3]


@pytest.mark.parametrize(
    ("function", "width", "shapes", "replaced"),
    [
        (instance_norm, (1, 8, 1, 1), MAPS, 4),
        (global_norm, (1, 8, 1, 1), MAPS, 4),
        (group_norm, (1, 8, 1, 1), MAPS, 4),
        (rms_of_steps, (), [(2, 16, 6), (2, 9, 6), (3, 1, 6), (2, 5, 6, 7)], 3),  # of four axes it is another one
        (rms_of_few_steps, (), [(2, 16, 6), (2, 9, 6), (3, 16, 6), (2, 16, 6)], 2),
        (batch_statistics, (), [(1, 6, 4, 4), (3, 6, 4, 4)], 0),
        (channels_of_steps, (6, 1), [(2, 6, 1), (3, 6, 5)], 2),
        (softmax_of_batch, (), [(1, 6), (3, 6)], 0),
        (last_of_two, (6,), [(2, 6), (5, 6), (2, 3, 6), (2, 6, 6)], 2),
        (log_softmax_of_second, (), [(2, 6), (5, 9), (2, 3, 6)], 2),
        (causal, (), HEADS, 4),
        (late_causal, (), HEADS, 4),
        (scaled_by_a_number, (), HEADS, 4),
        (scaled_by_steps, (), HEADS, 1),
    ],
    ids=lambda value: getattr(value, "__name__", ""),
)
@pytest.mark.parametrize("mode", ["inference", "training"])
def test_at_other_sizes_the_model_computes_the_same(function, width, shapes, replaced, mode):
    model = randomised(type("Net", (Weighted,), {"forward": function})(*width)).train(mode == "training")
    drawn = [[torch.randn(shape) for shape in (each if isinstance(each, list) else [each])] for each in shapes]
    changed = applied(model, found_in(model, *drawn[0], mode=mode))
    called = 0
    for inputs in drawn:
        torch.testing.assert_close(changed(*inputs), model(*inputs))
        called += bool({"layer_norm", "rms_norm", "log_softmax", "scaled_dot_product_attention"} & {*functions(changed, *inputs)})
    assert called == replaced
