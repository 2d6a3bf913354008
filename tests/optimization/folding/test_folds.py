from __future__ import annotations

import pytest
import torch
import torch.nn.functional as F
from torch import nn

CONV = ("conv2d + batch_norm", "conv2d")


class Chain(nn.Module):
    """Layers and functions one after another."""

    def __init__(self, *steps):
        super().__init__()
        self.steps = [None if isinstance(step, nn.Module) else step for step in steps]
        for place, step in enumerate(steps):
            if isinstance(step, nn.Module):
                self.add_module(f"layer{place}", step)

    def forward(self, x):
        for place, step in enumerate(self.steps):
            x = getattr(self, f"layer{place}")(x) if step is None else step(x)
        return x


class Same(nn.Conv2d):
    def forward(self, x):
        return F.conv2d(F.pad(x, (1, 1, 1, 1)), self.weight, self.bias, self.stride, 0, self.dilation, self.groups)


class Frozen(nn.Module):
    def __init__(self, channels):
        super().__init__()
        for name in ("scale", "offset", "mean", "variance"):
            self.register_buffer(name, torch.rand(channels) + 0.5)

    def forward(self, x):
        factor = self.scale / (self.variance + 1e-3).sqrt()
        return x * factor.view(1, -1, 1, 1) + (self.offset - self.mean * factor).view(1, -1, 1, 1)


class Handwritten(nn.Module):
    def __init__(self, channels, eps=1e-4):
        super().__init__()
        self.gamma, self.beta, self.eps = nn.Parameter(torch.ones(channels)), nn.Parameter(torch.zeros(channels)), eps
        self.register_buffer("mean", torch.zeros(channels))
        self.register_buffer("variance", torch.ones(channels))

    def forward(self, x):
        if self.training:
            mean, variance = x.mean((0, 2, 3)), x.var((0, 2, 3), unbiased=False)
            with torch.no_grad():
                self.mean.lerp_(mean, 0.1)
                self.variance.lerp_(variance, 0.1)
        else:
            mean, variance = self.mean, self.variance
        along = lambda value: value[None, :, None, None]  # noqa: E731
        return (x - along(mean)) / (along(variance) + self.eps).sqrt() * along(self.gamma) + along(self.beta)


class Scale(nn.Module):
    def __init__(self, channels):
        super().__init__()
        self.gamma = nn.Parameter(torch.ones(channels))

    def forward(self, x):
        return x * self.gamma


class FrozenAct(Frozen):
    """As timm writes it: frozen, with an activation behind."""

    def __init__(self, channels):
        super().__init__(channels)
        self.drop, self.act = nn.Dropout(0.5), nn.SiLU()

    def forward(self, x):
        return self.act(self.drop(super().forward(x)))


class NormAct(nn.BatchNorm2d):
    """As timm writes it: a norm that holds an activation."""

    def __init__(self, channels, act):
        super().__init__(channels)
        self.drop, self.act = nn.Identity(), act

    def forward(self, x):
        x = F.batch_norm(x, self.running_mean, self.running_var, self.weight, self.bias, self.training, self.momentum, self.eps)
        return self.act(self.drop(x))


class Sized(nn.Module):
    def __init__(self):
        super().__init__()
        self.layer0, self.layer1 = nn.ConvTranspose2d(4, 6, 3, stride=2, padding=1), nn.BatchNorm2d(6)

    def forward(self, x):
        return self.layer1(self.layer0(x, output_size=[2 * size for size in x.shape[2:]]))


def image(channels=3, side=7):
    return torch.randn(2, channels, side, side + 1)


def pair(*names):
    return tuple(f"layer{name}" for name in names)


