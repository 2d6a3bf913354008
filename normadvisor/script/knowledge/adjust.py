"""How the arguments of a factory change what it builds."""

from __future__ import annotations

from dataclasses import replace

from normadvisor.script.knowledge.known import UNDECIDED, Arguments, Held, KnownContents

__all__ = ["adjusted", "detector"]

_RATES = frozenset(
    "drop_rate drop_path_rate attn_drop_rate proj_drop_rate pos_drop_rate patch_drop_rate drop_block_rate "  # noqa: SIM905 - reads better
    "dropout stochastic_depth_prob attention_dropout p_dropout".split()
)
_HARMLESS = frozenset(
    "pretrained weights weights_backbone pretrained_backbone num_classes progress in_chans img_size global_pool pretrained_cfg "  # noqa: SIM905
    "pretrained_cfg_overlay checkpoint_path cache_dir scriptable exportable no_jit aux_logits aux_loss model_name name init_weights "
    "transform_input zero_init_residual trainable_backbone_layers min_size max_size image_mean image_std output_stride patch_size "
    "window_size dynamic_img_size quantize num_keypoints bn_momentum bn_eps memory_efficient device dtype image_size groups "
    "width_per_group".split()
)
_NORMS = frozenset(["norm_layer", "norm", "act_norm", "bn_layer"])


def adjusted(default: KnownContents, flags: str, arguments: Arguments, *, complete: bool) -> KnownContents:
    """Contents with these arguments, from those with none; what an unknown argument may change becomes unknown."""
    batchnorm, dropout, other = default.batchnorm, default.dropout, default.other
    given = {name: value for name, value in arguments.items() if isinstance(name, str)}
    rates = {name: value for name, value in given.items() if name in _RATES}
    if rates:
        dropout = _rated(dropout, flags, rates)
    if any(name in _NORMS for name in given):
        batchnorm, other = _normed(batchnorm, next(value for name, value in given.items() if name in _NORMS)), "unknown"
    if given.get("features_only", False) is not False and dropout == "yes" and "DropPath" not in default.layers.get("dropout", ()):
        dropout = "unknown"  # the head, where the dropout stands, is left out
    if set(given) - _RATES - _HARMLESS - _NORMS - {"features_only", "out_indices"}:
        batchnorm, dropout = _weaker(batchnorm, default), dropout if dropout == "yes" else "unknown"
    if not complete:
        dropout = "unknown" if dropout == "no" else dropout
    if (batchnorm, dropout, other) == (default.batchnorm, default.dropout, default.other):
        return default
    held = {"batchnorm": batchnorm, "dropout": dropout, "other": other}
    layers = {kind: names for kind, names in default.layers.items() if held[kind] == "yes"}
    if dropout == "yes" and "dropout" not in layers:
        layers["dropout"] = ("Dropout",) if any("path" not in name and name != "stochastic_depth_prob" for name in rates) else ("DropPath",)
    if batchnorm == "yes" and "batchnorm" not in layers:
        layers["batchnorm"] = ("BatchNorm2d",)
    return replace(default, batchnorm=batchnorm, dropout=dropout, other=other, layers=layers)


def _rated(dropout: Held, flags: str, rates: dict[str, object]) -> Held:
    on = {name for name, value in rates.items() if isinstance(value, int | float) and value}
    known = {"drop_rate": "r", "drop_path_rate": "p"}
    if any(name not in known or known[name] in flags for name in on):
        return "yes"
    if dropout == "yes":
        return "yes" if on and len(on) == len(rates) else "unknown"  # a rate may have been set to nothing
    return "unknown" if any(value is UNDECIDED for value in rates.values()) else dropout


def _normed(batchnorm: Held, value: object) -> Held:
    if value is None:
        return batchnorm
    return ("yes" if batchnorm == "yes" else "unknown") if isinstance(value, str) and "batchnorm" in value.lower() else "unknown"


def _weaker(batchnorm: Held, default: KnownContents) -> Held:
    """Arguments nobody knows rarely remove BatchNorm from a model, and rarely bring it in: only what its norms allow is left open."""
    return batchnorm if default.norms or batchnorm == "yes" else "unknown"


def detector(default: KnownContents, arguments: Arguments) -> KnownContents:
    """Detectors of torchvision freeze their BatchNorm layers if weights are loaded, as they are by default."""
    weights = arguments.get("weights", arguments.get("pretrained", arguments.get(0)))
    backbone = arguments.get("weights_backbone", arguments.get("pretrained_backbone", "default"))
    if weights or (backbone is not None and backbone is not False and backbone is not UNDECIDED):
        return default
    held: Held = "unknown" if UNDECIDED in {weights, backbone} else "yes"
    layers = {**default.layers, "batchnorm": ("BatchNorm2d",)} if held == "yes" else default.layers
    return replace(default, batchnorm=held, layers=layers)
