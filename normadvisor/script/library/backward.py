"""Backward passes in every spelling: which model calls they reach."""

from __future__ import annotations

from typing import TYPE_CHECKING

from normadvisor.script.library.flow import gathered, mark_backward, mark_used, plain_data
from normadvisor.script.library.penalty import record_penalty
from normadvisor.script.library.registry import extern, method
from normadvisor.script.values import NOTHING, Arguments, Const, Context, Data, Place, Value

if TYPE_CHECKING:
    from normadvisor.script.protocol import Machine
    from normadvisor.script.state import State

__all__ = ["backward", "backward_function", "gradients", "scaled"]


@method("backward", "manual_backward", "backward_pass")
def backward(machine: Machine, state: State, receiver: Value, name: str, arguments: Arguments, place: Place) -> Value | None:
    """``loss.backward()``, ``accelerator.backward(loss)``, ``fabric.backward(loss)``, ``engine.backward(loss)``."""
    given = [*arguments.values()]
    if plain_data(receiver):
        mark_backward(machine, state, [receiver], place)
        return NOTHING
    if not given and name == "backward" and machine.thing(receiver) is None:
        return None
    mark_backward(machine, state, given, place)
    return NOTHING


@extern("torch.autograd.backward")
def backward_function(machine: Machine, state: State, name: str, arguments: Arguments, place: Place) -> Value:
    """``torch.autograd.backward(losses)``."""
    del name
    mark_backward(machine, state, [arguments.get(0, "tensors") or NOTHING], place)
    return NOTHING


@extern("torch.autograd.grad")
def gradients(machine: Machine, state: State, name: str, arguments: Arguments, place: Place) -> Value:
    """``torch.autograd.grad(loss, inputs)``: a backward pass, or with ``create_graph`` a part of the forward pass."""
    del name
    outputs = arguments.get(0, "outputs") or NOTHING
    inputs = arguments.get(1, "inputs") or NOTHING
    create = arguments.get(4, "create_graph")
    if isinstance(create, Const) and create.value is True:
        record_penalty(machine, state, outputs, inputs, place)
        return gathered(machine, state, [outputs])
    if _of_parameters(inputs):
        return Data(origins=mark_backward(machine, state, [outputs], place).origins - {"loss"})
    # The gradient of an input: an attack or an attribution, no training.
    mark_used(machine, state, [outputs], "input_gradient")
    return Data(origins=gathered(machine, state, [outputs]).origins - {"loss"})


def _of_parameters(value: Value) -> bool:
    return isinstance(value, Data) and "parameter" in value.origins


@method("scale")
def scaled(machine: Machine, state: State, receiver: Value, name: str, arguments: Arguments, place: Place) -> Value | None:
    """``scaler.scale(loss)``."""
    del name, place
    if plain_data(receiver) or not arguments.positional:
        return None
    return gathered(machine, state, arguments.positional[:1])


@extern("apex.amp.scale_loss")
def scale_loss(machine: Machine, state: State, name: str, arguments: Arguments, place: Place) -> Value:
    """``with amp.scale_loss(loss, optimizer) as scaled_loss``."""
    del name
    return Context("other", place, gathered(machine, state, [arguments.get(0, "loss") or NOTHING]))
