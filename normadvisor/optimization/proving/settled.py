"""Runs code without chance in it, so that two runs in different precision can be compared."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from typing import Any

import torch
from torch.overrides import TorchFunctionMode

__all__ = ["without_chance"]

_DROPOUTS = frozenset({
    "dropout", "dropout_", "dropout1d", "dropout2d", "dropout3d", "alpha_dropout", "alpha_dropout_", "feature_dropout",
    "feature_dropout_", "feature_alpha_dropout", "feature_alpha_dropout_",
})  # fmt: skip
_ATTENTION = "scaled_dot_product_attention"


class _Settled(TorchFunctionMode):
    """What would be dropped by chance is kept: random masks are drawn differently in each dtype."""

    def __torch_function__(self, func: Callable[..., Any], types: Any, args: tuple[Any, ...] = (), kwargs: Any = None) -> Any:
        name, kwargs = getattr(func, "__name__", ""), dict(kwargs or {})
        if name in _DROPOUTS:
            return args[0] if args else kwargs["input"]
        if name == "bernoulli_":
            return args[0].fill_(1)
        if name == "bernoulli":
            return torch.ones_like(args[0] if args else kwargs["input"])
        if name == _ATTENTION:
            args, kwargs = (*args[:4], *((0.0,) if len(args) > 4 else ()), *args[5:]), {**kwargs, **_no_dropout(kwargs)}
        return func(*args, **kwargs)


def _no_dropout(kwargs: dict[str, Any]) -> dict[str, Any]:
    return {"dropout_p": 0.0} if "dropout_p" in kwargs else {}


@contextmanager
def without_chance(seed: int, device: torch.device) -> Iterator[None]:
    """Inside, dropout drops nothing, and all other random numbers start from a seed; random states are put back."""
    with ExitStack() as stack:
        stack.enter_context(torch.random.fork_rng(devices=[device] if device.type == "cuda" else []))
        torch.manual_seed(seed)
        stack.enter_context(_Settled())
        yield
