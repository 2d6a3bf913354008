"""Canonical operations of torch: which name of :data:`normadvisor.types.OPS` a class, function or method stands for."""

from __future__ import annotations

import re
from functools import lru_cache
from typing import Any

from torch import nn

from normadvisor.types import GROUPS

__all__ = ["IN_PLACE_OPERATORS", "MODULES", "NORMS", "base_name", "function_op", "module_op", "spelling"]

NORMS = frozenset(GROUPS["norm"])


def _classes(*names: str) -> list[type[nn.Module]]:
    """Classes of ``torch.nn`` by name, without those that this version of torch does not have (RMSNorm came with 2.4)."""
    return [found for name in names if (found := getattr(nn, name, None)) is not None]


def _dims(stem: str, dims: str = "123") -> list[str]:
    return [f"{stem}{dim}d" for dim in dims]


_CLASS_NAMES: dict[str, list[str]] = {
    "conv": [*_dims("Conv"), *_dims("LazyConv")],
    "conv_transpose": [*_dims("ConvTranspose"), *_dims("LazyConvTranspose")],
    "linear": ["Linear", "LazyLinear"],
    "embedding": ["Embedding", "EmbeddingBag"],
    "rnn": ["RNN", "RNNCell"],
    "lstm": ["LSTM", "LSTMCell"],
    "gru": ["GRU", "GRUCell"],
    "attention": ["MultiheadAttention"],
    "batch_norm": [*_dims("BatchNorm"), *_dims("LazyBatchNorm"), "SyncBatchNorm"],
    "instance_norm": [*_dims("InstanceNorm"), *_dims("LazyInstanceNorm")],
    "group_norm": ["GroupNorm"],
    "layer_norm": ["LayerNorm"],
    "rms_norm": ["RMSNorm"],
    "local_response_norm": ["LocalResponseNorm", "CrossMapLRN2d"],
    "relu": ["ReLU"], "relu6": ["ReLU6"], "leaky_relu": ["LeakyReLU"], "prelu": ["PReLU"], "rrelu": ["RReLU"], "elu": ["ELU"],
    "selu": ["SELU"], "celu": ["CELU"], "gelu": ["GELU"], "silu": ["SiLU"], "mish": ["Mish"], "softplus": ["Softplus"],
    "softsign": ["Softsign"], "softshrink": ["Softshrink"], "hardshrink": ["Hardshrink"], "tanhshrink": ["Tanhshrink"],
    "threshold": ["Threshold"], "sigmoid": ["Sigmoid"], "log_sigmoid": ["LogSigmoid"], "hardsigmoid": ["Hardsigmoid"],
    "hardswish": ["Hardswish"], "tanh": ["Tanh"], "hardtanh": ["Hardtanh"], "glu": ["GLU"],
    "softmax": ["Softmax", "Softmax2d", "Softmin"], "log_softmax": ["LogSoftmax"],
    "dropout": ["Dropout"], "feature_dropout": _dims("Dropout"), "alpha_dropout": ["AlphaDropout", "FeatureAlphaDropout"],
    "identity": ["Identity"], "flatten": ["Flatten"], "reshape": ["Unflatten"], "permute": ["ChannelShuffle"],
    "max_pool": [*_dims("MaxPool"), "FractionalMaxPool2d", "FractionalMaxPool3d"], "avg_pool": _dims("AvgPool"),
    "adaptive_max_pool": _dims("AdaptiveMaxPool"), "adaptive_avg_pool": _dims("AdaptiveAvgPool"), "lp_pool": _dims("LPPool"),
    "upsample": ["Upsample", "UpsamplingNearest2d", "UpsamplingBilinear2d"], "pixel_shuffle": ["PixelShuffle", "PixelUnshuffle"],
    "pad": [
        *_dims("ConstantPad"), *_dims("ReflectionPad"), *_dims("ReplicationPad"), *_dims("ZeroPad"), *_dims("CircularPad"),
    ],
    "cross_entropy": ["CrossEntropyLoss"], "nll_loss": ["NLLLoss", "NLLLoss2d", "PoissonNLLLoss"], "bce": ["BCELoss"],
    "bce_with_logits": ["BCEWithLogitsLoss"], "mse_loss": ["MSELoss"], "l1_loss": ["L1Loss"],
    "huber_loss": ["HuberLoss", "SmoothL1Loss"], "gaussian_nll_loss": ["GaussianNLLLoss"], "kl_div": ["KLDivLoss"],
    "other": [
        "Bilinear", "Fold", "Unfold", "MaxUnpool1d", "MaxUnpool2d", "MaxUnpool3d", "CosineSimilarity", "PairwiseDistance", "CTCLoss",
        "CosineEmbeddingLoss", "HingeEmbeddingLoss", "MarginRankingLoss", "MultiLabelMarginLoss", "MultiLabelSoftMarginLoss",
        "MultiMarginLoss", "SoftMarginLoss", "TripletMarginLoss",
    ],
}  # fmt: skip

MODULES: dict[type[nn.Module], str] = {cls: op for op, names in _CLASS_NAMES.items() for cls in _classes(*names)}
"""Canonical operation of every class of ``torch.nn`` that is one operation."""

