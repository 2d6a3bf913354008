"""A guess at the inputs of a model: one value per argument of ``forward``."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass, field, replace
from typing import Self

from normadvisor.targets.inputs.spec import Inputs, InputSpec, TensorSpec, Value, make_tensors

__all__ = ["CONFIGURED", "Plan"]

CONFIGURED = "the model's configuration"
"""Why a guess from a configuration object was made."""


@dataclass(frozen=True, slots=True)
class Plan:
    """Values for the arguments of ``forward``, positional ones in order, and the reason for the guess."""

    positional: tuple[Value, ...] = ()
    keyword: dict[str, Value] = field(default_factory=dict)
    why: str = ""
    supply: Callable[[str], Value] | None = None
    """Gives a value for an argument that turns out to be missing, ``None`` for one it knows nothing about."""

    @property
    def text(self) -> str:
        """The plan as ``--input`` would say it."""
        specs = [InputSpec(value) for value in self.positional] + [InputSpec(value, name) for name, value in self.keyword.items()]
        return " ".join(map(str, specs))

    def tensors(self) -> list[tuple[int | str, TensorSpec]]:
        """Every argument that is one tensor whose values do not matter, with its place: position or name."""
        everything: list[tuple[int | str, Value]] = [*enumerate(self.positional), *self.keyword.items()]
        return [(place, value) for place, value in everything if isinstance(value, TensorSpec) and value.values is None]

    def put(self, place: int | str, value: Value) -> Self:
        """The plan with another value in one place."""
        if isinstance(place, str):
            return replace(self, keyword={**self.keyword, place: value})
        values = list(self.positional)
        values[place] = value
        return replace(self, positional=tuple(values))

    def completed(self, names: Iterable[str]) -> Self | None:
        """The plan with values for arguments it does not hold yet; ``None`` if none of them can be supplied."""
        supply = self.supply or (lambda _: None)
        added = {name: value for name in names if name not in self.keyword and (value := supply(name)) is not None}
        keyword = dict(self.keyword)
        for name, value in added.items():
            keyword.update(value if isinstance(value, dict) else {name: value})
        return replace(self, keyword=keyword) if added else None

    def reshaped(self, place: int | str, shape: tuple[int, ...]) -> Self:
        """The plan with another shape for the tensor in one place."""
        old = self.positional[place] if isinstance(place, int) else self.keyword[place]
        return self.put(place, replace(old, shape=shape)) if isinstance(old, TensorSpec) else self

    def inputs(self, device: str, *, given: bool = False) -> Inputs:
        """The plan as tensors on a device.

        Raises:
            InputError: a tensor does not fit into memory.

        """
        args = tuple(make_tensors(value, device) for value in self.positional)
        kwargs = {name: make_tensors(value, device) for name, value in self.keyword.items()}
        return Inputs(args, kwargs, self.text, given, self.why, lambda other: self.inputs(other, given=given))
