"""Gradients that vanish or explode along the depth."""

from __future__ import annotations

import random

import torch
from torch import nn

from benchmarks.probe.diagnosis.families.dense import initialize, stack
from benchmarks.probe.diagnosis.network import Setup, plant
from benchmarks.probe.diagnosis.plants.surgery import ACTIVATIONS, Apply, layers, replace, weighted

__all__: list[str] = []

_NORMS = (nn.BatchNorm1d, nn.BatchNorm2d, nn.GroupNorm, nn.LayerNorm)


@plant("vanishing", "mlp-deep-he mlp-selu mlp-leaky mlp-weight-norm mlp-tanh", seeds=(0, 1, 2))
def sigmoid_everywhere(setup: Setup, draw: random.Random) -> None:
    """Every activation is a sigmoid, whose slope is at most 1/4, in a stack without norm."""
    del draw
    replace(setup.model, ACTIVATIONS, lambda _: nn.Sigmoid())


@plant("vanishing", "mlp-deep-he mlp-deep-xavier", seeds=(0, 1, 2, 3))
def default_init_deep(setup: Setup, draw: random.Random) -> None:
    """The default initialization of linear layers, which keeps a sixth of the variance under ReLU, in a deep stack without norm."""
    del draw
    for module in weighted(setup.model):
        module.reset_parameters()


@plant("vanishing", "mlp-deep-he mlp-selu mlp-leaky cnn-plain autoencoder", seeds=(0, 1))
def small_normal_init(setup: Setup, draw: random.Random) -> None:
    """Weights drawn with a standard deviation of 0.01 whatever the width, without norm."""
    del draw
    initialize(setup.model, lambda weight: nn.init.normal_(weight, std=0.01))


@plant("vanishing", "cnn-bn cnn-gn", seeds=(0, 1))
def norms_forgotten(setup: Setup, draw: random.Random) -> None:
    """Convolutions in a stack of 14 or more, by default initialization, the norms left out."""
    width = draw.choice((16, 24))
    count = draw.randint(14, 20)
    setup.model = nn.Sequential(
        nn.Conv2d(1, width, 3, padding=1),
        nn.ReLU(),
        *(layer for _ in range(count) for layer in (nn.Conv2d(width, width, 3, padding=1), nn.ReLU())),
        nn.AdaptiveAvgPool2d(1),
        nn.Flatten(),
        nn.Linear(width, 10),
    )


class _Shrunk(nn.Module):
    """A residual block whose sum is multiplied by less than one."""

    def __init__(self, block: nn.Module, factor: float) -> None:
        super().__init__()
        self.block = block
        self.factor = factor

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.factor * self.block(x)


@plant("vanishing", "rezero resnet-fixup resnet-preact", seeds=(0, 1, 2, 3))
def shortcut_shrinks(setup: Setup, draw: random.Random) -> None:
    """The sum of shortcut and branch is multiplied by a tenth to a fifth in every block."""
    factor = draw.uniform(0.1, 0.2)
    for index, module in enumerate(setup.model):
        if hasattr(module, "branch") or hasattr(module, "conv1"):
            setup.model[index] = _Shrunk(module, factor)


@plant("vanishing", "mlp-tanh mlp-ln", seeds=(0, 1, 2, 3))
def softmax_inside(setup: Setup, draw: random.Random) -> None:
    """Softmax over the features takes the place of each hidden activation."""
    del draw
    replace(setup.model, ACTIVATIONS, lambda _: nn.Softmax(dim=-1))
    replace_norms(setup.model)


def replace_norms(model: nn.Module) -> None:
    """Leave the norms out."""
    for name, module in list(model.named_modules()):
        if isinstance(module, _NORMS):
            parent, _, child = name.rpartition(".")
            setattr(model.get_submodule(parent), child, nn.Identity())


@plant("vanishing", "mlp mlp-leaky cnn-plain", seeds=(0, 1))
def twice_divided(setup: Setup, draw: random.Random) -> None:
    """Outputs of hidden layers are divided by the square root of their width once more than they should be."""
    del draw
    for module in weighted(setup.model, last=False):
        width = module.weight.shape[0]
        module.register_forward_hook(lambda _module, _args, output, width=width: output / width**0.5)


