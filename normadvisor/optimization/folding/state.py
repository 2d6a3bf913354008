"""The arithmetic of folding: tensors of the old state in, tensors of the new state out.

The same functions change a live model and fold a later checkpoint of the original, so that what is proven of the one holds for the other.
All is computed in float64 and rounded once, to the dtype of the weight that takes it up.

A step has ``roles`` among its options, which say what each of its sources is. Kinds:

- ``behind``: ``y = norm(layer(x))``. Roles ``layer.weight layer.bias`` and those of the norm.
- ``ahead``: ``y = layer(norm(x))``. The same roles.
- ``weight_norm``, ``spectral_norm``, ``standardized``: the weight that a layer computes at each call.
- ``sum``: parallel convolutions of one input become one.
- ``rename``: values change their key.
- ``drop``: keys leave.
"""

from __future__ import annotations

import json
from collections import OrderedDict
from collections.abc import Callable, Iterable, Mapping
from dataclasses import asdict, dataclass
from typing import Any, Self

import torch

from normadvisor.errors import NormAdvisorError, UsageError
from normadvisor.optimization.candidate import StateStep
from normadvisor.optimization.folding.arithmetic import DO
from normadvisor.rewrite.keys import KeyMap
from normadvisor.rewrite.model.refusal import CannotChange

__all__ = ["FoldMap", "MissingKeyError", "computed"]

_VERSION = 1
_NOT_NEEDED = ("num_batches_tracked",)
"""Counters, which no step reads but every norm has; old checkpoints may lack them."""


class MissingKeyError(NormAdvisorError, KeyError):
    """A state has no value under a key that is read."""

    def __str__(self) -> str:
        """The message with its hint; ``KeyError`` would put it in quotes."""
        return NormAdvisorError.__str__(self)


def computed(step: StateStep, values: Mapping[str, torch.Tensor]) -> dict[str, torch.Tensor]:
    """What a step writes, by key.

    Args:
        step: of a known kind.
        values: the old state, or at least what the step reads.

    Raises:
        CannotChange: the values cannot be folded: not finite, a negative variance, of shapes that do not fit one another, or a result
            that the dtype cannot hold.
        MissingKeyError: a value is missing.
        KeyError: the kind is not known.

    """
    if step.kind not in DO:
        message = f"there is no step {step.kind!r}"
        raise KeyError(message)
    missing = [key for key in step.sources if key not in values]
    if missing:
        raise MissingKeyError(f"the state has no {', '.join(missing)}", hint=_where(missing[0], values))
    roles = {role: values[key].detach() for role, key in dict(step.options.get("roles", {})).items()}
    try:
        with torch.no_grad():
            made = DO[step.kind](roles, step.options)
    except RuntimeError as error:
        shapes = ", ".join(f"{key} {tuple(values[key].shape)}" for key in step.sources)
        raise CannotChange(f"values of the state do not fit one another: {shapes}", hint="it is that of another model") from error
    found: dict[str, torch.Tensor] = {}
    for role, keys in dict(step.options.get("writes", {})).items():
        value = made[role]
        if not bool(torch.isfinite(value).all()) and not value.is_meta:
            raise CannotChange(f"{keys[0]} would not be finite in {str(value.dtype).removeprefix('torch.')}")
        found.update(dict.fromkeys(keys, value))
    return found


def _check_state(given: object) -> None:
    """Refuse what is no state: a caller without a type checker may pass anything."""
    if not isinstance(given, Mapping):
        message = f"a value of type {type(given).__name__} is no state"
        raise UsageError(message, hint="pass a state_dict: model.state_dict(), or what torch.load gave")


def _where(key: str, values: Mapping[str, torch.Tensor]) -> str:
    """Where the value of a key may be instead."""
    longer = min((other.removeprefix("\0") for other in values if other.endswith(f".{key}")), key=len, default="")
    if longer:
        return f"its keys have a prefix: apply(state_dict, {longer.removesuffix(key)!r})"
    return "it is that of another model, or of one that was optimized already"


