from __future__ import annotations

import copy
import pickle

import pytest
import torch
from torch import nn

from normadvisor.optimization.folding.merge import Merged
from normadvisor.rewrite.model.journal import Journal

IMAGE = torch.randn(2, 4, 9, 8)


class Branches(nn.Module):
    """What a block adds up is told by its forward."""

    def __init__(self, forward, **layers):
        super().__init__()
        for name, layer in layers.items():
            setattr(self, name, layer)
        self.run = forward

    def forward(self, x):
        return self.run(self, x)


def conv(kernel, padding=0, channels=4, **settings):
    return nn.Conv2d(channels, channels, kernel, padding=padding, **settings)


def normed(*args, **settings):
    return nn.Sequential(conv(*args, **settings, bias=False), nn.BatchNorm2d(4))


def of(*parts, behind=""):
    return f"sum of parallel {' and '.join(parts)}{behind}", "conv2d"


MERGED = {
    "RepVGG": (
        lambda m, x: (m.a(x) + m.b(x) + m.c(x)).relu(), {"a": normed(3, 1), "b": normed(1), "c": nn.BatchNorm2d(4)},
        [(*of("batch_norm", "conv2d"), ("a.0", "b.0", "c"))],
    ),
    "handed on before": (
        lambda m, x: m.a(x) + m.c(m.same(x)), {"a": normed(3, 1), "c": nn.BatchNorm2d(4), "same": nn.Identity()},
        [(*of("batch_norm", "conv2d"), ("a.0", "c"))],
    ),
    "differences": (
        lambda m, x: x.relu() - (m.a(x) - m.c(x)) - x, {"a": conv(3, 1), "c": nn.BatchNorm2d(4)},
        [(*of("batch_norm", "conv2d", "the input"), ("a", "c"))],
    ),
    "plain value": (lambda m, x: m.a(x) + x, {"a": conv(3, 1)}, [(*of("conv2d", "the input"), ("a",))]),
    "asymmetric": (
        lambda m, x: m.a(x) + m.b(x) + m.c(x), {"a": conv((1, 3), (0, 1)), "b": conv((3, 1), (1, 0)), "c": conv(3, 1)},
        [(*of("conv2d"), ("c", "a", "b"))],
    ),
    "no kernel holds the other": (
        lambda m, x: m.a(x) + m.b(x), {"a": conv((1, 3), (0, 1)), "b": conv((5, 1), (2, 0))}, [(*of("conv2d"), ("b", "a"))],
    ),
    "groups and strides": (
        lambda m, x: m.a(x) + m.b(x), {"a": conv(3, 1, stride=2, groups=2), "b": conv(1, stride=2, groups=2)}, [(*of("conv2d"), ("a", "b"))],
    ),
    "depthwise with the input and a norm behind": (
        lambda m, x: m.norm(m.a(x) + m.b(x) + x).relu(), {"a": conv(7, 3, groups=4), "b": conv(1, groups=4), "norm": nn.BatchNorm2d(4)},
        [(*of("conv2d", "the input", behind=" + batch_norm"), ("a", "b", "norm"))],
    ),
    "a norm further behind": (
        lambda m, x: m.tail(m.a(x) + m.b(x)), {"a": conv(3, 1), "b": conv(1), "tail": nn.Sequential(nn.ReLU(), nn.BatchNorm2d(4))},
        [(*of("conv2d"), ("a", "b"))],
    ),
    "dilated": (lambda m, x: m.a(x) + m.b(x), {"a": conv(3, 2, dilation=2), "b": conv(1)}, [(*of("conv2d"), ("a", "b"))]),
    "written in place, with another value": (
        lambda m, x: m.add(m.a(x), m.b(x), x.relu()), {"a": conv(3, 1), "b": conv(1)}, [(*of("conv2d"), ("a", "b"))],
    ),
    "a list of them": (
        lambda m, x: sum(layer(x) for layer in m.layers).relu(), {"layers": nn.ModuleList([conv(3, 1), conv(3, 1), conv(1)])},
        [(*of("conv2d"), ("layers.0", "layers.1", "layers.2"))],
    ),
    "dropped path between": (
        lambda m, x: m.drop(m.a(x) + m.b(x)) + x, {"a": conv(3, 1), "b": conv(1), "drop": nn.Dropout(0.5)},
        [("dropout in eval mode", "identity", ("drop",)), (*of("conv2d", "the input"), ("a", "b"))],
    ),
}  # fmt: skip


def add(first, second, third):
    first += second
    first += third
    return first


@pytest.mark.parametrize("name", MERGED)
def test_merges(fold, name):
    forward, layers, expected = MERGED[name]
    block = Branches(forward, **layers)
    block.add = add
    found = fold(nn.Sequential(block), IMAGE)
    assert [row for row in found.found if row[0] != "conv2d + batch_norm"] == [
        (pattern, replacement, tuple(f"0.{layer}" for layer in modules)) for pattern, replacement, modules in expected
    ]
    assert sum(isinstance(module, nn.Conv2d) for module in found.model.modules()) == 1


