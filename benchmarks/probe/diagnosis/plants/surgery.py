"""What plants do to models: find layers, put others into their place, wrap them."""

from __future__ import annotations

import random
from collections.abc import Callable

import torch
from torch import nn

__all__ = ["ACTIVATIONS", "Apply", "after", "layers", "replace", "weighted"]

ACTIVATIONS = (nn.ReLU, nn.ReLU6, nn.LeakyReLU, nn.PReLU, nn.ELU, nn.SELU, nn.GELU, nn.SiLU, nn.Tanh, nn.Sigmoid, nn.Hardswish)
_WEIGHTED = (nn.Linear, nn.Conv2d, nn.ConvTranspose2d)


class Apply(nn.Module):
    """A function as a module."""

    def __init__(self, function: Callable[[torch.Tensor], torch.Tensor]) -> None:
        super().__init__()
        self.function = function

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """The function's result."""
        return self.function(x)


def layers(model: nn.Module, kinds: tuple[type[nn.Module], ...]) -> list[tuple[str, nn.Module]]:
    """Modules of these kinds with their names, in order of construction.

    Raises:
        LookupError: there is none, so that the plant would change nothing.

    """
    found = [(name, module) for name, module in model.named_modules() if isinstance(module, kinds)]
    if not found:
        raise LookupError(f"no {' or '.join(kind.__name__ for kind in kinds)} in {type(model).__name__}")
    return found


def weighted(model: nn.Module, *, last: bool = True) -> list[nn.Module]:
    """Linear and convolutional layers; without the last one of them if so wanted."""
    found = [module for _, module in layers(model, _WEIGHTED)]
    return found if last else found[:-1]


def replace(model: nn.Module, kinds: tuple[type[nn.Module], ...], make: Callable[[nn.Module], nn.Module]) -> None:
    """Put what ``make`` gives for it into the place of every module of these kinds."""
    for name, module in layers(model, kinds):
        _put(model, name, make(module))


def after(model: nn.Module, kinds: tuple[type[nn.Module], ...], make: Callable[[nn.Module], nn.Module], draw: random.Random) -> None:
    """Put a module behind one of these kinds; one that is drawn, and not the last of several."""
    found = layers(model, kinds)
    name, module = draw.choice(found[: max(1, len(found) - 1)])
    _put(model, name, nn.Sequential(module, make(module)))


def _put(model: nn.Module, name: str, module: nn.Module) -> None:
    parent, _, child = name.rpartition(".")
    setattr(model.get_submodule(parent), child, module)
