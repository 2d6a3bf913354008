"""What is known of one factory or class."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, Final, Literal, TypeAlias

__all__ = ["UNDECIDED", "Arguments", "Held", "Known", "KnownContents"]

Held: TypeAlias = Literal["yes", "no", "unknown"]
Arguments: TypeAlias = Mapping[int | str, Any]
"""Arguments of a call by position and by name: literals, dotted names of external classes, or :data:`UNDECIDED`."""


class _Undecided:
    def __repr__(self) -> str:
        return "UNDECIDED"


UNDECIDED: Final = _Undecided()
"""An argument that is given, but whose value is not known."""


@dataclass(frozen=True, slots=True)
class KnownContents:
    """Layers of a model by kind (``batchnorm``, ``dropout``, ``other``), and the norms that do not depend on the mode; class names."""

    batchnorm: Held = "unknown"
    dropout: Held = "unknown"
    other: Held = "unknown"
    layers: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    norms: tuple[str, ...] = ()
    counts: Mapping[str, int] = field(default_factory=dict)
    """How often each class occurs with default arguments."""


@dataclass(frozen=True, slots=True)
class Known:
    """A name of a library.

    ``kind``: ``class`` (calling it builds a model), ``factory`` (a function that returns one), ``pair`` (a function that returns a tuple
    whose first element is the model), ``framework`` (an object that handles modes itself), ``wrapper`` (gives back its first argument,
    or something around it, in the same mode).
    """

    name: str
    kind: Literal["class", "factory", "pair", "framework", "wrapper"]
    initial_mode: Literal["train", "eval", "unknown"]
    find: Callable[[Arguments, bool], KnownContents | None] | None = None
    weights: Literal["loaded", "argument", "fresh", "unknown"] = "unknown"
    """Where its weights come from; ``argument``: as an argument such as ``pretrained=`` or ``weights=`` says."""

    def contents(self, arguments: Arguments | None = None, *, complete: bool = True) -> KnownContents | None:
        """Layers with these arguments; ``None`` if they are not known. ``complete``: no further arguments may be given."""
        return None if self.find is None else self.find(arguments or {}, complete)