FOLDED = {
    "conv1d": (Chain(nn.Conv1d(3, 4, 3), nn.BatchNorm1d(4)), torch.randn(2, 3, 9), [("conv1d + batch_norm", "conv1d", pair(0, 1))]),
    "conv2d without bias": (Chain(nn.Conv2d(3, 4, 3, bias=False), nn.BatchNorm2d(4)), image(), [(*CONV, pair(0, 1))]),
    "conv2d in groups": (Chain(nn.Conv2d(4, 8, 3, groups=4, padding=1), nn.BatchNorm2d(8)), image(4), [(*CONV, pair(0, 1))]),
    "conv3d": (Chain(nn.Conv3d(2, 4, 2), nn.BatchNorm3d(4)), torch.randn(2, 2, 3, 4, 3), [("conv3d + batch_norm", "conv3d", pair(0, 1))]),
    "linear": (Chain(nn.Linear(5, 4), nn.BatchNorm1d(4)), torch.randn(6, 5), [("linear + batch_norm", "linear", pair(0, 1))]),
    "transposed": (
        Chain(nn.ConvTranspose2d(4, 6, 3, stride=2, groups=2, bias=False), nn.BatchNorm2d(6)), image(4),
        [("conv_transpose2d + batch_norm", "conv_transpose2d", pair(0, 1))],
    ),
    "transposed, with a size": (Sized(), image(4), [("conv_transpose2d + batch_norm", "conv_transpose2d", pair(0, 1))]),
    "transposed 1d": (
        Chain(nn.ConvTranspose1d(4, 6, 3, groups=2), nn.BatchNorm1d(6)), torch.randn(2, 4, 5),
        [("conv_transpose1d + batch_norm", "conv_transpose1d", pair(0, 1))],
    ),
    "not affine": (Chain(nn.Conv2d(3, 4, 3), nn.BatchNorm2d(4, affine=False, eps=0.1)), image(), [(*CONV, pair(0, 1))]),
    "SyncBatchNorm": (Chain(nn.Conv2d(3, 4, 3), nn.SyncBatchNorm(4)), image(), [(*CONV, pair(0, 1))]),
    "subclass of conv": (Chain(Same(3, 4, 3, bias=False), nn.BatchNorm2d(4)), image(), [(*CONV, pair(0, 1))]),
    "norm with activation": (Chain(nn.Conv2d(3, 4, 3), NormAct(4, nn.SiLU())), image(), [(*CONV, pair(0, 1))]),
    "norm with PReLU": (Chain(nn.Conv2d(3, 4, 3), NormAct(4, nn.PReLU(4))), image(), [(*CONV, pair(0, 1))]),
    "frozen, written by hand": (Chain(nn.Conv2d(3, 4, 3), Frozen(4)), image(), [(*CONV, pair(0, 1))]),
    "frozen, with an activation": (
        Chain(nn.Conv2d(3, 4, 3), FrozenAct(4)), image(), [("dropout in eval mode", "identity", ("layer1.drop",)), (*CONV, pair(0, 1))],
    ),
    "batch norm written by hand": (Chain(nn.Conv2d(3, 4, 3), Handwritten(4)), image(), [(*CONV, pair(0, 1))]),
    "scale": (Chain(nn.Linear(5, 4), Scale(4)), torch.randn(2, 3, 5), [("linear + scale", "linear", pair(0, 1))]),
    "dropout between": (
        Chain(nn.Conv2d(3, 4, 3), nn.Dropout(0.5), nn.Identity(), nn.BatchNorm2d(4)), image(),
        [("dropout in eval mode", "identity", pair(1)), (*CONV, pair(0, 3))],
    ),
    "sequence": (
        Chain(nn.Linear(5, 4), lambda x: x.flatten(0, 1), nn.BatchNorm1d(4), lambda x: x.view(2, 3, 4)), torch.randn(2, 3, 5),
        [("linear + batch_norm", "linear", pair(0, 2))],
    ),
    "generator": (
        Chain(nn.Linear(5, 4 * 6), lambda x: x.view(-1, 4, 2, 3), nn.BatchNorm2d(4)), torch.randn(2, 5),
        [("linear + batch_norm", "linear", pair(0, 2))],
    ),
    "channels last": (
        Chain(nn.Linear(5, 4), lambda x: x.permute(0, 3, 1, 2), nn.BatchNorm2d(4)), torch.randn(2, 3, 2, 5),
        [("linear + batch_norm", "linear", pair(0, 2))],
    ),
    "pixel shuffle": (Chain(nn.Conv2d(3, 8, 3), nn.PixelShuffle(2), nn.BatchNorm2d(2)), image(), [(*CONV, pair(0, 2))]),
    "global pool": (
        Chain(nn.Conv2d(3, 4, 3), nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.BatchNorm1d(4)), image(), [(*CONV, pair(0, 3))],
    ),
    "mean": (Chain(nn.Conv2d(3, 4, 3), lambda x: x.mean((2, 3)), nn.BatchNorm1d(4)), image(), [(*CONV, pair(0, 2))]),
    "upsampled": (Chain(nn.Conv2d(3, 4, 3), nn.Upsample(scale_factor=2), nn.BatchNorm2d(4)), image(), [(*CONV, pair(0, 2))]),
    "mirrored": (Chain(nn.Conv2d(3, 4, 3), nn.ReflectionPad2d(1), nn.BatchNorm2d(4)), image(), [(*CONV, pair(0, 2))]),
    "ahead of a linear layer": (
        Chain(nn.ReLU(), nn.BatchNorm1d(5), nn.Linear(5, 4, bias=False)), torch.randn(6, 5), [("batch_norm + linear", "linear", pair(2, 1))],
    ),
    "ahead of a convolution": (
        Chain(nn.ReLU(), nn.BatchNorm2d(4), nn.Conv2d(4, 6, 3, groups=2)), image(4), [("batch_norm + conv2d", "conv2d", pair(2, 1))],
    ),
    "ahead of a mirroring convolution": (
        Chain(nn.ReLU(), nn.BatchNorm2d(4), nn.Conv2d(4, 6, 3, padding=1, padding_mode="reflect")), image(4),
        [("batch_norm + conv2d", "conv2d", pair(2, 1))],
    ),
    "ahead, flattened": (
        Chain(nn.ReLU(), nn.BatchNorm2d(4), nn.Flatten(), nn.Linear(4 * 56, 3)), image(4),
        [("batch_norm + linear", "linear", pair(3, 1))],
    ),
    "factor ahead of padding": (
        Chain(nn.ReLU(), lambda x: x.permute(0, 2, 3, 1), Scale(4), lambda x: x.permute(0, 3, 1, 2), nn.Conv2d(4, 6, 3, padding=1)), image(4),
        [("scale + conv2d", "conv2d", pair(4, 2))],
    ),
    "between two convolutions": (Chain(nn.Conv2d(3, 4, 3), nn.BatchNorm2d(4), nn.Conv2d(4, 2, 1)), image(), [(*CONV, pair(0, 1))]),
    "on both sides": (
        Chain(nn.ReLU(), nn.BatchNorm1d(5), nn.Linear(5, 4), nn.BatchNorm1d(4)), torch.randn(6, 5),
        [("batch_norm + linear", "linear", pair(2, 1)), ("linear + batch_norm", "linear", pair(2, 3))],
    ),
}  # fmt: skip


