"""Which calls draw random numbers in a forward pass, and in which modules: dropout that stays on told from sampling that is meant."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

from torch.overrides import TorchFunctionMode

from normadvisor.probe.recording.layers import walk

if TYPE_CHECKING:
    from torch import nn

__all__ = ["DROPPING", "watching_random_calls"]

DROPPING = frozenset(
    (
        "dropout", "dropout1d", "dropout2d", "dropout3d", "dropout_", "alpha_dropout", "alpha_dropout_", "feature_dropout",
        "feature_dropout_", "feature_alpha_dropout", "feature_alpha_dropout_", "native_dropout", "bernoulli", "bernoulli_",
        "scaled_dot_product_attention", "multi_head_attention_forward", "lstm", "gru", "rnn_tanh", "rnn_relu",
    )
)  # fmt: skip
"""Functions that drop values; by hand it is mostly done with ``bernoulli_``."""
_DRAWING = frozenset(
    (
        "rand", "rand_like", "randn", "randn_like", "randint", "randint_like", "randperm", "normal", "normal_", "uniform_", "random_",
        "multinomial", "exponential_", "poisson", "cauchy_", "log_normal_", "geometric_", "rrelu", "rrelu_", "gumbel_softmax",
        "fractional_max_pool2d", "fractional_max_pool3d",
    )
)  # fmt: skip
_FLAGGED = frozenset(("scaled_dot_product_attention", "multi_head_attention_forward", "lstm", "gru", "rnn_tanh", "rnn_relu"))
"""Functions that drop only where an argument says so; what they do is seen by their own argument, not by being called."""


class _Watch(TorchFunctionMode):
    def __init__(self, stack: list[str], found: list[tuple[str, str]]) -> None:
        super().__init__()
        self.stack = stack
        self.found = found

    def __torch_function__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        del types
        name = getattr(func, "__name__", "")
        kwargs = kwargs or {}
        if (name in DROPPING and _drops(name, args, kwargs)) or name in _DRAWING:
            entry = (name.rstrip("_"), self.stack[-1] if self.stack else "")
            if entry not in self.found:
                self.found.append(entry)
        return func(*args, **kwargs)


def _drops(name: str, args: tuple[Any, ...], kwargs: dict[str, Any]) -> bool:
    """Whether a call drops anything: its rate is not 0 and its flag is on."""
    if name.startswith("bernoulli"):
        return True
    if name in _FLAGGED:
        rate = kwargs.get("dropout_p", args[4] if name.startswith("scaled") and len(args) > 4 else 0.0)
        return isinstance(rate, float) and rate > 0 and kwargs.get("training", True) is not False
    rate = kwargs.get("p", args[1] if len(args) > 1 else 0.5)
    default = name not in ("dropout1d", "dropout2d", "dropout3d", "dropout", "feature_dropout")
    flag = kwargs.get("training", kwargs.get("train", args[2] if len(args) > 2 else not default))
    return bool(rate) and bool(flag)


@contextmanager
def watching_random_calls(model: nn.Module) -> Iterator[list[tuple[str, str]]]:
    """Note functions that draw random numbers in the block's passes, each with the innermost module that it was called in."""
    stack: list[str] = []
    found: list[tuple[str, str]] = []

    def enter(name: str) -> Any:
        return lambda _module, _args: stack.append(name)

    def leave(_module: nn.Module, _args: Any, _output: Any) -> None:
        if stack:
            stack.pop()

    handles = []
    for name, module in walk(model):
        handles.append(module.register_forward_pre_hook(enter(name)))
        handles.append(module.register_forward_hook(leave))
    try:
        with _Watch(stack, found):
            yield found
    finally:
        for handle in handles:
            handle.remove()
