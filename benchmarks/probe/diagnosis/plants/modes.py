"""What is right in one mode and wrong in the other."""

from __future__ import annotations

import random

import torch
import torch.nn.functional as F
from torch import nn

from benchmarks.probe.diagnosis.network import Setup, plant
from benchmarks.probe.diagnosis.plants.surgery import ACTIVATIONS, Apply, layers, replace

__all__: list[str] = []

_BATCH_NORMS = (nn.BatchNorm1d, nn.BatchNorm2d)


def _behind(setup: Setup, make: object) -> None:
    replace(setup.model, ACTIVATIONS, lambda module: nn.Sequential(module, make(module)))


@plant("mode", "mlp mlp-ln cnn-plain cnn-gn autoencoder", seeds=(0, 1))
def dropout_never_off(setup: Setup, draw: random.Random) -> None:
    """``F.dropout`` without ``training=self.training``, of 6 to 8 in ten: evaluation is random."""
    p = draw.uniform(0.6, 0.8)
    _behind(setup, lambda _: Apply(lambda x: F.dropout(x, p)))


@plant("mode", "mlp-bn cnn-bn resnet unet", seeds=(0, 1))
def statistics_never_move(setup: Setup, draw: random.Random) -> None:
    """BatchNorm with a momentum of 0 to 1e-4: evaluation normalizes with the statistics of the beginning."""
    momentum = draw.choice((0.0, 1e-4))
    for _, module in layers(setup.model, _BATCH_NORMS):
        module.momentum = momentum
    # Numbers that are far from mean 0 and variance 1, as those of most layers are.
    setup.model = nn.Sequential(Apply(lambda x: x * 6 + 3), setup.model)


class _BatchStatistics(nn.Module):
    """Mean and variance of the batch in either mode, by hand."""

    def __init__(self, norm: nn.Module) -> None:
        super().__init__()
        self.weight, self.bias = norm.weight, norm.bias

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        axes = [axis for axis in range(x.ndim) if axis != 1]
        shape = [1, -1, *[1] * (x.ndim - 2)]
        centred = x - x.mean(dim=axes, keepdim=True)
        normal = centred / (centred.square().mean(dim=axes, keepdim=True) + 1e-5).sqrt()
        return normal * self.weight.view(shape) + self.bias.view(shape)


@plant("mode", "mlp-bn cnn-bn resnet", seeds=(0, 1))
def batchnorm_by_hand(setup: Setup, draw: random.Random) -> None:
    """A batch norm by hand that has no running statistics: evaluation depends on the rest of the batch."""
    del draw
    replace(setup.model, _BATCH_NORMS, _BatchStatistics)


@plant("mode", "mlp-bn cnn-bn resnet-preact", seeds=(0, 1))
def statistics_not_tracked(setup: Setup, draw: random.Random) -> None:
    """BatchNorm with ``track_running_stats=False``: evaluation depends on the rest of the batch."""
    del draw
    for _, module in layers(setup.model, _BATCH_NORMS):
        module.track_running_stats = False
        module.running_mean = module.running_var = module.num_batches_tracked = None


class _Stuck(nn.Module):
    """A part that never leaves train mode."""

    def __init__(self, inner: nn.Module) -> None:
        super().__init__()
        self.inner = inner

    def train(self, mode: bool = True) -> _Stuck:  # noqa: FBT001, FBT002 - as torch has it
        del mode
        self.training = True
        self.inner.train()
        return self

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.inner(x)


@plant("mode", "mlp-bn cnn-bn mlp-dropout resnet", seeds=(0, 1))
def stuck_in_train_mode(setup: Setup, draw: random.Random) -> None:
    """A ``train`` method of one's own that ignores its argument."""
    del draw
    replace(setup.model, (*_BATCH_NORMS, nn.Dropout), _Stuck)


class _Inverted(nn.Module):
    """Dropout whose condition is the wrong way round."""

    def __init__(self, p: float) -> None:
        super().__init__()
        self.p = p

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return F.dropout(x, self.p, training=not self.training)


@plant("mode", "mlp mlp-tanh cnn-gn vit", seeds=(0, 1))
def mode_inverted(setup: Setup, draw: random.Random) -> None:
    """``training=not self.training``: dropout at evaluation, and none in training."""
    p = draw.uniform(0.6, 0.8)
    _behind(setup, lambda _: _Inverted(p))


class _Unscaled(nn.Module):
    """Dropout that forgets to scale: what follows sees several times as much at evaluation."""

    def __init__(self, p: float) -> None:
        super().__init__()
        self.p = p

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return x * (torch.rand_like(x) >= self.p) if self.training else x


@plant("mode", "mlp cnn-plain mlp-tanh", seeds=(0, 1))
def dropout_unscaled(setup: Setup, draw: random.Random) -> None:
    """Dropout by hand that scales in neither mode."""
    p = draw.uniform(0.6, 0.8)
    _behind(setup, lambda _: _Unscaled(p))


class _TrainOnly(nn.Module):
    """A norm that is passed over at evaluation."""

    def __init__(self, norm: nn.Module) -> None:
        super().__init__()
        self.norm = norm

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.norm(x) if self.training else x


@plant("mode", "mlp-bn mlp-ln cnn-gn cnn-in", seeds=(0, 1))
def norm_in_training_alone(setup: Setup, draw: random.Random) -> None:
    """``if self.training:`` before the norm."""
    del draw
    norms = (*_BATCH_NORMS, nn.LayerNorm, nn.GroupNorm, nn.InstanceNorm2d)
    replace(setup.model, norms, _TrainOnly)
    setup.model = nn.Sequential(Apply(lambda x: x * 6 + 3), setup.model)


class _Noise(nn.Module):
    """Noise of a fixed size, in either mode."""

    def __init__(self, size: float) -> None:
        super().__init__()
        self.size = size

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return x + torch.randn_like(x) * self.size


@plant("mode", "mlp siamese discriminator", seeds=(0, 1))
def noise_never_off(setup: Setup, draw: random.Random) -> None:
    """Noise for regularization is added at evaluation as well."""
    size = draw.uniform(2.0, 4.0)
    _behind(setup, lambda _: _Noise(size))