@pytest.mark.parametrize("name", FOLDED)
def test_folds(fold, name):
    model, x, expected = FOLDED[name]
    found = fold(model, x)
    assert (found.found, found.refused) == (expected, [])
    kinds = {type(module).__name__ for module in found.model.modules()}
    assert not kinds & {
        "BatchNorm1d",
        "BatchNorm2d",
        "BatchNorm3d",
        "SyncBatchNorm",
        "NormAct",
        "Frozen",
        "FrozenAct",
        "Handwritten",
        "Scale",
    }


class Tree(nn.Module):
    """Any forward over the same few layers."""

    def __init__(self, forward, norm=None):
        super().__init__()
        self.a, self.b, self.c = nn.Conv2d(4, 4, 3, padding=1), nn.Conv2d(4, 4, 1, bias=False), nn.Conv2d(4, 4, 1)
        self.norm, self.other, self.wide = norm or nn.BatchNorm2d(4), nn.BatchNorm2d(4), nn.BatchNorm2d(8)
        self.one, self.two = nn.BatchNorm2d(1), nn.BatchNorm2d(2)
        self.run = forward

    def forward(self, x):
        return self.run(self, x)


def both(value, first, second):
    return first(value), second(value)


def parted(m, first, second, third):
    return m.two(first).relu() * second.tanh() + m.one(third)


BRANCHED = {
    "cat": (lambda m, x: m.wide(torch.cat([m.a(x), m.b(x)], 1)), [("several conv2d + batch_norm", "several conv2d", ("a", "b", "wide"))]),
    "cat in space": (
        lambda m, x: m.norm(torch.cat([m.a(x), m.b(x)], 2)), [("several conv2d + batch_norm", "several conv2d", ("a", "b", "norm"))],
    ),
    "sum of different inputs": (
        lambda m, x: m.norm(m.a(x) + m.b(x.relu())), [("several conv2d + batch_norm", "several conv2d", ("a", "b", "norm"))],
    ),
    "one norm behind several layers": (
        lambda m, x: m.norm(m.a(x)).relu() + m.norm(m.b(x)).tanh(),
        [("several conv2d + batch_norm", "several conv2d", ("a", "b", "norm"))],
    ),
    "one norm ahead of several layers": (
        lambda m, x: both(m.norm(x.relu()), lambda y: m.b(y).relu(), lambda y: m.c(y).tanh()),
        [("batch_norm + several conv2d", "several conv2d", ("b", "c", "norm"))],
    ),
    "parts of a split": (
        lambda m, x: parted(m, *m.b(x).split([2, 1, 1], 1)), [("conv2d + batch_norm", "conv2d", ("b", "two")), ("conv2d + batch_norm", "conv2d", ("b", "one"))],
    ),
    "a chunk": (lambda m, x: m.two(m.c(x).chunk(2, 1)[1]), [("conv2d + batch_norm", "conv2d", ("c", "two"))]),
    "layer and norm twice": (lambda m, x: m.norm(m.a(m.norm(m.a(x)).relu())), [("conv2d + batch_norm", "conv2d", ("a", "norm"))]),
}  # fmt: skip