_NAMES: dict[str, str] = {
    "conv": "conv1d conv2d conv3d convolution _convolution conv_tbc",
    "conv_transpose": "conv_transpose1d conv_transpose2d conv_transpose3d",
    "linear": "linear",
    "embedding": "embedding embedding_bag",
    "rnn": "rnn_tanh rnn_relu rnn_tanh_cell rnn_relu_cell",
    "lstm": "lstm lstm_cell",
    "gru": "gru gru_cell",
    "attention": (
        "scaled_dot_product_attention multi_head_attention_forward _scaled_dot_product_flash_attention flex_attention"
        " _scaled_dot_product_efficient_attention _scaled_dot_product_flash_attention_for_cpu _native_multi_head_attention"
    ),
    "matmul": "matmul bmm mm mv dot einsum addmm addbmm baddbmm tensordot chain_matmul rmatmul addmv outer inner multi_dot",
    "batch_norm": "batch_norm native_batch_norm _native_batch_norm_legit cudnn_batch_norm _batch_norm_with_update",
    "instance_norm": "instance_norm",
    "group_norm": "group_norm native_group_norm",
    "layer_norm": "layer_norm native_layer_norm",
    "rms_norm": "rms_norm _fused_rms_norm",
    "local_response_norm": "local_response_norm",
    "relu": "relu", "relu6": "relu6", "leaky_relu": "leaky_relu", "prelu": "prelu _prelu_kernel", "rrelu": "rrelu", "elu": "elu",
    "selu": "selu", "celu": "celu", "gelu": "gelu", "silu": "silu", "mish": "mish", "softplus": "softplus", "softsign": "softsign",
    "softshrink": "softshrink", "hardshrink": "hardshrink", "tanhshrink": "tanhshrink", "threshold": "threshold",
    "sigmoid": "sigmoid expit", "log_sigmoid": "logsigmoid log_sigmoid", "hardsigmoid": "hardsigmoid", "hardswish": "hardswish",
    "tanh": "tanh", "hardtanh": "hardtanh", "glu": "glu",
    "softmax": "softmax _softmax softmin _safe_softmax", "log_softmax": "log_softmax _log_softmax",
    "dropout": "dropout native_dropout", "feature_dropout": "dropout1d dropout2d dropout3d feature_dropout",
    "alpha_dropout": "alpha_dropout feature_alpha_dropout",
    "identity": (
        "contiguous clone detach alias data requires_grad identity pin_memory positive pos lift_fresh resolve_conj resolve_neg"
    ),
    "cast": (
        "to float half double bfloat16 type type_as int long bool short char byte cpu cuda _to_copy convert_element_type asarray"
    ),
    "reshape": (
        "reshape view reshape_as view_as unflatten _unsafe_view _reshape_alias ravel atleast_1d atleast_2d atleast_3d as_strided"
    ),
    "flatten": "flatten",
    "squeeze": "squeeze",
    "unsqueeze": "unsqueeze",
    "permute": "permute transpose t swapaxes swapdims movedim moveaxis adjoint channel_shuffle T mT H mH",
    "max_pool": (
        "max_pool1d max_pool2d max_pool3d max_pool1d_with_indices max_pool2d_with_indices max_pool3d_with_indices"
        " fractional_max_pool2d fractional_max_pool3d"
    ),
    "avg_pool": "avg_pool1d avg_pool2d avg_pool3d",
    "adaptive_max_pool": (
        "adaptive_max_pool1d adaptive_max_pool2d adaptive_max_pool3d adaptive_max_pool1d_with_indices"
        " adaptive_max_pool2d_with_indices adaptive_max_pool3d_with_indices"
    ),
    "adaptive_avg_pool": "adaptive_avg_pool1d adaptive_avg_pool2d adaptive_avg_pool3d _adaptive_avg_pool2d _adaptive_avg_pool3d",
    "lp_pool": "lp_pool1d lp_pool2d lp_pool3d",
    "upsample": (
        "interpolate upsample upsample_nearest upsample_bilinear upsample_nearest1d upsample_nearest2d upsample_nearest3d"
        " upsample_linear1d upsample_bilinear2d upsample_trilinear3d upsample_bicubic2d"
    ),
    "pixel_shuffle": "pixel_shuffle pixel_unshuffle",
    "pad": (
        "pad constant_pad_nd reflection_pad1d reflection_pad2d reflection_pad3d replication_pad1d replication_pad2d replication_pad3d"
    ),
    "add": "add radd", "sub": "sub subtract rsub", "mul": "mul multiply rmul", "neg": "neg negative",
    "div": "div divide true_divide truediv rtruediv rdiv floordiv floor_divide rfloordiv", "pow": "pow rpow square float_power",
    "sqrt": "sqrt", "rsqrt": "rsqrt", "exp": "exp expm1", "log": "log log1p log2 log10", "abs": "abs absolute",
    "clamp": "clamp clip clamp_min clamp_max",
    "mean": "mean nanmean", "sum": "sum nansum", "var": "var var_mean", "std": "std std_mean", "max": "max amax", "min": "min amin",
    "cat": "cat concat concatenate hstack vstack dstack", "stack": "stack",
    "split": "split chunk unbind tensor_split split_with_sizes unsafe_split unsafe_chunk hsplit vsplit dsplit iter",
    "index": (
        "getitem index_select gather narrow select take take_along_dim masked_select index setitem diagonal slice unfold index_put"
    ),
    "cross_entropy": "cross_entropy cross_entropy_loss", "nll_loss": "nll_loss nll_loss_nd nll_loss2d nll_loss_forward poisson_nll_loss",
    "bce": "binary_cross_entropy",
    "bce_with_logits": "binary_cross_entropy_with_logits", "mse_loss": "mse_loss", "l1_loss": "l1_loss",
    "huber_loss": "huber_loss smooth_l1_loss", "gaussian_nll_loss": "gaussian_nll_loss", "kl_div": "kl_div",
    "constant": (
        "arange zeros ones full empty rand randn randint randperm linspace logspace eye tensor scalar_tensor as_tensor from_numpy"
        " zeros_like ones_like full_like empty_like rand_like randn_like randint_like new_zeros new_ones new_full new_empty new_tensor"
        " tril_indices triu_indices hann_window hamming_window empty_strided normal meshgrid new_empty_strided cartesian_prod"
        " bartlett_window blackman_window kaiser_window range fftfreq rfftfreq"
    ),
}  # fmt: skip