@plant("vanishing", "vit gpt-tied transformer-96", seeds=(0, 1))
def shortcut_forgotten(setup: Setup, draw: random.Random) -> None:
    """Blocks without their shortcuts, twelve or more, and no norm before the branches."""
    width = draw.choice((32, 48))
    count = draw.randint(12, 18)

    def branch() -> list[nn.Module]:
        return [nn.Linear(width, 2 * width), nn.GELU(), nn.Linear(2 * width, width)]

    first = nn.Embedding(24, width) if setup.task.name == "language" else nn.Linear(8, width)
    inner = [layer for _ in range(count) for layer in branch()]
    if setup.task.name == "language":
        setup.model = nn.Sequential(first, *inner, nn.Linear(width, 24))
    else:
        setup.model = nn.Sequential(first, *inner, Apply(lambda x: x.mean(dim=1)), nn.Linear(width, 10))
    initialize(setup.model, lambda weight: nn.init.normal_(weight, std=0.02))


@plant("exploding", "mlp mlp-deep-he mlp-leaky mlp-log-softmax cnn-plain mlp-selu", seeds=(0, 1))
def unit_normal_init(setup: Setup, draw: random.Random) -> None:
    """Weights drawn with a standard deviation of one, whatever the width, without norm."""
    del draw
    initialize(setup.model, nn.init.normal_)


@plant("exploding", "mlp mlp-deep-he mlp-leaky mlp-regress", seeds=(0, 1, 2))
def gain_too_large(setup: Setup, draw: random.Random) -> None:
    """He's initialization times 2.5 to 4 in every layer, without norm."""
    factor = draw.uniform(2.5, 4.0)
    with torch.no_grad():
        for module in weighted(setup.model):
            module.weight.mul_(factor)


@plant("exploding", "mlp-bn cnn-bn", seeds=(0, 1, 2, 3))
def batchnorm_deep_plain(setup: Setup, draw: random.Random) -> None:
    """BatchNorm in 40 to 60 layers without any shortcut: gradients grow towards the input (Yang et al., 2019)."""
    count = draw.randint(40, 60)
    if setup.task.name == "digits":
        setup.model = stack([64, *[64] * count, 10], nn.ReLU, nn.BatchNorm1d)
        return
    block = [layer for _ in range(count) for layer in (nn.Conv2d(12, 12, 3, padding=1, bias=False), nn.BatchNorm2d(12), nn.ReLU())]
    setup.model = nn.Sequential(nn.Conv2d(1, 12, 3, padding=1, stride=2), *block, nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(12, 10))


@plant("exploding", "rezero vit-layer-scale mlp-highway resnet-fixup", seeds=(0, 1, 2))
def branches_grow(setup: Setup, draw: random.Random) -> None:
    """Residual branches without norm, each a few times larger than its shortcut."""
    factor = draw.uniform(3.0, 5.0)
    width = 48 if setup.task.name == "digits" else 24
    count = draw.randint(12, 16)
    if setup.task.name == "digits":
        first, last, shape = nn.Linear(64, width), [nn.Linear(width, 10)], None
    elif setup.task.name == "digit_rows":
        first, last, shape = nn.Linear(8, width), [nn.Flatten(), nn.Linear(8 * width, 10)], None
    else:
        first, last, shape = nn.Conv2d(1, width, 3, padding=1), [nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(width, 10)], 3

    def layer() -> nn.Module:
        return nn.Linear(width, width) if shape is None else nn.Conv2d(width, width, shape, padding=1)

    model = nn.Sequential(first, *(_Branch(nn.Sequential(layer(), nn.ReLU(), layer())) for _ in range(count)), *last)
    setup.model = initialize(model, nn.init.kaiming_normal_)
    with torch.no_grad():
        for _, module in layers(model, (_Branch,)):
            module.inner[2].weight.mul_(factor)


class _Branch(nn.Module):
    def __init__(self, inner: nn.Module) -> None:
        super().__init__()
        self.inner = inner

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return x + self.inner(x)


@plant("exploding", "rnn-by-hand rnn-tanh", seeds=(0, 1, 2, 3))
def recurrence_grows(setup: Setup, draw: random.Random) -> None:
    """A recurrence with ReLU whose matrix stretches by 3 to 5 in each of the steps."""
    factor = draw.uniform(3.0, 5.0)
    setup.model = _Grows(draw.choice((32, 48)), factor)


class _Grows(nn.Module):
    def __init__(self, width: int, factor: float) -> None:
        super().__init__()
        self.width = width
        self.inner, self.hidden, self.head = nn.Linear(8, width), nn.Linear(width, width), nn.Linear(width, 10)
        self.relu = nn.ReLU()
        nn.init.orthogonal_(self.hidden.weight, gain=factor)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        state = x.new_zeros(len(x), self.width)
        for step in range(x.shape[1]):
            state = self.relu(self.inner(x[:, step]) + self.hidden(state))
        return self.head(state)