@pytest.mark.parametrize("name", BRANCHED)
def test_folds_into_several_places(fold, name):
    forward, expected = BRANCHED[name]
    found = fold(Tree(forward), image(4), stages=("fold",))
    assert (found.found, found.refused) == (expected, [])


REFUSED = {
    "a part that is used twice": (
        lambda m, x: sum(both(m.a(x).chunk(2, 1)[0], m.two, torch.relu)), None, (("two",), "split stands before it, not a layer with weights"),
    ),
    "used twice": (
        lambda m, x: sum(both(m.a(x), lambda y: m.norm(y).relu(), lambda y: y)), None, (("norm", "a"), "what the conv before it gives is used elsewhere, too"),
    ),
    "layer runs with two norms": (
        lambda m, x: m.other(m.a(m.norm(m.a(x)).relu())), None,
        (("norm", "a"), "the layer beside it runs 2 times, not always with this norm"),
    ),
    "output of the model": (
        lambda m, x: both(m.a(x), lambda y: y, m.norm), None, (("norm", "a"), "what the conv before it gives is used elsewhere, too"),
    ),
    "norm of something else, too": (
        lambda m, x: m.norm(m.a(x)).relu() + m.norm(x.relu()), None, (("norm",), "relu stands before it, not a layer with weights"),
    ),
    "activation between": (lambda m, x: m.norm(m.a(x).relu()), None, (("norm",), "relu stands before it, not a layer with weights")),
    "maximum between": (
        lambda m, x: m.norm(F.max_pool2d(m.a(x), 2)), None, (("norm",), "max pool stands before it, not a layer with weights"),
    ),
    "zeros around it": (
        lambda m, x: m.norm(F.pad(m.a(x), (1, 1, 1, 1))), None, (("norm",), "pad stands before it, not a layer with weights"),
    ),
    "ahead of zeros": (
        lambda m, x: m.a(m.norm(x.relu())), None, (("norm", "a"), "the layer behind it pads with zeros, to which the norm adds nothing"),
    ),
    "statistics of the batch": (
        lambda m, x: m.norm(m.a(x)), nn.BatchNorm2d(4, track_running_stats=False),
        (("norm",), "it keeps no running statistics and normalizes with those of the batch in eval mode, too"),
    ),
    "weight read elsewhere": (
        lambda m, x: m.norm(m.a(x)).relu() * m.a.weight.mean(), None, (("norm", "a"), "the weight of the layer beside it is read in the model"),
    ),
    "scale read elsewhere": (
        lambda m, x: m.norm(m.a(x)).relu() * m.norm.weight.mean(), None, (("norm",), "its weight is read in the model"),
    ),
}  # fmt: skip


@pytest.mark.parametrize("name", REFUSED)
def test_says_why_not(fold, name):
    forward, norm, expected = REFUSED[name]
    found = fold(Tree(forward, norm), image(4), stages=("fold",))
    assert (found.found, expected in found.refused) == ([], True), found.refused


def test_a_norm_whose_scale_is_computed_stays(fold):
    from torch.nn.utils import parametrize

    norm = nn.BatchNorm2d(4)
    parametrize.register_parametrization(norm, "weight", nn.Softplus())
    found = fold(Tree(lambda m, x: m.norm(m.a(x)), norm), image(4), stages=("fold",))
    assert (found.found, found.refused) == ([], [(("norm",), "its numbers are computed at each call")])