_BY_NAME: dict[str, str] = {name: op for op, names in _NAMES.items() for name in names.split()}

IN_PLACE_OPERATORS = frozenset(
    ["iadd", "isub", "imul", "itruediv", "ifloordiv", "ipow", "imatmul", "imod", "iand", "ior", "ixor", "ilshift", "irshift", "setitem"]
)
_INNER = {name: name[1:] for name in IN_PLACE_OPERATORS if name != "setitem"}
_TORCH_HOMES = ("torch", "_operator", "operator", "builtins", "math")


def module_op(cls: type[nn.Module]) -> tuple[str, type[nn.Module]] | None:
    """The operation that ``cls`` or the nearest class it derives from stands for, and that class of ``torch.nn``."""
    for base in cls.__mro__:
        op = MODULES.get(base)
        if op is not None:
            return op, base
    return None


@lru_cache(maxsize=4096)
def base_name(name: str) -> tuple[str, bool]:
    """The bare name of a spelling and whether it works in place: ``relu_`` -> ``relu, True``; ``__iadd__`` -> ``add, True``."""
    if name.startswith("__") and name.endswith("__"):
        bare = name[2:-2]
        return _INNER.get(bare, bare), bare in IN_PLACE_OPERATORS
    bare = _INNER.get(name, name)
    if name in IN_PLACE_OPERATORS:
        return bare, True
    if name.endswith("_") and not name.endswith("__") and len(name) > 1:
        return name[:-1], True
    return name, False


@lru_cache(maxsize=4096)
def spelling(target: Any) -> tuple[str, str]:
    """The bare name of a function or method name and how a reader would write it.

    ``torch.nn.functional.relu`` -> ``("relu", "torch.nn.functional.relu")``; the method name ``"relu_"`` ->
    ``("relu_", "Tensor.relu_")``; ``torch.ops.aten.relu.default`` -> ``("relu", "torch.ops.aten.relu")``.
    """
    if isinstance(target, str):
        return target, f"Tensor.{target}"
    schema = getattr(target, "_schema", None)
    qualified = schema.name if schema is not None else getattr(target, "_qualified_op_name", None)
    if isinstance(qualified, str):
        space, _, name = qualified.partition("::")
        return name, f"torch.ops.{space}.{name}"
    name = getattr(target, "__name__", None) or type(target).__name__
    home = getattr(target, "__module__", None) or "torch"
    if home in {"_operator", "operator"}:
        return name, f"operator.{name}"
    home = re.sub(r"^torch\._C(\._VariableFunctions|\._nn|\._linalg|\._special|\._fft)?$", "torch", home)
    return name, f"{home}.{name}"


def is_torch(target: Any) -> bool:
    """Whether a call target belongs to torch or the operator module rather than to a user's or a library's code."""
    if type(target).__name__ == "ScriptFunction":
        return False
    if isinstance(target, str) or hasattr(target, "_schema") or hasattr(target, "_qualified_op_name"):
        return True
    home = getattr(target, "__module__", None) or "torch"
    return home.partition(".")[0] in _TORCH_HOMES


@lru_cache(maxsize=4096)
def function_op(target: Any, tensors: int = 1) -> tuple[str, bool]:
    """Canonical operation of a function (or method name) and whether its spelling says it works in place.

    ``tensors`` is the number of tensor operands: ``torch.max(a, b)`` is no reduction.
    """
    if not is_torch(target):
        return "other", False
    name, written = spelling(target)
    if written.startswith("torch.ops.") and not written.startswith(("torch.ops.aten.", "torch.ops.prims.")):
        return "other", False
    bare, in_place = base_name(name)
    op = _BY_NAME.get(bare, "other")
    if op in {"max", "min"} and tensors > 1:
        op = "other"
    return op, in_place


