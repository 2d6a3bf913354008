"""Small models and what their training should be measured to be."""

from __future__ import annotations

import torch
from torch import nn

from normadvisor.report.logs import StepNumbers


class Net(nn.Module):
    """Convolution, norm, activation, head."""

    def __init__(self) -> None:
        super().__init__()
        self.conv = nn.Conv2d(1, 4, 3, bias=False)
        self.norm = nn.BatchNorm2d(4)
        self.act = nn.ReLU()
        self.head = nn.Linear(4 * 36, 3)

    def forward(self, x):
        return self.head(self.act(self.norm(self.conv(x))).flatten(1))


def batches(count: int, size: int = 8, seed: int = 0) -> list[tuple[torch.Tensor, torch.Tensor]]:
    generator = torch.Generator().manual_seed(seed)
    return [(torch.randn(size, 1, 8, 8, generator=generator), torch.randint(0, 3, (size,), generator=generator)) for _ in range(count)]


def net(seed: int = 0) -> Net:
    torch.manual_seed(seed)
    return Net()


def norms(model: nn.Module, scale: float = 1.0) -> dict[str, float]:
    """Gradient norm of each layer, in double precision, and of everything under ``""``."""
    squares: dict[str, float] = {}
    for name, parameter in model.named_parameters():
        if parameter.grad is not None:
            square = float((parameter.grad.double() / scale).square().sum())
            for layer in {name.rpartition(".")[0], ""}:
                squares[layer] = squares.get(layer, 0.0) + square
    return {layer: square**0.5 for layer, square in squares.items()}


class Taken(list[StepNumbers]):
    """A log that keeps everything."""

    def __call__(self, numbers: StepNumbers) -> None:
        self.append(numbers)

    @property
    def steps(self) -> list[int]:
        return [numbers.step for numbers in self]

    def norms(self, index: int = -1) -> dict[str, float]:
        """As :func:`norms`."""
        numbers = self[index]
        layers = {name: values["grad_norm"] for name, values in numbers.layers.items() if "grad_norm" in values}
        return {**layers, "": numbers.run["grad_norm"]}


def hooks_of(model: nn.Module) -> list[object]:
    """Every hook on every module and parameter."""
    names = ("_forward_hooks", "_forward_pre_hooks", "_backward_hooks", "_backward_pre_hooks", "_state_dict_hooks")
    found: list[object] = [hook for module in model.modules() for name in names for hook in getattr(module, name).values()]
    for parameter in model.parameters():
        found += [*(parameter._backward_hooks or {}).values(), *(getattr(parameter, "_post_accumulate_grad_hooks", None) or {}).values()]
    return found


def global_hooks() -> list[object]:
    from torch.optim import optimizer

    return [*optimizer._global_optimizer_pre_hooks.values(), *optimizer._global_optimizer_post_hooks.values()]
