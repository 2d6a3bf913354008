"""What a fix does to a model: the description that the source writer and the model writer share."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from enum import StrEnum
from typing import TYPE_CHECKING, Any, Self

if TYPE_CHECKING:
    from normadvisor.types.finding import JSONValue

__all__ = ["Operation", "OperationKind", "Part"]


class OperationKind(StrEnum):
    """What is done to a layer."""

    SET_ARGUMENT = "set_argument"
    """Build the layer with another value of one argument: ``bias=False``."""
    REPLACE_LAYER = "replace_layer"
    """Build another layer in its place."""
    REMOVE_LAYER = "remove_layer"
    """Take the layer out, with its uses."""
    SWAP_LAYERS = "swap_layers"
    """Let two neighbours change places: the later one runs first."""
    INSERT_LAYER = "insert_layer"
    """Run another layer on what comes out of the layer."""
    SEPARATE_LAYERS = "separate_layers"
    """Build a layer of its own for every place where a shared one runs."""
    WRAP_LAYER = "wrap_layer"
    """Put a function or a layer around the layer as it is built: ``weight_norm(nn.Conv2d(...))``."""
    USE_FUNCTION = "use_function"
    """Call one function of torch in place of the operations that compute the same, of which the node is the last."""


@dataclass(frozen=True, slots=True)
class Part:
    """A layer or a function call of a traced model."""

    module: str = ""
    """Qualified name of the module that is the layer; of the module whose ``forward`` makes the call where it is a function."""
    node: str = ""
    """Name of the graph's node; empty for a layer that never ran."""
    op: str = ""
    """Canonical operation."""
    is_layer: bool = True
    """Whether it is a module, rather than a function or method that ``forward`` calls."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Operation:
    """One change of one layer.

    ``layer`` is a dotted class name such as ``torch.nn.GroupNorm``; ``arguments`` are what it is built with, by name.
    """

    kind: OperationKind
    part: Part
    other: Part | None = None
    """The second layer of a swap."""
    argument: str = ""
    """``set_argument``: its name."""
    value: JSONValue = None
    """``set_argument``: its new value."""
    layer: str = ""
    """``replace_layer``, ``insert_layer``, ``wrap_layer``: what is built; ``use_function``: what is called."""
    arguments: Mapping[str, JSONValue] = field(default_factory=dict)
    """What it is built with."""

    def to_dict(self) -> dict[str, Any]:
        """As JSON."""
        return {**asdict(self), "kind": self.kind.value, "arguments": dict(self.arguments)}

    @classmethod
    def from_dict(cls, data: Mapping[str, Any]) -> Self:
        """Read back what :meth:`to_dict` wrote.

        Raises:
            KeyError, TypeError, ValueError: ``data`` is no operation.

        """
        other = data["other"]
        values = {**data, "kind": OperationKind(data["kind"]), "part": Part(**data["part"]), "other": other and Part(**other)}
        if not isinstance(data["arguments"], Mapping):
            raise TypeError(data["arguments"])
        return cls(**values)
