"""The layers of torch and its companions that depend on the mode, and what decides whether they do: names and positions of arguments."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

__all__ = ["ACTIVATIONS", "CONTAINERS", "LAYERS", "PASS_THROUGH_LAYERS", "WRAPPERS", "Spec", "function_activation", "layer_activation"]


@dataclass(frozen=True, slots=True)
class Spec:
    """A layer class.

    ``argument`` decides: a probability for ``dropout``, whether statistics are kept for ``batchnorm`` and ``other``.
    """

    kind: str
    """``batchnorm``, ``dropout``, ``other`` or ``norm``."""
    argument: str = ""
    position: int | None = None
    default: Any = None
    aliases: tuple[str, ...] = ()
    needs_layers: int | None = None
    """Position of ``num_layers``: dropout acts between layers only, so one layer has none (recurrent layers)."""


_DROPOUT = Spec("dropout", "p", 0, 0.5)
_BATCHNORM = Spec("batchnorm", "track_running_stats", 4, default=True)
_LAZY_BATCHNORM = Spec("batchnorm", "track_running_stats", 3, default=True)
_INSTANCE_NORM = Spec("other", "track_running_stats", 4, default=False)
_LAZY_INSTANCE_NORM = Spec("other", "track_running_stats", 3, default=False)
_NORM = Spec("norm")
_PATH = Spec("dropout", "drop_prob", 0, 0.0, ("p",))
_ALWAYS_BATCHNORM = Spec("batchnorm")


def _nn() -> dict[str, Spec]:
    specs: dict[str, Spec] = {}
    for size in ("1d", "2d", "3d"):
        specs[f"BatchNorm{size}"] = _BATCHNORM
        specs[f"LazyBatchNorm{size}"] = _LAZY_BATCHNORM
        specs[f"InstanceNorm{size}"] = _INSTANCE_NORM
        specs[f"LazyInstanceNorm{size}"] = _LAZY_INSTANCE_NORM
        specs[f"Dropout{size}"] = _DROPOUT
    specs["SyncBatchNorm"] = _BATCHNORM
    for name in ("Dropout", "AlphaDropout", "FeatureAlphaDropout"):
        specs[name] = _DROPOUT
    specs["RReLU"] = Spec("dropout")
    for name in ("LSTM", "GRU"):
        specs[name] = Spec("dropout", "dropout", 5, 0.0, needs_layers=2)
    specs["RNN"] = Spec("dropout", "dropout", 6, 0.0, needs_layers=2)
    specs["MultiheadAttention"] = Spec("dropout", "dropout", 2, 0.0)
    specs["Transformer"] = Spec("dropout", "dropout", 5, 0.1)
    specs["TransformerEncoderLayer"] = specs["TransformerDecoderLayer"] = Spec("dropout", "dropout", 3, 0.1)
    for name in ("LayerNorm", "GroupNorm", "RMSNorm"):
        specs[name] = _NORM
    return {f"torch.nn.{name}": spec for name, spec in specs.items()}


LAYERS: dict[str, Spec] = {
    **_nn(),
    "torchvision.ops.StochasticDepth": Spec("dropout", "p", 0, 0.5),
    "torchvision.ops.stochastic_depth.StochasticDepth": Spec("dropout", "p", 0, 0.5),
    "torchvision.ops.DropBlock2d": Spec("dropout", "p", 0, 0.5),
    "torchvision.ops.DropBlock3d": Spec("dropout", "p", 0, 0.5),
    "torchvision.ops.FrozenBatchNorm2d": _NORM,
    "torchvision.ops.misc.FrozenBatchNorm2d": _NORM,
    "torchvision.ops.MLP": Spec("dropout", "dropout", 6, 0.0),
    "torch_geometric.nn.BatchNorm": _ALWAYS_BATCHNORM,
    "monai.networks.layers.DropPath": _PATH,
    "apex.parallel.SyncBatchNorm": _BATCHNORM,
    "inplace_abn.InPlaceABN": _ALWAYS_BATCHNORM,
    "inplace_abn.InPlaceABNSync": _ALWAYS_BATCHNORM,
}
for _place in ("timm.layers", "timm.models.layers", "timm.layers.drop", "timm.models.layers.drop"):
    LAYERS[f"{_place}.DropPath"] = LAYERS[f"{_place}.DropBlock2d"] = _PATH
for _place in ("timm.layers", "timm.models.layers"):
    LAYERS[f"{_place}.Mlp"] = Spec("dropout", "drop", 6, 0.0)
    LAYERS[f"{_place}.LayerNorm2d"] = LAYERS[f"{_place}.LayerNorm"] = LAYERS[f"{_place}.GroupNorm"] = LAYERS[f"{_place}.RmsNorm"] = _NORM
    LAYERS[f"{_place}.BatchNormAct2d"] = LAYERS[f"{_place}.ConvNormAct"] = LAYERS[f"{_place}.ConvBnAct"] = _ALWAYS_BATCHNORM
"""External layer classes by public dotted name. Every other class of ``torch.nn`` behaves the same in both modes."""

CONTAINERS = frozenset({"torch.nn.Sequential", "torch.nn.ModuleList", "torch.nn.ModuleDict"})
WRAPPERS = {
    "torch.nn.utils.spectral_norm": "other",
    "torch.nn.utils.parametrizations.spectral_norm": "other",
    "torch.nn.utils.weight_norm": "",
    "torch.nn.utils.parametrizations.weight_norm": "",
    "torch.nn.utils.remove_weight_norm": "",
    "torch.nn.DataParallel": "",
    "torch.nn.parallel.DistributedDataParallel": "",
    "torch.compile": "",
    "torch.jit.script": "",
    "copy.deepcopy": "",
    "copy.copy": "",
    "torch.nn.TransformerEncoder": "",
    "torch.nn.TransformerDecoder": "",
    "torch.nn.SyncBatchNorm.convert_sync_batchnorm": "",
    "fairscale.nn.checkpoint_wrapper": "",
}
"""Functions and classes that keep the module they are given: the kind of layer they add, if any."""

PASS_THROUGH_LAYERS = frozenset(
    f"torch.nn.{name}" for name in ("Identity", "Dropout", "Dropout1d", "Dropout2d", "Dropout3d", "AlphaDropout", "Flatten", "Unflatten")
)
ACTIVATIONS = {
    "softmax": "softmax", "softmax2d": "softmax", "log_softmax": "log_softmax", "logsoftmax": "log_softmax", "sigmoid": "sigmoid",
    "logsigmoid": "log_sigmoid", "softmin": "softmin", "gumbel_softmax": "gumbel_softmax", "expit": "sigmoid",
    "relu": "relu", "relu6": "relu6", "leaky_relu": "leaky_relu", "leakyrelu": "leaky_relu", "prelu": "prelu", "rrelu": "rrelu",
    "elu": "elu", "selu": "selu", "celu": "celu", "gelu": "gelu", "silu": "silu", "mish": "mish", "softplus": "softplus",
    "tanh": "tanh", "hardtanh": "hardtanh", "hardsigmoid": "hardsigmoid", "hardswish": "hardswish", "hard_sigmoid": "hardsigmoid",
    "softsign": "softsign", "glu": "glu", "threshold": "threshold", "swish": "silu",
}  # fmt: skip
"""Spellings of activations, in lower case and without a trailing underscore."""
_PLACES = ("torch.nn.functional.", "torch.special.", "torch.")


def function_activation(name: str) -> str | None:
    """The activation a function of torch applies: ``torch.nn.functional.softmax``, ``torch.sigmoid``."""
    for place in _PLACES:
        if name.startswith(place):
            rest = name[len(place) :].rstrip("_")
            return ACTIVATIONS.get(rest) if rest.islower() else None
    return None


def layer_activation(name: str) -> str | None:
    """The activation a layer class of torch applies: ``torch.nn.Softmax``."""
    return ACTIVATIONS.get(name[9:].lower()) if name.startswith("torch.nn.") and "." not in name[9:] else None
