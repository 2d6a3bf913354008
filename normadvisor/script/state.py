"""The state of the abstract interpreter at one point of one path: names, fields, modes, gradient mode, and what the path assumed."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Literal, TypeAlias

from normadvisor.script.fields import Fields
from normadvisor.script.values import Place, Value, choice

__all__ = ["FRESH", "UNKNOWN_MODE", "Mode", "State", "Training", "joined_mode", "joined_training"]

Training: TypeAlias = Literal["train", "eval", "mixed", "unknown"]


@dataclass(frozen=True, slots=True)
class Mode:
    """The mode of a module: of its BatchNorm layers, and of everything else that depends on it."""

    batchnorm: Training = "unknown"
    rest: Training = "unknown"
    switched: Place | None = None
    """The last switch."""
    frozen: Place | None = None
    """Where its BatchNorm layers alone were put into eval mode, as long as they are."""
    undone: Place | None = None
    """The ``train()`` that undid such a freeze, until it is repeated."""
    froze: Place | None = None
    """The freeze that ``undone`` undid."""
    evaluated: Place | None = None
    """A call that used it for inference since the switch into eval mode."""

    @property
    def both(self) -> Training:
        """The mode of the whole."""
        return joined_training(self.batchnorm, self.rest)


FRESH = Mode("train", "train")
"""A module that was just built."""
UNKNOWN_MODE = Mode()


def joined_training(one: Training, other: Training) -> Training:
    """The least mode that holds both."""
    if one == other:
        return one
    return "unknown" if "unknown" in {one, other} else "mixed"


def joined_mode(one: Mode, other: Mode) -> Mode:
    """The mode after two paths meet."""
    if one == other:
        return one
    return Mode(
        joined_training(one.batchnorm, other.batchnorm),
        joined_training(one.rest, other.rest),
        one.switched if one.switched == other.switched else None,
        one.frozen if one.frozen == other.frozen else None,
        one.undone if one.undone == other.undone else None,
        one.froze if one.froze == other.froze else None,
        one.evaluated or other.evaluated,
    )


@dataclass(slots=True)
class State:
    """Everything that may change. A state belongs to one path: copy it before two paths part."""

    names: dict[int, dict[str, Value]] = field(default_factory=dict)
    """Environments by address: names of functions and modules. States share them: see :meth:`environment`."""
    fields: Fields = field(default_factory=Fields)
    """Attributes of objects; items of lists and dictionaries under ``[KEY]``, unknown ones under ``[*]``."""
    modes: dict[int, Mode] = field(default_factory=dict)
    """Modes of modules; a part without an entry is in its parent's mode."""
    marks: dict[tuple[int, str], Place] = field(default_factory=dict)
    """What happened to an object: ``loaded`` (weights), ``trained``, ``wrapped``, ``synchronized``, ``frozen`` (parameters) ..."""
    grad: Literal["on", "off", "unknown"] = "on"
    no_grad: Place | None = None
    """Where gradients were switched off."""
    leaving: int = 0
    """Number of the way on which the path leaves a ``with`` statement whose manager is being left; 0 for none."""
    assumptions: dict[str, bool] = field(default_factory=dict)
    """Conditions that the path decided: source text (of names that have not changed since) to truth."""

    own: set[int] = field(default_factory=set)
    """Environments that no other state shares."""

    def copy(self) -> State:
        """An independent state."""
        self.own.clear()
        return State(
            dict(self.names), self.fields.copy(), dict(self.modes), dict(self.marks), self.grad, self.no_grad, self.leaving,
            dict(self.assumptions),
        )  # fmt: skip

    def environment(self, address: int) -> dict[str, Value]:
        """The names of an environment, to be changed."""
        if address not in self.own:
            self.own.add(address)
            self.names[address] = dict(self.names.get(address, ()))
        return self.names[address]

    def get_field(self, address: int, name: str) -> Value | None:
        """An attribute of the object at an address; ``None`` if it was never set."""
        return self.fields.get_field(address, name)

    def fields_of(self, address: int) -> dict[str, Value]:
        """All attributes of an object that were set."""
        return dict(self.fields.of(address))

    def join(self, other: State) -> State:
        """The state after two paths meet: values become alternatives, differing modes ``mixed``, assumptions only those of both."""
        names: dict[int, dict[str, Value]] = {}
        for address in self.names.keys() | other.names.keys():
            one, two = self.names.get(address), other.names.get(address)
            if one is None or two is None:
                names[address] = one or two or {}
            else:
                names[address] = one if one is two else _joined(one, two)
        self.own.clear()
        other.own.clear()
        return State(
            names=names,
            fields=self.fields.joined(other.fields),
            modes={
                address: joined_mode(self.modes.get(address) or other.modes[address], other.modes.get(address) or self.modes[address])
                for address in self.modes.keys() | other.modes.keys()
            },
            marks={**other.marks, **self.marks},
            grad=self.grad if self.grad == other.grad else "unknown",
            leaving=self.leaving,
            no_grad=self.no_grad if self.no_grad == other.no_grad else None,
            assumptions={text: truth for text, truth in self.assumptions.items() if other.assumptions.get(text) is truth},
        )


def _joined(one: dict[str, Value], two: dict[str, Value]) -> dict[str, Value]:
    """Names after two paths meet. A name that only one of them bound keeps that value: using it means that path was taken."""
    result = {**one, **two}
    for name in one.keys() & two.keys():
        if one[name] is not two[name] and one[name] != two[name]:
            result[name] = choice((one[name], two[name]))
    return result