LEFT = {
    "other strides": (lambda m, x: m.a(x)[..., :4, :4] + m.b(x)[..., :4, :4], {"a": conv(3, 1, stride=2), "b": conv(1)}, None),
    "other groups": (lambda m, x: m.a(x) + m.b(x), {"a": conv(3, 1, groups=4), "b": conv(1)}, "look at places that no common kernel has"),
    "other dilations": (
        lambda m, x: m.a(x) + m.b(x), {"a": conv(3, 1), "b": conv(3, 2, dilation=2)}, "look at places that no common kernel has",
    ),
    "sizes that are equal by chance": (
        lambda m, x: m.a(x) + m.b(x), {"a": conv(3, 1, stride=9), "b": conv(2, 0, stride=9)}, "look at places that no common kernel has",
    ),
    "one of them used elsewhere": (lambda m, x: m.twice(m.a(x), m.b(x)), {"a": conv(3, 1), "b": conv(1)}, None),
    "activation inside": (lambda m, x: m.a(x).relu() + m.b(x), {"a": conv(3, 1), "b": conv(1)}, None),
    "another input": (lambda m, x: m.a(x) + m.b(x.relu()), {"a": conv(3, 1), "b": conv(1)}, None),
    "stride beside the input": (
        lambda m, x: m.a(x) + m.norm(x[..., ::2, ::2]), {"a": conv(3, 1, stride=2), "norm": nn.BatchNorm2d(4)}, None,
    ),
    "the same layer twice": (lambda m, x: m.a(x) + m.b(x) + m.a(x), {"a": conv(3, 1), "b": conv(1)}, None),
    "the input is written over": (
        lambda m, x: m.add(m.same(x.relu()), m.a), {"a": conv(3, 1)}, None,
    ),
}  # fmt: skip


@pytest.mark.parametrize("name", LEFT)
def test_leaves_alone(fold, name):
    forward, layers, reason = LEFT[name]
    block = Branches(forward, **layers)
    block.twice = lambda first, second: (second + first) * first
    block.same, block.add = (lambda x: x), (lambda x, layer: x.add_(layer(x)) + x)
    found = fold(nn.Sequential(block), IMAGE, stages=("merge",))
    assert found.found == []
    assert not reason or [told for _, told in found.refused if reason in told]


def test_the_result_can_be_copied_pickled_and_exported(fold):
    found = fold(nn.Sequential(Block()), IMAGE)
    expected = found.model(IMAGE)
    for copied in (
        copy.deepcopy(found.model),
        pickle.loads(pickle.dumps(found.model)),
        torch.export.export(found.model, (IMAGE,), strict=False).module(),
    ):
        assert torch.equal(copied(IMAGE), expected)


class Block(nn.Module):
    def __init__(self):
        super().__init__()
        self.a, self.b, self.c = normed(3, 1), normed(1), nn.BatchNorm2d(4)

    def forward(self, x, scale=1.0):
        return (self.a(x) + self.b(x) + self.c(x)) * scale


def test_a_branch_that_is_gone_says_so(fold, helpers):
    model = fold(Block(), IMAGE).model
    assert isinstance(model.b, Merged)
    with pytest.raises(RuntimeError, match=r"this branch was merged into a\.0 for inference with arguments of another kind"):
        model.b(IMAGE)
    with pytest.raises(RuntimeError, match=r"the forward of the model was folded for inference with other arguments"):
        model(IMAGE, scale=2.0)


class Residual(nn.Module):
    def __init__(self):
        super().__init__()
        self.conv = conv(3, 1)

    def forward(self, x, scale=None):
        y = self.conv(x) + x
        return y if scale is None else y.mul_(scale)


def test_an_input_that_went_into_a_weight_is_not_added_again(fold):
    folded = fold(Residual(), IMAGE)
    assert folded.found == [("sum of parallel conv2d and the input", "conv2d", ("conv",))]
    with pytest.raises(RuntimeError, match=r"the forward of the model was folded for inference with other arguments"):
        folded.model(IMAGE, torch.ones(1))


def test_the_tensors_of_the_branches_are_let_go(helpers):
    import gc
    import weakref

    model = helpers.randomised(Block().eval())
    weights = [weakref.ref(value) for value in model.parameters()]
    for _ in helpers.found_in(model, IMAGE, apply=lambda candidate: candidate.apply(model, Journal())):
        pass
    gc.collect()
    assert [name for name, _ in model.named_parameters()] == ["a.0.weight", "a.0.bias"]
    assert [held() for held in weights] == [None] * len(weights)