@dataclass(frozen=True, slots=True)
class FoldMap:
    """What was done to the state of a model, to be done again to other checkpoints of the same model."""

    steps: tuple[StateStep, ...] = ()
    """One after another; each reads and writes the keys as the steps before left them."""

    def apply(self, state_dict: Mapping[str, Any], prefix: str = "") -> dict[str, Any]:
        """The state of the optimized model, from that of the original.

        Args:
            state_dict: of the original model; not changed.
            prefix: what stands before the model's own keys, as ``"module."`` in a checkpoint of a wrapped model.

        Returns:
            A new ordered dictionary. Keys that no step concerns keep their values; the ``_metadata`` of torch goes along.

        Raises:
            UsageError: it is no mapping.
            MissingKeyError: a value that a step reads is missing; it is a ``KeyError``.
            CannotChange: the values cannot be folded, see :func:`computed`.

        """
        _check_state(state_dict)
        values = {key.removeprefix(prefix) if key.startswith(prefix) else f"\0{key}": value for key, value in state_dict.items()}
        for step in self.steps:
            made = computed(step, values)
            for key in step.dropped:
                values.pop(key, None)
            values.update(made)
        result: OrderedDict[str, Any] = OrderedDict(
            (key[1:] if key.startswith("\0") else prefix + key, value) for key, value in values.items()
        )
        metadata = getattr(state_dict, "_metadata", None)
        if metadata is not None:
            result._metadata = OrderedDict(metadata)  # type: ignore[attr-defined]  # noqa: SLF001
        return result

    def then(self, other: Self) -> Self:
        """The map of both changes, this one first."""
        return type(self)((*self.steps, *other.steps))

    def key_map(self) -> KeyMap | None:
        """The same as a map of keys, where nothing but names changed; ``None`` where values did."""
        renamed: dict[str, str] = {}
        dropped: list[str] = []
        for step in self.steps:
            if step.kind == "rename" and len(step.sources) == len(step.into):
                renamed.update(zip(step.sources, step.into, strict=True))
            elif step.kind != "drop":
                return None
            dropped += [key for key in step.dropped if key not in step.sources or step.kind == "drop"]
        return KeyMap(renamed=renamed, dropped=tuple(dropped))

    def to_dict(self) -> dict[str, Any]:
        """As JSON."""
        return {"version": _VERSION, "steps": [_plain(asdict(step)) for step in self.steps]}

    @classmethod
    def from_dict(cls, data: Mapping[str, Any]) -> Self:
        """Read back what :meth:`to_dict` wrote.

        Raises:
            ValueError: it is no map of folds, or one of a later version.

        """
        try:
            if data["version"] != _VERSION:
                message = f"version {data['version']} of a fold map is not known"
                raise ValueError(message)
            return cls(tuple(_step(step) for step in data["steps"]))
        except (KeyError, TypeError) as error:
            message = f"this is no fold map ({type(error).__name__}: {error})"
            raise ValueError(message) from error

    def to_json(self) -> str:
        """As text, for the metadata of a safetensors file."""
        return json.dumps(self.to_dict(), ensure_ascii=False, separators=(",", ":"))

    @classmethod
    def from_json(cls, text: str) -> Self:
        """Read back what :meth:`to_json` wrote.

        Raises:
            ValueError: it is no map of folds.

        """
        return cls.from_dict(json.loads(text))


def _plain(step: Mapping[str, Any]) -> dict[str, Any]:
    return {
        key: list(value) if isinstance(value, tuple) else dict(value) if isinstance(value, Mapping) else value
        for key, value in step.items()
    }


def _step(data: Mapping[str, Any]) -> StateStep:
    kind, options = data["kind"], data["options"]
    lists = [data["into"], data["sources"], data["dropped"]]
    if kind not in DO or not isinstance(options, Mapping) or any(not isinstance(key, str) for keys in lists for key in keys):
        raise TypeError(kind)
    into, sources, dropped = (tuple(keys) for keys in lists)
    return StateStep(kind=kind, into=into, sources=sources, dropped=dropped, options=dict(options))


def steps_of(items: Iterable[StateStep]) -> tuple[StateStep, ...]:
    """Steps without those that change nothing."""
    return tuple(step for step in items if step.into or step.dropped)


Compute = Callable[[Mapping[str, torch.Tensor], Mapping[str, Any]], dict[str, torch.Tensor]]
