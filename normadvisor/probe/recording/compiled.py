"""What ``torch.compile`` did to a model, and how to run it without."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import torch
from torch import nn

__all__ = ["eager", "is_compiled"]


def is_compiled(model: nn.Module) -> bool:
    """Whether the model or a part of it runs compiled code: ``torch.compile(model)`` or ``model.compile()``."""
    return any(
        "_orig_mod" in module._modules or getattr(module, "_compiled_call_impl", None) is not None  # noqa: SLF001
        for module in model.modules()
    )


@contextmanager
def eager() -> Iterator[None]:
    """Run what is compiled as it was written: hooks that are added later are not part of compiled code."""
    stance = torch.compiler.set_stance("force_eager")
    try:
        yield
    finally:
        stance.__exit__(None, None, None)
