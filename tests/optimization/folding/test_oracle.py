"""The finders against brute force: every layer tried with every norm, on the running model, without a look at any graph."""

from __future__ import annotations

import copy
import itertools

import pytest
import torch
from hypothesis import assume, given, settings
from hypothesis import strategies as st
from torch import nn

from normadvisor.graph import trace
from normadvisor.optimization.folding.flow import Flow
from normadvisor.optimization.folding.search import Fold, search

CHANNELS = 3


class Net(nn.Module):
    """Operations on numbered values: each takes one or two of those before it."""

    def __init__(self, plan):
        super().__init__()
        self.plan = plan
        self.layers = nn.ModuleDict()
        for name in {step[0] for step in plan}:
            if name.startswith("conv"):
                self.layers[name] = nn.Conv2d(CHANNELS, CHANNELS, 1, bias=name.endswith("0"))
            elif name.startswith("wide"):
                self.layers[name] = nn.Conv2d(CHANNELS, CHANNELS, 3, padding=1)
            elif name.startswith("norm"):
                self.layers[name] = nn.BatchNorm2d(CHANNELS)

    def forward(self, x):
        values = [x]
        for name, first, second in self.plan:
            a, b = values[first], values[second]
            if name in self.layers:
                values.append(self.layers[name](a))
            else:
                values.append({"relu": lambda a, _: a.relu(), "add": lambda a, b: a + b, "same": lambda a, _: a.contiguous()}[name](a, b))
        return values[-1]


def run_as_if_folded(model, layer, norm, x, *, ahead):
    """The output if ``layer`` did the work of ``norm``, and ``norm`` none; by hooks on a copy."""
    model = copy.deepcopy(model)
    layer, norm = model.layers[layer], model.layers[norm]
    taken = copy.deepcopy(norm)
    norm.forward = lambda value: value
    if ahead:
        if any(layer.padding):
            scale = taken.weight / (taken.running_var + taken.eps).sqrt()
            shift = taken.bias - taken.running_mean * scale
            total = (layer.weight * shift[None, :, None, None]).sum((1, 2, 3))
            layer.register_forward_hook(
                lambda module, args, _: (
                    module._conv_forward(args[0] * scale[:, None, None], module.weight, module.bias) + total[:, None, None]
                )
            )
        else:
            layer.register_forward_pre_hook(lambda _module, args: (taken(args[0]),))
    else:
        layer.register_forward_hook(lambda _module, _args, result: taken(result))
    return model(x)


def legal_by_force(model, x):
    """Norms that some single layer can take up, and whether it stands ahead of it."""
    with torch.no_grad():
        expected = model(x)
        used = {name for name, *_ in model.plan}
        layers, norms = ([name for name in model.layers if name.startswith(kind) and name in used] for kind in (("conv", "wide"), "norm"))
        return {
            norm
            for layer, norm, ahead in itertools.product(layers, norms, (False, True))
            if torch.allclose(
                run_as_if_folded(model, layer, norm, x, ahead=ahead), expected, rtol=0, atol=1e-10 * float(expected.abs().max())
            )
        }


def live(plan):
    """The operations whose values reach the output, with the places of their operands counted among these alone."""
    reached, waiting = {0}, [len(plan)]
    while waiting:
        place = waiting.pop()
        if place in reached:
            continue
        reached.add(place)
        name, first, second = plan[place - 1]
        waiting += [first % place, second % place] if name == "add" else [first % place]
    number = {place: index for index, place in enumerate(sorted(reached))}
    return [
        (name, number[first % place], number[second % place] if name == "add" else 0)
        for place, (name, first, second) in enumerate(plan, 1)
        if place in reached
    ]


NAMES = st.sampled_from(["conv0", "conv1", "conv2", "wide0", "norm0", "norm1", "norm2", "relu", "add", "same"])
PLANS = st.lists(st.tuples(NAMES, st.integers(0, 7), st.integers(0, 7)), min_size=2, max_size=8)


@settings(max_examples=150)
@given(PLANS)
def test_finds_what_brute_force_finds(plan):
    plan = live(plan)
    normalized = [(name, first) for name, first, _ in plan if name.startswith("norm")]
    # One norm that takes one value twice gives two tensors. Folded they would be one, which what is written over in place would show, so
    # such a norm is left alone, while the operations here never write in place.
    assume(normalized and len(set(normalized)) == len(normalized))
    torch.manual_seed(0)
    model = Net(plan).double().eval()
    with torch.no_grad():
        for value in (*model.parameters(), *model.buffers()):
            if value.is_floating_point():
                value.copy_(torch.rand_like(value) + 0.3)
    x = torch.randn(2, CHANNELS, 4, 5, dtype=torch.float64)

    class Given:
        args, kwargs, given = (x,), {}, True

    graph = trace(model, Given(), target="", sites={}, mode="eval")
    found = list(search(Flow(model, graph, Given())))
    single = {fold.affine.name.removeprefix("layers.") for fold in found if isinstance(fold, Fold) and len(fold.shares) == 1}
    several = {fold.affine.name.removeprefix("layers.") for fold in found if isinstance(fold, Fold) and len(fold.shares) > 1}
    assert single - several == legal_by_force(model, x) - several, [(plan, found)]


def test_brute_force_itself_tells_apart():
    x = torch.randn(2, CHANNELS, 4, 5, dtype=torch.float64)
    plans = {
        (("conv0", 0, 0), ("norm0", 1, 0)): {"norm0"},
        (("conv0", 0, 0), ("relu", 1, 0), ("norm0", 2, 0)): set(),
        (("conv0", 0, 0), ("norm0", 1, 0), ("add", 1, 2)): set(),
        (("relu", 0, 0), ("norm0", 1, 0), ("conv0", 2, 0)): {"norm0"},
        (("relu", 0, 0), ("norm0", 1, 0), ("wide0", 2, 0)): set(),
    }
    for plan, expected in plans.items():
        torch.manual_seed(0)
        model = Net(list(plan)).double().eval()
        for value in (*model.parameters(), *model.buffers()):
            if value.is_floating_point():
                value.data.copy_(torch.rand_like(value) + 0.3)
        assert legal_by_force(model, x) == expected


@pytest.mark.parametrize("seed", range(3))
def test_every_number_counts(seed):
    """A fold that mixed up two channels would be told by numbers that all differ."""
    torch.manual_seed(seed)
    model = Net([("conv0", 0, 0), ("norm0", 1, 0)]).double().eval()
    assert len(set(torch.rand(CHANNELS).tolist())) == CHANNELS
    assert legal_by_force(model, torch.randn(2, CHANNELS, 4, 5, dtype=torch.float64)) == {"norm0"}
