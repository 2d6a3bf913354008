"""A failed forward pass in words: which module it was in, what that takes and what came, and the user's line that called it."""

from __future__ import annotations

import re
from dataclasses import dataclass
from types import TracebackType
from typing import TYPE_CHECKING, Any

from normadvisor.targets.inputs.failure import Failure, chain_of, read_failure
from normadvisor.targets.sites import frame_of, is_user_file

if TYPE_CHECKING:
    from collections.abc import Sequence

    from torch import nn

    from normadvisor.types import Location

__all__ = ["Explained", "explain_failure"]

MAX_WORDS = 160
"""Longest part of an exception's message that is repeated."""
MAX_ARGUMENTS = 60
"""Longest description of a layer's own arguments."""
_KEYWORDS = re.compile(r",?\s*\b[a-z_]+=.*", re.DOTALL)
_AXES = ("", "L", "HxW", "DxHxW")


@dataclass(frozen=True, slots=True)
class Explained:
    """Why a forward pass failed, and the innermost line of the user's code on the way there (``None``: there is none)."""

    words: str
    short: str
    """``words`` without what torch said, where that adds nothing."""
    location: Location | None


def explain_failure(model: nn.Module, error: BaseException) -> Explained:
    """Say what an exception of ``model``'s forward pass was about.

    Args:
        model: the model whose ``forward`` raised.
        error: what was raised, its traceback and causes included.

    """
    failure = read_failure(error)
    raised = f"{failure.kind}: {text}" if (text := _first_line(failure.message)) else failure.kind
    module = failure.layer if failure.layer is not None else failure.owner
    place = _named(model, module)
    if place is None or module is None:
        words = short = raised
    elif failure.layer is not None:
        short = f"{place}{_arguments(module)} {_exchange(module, failure)}"
        words = f"{short} ({raised})"
    else:
        words = short = f"{raised} in {place}" if module is not model else raised
    return Explained(words, short, _user_line(error))


def _first_line(text: str) -> str:
    lines = text.strip().splitlines()
    if not lines:
        return ""
    return lines[0].rstrip(" .") if len(lines[0]) <= MAX_WORDS else f"{lines[0][:MAX_WORDS].rstrip()}..."


def _named(model: nn.Module, module: nn.Module | None) -> str | None:
    """``layer1.0.conv: Conv2d``; only the class for the model itself, ``None`` for what is no part of it."""
    for name, part in model.named_modules():
        if part is module:
            return f"{name}: {type(part).__name__}" if name else type(part).__name__
    return None


def _arguments(layer: Any) -> str:
    """The arguments that give a layer its sizes: ``(3, 16)`` of a convolution."""
    if isinstance(getattr(layer, "in_features", None), int):
        return f"({layer.in_features}, {layer.out_features})"
    whole = str(layer.extra_repr())
    text = _KEYWORDS.sub("", whole) or whole
    return f"({text})" if len(text) <= MAX_ARGUMENTS else f"({text[:MAX_ARGUMENTS].rpartition(',')[0]}, ...)"


def _exchange(layer: nn.Module, failure: Failure) -> str:
    came = _came(layer, failure)
    takes = _taken(layer)
    if takes is None:
        return "failed" if came is None else f"got {came}"
    return f"takes {takes}" if came is None else f"takes {takes} and got {came}"


def _came(layer: Any, failure: Failure) -> str | None:
    """What a layer was given: ids where they are too large for it, else a shape, and a dtype that is not the usual one."""
    from torch import nn

    if failure.shape is None:
        return None
    if failure.ids is not None and isinstance(layer, nn.Embedding | nn.EmbeddingBag):
        lowest, highest = failure.ids
        if lowest < 0 or highest >= layer.num_embeddings:
            return f"ids from {lowest} to {highest}"
    shape = _joined(failure.shape)
    if failure.dtype == "float32":
        return shape or "a single value"
    return f"{failure.dtype} values of shape {shape}" if shape else f"a single {failure.dtype} value"


def _taken(layer: Any) -> str | None:
    """The shapes a layer takes, sizes that may vary as letters; ``None`` where its configuration does not tell."""
    from torch import nn

    if isinstance(layer, nn.modules.conv._ConvNd):  # noqa: SLF001 -- the common base of all convolutions has no public name
        return f"Nx{layer.in_channels}x{_AXES[len(layer.kernel_size)]}"
    if isinstance(layer, nn.modules.batchnorm._NormBase):  # noqa: SLF001 -- the common base of batch and instance norms
        dims = type(layer).__name__.rstrip("d")[-1:]
        return f"Nx{layer.num_features}{'' if dims in {'', '1'} else 'x' + _AXES[int(dims)]}" if dims.isdigit() else None
    if isinstance(layer, nn.GroupNorm):
        return f"Nx{layer.num_channels}x..."
    if isinstance(layer, nn.LayerNorm | nn.RMSNorm):
        return f"...x{_joined(layer.normalized_shape)}"
    if isinstance(layer, nn.Embedding | nn.EmbeddingBag):
        return f"ids from 0 to {layer.num_embeddings - 1}"
    for name in ("in_features", "input_size", "embed_dim"):
        if isinstance(width := getattr(layer, name, None), int):
            return f"...x{width}"
    return None


def _joined(sizes: Sequence[int]) -> str:
    return "x".join(map(str, sizes))


def _user_line(error: BaseException) -> Location | None:
    """Innermost line of the user's code; installed libraries count only where there is no other."""
    found: TracebackType | None = None
    installed: TracebackType | None = None
    for link in reversed(chain_of(error)):
        step = link.__traceback__
        while step is not None:
            path = step.tb_frame.f_code.co_filename
            if is_user_file(path):
                if "site-packages" in path or "dist-packages" in path:
                    installed = step
                else:
                    found = step
            step = step.tb_next
        if found is not None:
            break
    chosen = found or installed
    return None if chosen is None else frame_of(chosen.tb_frame.f_code, chosen.tb_lasti).location