@pytest.mark.parametrize(
    ("spoil", "reason"),
    [
        (lambda norm: norm.running_var.fill_(-1.0), "the running variance of the norm has entries below zero"),
        (lambda norm: norm.running_mean.fill_(float("nan")), "the running mean of the norm is not finite"),
        (lambda norm: norm.weight.data.fill_(float("inf")), "the weight of the norm is not finite"),
    ],
)
def test_refuses_numbers_that_no_weight_can_take_up(helpers, spoil, reason):
    model = Chain(nn.Conv2d(3, 4, 3), nn.BatchNorm2d(4)).eval()
    spoil(model.layer1)
    assert [(item.modules, item.reason) for item in helpers.found_in(model, image())] == [(("layer1",), reason)]


HOOKED = {
    "layer": (
        lambda m: m.inner[0].register_forward_hook(lambda *_: None),
        (("inner.1", "inner.0"), "inner.0 has hooks, which would see other values"),
    ),
    "norm": (lambda m: m.inner[1].register_forward_pre_hook(lambda *_: None), (("inner.1",), "it has hooks")),
    "layer, backwards": (
        lambda m: m.inner[0].register_full_backward_pre_hook(lambda *_: None),
        (("inner.1", "inner.0"), "inner.0 has hooks, which would see other values"),
    ),
    "norm, backwards": (lambda m: m.inner[1].register_full_backward_hook(lambda *_: None), (("inner.1",), "it has hooks")),
    "both inside": (lambda m: m.inner.register_forward_hook(lambda *_: None), None),
}


@pytest.mark.parametrize("name", HOOKED)
def test_hooks_see_what_they_saw(helpers, name):
    register, expected = HOOKED[name]
    model = nn.Sequential()
    model.inner = nn.Sequential(nn.Conv2d(3, 4, 3), nn.BatchNorm2d(4))
    register(model.eval())
    found = [(item.modules, getattr(item, "reason", "")) for item in helpers.found_in(model, image(), stages=("fold",))]
    assert found == [expected or (("inner.0", "inner.1"), "")]


COMPILED = "it is compiled; optimize the model before it goes to torch.compile"
TROUBLE = {
    "prepared for quantization": (
        lambda m: setattr(m.inner[0], "qconfig", object()), "it is prepared for quantization, which measures it as it stands",
    ),
    "compiled": (lambda m: m.inner.compile(backend="eager"), COMPILED),
    "compiled apart": (
        lambda m: setattr(m, "inner", torch.compile(m.inner, backend="eager")), COMPILED,
    ),
}  # fmt: skip


@pytest.mark.parametrize("name", TROUBLE)
def test_leaves_what_others_have_taken_stock_of(helpers, name):
    spoil, reason = TROUBLE[name]
    model = nn.Sequential()
    model.inner = nn.Sequential(nn.Conv2d(3, 4, 3), nn.BatchNorm2d(4)).eval()
    spoil(model)
    found = list(helpers.found_in(model, image(), stages=("fold",)))
    assert [item.reason for item in found] == [reason]


def test_nothing_is_folded_for_training(helpers):
    from normadvisor.graph import trace
    from normadvisor.optimization.folding.finders import FINDERS

    model, setting = Chain(nn.Conv2d(3, 4, 3), nn.BatchNorm2d(4), nn.Dropout(0.5)), helpers.setting_of([image()], mode="training")
    graph = trace(model, setting.inputs, target="", sites={}, mode="train")
    assert [item for _, finder in FINDERS for item in finder(model, graph, setting)] == []


def test_tied_weights_are_separated(fold):
    model = Tree(lambda m, x: m.norm(m.a(x)).relu() + m.b(x))
    model.b = nn.Conv2d(4, 4, 3, padding=1)
    model.b.weight = model.a.weight
    found = fold(model, image(4), stages=("fold",))
    assert found.found == [("conv2d + batch_norm", "conv2d", ("a", "norm"))]
    assert found.model.a.weight is not found.model.b.weight


def test_a_frozen_layer_stays_frozen_and_a_shared_one_is_folded_once(fold):
    inner = nn.Sequential(nn.Conv2d(4, 4, 3, padding=1), nn.BatchNorm2d(4), nn.ReLU()).requires_grad_(requires_grad=False)
    found = fold(nn.Sequential(inner, inner), image(4), stages=("fold",))
    assert found.found == [(*CONV, ("0.0", "0.1"))]
    assert list(found.model.state_dict()) == ["0.0.weight", "0.0.bias", "1.0.weight", "1.0.bias"]
    assert not any(parameter.requires_grad for parameter in found.model.parameters())
