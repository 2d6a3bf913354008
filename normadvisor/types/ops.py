"""Canonical operations: one name for every spelling, and the groups a rule may ask for.

``nn.ReLU``, ``F.relu``, ``torch.relu``, ``x.relu()`` and ``relu_`` are all ``relu``. This module names the operations without
importing torch, so that rules can be validated without it; :mod:`normadvisor.graph` maps spellings to names.
"""

from __future__ import annotations

__all__ = ["GROUPS", "OPS", "expand"]

GROUPS: dict[str, tuple[str, ...]] = {
    # Layers with weights that compute a linear (affine) map of their input.
    "conv_like": ("conv", "conv_transpose"),
    "linear_map": ("conv", "conv_transpose", "linear"),
    "recurrent": ("rnn", "lstm", "gru"),
    # Normalizations. Statistics shared over the batch, per sample, or over parts of a sample; `custom_norm` is one that is none of
    # the known ones, such as EvoNorm or global response normalization.
    "norm": ("batch_norm", "instance_norm", "group_norm", "layer_norm", "rms_norm", "local_response_norm", "custom_norm"),
    "sample_norm": ("instance_norm", "group_norm", "layer_norm", "rms_norm"),
    # Elementwise nonlinearities, and those of them that saturate on both sides.
    "activation": (
        "relu", "relu6", "leaky_relu", "prelu", "rrelu", "elu", "selu", "celu", "gelu", "silu", "mish", "softplus", "softsign",
        "softshrink", "hardshrink", "tanhshrink", "threshold", "sigmoid", "log_sigmoid", "hardsigmoid", "hardswish", "tanh", "hardtanh",
    ),
    "saturating": ("sigmoid", "tanh", "hardsigmoid", "hardtanh", "softsign"),
    "softmax_like": ("softmax", "log_softmax"),
    "gate": ("glu",),
    "dropout_like": ("dropout", "feature_dropout", "alpha_dropout"),
    # Operations that leave every value where it is, or only move values.
    "identity_like": ("identity", "cast"),
    "reshaping": ("reshape", "flatten", "squeeze", "unsqueeze", "permute"),
    "pooling": ("max_pool", "avg_pool", "adaptive_max_pool", "adaptive_avg_pool", "lp_pool"),
    "resampling": ("upsample", "pixel_shuffle"),
    "arithmetic": ("add", "sub", "mul", "div", "neg", "pow", "sqrt", "rsqrt", "exp", "log", "abs", "clamp"),
    "reduction": ("mean", "sum", "var", "std", "max", "min"),
    "joining": ("add", "cat", "stack"),
    "loss": (
        "cross_entropy", "nll_loss", "bce", "bce_with_logits", "mse_loss", "l1_loss", "huber_loss", "gaussian_nll_loss", "kl_div",
    ),
}  # fmt: skip

_ALONE = (
    "input", "output", "param", "pad", "embedding", "matmul", "attention", "getitem", "affine", "other", "split", "index", "constant",
    "drop_path",
)  # fmt: skip

OPS: frozenset[str] = frozenset(_ALONE) | {op for members in GROUPS.values() for op in members}


def expand(names: tuple[str, ...]) -> frozenset[str]:
    """Replace group names by their members; names of operations stay.

    Raises:
        KeyError: a name is neither a group nor an operation.

    """
    found: set[str] = set()
    for name in names:
        if name in OPS:
            found.add(name)
        else:
            found.update(GROUPS[name])
    return frozenset(found)
