"""Argument names and defaults of the functions and methods whose arguments rules ask for.

Most of them are implemented in C and have no signature that :mod:`inspect` could read. The first operand is left out.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

__all__ = ["bind"]

_REQUIRED = object()
_Parameters = tuple[tuple[str, Any], ...]


def _of(*required: str, **defaults: Any) -> _Parameters:
    return (*((name, _REQUIRED) for name in required), *defaults.items())


_CONV = _of("weight", bias=None, stride=1, padding=0, dilation=1, groups=1)
_CONV_T = _of("weight", bias=None, stride=1, padding=0, output_padding=0, groups=1, dilation=1)
_MAX_POOL = _of("kernel_size", stride=None, padding=0, dilation=1, ceil_mode=False, return_indices=False)
_AVG_POOL = _of("kernel_size", stride=None, padding=0, ceil_mode=False, count_include_pad=True, divisor_override=None)
_DROPOUT = _of(p=0.5, training=True, inplace=False)
_REDUCE = _of(dim=None, keepdim=False)
_IN_PLACE = _of(inplace=False)

_SIGNATURES: dict[str, _Parameters] = {
    "conv1d": _CONV, "conv2d": _CONV, "conv3d": _CONV,
    "convolution": _of("weight", "bias", "stride", "padding", "dilation", "transposed", "output_padding", "groups"),
    "conv_transpose1d": _CONV_T, "conv_transpose2d": _CONV_T, "conv_transpose3d": _CONV_T,
    "linear": _of("weight", bias=None),
    "embedding": _of("weight", padding_idx=None, max_norm=None, norm_type=2.0, scale_grad_by_freq=False, sparse=False),
    "batch_norm": _of("running_mean", "running_var", weight=None, bias=None, training=False, momentum=0.1, eps=1e-5),
    "torch.batch_norm": _of("weight", "bias", "running_mean", "running_var", "training", "momentum", "eps"),
    "native_batch_norm": _of("weight", "bias", "running_mean", "running_var", "training", "momentum", "eps"),
    "instance_norm": _of(
        running_mean=None, running_var=None, weight=None, bias=None, use_input_stats=True, momentum=0.1, eps=1e-5,
    ),
    "torch.instance_norm": _of("weight", "bias", "running_mean", "running_var", "use_input_stats", "momentum", "eps"),
    "group_norm": _of("num_groups", weight=None, bias=None, eps=1e-5),
    "layer_norm": _of("normalized_shape", weight=None, bias=None, eps=1e-5),
    "native_layer_norm": _of("normalized_shape", "weight", "bias", "eps"),
    "rms_norm": _of("normalized_shape", weight=None, eps=None),
    "local_response_norm": _of("size", alpha=1e-4, beta=0.75, k=1.0),
    "relu": _IN_PLACE, "relu6": _IN_PLACE, "selu": _IN_PLACE, "silu": _IN_PLACE, "mish": _IN_PLACE, "hardswish": _IN_PLACE,
    "hardsigmoid": _IN_PLACE, "leaky_relu": _of(negative_slope=0.01, inplace=False), "elu": _of(alpha=1.0, inplace=False),
    "celu": _of(alpha=1.0, inplace=False), "rrelu": _of(lower=1 / 8, upper=1 / 3, training=False, inplace=False),
    "hardtanh": _of(min_val=-1.0, max_val=1.0, inplace=False), "threshold": _of("threshold", "value", inplace=False),
    "gelu": _of(approximate="none"), "softplus": _of(beta=1.0, threshold=20.0), "prelu": _of("weight"), "glu": _of(dim=-1),
    "softmax": _of(dim=None), "log_softmax": _of(dim=None), "softmin": _of(dim=None),
    "dropout": _DROPOUT, "dropout1d": _DROPOUT, "dropout2d": _DROPOUT, "dropout3d": _DROPOUT, "alpha_dropout": _DROPOUT,
    "feature_alpha_dropout": _DROPOUT, "feature_dropout": _of("p", "training"), "native_dropout": _of("p", "training"),
    "max_pool1d": _MAX_POOL, "max_pool2d": _MAX_POOL, "max_pool3d": _MAX_POOL, "max_pool2d_with_indices": _MAX_POOL,
    "avg_pool1d": _AVG_POOL, "avg_pool2d": _AVG_POOL, "avg_pool3d": _AVG_POOL,
    "lp_pool1d": _of("norm_type", "kernel_size", stride=None, ceil_mode=False),
    "lp_pool2d": _of("norm_type", "kernel_size", stride=None, ceil_mode=False),
    "adaptive_avg_pool1d": _of("output_size"), "adaptive_avg_pool2d": _of("output_size"), "adaptive_avg_pool3d": _of("output_size"),
    "adaptive_max_pool1d": _of("output_size"), "adaptive_max_pool2d": _of("output_size"), "adaptive_max_pool3d": _of("output_size"),
    "interpolate": _of(size=None, scale_factor=None, mode="nearest", align_corners=None),
    "upsample": _of(size=None, scale_factor=None, mode="nearest", align_corners=None),
    "pixel_shuffle": _of("upscale_factor"), "pixel_unshuffle": _of("downscale_factor"),
    "pad": _of("pad", mode="constant", value=None), "constant_pad_nd": _of("pad", value=0.0),
    "flatten": _of(start_dim=0, end_dim=-1), "squeeze": _of(dim=None), "unsqueeze": _of("dim"),
    "cat": _of(dim=0), "concat": _of(dim=0), "concatenate": _of(dim=0), "stack": _of(dim=0),
    "split": _of("split_size", dim=0), "chunk": _of("chunks", dim=0), "unbind": _of(dim=0),
    "mean": _REDUCE, "sum": _REDUCE, "amax": _REDUCE, "amin": _REDUCE, "max": _REDUCE, "min": _REDUCE,
    "var": _of(dim=None, unbiased=True, keepdim=False), "std": _of(dim=None, unbiased=True, keepdim=False),
    "var_mean": _of(dim=None, unbiased=True, keepdim=False), "std_mean": _of(dim=None, unbiased=True, keepdim=False),
    "transpose": _of("dim0", "dim1"), "swapaxes": _of("dim0", "dim1"), "swapdims": _of("dim0", "dim1"),
    "movedim": _of("source", "destination"), "moveaxis": _of("source", "destination"),
    "clamp": _of(min=None, max=None), "clip": _of(min=None, max=None),
    "scaled_dot_product_attention": _of("key", "value", attn_mask=None, dropout_p=0.0, is_causal=False, scale=None),
    "cross_entropy": _of(
        "target", weight=None, size_average=None, ignore_index=-100, reduce=None, reduction="mean", label_smoothing=0.0,
    ),
    "nll_loss": _of("target", weight=None, size_average=None, ignore_index=-100, reduce=None, reduction="mean"),
    "binary_cross_entropy": _of("target", weight=None, size_average=None, reduce=None, reduction="mean"),
    "binary_cross_entropy_with_logits": _of(
        "target", weight=None, size_average=None, reduce=None, reduction="mean", pos_weight=None,
    ),
    "mse_loss": _of("target", size_average=None, reduce=None, reduction="mean"),
    "l1_loss": _of("target", size_average=None, reduce=None, reduction="mean"),
    "smooth_l1_loss": _of("target", size_average=None, reduce=None, reduction="mean", beta=1.0),
    "huber_loss": _of("target", reduction="mean", delta=1.0),
    "kl_div": _of("target", size_average=None, reduce=None, reduction="mean", log_target=False),
    "gaussian_nll_loss": _of("target", "var", full=False, eps=1e-6, reduction="mean"),
}  # fmt: skip


def bind(name: str, written: str, args: Sequence[Any], kwargs: Mapping[str, Any]) -> dict[str, Any]:
    """Arguments by name, defaults included, without the first operand.

    ``name`` is the bare name of the function, ``written`` how it is spelled in full: ``torch.batch_norm`` takes its arguments in
    another order than ``torch.nn.functional.batch_norm``.
    """
    parameters = _SIGNATURES.get(f"torch.{name}") if written == f"torch.{name}" else None
    parameters = parameters or _SIGNATURES.get(name)
    if parameters is None:
        return dict(kwargs)
    rest = list(args[1:]) if not kwargs.keys() & {"input", "self", "tensors"} else list(args)
    found = {key: default for key, default in parameters if default is not _REQUIRED}
    found.update(zip((key for key, _ in parameters), rest, strict=False))
    found.update(kwargs)
    return found
