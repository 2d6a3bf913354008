"""How a model, or a few operations, are run to be timed."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any

import torch
from torch import nn

from normadvisor.graph.values import map_tensors, tensors_in

if TYPE_CHECKING:
    from normadvisor.optimization.candidate import Kernel
    from normadvisor.rewrite.proof.inputs import Arguments

__all__ = ["kernel_runs", "model_run"]


def model_run(model: nn.Module | Callable[..., Any], inputs: Arguments, mode: str) -> Callable[[], Any]:
    """One pass of a model, or of what became of it: forward without gradients in inference, forward and backward in training.

    What flows backward are random numbers made beforehand, one for each entry of the outputs that take gradients. The gradients of
    parameters are dropped before each pass, as ``zero_grad`` does.
    """
    args, kwargs = tuple(inputs.args), dict(inputs.kwargs)
    if mode == "inference":

        def forward() -> Any:
            with torch.no_grad():
                return model(*args, **kwargs)

        return forward
    own = model.parameters() if isinstance(model, nn.Module) else ()
    held = [parameter for parameter in own if parameter.requires_grad]
    return _with_backward(lambda: model(*args, **kwargs), held)


def kernel_runs(kernel: Kernel, mode: str) -> tuple[Callable[[], Any], Callable[[], Any]]:
    """One call of the operations of a place before, and one after; in training with the backward pass.

    Arguments with values between the integers take gradients, as they would in the middle of a model.
    """
    if mode == "inference":

        def without(run: Callable[..., Any]) -> Callable[[], Any]:
            def call() -> Any:
                with torch.no_grad():
                    return run(*kernel.arguments)

            return call

        return without(kernel.before), without(kernel.after)
    leaves: list[torch.Tensor] = []

    def leaf(tensor: torch.Tensor) -> torch.Tensor:
        if not (tensor.is_floating_point() or tensor.is_complex()):
            return tensor
        leaves.append(tensor.detach().requires_grad_())
        return leaves[-1]

    args = map_tensors(kernel.arguments, leaf)
    held = [*leaves, *(parameter for parameter in kernel.parameters if parameter.requires_grad)]

    def passes(change: Callable[[torch.Tensor], torch.Tensor]) -> tuple[Callable[[], Any], Callable[[], Any]]:
        def given() -> Any:
            return map_tensors(args, lambda tensor: change(tensor) if tensor.requires_grad else tensor)

        return _with_backward(lambda: kernel.before(*given()), held), _with_backward(lambda: kernel.after(*given()), held)

    before, after = passes(lambda tensor: tensor)
    try:
        before(), after()
    except RuntimeError as error:
        if "in-place" not in str(error):
            raise
        # What works in place cannot do so on a leaf; the copy is counted on both sides.
        before, after = passes(torch.Tensor.clone)
    return before, after


def _with_backward(forward: Callable[[], Any], held: Sequence[torch.Tensor]) -> Callable[[], Any]:
    """Forward and backward, gradients dropped before."""
    factors: list[torch.Tensor] = []

    def step() -> Any:
        for tensor in held:
            tensor.grad = None
        result = forward()
        outputs = [output for output in tensors_in(result) if output.requires_grad]
        if len(factors) != len(outputs) or any(one.shape != other.shape for one, other in zip(factors, outputs, strict=True)):
            factors[:] = [torch.randn_like(output) for output in outputs]
        torch.autograd.backward(outputs, factors)
        return result

    return step
