"""Which layers that depend on the mode a model holds: found by reading the code that builds it."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, replace
from typing import Literal, TypeAlias

from normadvisor.types.location import Location

__all__ = ["NOTHING_HELD", "UNKNOWN_CONTENTS", "Contents", "Held", "Layer", "union"]

Held: TypeAlias = Literal["yes", "no", "unknown"]


@dataclass(frozen=True, slots=True)
class Layer:
    """A layer and where it is built."""

    name: str
    """Class name: ``BatchNorm2d``."""
    location: Location | None
    """``None`` for a layer inside an installed package."""
    kind: Literal["batchnorm", "dropout", "other", "norm"]
    """What it is in train mode: uses batch statistics, is random, depends on the mode in another way, or does not (LayerNorm)."""

    def __str__(self) -> str:
        """``BatchNorm2d at net.py:14``."""
        return f"{self.name} at {self.location.path}:{self.location.line}" if self.location else self.name


@dataclass(frozen=True, slots=True)
class Contents:
    """The layers of a model, as far as its behaviour in train and in eval mode depends on them."""

    batchnorm: Held = "no"
    """BatchNorm with running statistics."""
    dropout: Held = "no"
    """Active dropout, drop path or another layer that is random in train mode."""
    other: Held = "no"
    """Another layer whose output depends on the mode: InstanceNorm with running statistics, spectral norm."""
    layers: tuple[Layer, ...] = ()
    """What depends on the mode: each place once."""
    norms: tuple[Layer, ...] = ()
    """Every norm layer, also those that do not depend on the mode."""
    ends_with: str | None = None
    """The activation that makes every output: ``softmax``, ``log_softmax``, ``sigmoid`` ..."""
    ends_at: Location | None = None
    batchnorm_over_features: Held = "no"
    """A BatchNorm whose statistics see one value per sample: after a linear layer or a global pooling."""
    reads_training: bool = False
    """Its code asks for ``self.training``."""

    @property
    def mode_dependent(self) -> Held:
        """Whether any of its outputs depends on the mode."""
        held = {self.batchnorm, self.dropout, self.other}
        return "yes" if "yes" in held else "unknown" if "unknown" in held else "no"


NOTHING_HELD = Contents()
UNKNOWN_CONTENTS = Contents("unknown", "unknown", "unknown", batchnorm_over_features="unknown")
"""Of a model that cannot be looked into."""


def union(*parts: Contents) -> Contents:
    """What a whole holds that has these parts. How it ends is not known from its parts."""
    return replace(
        NOTHING_HELD,
        batchnorm=_any(part.batchnorm for part in parts),
        dropout=_any(part.dropout for part in parts),
        other=_any(part.other for part in parts),
        layers=tuple(dict.fromkeys(layer for part in parts for layer in part.layers)),
        norms=tuple(dict.fromkeys(layer for part in parts for layer in part.norms)),
        batchnorm_over_features=_any(part.batchnorm_over_features for part in parts),
        reads_training=any(part.reads_training for part in parts),
    )


def _any(held: Iterable[Held]) -> Held:
    found = set(held)
    return "yes" if "yes" in found else "unknown" if "unknown" in found else "no"
