"""Which axes operations name, and whether these stay the same ones in a tensor with more axes ahead."""

from __future__ import annotations

from torch import fx, nn

from normadvisor.graph.written.exact import called
from normadvisor.graph.written.model import Surroundings

__all__ = ["counts_from_the_last", "named_axes"]

_AT = {
    "mean": 1, "sum": 1, "var": 1, "std": 1, "var_mean": 1, "std_mean": 1, "amax": 1, "max": 1, "logsumexp": 1, "softmax": 1,
    "log_softmax": 1, "unsqueeze": 1, "squeeze": 1, "norm": 2, "vector_norm": 2, "normalize": 2,
}  # fmt: skip
"""Place of the axes among the arguments."""
_PAIRS = frozenset({"transpose", "swapaxes", "swapdims"})
_BY_PLACE = frozenset({"permute", "movedim", "einsum", "view", "reshape", "flatten", "unflatten", "bmm", "baddbmm"})
"""What takes as many axes as it is given, or counts them in a way that is not looked into."""


def named_axes(node: fx.Node, around: Surroundings) -> tuple[int, ...] | None:
    """The axes that an operation names, as they are written, empty where they are not plain numbers; ``None`` if it computes along none."""
    module = around.module(node)
    if module is not None:
        dim = getattr(module, "dim", None) if isinstance(module, nn.Softmax | nn.LogSoftmax | nn.Softmin) else ()
        return None if dim == () else (dim,) if isinstance(dim, int) else ()
    name = called(node)
    if name == "getitem":
        whole = not isinstance(node.args[1], tuple) or node.args[1][:1] == (...,)
        return None if whole else ()
    if name in _BY_PLACE:
        return ()
    if name in _PAIRS:
        given: list[object] = [*node.args[1:], *node.kwargs.values()]
    elif name in _AT:
        given = [node.kwargs[key] for key in ("dim", "axis") if key in node.kwargs] or list(node.args[_AT[name] : _AT[name] + 1])
    else:
        return None
    axes = [axis for each in given for axis in (each if isinstance(each, tuple | list) else [each])]
    return tuple(axis for axis in axes if isinstance(axis, int)) if all(isinstance(axis, int) for axis in axes) else ()


def counts_from_the_last(node: fx.Node, around: Surroundings) -> bool:
    """Whether the axes that an operation names, if any, are the same ones of a tensor with more axes ahead."""
    axes = named_axes(node, around)
    return axes is None or (bool(axes) and all(axis < 0 for axis in axes))
