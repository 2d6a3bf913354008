"""Layers with weights that a norm can be folded into, found by the call they make rather than by their class."""

from __future__ import annotations

import copy
from dataclasses import dataclass
from typing import Any

import torch
from torch import fx, nn
from torch.nn.parameter import is_lazy
from torch.overrides import TorchFunctionMode

from normadvisor.graph.canonical import module_op
from normadvisor.graph.model import NodeInfo
from normadvisor.graph.signatures import bind
from normadvisor.optimization.folding.flow import Flow
from normadvisor.optimization.folding.inline import Inline
from normadvisor.types import GROUPS

__all__ = ["CALLED", "LINEAR", "Layer", "layer_of", "own_call"]

LINEAR = frozenset(GROUPS["linear_map"])
CALLED = frozenset({"conv1d", "conv2d", "conv3d", "conv_transpose1d", "conv_transpose2d", "conv_transpose3d", "linear"})
"""Names of the functions."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Layer:
    """A convolution, transposed convolution or linear layer as one module, whose weight is used as it is stored."""

    name: str
    """The module that is it, or that holds the weight of the call."""
    kind: str
    """``conv``, ``conv_transpose`` or ``linear``."""
    groups: int
    channels_in: int
    channels_out: int
    has_bias: bool
    padded: bool
    """Whether zeros are put around the input, so that what is added to every entry of it is not added at the border."""
    weight: str = "weight"
    bias: str = "bias"
    """Names of both in the module; that of the bias also where there is none yet."""
    inline: Inline | None = None
    """The call, where it is one that has to be told of a new bias."""

    def axis(self, rank: int) -> int:
        """Which axis of the input and of the output holds the channels."""
        return rank - 1 if self.kind == "linear" else 1


def layer_of(flow: Flow, node: NodeInfo) -> Layer | str:
    """The layer that ``node`` is a run of, or why it is none that a norm can be folded into."""
    name = node.module
    if name not in flow.modules:
        return "the layer before is none of the model's modules"
    module = flow.modules[name]
    known = module_op(type(module))
    found = flow.trouble(name)
    if found:
        return found
    held = (*module.parameters(), *module.buffers())
    if any(is_lazy(value) for value in held):
        return "it is lazy and has no shapes yet"
    if not node.cls and (known is None or known[0] != node.op or flow.path(node) != name):
        return _inline(flow, node)
    weight = getattr(module, "weight", None)
    if node.attrs.get("parametrizations") or not isinstance(weight, torch.Tensor):
        return "its weight is computed at each call"
    if node.shape is None or len(node.shape) != (weight.dim() if node.op != "linear" else len(node.shape)):
        return "its input has no batch dimension"
    bias = getattr(module, "bias", None)
    if not node.cls:
        reason = _as_stored(flow, node, module)
        if reason:
            inline = _inline(flow, node)
            return reason if isinstance(inline, str) else inline
    return _described(name, module, node.op, weight, bias)


def _described(name: str, module: Any, kind: str, weight: torch.Tensor, bias: torch.Tensor | None) -> Layer:
    groups = int(getattr(module, "groups", 1))
    first, second = weight.shape[:2]
    channels_in, channels_out = (first, second * groups) if kind == "conv_transpose" else (second * groups, first)
    return Layer(
        name=name,
        kind=kind,
        groups=groups,
        channels_in=channels_in,
        channels_out=channels_out,
        has_bias=bias is not None,
        padded=kind == "conv_transpose" or (kind == "conv" and _padded(module)),
    )


def _padded(module: Any) -> bool:
    """Whether a convolution may meet zeros beyond the border; constant-keeping kinds of padding are none."""
    cls: Any = type(module)
    known = module_op(cls)
    if known is not None and cls.forward is not known[1].forward:
        return True  # A forward of its own may pad before it calls the convolution.
    if getattr(module, "padding_mode", "zeros") != "zeros":
        return False
    padding = module.padding
    if isinstance(padding, str):
        return padding != "valid" and any(size > 1 for size in module.kernel_size)
    return any(padding) if isinstance(padding, tuple | list) else bool(padding)


def _as_stored(flow: Flow, node: NodeInfo, module: nn.Module) -> str:
    """Why a class with a forward of its own does not use weight and bias as they are stored; empty if it does."""
    call = flow.fx(node)
    own = {f"{name}.weight" if name else "weight" for name in flow.same(node.module)}
    own |= set(flow.keys(module.weight)) if isinstance(module.weight, torch.Tensor) else set()
    weight = flow.arguments(node).get("weight")
    if call is None or not isinstance(weight, fx.Node) or weight.op != "get_attr" or str(weight.target) not in own:
        return "its weight is computed at each call"
    # A bias that is None leaves no trace: whether it would be used shows when there is one.
    made = own_call(module, node)
    if made is None or made[1].get("bias") is not made[2]:
        return "its forward does not use a bias of its own"
    return ""


def _inline(flow: Flow, node: NodeInfo) -> Layer | str:
    """A call such as ``F.conv2d(x, self.weight)`` on parameters as they are stored."""
    arguments, call = flow.arguments(node), flow.fx(node)
    weight, bias = arguments.get("weight"), arguments.get("bias")
    if call is None or not isinstance(weight, fx.Node) or weight.op != "get_attr":
        return "its weight is computed at each call"
    owner, _, attribute = str(weight.target).rpartition(".")
    tensor = flow.tensor(str(weight.target))
    groups, padding = arguments.get("groups", 1), arguments.get("padding", 0)
    if tensor is None or len(flow.keys(tensor)) != 1 or list(weight.users) != [call] or not isinstance(groups, int):
        return "its weight is read elsewhere, too"
    held = bias is not None
    if held and (not isinstance(bias, fx.Node) or bias.op != "get_attr" or list(bias.users) != [call]):
        return "its bias is computed at each call"
    named = str(bias.target).rpartition(".") if isinstance(bias, fx.Node) else (owner, ".", _free(flow.modules[owner]))
    if named[0] != owner:
        return "its weight and its bias belong to different modules"
    inline = None if held else flow.inline(node)
    if isinstance(inline, str):
        return inline
    first, second = tensor.shape[:2]
    transposed = node.op == "conv_transpose"
    sizes = padding if isinstance(padding, list | tuple) else (padding,)
    return Layer(
        name=owner, kind=node.op, groups=groups, channels_in=first if transposed else second * groups,
        channels_out=second * groups if transposed else first, has_bias=held,
        padded=transposed or any(size not in {0, "valid"} for size in sizes), weight=attribute, bias=named[2], inline=inline,
    )  # fmt: skip


def _free(module: nn.Module) -> str:
    """A name for a new bias."""
    return next(name for name in ("bias", "folded_bias", "bias_of_fold") if getattr(module, name, None) is None)


class _Catch(TorchFunctionMode):
    """Keeps the arguments of the one convolution or matrix product that a forward makes."""

    def __init__(self) -> None:
        super().__init__()
        self.calls: list[tuple[str, Any, dict[str, Any]]] = []

    def __torch_function__(self, func: Any, types: Any, args: tuple[Any, ...] = (), kwargs: Any = None) -> Any:
        name = getattr(func, "__name__", "")
        result = func(*args, **(kwargs or {}))
        if name in CALLED:
            self.calls.append((name, (args[0] if args else (kwargs or {}).get("input")), bind(name, name, args, kwargs or {})))
        return result


def own_call(module: nn.Module, node: NodeInfo) -> tuple[torch.Tensor, dict[str, Any], nn.Parameter] | None:
    """What a module hands to the convolution or matrix product that its forward calls, if it makes exactly one such call.

    Run on tensors without data, with a bias, on a copy.

    Returns:
        The input of the call, its other arguments by name, and the bias that the module had.

    """
    if node.in_shape is None:
        return None
    shell = copy.copy(module)
    parameters, buffers = module._parameters, module._buffers  # noqa: SLF001 -- those that are None count, too
    bias = nn.Parameter(torch.empty(int(getattr(module, "out_channels", getattr(module, "out_features", 0))), device="meta"))
    held = {name: None if value is None else nn.Parameter(value.to("meta"), value.requires_grad) for name, value in parameters.items()}
    vars(shell)["_parameters"] = {**held, "bias": bias}
    vars(shell)["_buffers"] = {name: None if value is None else value.to("meta") for name, value in buffers.items()}
    weight = next((value for value in held.values() if value is not None), bias)
    catch = _Catch()
    try:
        with torch.no_grad(), catch:
            shell.forward(torch.empty(node.in_shape, device="meta", dtype=weight.dtype))
    except Exception:  # noqa: BLE001 -- code of the user's own, on tensors that hold no values
        return None
    if len(catch.calls) != 1:
        return None
    _, given, arguments = catch.calls[0]
    return given, arguments, bias
