"""How many classes a model says that it tells apart: what its attributes and the arguments of its constructor are called."""

from __future__ import annotations

import inspect
from contextlib import suppress
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from torch import nn

__all__ = ["class_counts"]

_NAMES = frozenset(("num_classes", "n_classes", "classes", "n_class", "nclass", "nclasses", "num_class", "num_labels", "n_labels"))


def class_counts(model: nn.Module) -> frozenset[int]:
    """Numbers of classes that attributes of the model and its parts hold, or that arguments of its constructor have by default.

    A default says nothing where another number was passed, so a number counts only for an output of that width.
    """
    found = [value for module in model.modules() for name, value in vars(module).items() if name in _NAMES]
    with suppress(TypeError, ValueError):  # a constructor without a signature
        found += [item.default for item in inspect.signature(type(model).__init__).parameters.values() if item.name in _NAMES]
    return frozenset(value for value in found if isinstance(value, int) and not isinstance(value, bool) and value > 1)
