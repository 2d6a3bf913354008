"""Second derivatives of fused operations, through torch's own: for gradient penalties and the like."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import torch
from torch import Tensor

__all__ = ["differentiate_again"]

Optionals = tuple[Tensor | None, ...]


def differentiate_again(
    forward: Callable[..., tuple[Tensor, ...]],
    inputs: Sequence[Tensor | None],
    seeds: Sequence[Tensor | None],
    gradients: Sequence[Tensor | None],
) -> tuple[Optionals, Optionals]:
    """Differentiate the backward pass of ``forward``.

    Args:
        forward: the operation in torch's own operations, which can be differentiated as often as one likes.
        inputs: of ``forward``; ``None`` stays ``None``.
        seeds: gradients of its outputs that the backward pass was given; ``None`` is zero.
        gradients: with respect to the results of the backward pass, one for each input; ``None`` is zero.

    Returns:
        Gradients of the inputs, then of the seeds; ``None`` is zero. They can be differentiated again if gradients are recorded.

    """
    recorded = torch.is_grad_enabled()
    with torch.enable_grad():
        values = tuple(map(_tracked, inputs))
        factors = tuple(map(_tracked, seeds))
        outputs = [(output, seed) for output, seed in zip(forward(*values), factors, strict=True) if seed is not None]
        present = [value for value in values if value is not None]
        roots, seeding = [output for output, _ in outputs], [seed for _, seed in outputs]
        first = iter(torch.autograd.grad(roots, present, seeding, create_graph=True, allow_unused=True))
        firsts = [None if value is None else next(first) for value in values]
        pairs = zip(firsts, gradients, strict=True)
        paired = [(found, given) for found, given in pairs if found is not None and given is not None and found.requires_grad]
        if not paired:
            return (None,) * len(values), (None,) * len(factors)
        both = [tensor for tensor in (*values, *factors) if tensor is not None]
        roots, given = [found for found, _ in paired], [gradient for _, gradient in paired]
        second = iter(torch.autograd.grad(roots, both, given, create_graph=recorded, allow_unused=True))
    results = tuple(None if tensor is None else next(second) for tensor in (*values, *factors))
    return results[: len(values)], results[len(values) :]


def _tracked(tensor: Tensor | None) -> Tensor | None:
    """An alias that takes gradients, connected to what ``tensor`` was computed from."""
    if tensor is None:
        return None
    return tensor.view_as(tensor) if tensor.requires_grad else tensor.detach().requires_grad_()
