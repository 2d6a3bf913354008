"""What rules ask of an operation: the same keys for the module and the functional form.

Keys (absent when unknown):

- all: ``inplace``, ``parametrizations``, ``requires_grad``
- norms: ``axes`` (sorted positive axes one statistic is taken over, given the rank of the input), ``expected_dims``,
  ``num_features``, ``num_groups``, ``num_channels``, ``normalized_shape``, ``eps``, ``momentum``, ``affine``,
  ``track_running_stats``, ``frozen``, ``sync``, ``handwritten`` and what was measured of hand-written ones
- convolutions: ``in_channels out_channels kernel_size stride padding padding_mode dilation groups bias dims``; linear maps:
  ``in_features out_features bias``; both ``in_width out_width``
- dropout ``p functional training``; pooling ``kernel_size stride padding count_include_pad ceil_mode output_size``; upsampling
  ``mode align_corners``; padding ``mode value pad``; softmax and reductions ``dim``; flatten ``start_dim end_dim``; losses
  ``reduction label_smoothing``; and the parameters of activations such as ``negative_slope``.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import torch
from torch import nn
from torch.nn.parameter import is_lazy

from normadvisor.graph.canonical import NORMS

if TYPE_CHECKING:
    from normadvisor.types import JSONValue

__all__ = ["axis_order", "call_attrs", "module_attrs", "norm_axes", "plain"]

Attrs = dict[str, Any]

_NORM_KEYS = (
    "num_features", "num_groups", "num_channels", "normalized_shape", "eps", "momentum", "affine", "track_running_stats", "size",
)  # fmt: skip
_CONV_KEYS = ("in_channels", "out_channels", "kernel_size", "stride", "padding", "padding_mode", "dilation", "groups", "output_padding")
_POOL_KEYS = ("kernel_size", "stride", "padding", "dilation", "count_include_pad", "ceil_mode", "output_size")
_KEYS: dict[str, tuple[str, ...]] = {
    **dict.fromkeys(NORMS, _NORM_KEYS),
    "conv": _CONV_KEYS,
    "conv_transpose": _CONV_KEYS,
    "linear": ("in_features", "out_features"),
    **dict.fromkeys(("dropout", "feature_dropout", "alpha_dropout"), ("p",)),
    **dict.fromkeys(("max_pool", "avg_pool", "adaptive_max_pool", "adaptive_avg_pool", "lp_pool"), _POOL_KEYS),
    "upsample": ("size", "scale_factor", "mode", "align_corners"),
    "pixel_shuffle": ("upscale_factor", "downscale_factor"),
    "pad": ("mode", "value", "pad"),
    "embedding": ("num_embeddings", "embedding_dim", "padding_idx"),
    **dict.fromkeys(("rnn", "lstm", "gru"), ("input_size", "hidden_size", "num_layers", "bidirectional", "batch_first", "dropout")),
    "attention": ("embed_dim", "num_heads", "batch_first", "dropout", "dropout_p", "is_causal"),
    "flatten": ("start_dim", "end_dim"),
    "leaky_relu": ("negative_slope",),
    "elu": ("alpha",), "celu": ("alpha",), "softplus": ("beta", "threshold"), "threshold": ("threshold", "value"),
    "hardtanh": ("min_val", "max_val"), "gelu": ("approximate",), "prelu": ("num_parameters",),
    "rrelu": ("lower", "upper"), "clamp": ("min", "max"),
    **dict.fromkeys(
        (
            "softmax", "log_softmax", "glu", "cat", "stack", "mean", "sum", "var", "std", "max", "min", "squeeze", "unsqueeze",
            "split", "permute",
        ),
        ("dim", "keepdim", "dims", "dim0", "dim1"),
    ),
    **dict.fromkeys(
        (
            "cross_entropy", "nll_loss", "bce", "bce_with_logits", "mse_loss", "l1_loss", "huber_loss", "gaussian_nll_loss", "kl_div",
        ),
        ("reduction", "label_smoothing", "ignore_index"),
    ),
}  # fmt: skip

_EXPECTED_DIMS = {
    nn.BatchNorm1d: [2, 3], nn.BatchNorm2d: [4], nn.BatchNorm3d: [5],
    nn.InstanceNorm1d: [2, 3], nn.InstanceNorm2d: [3, 4], nn.InstanceNorm3d: [4, 5],
}  # fmt: skip

_PAD_MODES = (
    ("Constant", "constant"), ("Zero", "constant"), ("Reflection", "reflect"), ("Replication", "replicate"), ("Circular", "circular"),
)  # fmt: skip


def plain(value: Any) -> JSONValue | None:
    """``value`` as JSON would hold it, ``None`` when it is nothing that JSON could hold (a tensor, a traced value)."""
    if isinstance(value, (bool, int, float, str)):
        return value
    if isinstance(value, (tuple, list, torch.Size)):
        items = [plain(item) for item in value]
        return None if any(item is None for item in items) else items
    return None


def norm_axes(op: str, attrs: Mapping[str, Any], rank: int | None) -> list[int] | None:
    """Axes of the input that one statistic is taken over, ``None`` when the rank is needed and unknown."""
    if rank is None:
        return None
    spatial = list(range(2, rank))
    if op == "batch_norm":
        return [0, *spatial]
    if op == "instance_norm":
        expected = attrs.get("expected_dims") or []
        unbatched = len(expected) > 1 and rank == min(expected)
        return list(range(1, rank)) if unbatched else spatial
    if op == "group_norm":
        groups, channels = attrs.get("num_groups"), attrs.get("num_channels")
        return spatial if groups is not None and groups == channels else [1, *spatial]
    if op in {"layer_norm", "rms_norm"}:
        count = len(attrs.get("normalized_shape") or [0])
        return list(range(max(rank - count, 0), rank))
    return [1]


def _widths(op: str, attrs: Attrs) -> None:
    for end in ("in", "out"):
        width = attrs.get(f"{end}_features" if op == "linear" else f"{end}_channels")
        if width is not None:
            attrs[f"{end}_width"] = width


def _norm_module(op: str, module: nn.Module, attrs: Attrs) -> None:
    for cls, dims in _EXPECTED_DIMS.items():
        if isinstance(module, cls):
            attrs["expected_dims"] = dims
    if isinstance(module, nn.SyncBatchNorm):
        attrs["sync"] = True
    if isinstance(module, (nn.LayerNorm, *((nn.RMSNorm,) if hasattr(nn, "RMSNorm") else ()))):
        attrs["affine"] = bool(module.elementwise_affine)
    if op in {"batch_norm", "instance_norm"} and attrs.get("num_features") == 0:
        del attrs["num_features"]
    if "normalized_shape" in attrs and isinstance(attrs["normalized_shape"], int):
        attrs["normalized_shape"] = [attrs["normalized_shape"]]


def parametrizations(module: nn.Module) -> list[str]:
    """Reparametrizations of a module: ``weight_norm``, ``spectral_norm``, or the class name of another one."""
    found: list[str] = []
    held = module._modules.get("parametrizations")  # noqa: SLF001 -- `parametrizations` may be an attribute of a user's own
    names = {"_WeightNorm": "weight_norm", "_SpectralNorm": "spectral_norm", "_Orthogonal": "orthogonal"}
    if isinstance(held, nn.ModuleDict):
        for chain in held.values():
            found += [names.get(type(step).__name__, type(step).__name__) for step in chain.children()]
    for hook in module._forward_pre_hooks.values():  # noqa: SLF001
        name = {"WeightNorm": "weight_norm", "SpectralNorm": "spectral_norm"}.get(type(hook).__name__)
        if name and type(hook).__module__.startswith("torch.nn.utils."):
            found.append(name)
    return found


def module_attrs(op: str, module: nn.Module) -> Attrs:
    """Attributes of a module that is (or derives from) the operation ``op``."""
    attrs: Attrs = {}
    for key in _KEYS.get(op, ()):
        value = plain(getattr(module, key, None))
        if value is not None:
            attrs[key] = value
    if op in NORMS:
        _norm_module(op, module, attrs)
    if op in {"conv", "conv_transpose", "linear"}:
        attrs["bias"] = getattr(module, "bias", None) is not None
        _widths(op, attrs)
        weight = getattr(module, "weight", None)
        if op != "linear" and isinstance(weight, torch.Tensor) and not is_lazy(weight) and _is_channels_last(weight):
            attrs["channels_last"] = True
        if "kernel_size" in attrs:
            attrs["dims"] = len(attrs["kernel_size"]) if isinstance(attrs["kernel_size"], list) else 1
    if op == "dropout" or op.endswith("_dropout"):
        attrs["functional"] = False
    if op == "pad":
        name = type(module).__name__
        attrs.setdefault("mode", next((mode for part, mode in _PAD_MODES if name.startswith(part)), "constant"))
        attrs["pad"] = plain(getattr(module, "padding", None))
    inplace = getattr(module, "inplace", None)
    if isinstance(inplace, bool):
        attrs["inplace"] = inplace
    found = parametrizations(module)
    if found:
        attrs["parametrizations"] = found
    held = [parameter.requires_grad for parameter in module.parameters()]
    if held:
        attrs["requires_grad"] = any(held)
    return attrs


def _is_channels_last(weight: torch.Tensor) -> bool:
    known = {4: torch.channels_last, 5: torch.channels_last_3d}.get(weight.dim())
    return known is not None and weight.is_contiguous(memory_format=known) and not weight.is_contiguous()


def call_attrs(op: str, arguments: Mapping[str, Any], weight: tuple[int, ...] | None) -> Attrs:
    """Attributes of a function call from its bound ``arguments`` and the shape of its weight operand, if it has one."""
    attrs: Attrs = {}
    for key in _KEYS.get(op, ()):
        value = plain(arguments.get(key))
        if value is not None:
            attrs[key] = value
    if arguments.get("inplace") is True:
        attrs["inplace"] = True
    if op in {"conv", "conv_transpose"} and weight is not None:
        _conv_call(op, arguments, weight, attrs)
    elif op == "linear" and weight is not None and len(weight) == 2:
        attrs.update(in_features=weight[1], out_features=weight[0], bias=arguments.get("bias") is not None)
    elif op in NORMS:
        attrs["affine"] = arguments.get("weight") is not None
        if op == "batch_norm":
            attrs["track_running_stats"] = arguments.get("running_mean") is not None
        if isinstance(attrs.get("normalized_shape"), int):
            attrs["normalized_shape"] = [attrs["normalized_shape"]]
    elif op == "dropout" or op.endswith("_dropout"):
        training = arguments.get("training")
        attrs["functional"] = True
        if isinstance(training, bool):
            attrs["training"] = training
    if op in {"conv", "conv_transpose", "linear"}:
        _widths(op, attrs)
    return attrs


def _conv_call(op: str, arguments: Mapping[str, Any], weight: tuple[int, ...], attrs: Attrs) -> None:
    groups = attrs.get("groups", 1)
    wide, narrow = weight[0], weight[1] * (groups if isinstance(groups, int) else 1)
    attrs["in_channels"], attrs["out_channels"] = (narrow, wide) if op == "conv" else (wide, narrow)
    attrs["kernel_size"] = list(weight[2:])
    attrs["dims"] = dims = len(weight) - 2
    for key in ("stride", "padding", "dilation"):
        if isinstance(attrs.get(key), int):
            attrs[key] = [attrs[key]] * dims
    attrs["padding_mode"] = "zeros"
    attrs["bias"] = arguments.get("bias") is not None


def axis_order(name: str, args: Sequence[Any], kwargs: Mapping[str, Any], rank: int) -> list[int] | None:
    """Which input axis each output axis of a permuting call is, ``None`` if the call does not say.

    ``args`` holds the operand first. Knows ``permute``, ``transpose`` and its other names, ``movedim``, ``t``, ``T``, ``mT``.
    """
    order = list(range(rank))
    rest = list(args[1:]) + [kwargs[key] for key in ("dims", "dim0", "dim1", "axis0", "axis1", "source", "destination") if key in kwargs]
    if name in {"T", "t"}:
        return order[::-1]
    if name in {"mT", "mH", "H", "adjoint"}:
        rest = [-2, -1]
    flat = plain(list(rest[0]) if rest and isinstance(rest[0], (list, tuple)) else rest)
    if not isinstance(flat, list) or not all(isinstance(axis, int) and -rank <= axis < rank for axis in flat):
        return None
    axes = [int(axis) % rank for axis in flat if isinstance(axis, int)]
    if name == "permute":
        return axes if sorted(axes) == order else None
    if len(axes) != 2:
        return None
    if name in {"movedim", "moveaxis"}:
        order.insert(axes[1], order.pop(axes[0]))
    else:
        order[axes[0]], order[axes[1]] = order[axes[1]], order[axes[0]]
    return order
