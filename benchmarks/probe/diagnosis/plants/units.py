"""Units that are dead or saturated."""

from __future__ import annotations

import random

import torch
from torch import nn

from benchmarks.probe.diagnosis.families.dense import initialize, stack
from benchmarks.probe.diagnosis.network import Setup, plant
from benchmarks.probe.diagnosis.plants.surgery import ACTIVATIONS, Apply, layers, replace, weighted

__all__: list[str] = []

_RECTIFIERS = (nn.ReLU, nn.ReLU6)


@plant("dead", "mlp cnn-plain cnn-functional mlp-log-softmax siamese bag-of-words", seeds=(0, 1))
def negative_bias_one(setup: Setup, draw: random.Random) -> None:
    """The bias of one hidden layer before a rectifier begins far below zero."""
    module = draw.choice([module for module in weighted(setup.model, last=False) if module.bias is not None])
    nn.init.constant_(module.bias, -draw.uniform(15.0, 40.0))


@plant("dead", "mlp cnn-plain cnn-functional autoencoder mlp-default", seeds=(0, 1))
def negative_bias_all(setup: Setup, draw: random.Random) -> None:
    """Biases of all hidden layers begin at -2 to -5, before rectifiers."""
    for module in weighted(setup.model, last=False):
        nn.init.constant_(module.bias, -draw.uniform(2.0, 5.0))


@plant("dead", "mlp-bn cnn-bn resnet-preact", seeds=(0, 1))
def norm_shift_negative(setup: Setup, draw: random.Random) -> None:
    """The shift of every BatchNorm before a rectifier begins at -5."""
    del draw
    for _, module in layers(setup.model, (nn.BatchNorm1d, nn.BatchNorm2d)):
        nn.init.constant_(module.bias, -5.0)


@plant("dead", "mlp cnn-plain mlp-default siamese", seeds=(0, 1))
def weights_all_negative(setup: Setup, draw: random.Random) -> None:
    """A sign is lost in an initialization of one's own: all weights of the hidden layers from the second on are negative."""
    del draw
    with torch.no_grad():
        for module in weighted(setup.model, last=False)[1:]:
            module.weight.copy_(-module.weight.abs())
            nn.init.zeros_(module.bias)


@plant("dead", "mlp mlp-default", seeds=(0, 1, 2, 3))
def narrow_and_deep(setup: Setup, draw: random.Random) -> None:
    """Two or three units per layer in 16 to 24 layers of ReLU: all of a layer is dead from the start (Lu et al., 2019)."""
    setup.model = initialize(stack([64, *[draw.choice((2, 3))] * draw.randint(16, 24), 10], nn.ReLU), nn.init.kaiming_normal_)


@plant("dead", "mlp mlp-default cnn-functional", seeds=(0, 1))
def after_one_giant_step(setup: Setup, draw: random.Random) -> None:
    """A checkpoint after a few steps whose learning rate was a hundred times too large: rectifiers died of it."""
    del draw
    optimizer = torch.optim.SGD(setup.model.parameters(), lr=10.0)
    for inputs, target in setup.task.batches(97, 3, 32):
        optimizer.zero_grad()
        setup.task.loss(setup.model(inputs), target).backward()
        nn.utils.clip_grad_norm_(setup.model.parameters(), 20.0)
        optimizer.step()
    optimizer.zero_grad()


@plant("dead", "mlp cnn-inplace mlp-bn", seeds=(0, 1))
def rectified_twice_with_sign(setup: Setup, draw: random.Random) -> None:
    """A rectifier stands behind a negated rectifier in one place: nothing is positive there."""
    found = layers(setup.model, _RECTIFIERS)
    name, module = draw.choice(found)
    parent, _, child = name.rpartition(".")
    setattr(setup.model.get_submodule(parent), child, nn.Sequential(module, Apply(torch.neg), nn.ReLU()))


@plant("dead", "mlp mlp-dropout", seeds=(0, 1, 2))
def inputs_far_below(setup: Setup, draw: random.Random) -> None:
    """Inputs are shifted by -50 to -200 before the first layer, whose weights are positive: rectifiers see nothing else."""
    shift = -draw.uniform(50.0, 200.0)
    first = weighted(setup.model)[0]
    with torch.no_grad():
        first.weight.abs_()
    setup.model = nn.Sequential(Apply(lambda x: x + shift), setup.model)


@plant("saturated", "mlp-tanh mlp-sigmoid-shallow rnn-by-hand", seeds=(0, 1, 2))
def weights_too_large(setup: Setup, draw: random.Random) -> None:
    """Weights of all layers before a bounded activation are 30 to 60 times too large."""
    factor = draw.uniform(30.0, 60.0)
    with torch.no_grad():
        for module in weighted(setup.model, last=False):
            module.weight.mul_(factor)


@plant("saturated", "mlp-tanh mlp-sigmoid-shallow", seeds=(0, 1, 2, 3))
def raw_inputs_bounded(setup: Setup, draw: random.Random) -> None:
    """Inputs of 0 to 255 go straight into tanh or sigmoid."""
    del draw
    setup.model = nn.Sequential(Apply(lambda x: x * 80 + 100), setup.model)


@plant("saturated", "mlp-tanh mlp-sigmoid-shallow cnn-gated", seeds=(0, 1))
def bias_far_off(setup: Setup, draw: random.Random) -> None:
    """Biases before bounded activations begin at 20 to 40, of either sign."""
    for module in weighted(setup.model, last=False):
        size = draw.uniform(20.0, 40.0)
        with torch.no_grad():
            module.bias.copy_(torch.where(torch.rand_like(module.bias) < 0.5, -size, size))


@plant("saturated", "cnn-bn cnn-plain mlp-bn mlp", seeds=(0, 1))
def bounded_behind_gain(setup: Setup, draw: random.Random) -> None:
    """Rectifiers were exchanged for tanh with a gain of 30 to 60 inside, as steep as a step."""
    gain = draw.uniform(30.0, 60.0)
    replace(setup.model, ACTIVATIONS, lambda _: nn.Sequential(Apply(lambda x: x * gain), nn.Tanh()))


@plant("saturated", "discriminator-sigmoid", seeds=(0, 1, 2, 3))
def output_saturated(setup: Setup, draw: random.Random) -> None:
    """The last sigmoid gets numbers a few hundred times too large, so that every probability is 0 or 1."""
    factor = draw.uniform(2000.0, 4000.0)
    with torch.no_grad():
        weighted(setup.model)[-1].weight.mul_(factor)


@plant("saturated", "generator autoencoder autoencoder-conv", seeds=(0, 1))
def output_tanh_saturated(setup: Setup, draw: random.Random) -> None:
    """Weights of the last layer before tanh begin hundreds of times too large: every pixel is black or white."""
    factor = draw.uniform(500.0, 1000.0)
    with torch.no_grad():
        weighted(setup.model)[-1].weight.mul_(factor)


@plant("saturated", "mlp-highway cnn-mobile", seeds=(0, 1))
def gates_shut(setup: Setup, draw: random.Random) -> None:
    """Biases of all gates begin at -30: the sigmoids never open."""
    del draw
    for name, module in layers(setup.model, (nn.Linear, nn.Conv2d)):
        if name.endswith(("gate", "squeeze.3")):
            nn.init.constant_(module.bias, -30.0)
