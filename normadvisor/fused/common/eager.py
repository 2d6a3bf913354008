"""The short way to a kernel, past the dispatcher, for calls in which nothing but autograd has to see the operation.

A call of a custom operation takes 17 microseconds of Python and C++ around the kernel, 42 with gradients and 134 with its backward; through
an autograd function it is 7, 13 and 55 (torch 2.15, one core of a server CPU, kernels left out). On tensors of a few MiB, on which a GPU
works for less than that, the difference decides.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn

__all__ = ["plain"]

_PLAIN = (Tensor, nn.Parameter)


def plain(*tensors: Tensor | None) -> bool:
    """Say whether nothing but autograd has to see an operation on these tensors: no compiler, no dispatch mode, no subclass."""
    if torch.compiler.is_compiling() or torch._C._len_torch_dispatch_stack():  # noqa: SLF001 (torch.utils._python_dispatch asks the same way)
        return False
    return all(tensor is None or type(tensor) in _PLAIN for tensor in tensors)
