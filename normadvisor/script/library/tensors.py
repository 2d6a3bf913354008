"""Tensors: operations as a flow of data, the last activation on it, and uses that show a prediction.

``Data.calls`` holds the model calls that a backward pass from the tensor reaches. ``detach()``, ``.data``, ``argmax`` and other operations
without a gradient move them to origins (see :func:`normadvisor.script.library.flow.detached`), so that what the tensor is used for still
tells about those calls.
"""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

from normadvisor.script.library.flow import detached, gathered, keeping, made, mark_used, plain_data, resized, rows_of
from normadvisor.script.library.registry import attribute, called, extern, iterated, method, operation, prefix, subscripted
from normadvisor.script.library.tensor_names import (
    ACTIVATIONS,
    COMPARISONS,
    FILLS,
    JOIN_FUNCTIONS,
    KEEP_FUNCTIONS,
    KEEP_METHODS,
    LAYERS,
    LOGARITHMS,
    MOVES,
    NO_GRADIENT,
    PARENTS,
    PLAIN,
    PREDICTS,
    RANDOM,
    REDUCTIONS,
    SAME_LAYERS,
    SHAPES,
)
from normadvisor.script.values import NOTHING, Arguments, Bound, Const, Data, Place, Ref, Tuple, Value, members

if TYPE_CHECKING:
    from normadvisor.script.protocol import Machine
    from normadvisor.script.state import State

__all__ = ["activated", "data_method", "tensor_function"]

def activated(machine: Machine, state: State, value: Value, activation: str, place: Place) -> Data:
    """The result of an activation on a value."""
    data = gathered(machine, state, [value])
    return replace(data, activation=activation, activation_at=place)


def _first(arguments: Arguments, *names: str) -> Value:
    return arguments.get(0, *(names or ("input", "tensors", "x", "a"))) or NOTHING


def _shape(data: Data) -> Data:
    return Data(origins=frozenset({"shape"}), about=data.about)


def _logarithm(machine: Machine, state: State, value: Value, place: Place) -> Data:
    result = gathered(machine, state, [value])
    names = {item.activation for item in members(value) if isinstance(item, Data)}
    activation = LOGARITHMS.get(next(iter(names)) or "") if len(names) == 1 else None
    return replace(result, activation=activation, activation_at=place) if activation else result


@prefix("torch.", "torch.nn.functional.", "torch.special.", "torch.Tensor.", "torch.linalg.", "torch.fft.", "torch._C.")
def tensor_function(machine: Machine, state: State, name: str, arguments: Arguments, place: Place) -> Value | None:
    """Any function of torch that works on tensors."""
    short = name.rpartition(".")[2]
    if short[:1].isupper():
        return _tensor_class(machine, state, short, arguments)
    if short in ACTIVATIONS and name.startswith(PARENTS):
        return activated(machine, state, _first(arguments), ACTIVATIONS[short], place)
    if short in RANDOM:
        return _made(short, arguments)
    if short in {"log", "log_"}:
        return _logarithm(machine, state, _first(arguments), place)
    if short in KEEP_FUNCTIONS or short in JOIN_FUNCTIONS:
        joined = gathered(machine, state, [_first(arguments)], keep=True)
        return joined if short in {"clone", "squeeze", "interpolate", "nan_to_num"} else resized(joined)
    result = gathered(machine, state, arguments.values())
    if short in PREDICTS or (short == "max" and len(arguments.positional) + len(arguments.named) > 1):
        mark_used(machine, state, [result], "predicted")
    if short in NO_GRADIENT:
        return detached(result)
    return result


def _made(name: str, arguments: Arguments) -> Data:
    if name.endswith("_like"):
        return Data(origins=frozenset({"random"}))
    if name in {"randint", "normal", "bernoulli", "arange", "linspace", "logspace", "full"}:
        size = arguments.get(None, "size") or next((item for item in arguments.positional if isinstance(item, Tuple)), None)
        return made("random", rows=size)
    return made("random", rows=arguments.get(0, "size"))


def _tensor_class(machine: Machine, state: State, name: str, arguments: Arguments) -> Value | None:
    """``torch.Tensor(...)``, ``torch.FloatTensor(8, 3)``: uninitialized by size, else the values given."""
    if not name.endswith(("Tensor", "Size")):
        return None
    given = [*arguments.values()]
    if all(isinstance(item, Const) or (isinstance(item, Data) and item.origins <= {"shape", "argument"}) for item in given):
        return Data(origins=frozenset({"random"}))
    return gathered(machine, state, given, keep=True)


@extern(
    "torch.tensor", "torch.as_tensor", "torch.from_numpy", "torch.asarray", "torch.Tensor.to", "torch.nn.Parameter",
    "torch.autograd.Variable",
)  # fmt: skip
def copied(machine: Machine, state: State, name: str, arguments: Arguments, place: Place) -> Value:
    """The same values as a tensor."""
    del name, place
    return gathered(machine, state, [_first(arguments, "data", "ndarray", "obj")], keep=True)


@prefix("numpy.random.", "random.")
def random_numbers(machine: Machine, state: State, name: str, arguments: Arguments, place: Place) -> Value | None:
    """Random numbers, and choices among given values."""
    del place
    short = name.rpartition(".")[2]
    if short in {"seed", "shuffle", "set_state", "get_state"}:
        return None
    if short in {"choice", "choices", "sample", "permutation"} and arguments.positional:
        return gathered(machine, state, arguments.positional[:1], keep=True)
    return Data(origins=frozenset({"random"}))


@prefix("sklearn.metrics.", "torchmetrics.functional.", "torcheval.metrics.functional.", "scipy.special.", "numpy.", "evaluate.")
def measured(machine: Machine, state: State, name: str, arguments: Arguments, place: Place) -> Value | None:
    """Metrics and arithmetic outside torch: no gradient, and outputs given to a metric are predictions."""
    short = name.rpartition(".")[2]
    given = [*arguments.values()]
    if not any(plain_data(item) or isinstance(item, (Tuple, Ref)) for item in given):
        return Data(origins=frozenset({"random"})) if name.startswith("numpy.") and short in RANDOM else None
    if not name.startswith(("numpy.", "scipy.")) or short in PREDICTS:
        mark_used(machine, state, given, "predicted")
    if short in {"softmax", "log_softmax", "expit"} and name.startswith("scipy."):
        return detached(activated(machine, state, _first(arguments), ACTIVATIONS[short], place))
    return detached(gathered(machine, state, given, keep=short in {"array", "asarray", "concatenate", "squeeze", "stack", "transpose"}))


@prefix("torchvision.utils.", "matplotlib.", "PIL.", "cv2.", "imageio.", "pandas.")
def shown(machine: Machine, state: State, name: str, arguments: Arguments, place: Place) -> Value | None:
    """Outputs that are drawn or stored."""
    del name, place
    given = [*arguments.values()]
    if not any(plain_data(item) or isinstance(item, (Tuple, Ref)) for item in given):
        return None
    mark_used(machine, state, given, "output")
    return detached(gathered(machine, state, given))


@extern("torch.utils.checkpoint.checkpoint", "torch.utils.checkpoint.checkpoint_sequential")
def checkpointed(machine: Machine, state: State, name: str, arguments: Arguments, place: Place) -> Value | None:
    """Calls a function with the rest of the arguments."""
    skipped = 2 if name.endswith("_sequential") else 1
    if len(arguments.positional) <= skipped:
        return None
    own = {"use_reentrant", "preserve_rng_state", "context_fn", "determinism_check"}
    named = tuple(pair for pair in arguments.named if pair[0] not in own)
    inner = Arguments(arguments.positional[skipped:], named, arguments.star, arguments.double_star)
    return machine.run(state, arguments.positional[0], inner, place)


@called("module")
def elementary_layer(machine: Machine, state: State, ref: Ref, arguments: Arguments, place: Place) -> Value | None:
    """``nn.Softmax(dim=1)(x)``: layers that are functions under another name."""
    extern_name = machine.things[ref.address].extern
    if not extern_name.startswith("torch.nn."):
        return None
    short = extern_name.rpartition(".")[2]
    if short in LAYERS:
        return activated(machine, state, _first(arguments), LAYERS[short], place)
    if short in SAME_LAYERS:
        return keeping(machine, state, _first(arguments))
    return None


def data_method(machine: Machine, state: State, receiver: Value, name: str, arguments: Arguments, place: Place) -> Value | None:
    """Any method of a tensor, an array or another value of which only the origin matters."""
    if not plain_data(receiver):
        return None
    data = gathered(machine, state, [receiver], keep=True)
    if name in ACTIVATIONS:
        return activated(machine, state, data, ACTIVATIONS[name], place)
    if name in {"log", "log_"}:
        return _logarithm(machine, state, data, place)
    if name in FILLS or name.startswith("new_"):
        return replace(data, activation=None, activation_at=None, origins=data.origins | {"random"})
    if name in {"size", "dim", "numel", "nelement", "get_device", "stride", "element_size", "type"} and not arguments.positional[1:]:
        return _shape(data) if name != "type" or not arguments.positional else data
    _note(machine, state, data, name, arguments)
    if name in KEEP_METHODS:
        kept = detached(data) if name in NO_GRADIENT else data
        return kept if name in MOVES or _same_first_size(name, arguments) else resized(kept)
    result = gathered(machine, state, [data, *arguments.values()])
    return detached(result) if name in NO_GRADIENT else replace(result, about=data.about)


def _note(machine: Machine, state: State, data: Data, name: str, arguments: Arguments) -> None:
    """What a method shows about the use of outputs."""
    if name in PREDICTS or (name == "max" and (arguments.positional or arguments.named)):
        mark_used(machine, state, [data], "predicted")
    elif name == "item":
        mark_used(machine, state, [data], "measured")
    elif name in {"numpy", "tolist"}:
        mark_used(machine, state, [data], "output")


def _same_first_size(name: str, arguments: Arguments) -> bool:
    """Whether a change of shape keeps the samples apart: ``x.view(x.size(0), -1)``, ``x.flatten(1)``."""
    first = arguments.get(0, "start_dim")
    if name == "flatten":
        return isinstance(first, Const) and first.value == 1
    if name in {"view", "reshape"}:
        return isinstance(first, Data) and "shape" in first.origins
    if name in {"transpose", "permute", "swapaxes"}:
        given = [value.value for value in arguments.positional if isinstance(value, Const)]
        moved = given[:1] if name == "permute" else given
        return bool(given) and len(given) == len(arguments.positional) and (moved == [0] if name == "permute" else 0 not in moved)
    return name in {"squeeze", "tolist", "bool", "int"}


@method(*ACTIVATIONS)
def unknown_activated(machine: Machine, state: State, receiver: Value, name: str, arguments: Arguments, place: Place) -> Value | None:
    """``x.sigmoid()`` of a parameter that may be anything."""
    del state, arguments
    thing = machine.thing(receiver)
    if thing is None or thing.kind != "opaque":
        return None
    return Data(activation=ACTIVATIONS[name], activation_at=place)


@method("*")
def any_method(machine: Machine, state: State, receiver: Value, name: str, arguments: Arguments, place: Place) -> Value | None:
    """Methods of data that nothing else handles; asked last."""
    return data_method(machine, state, receiver, name, arguments, place)


@method("update", "add_batch", "compute", "add")
def metric_method(machine: Machine, state: State, receiver: Value, name: str, arguments: Arguments, place: Place) -> Value | None:
    """``metric.update(outputs, targets)``."""
    del name, place
    thing = machine.thing(receiver)
    if thing is None or "metric" not in thing.facts:
        return None
    mark_used(machine, state, arguments.values(), "predicted")
    return NOTHING


@prefix("torchmetrics.", "torcheval.metrics.", "ignite.metrics.")
def metric(machine: Machine, state: State, name: str, arguments: Arguments, place: Place) -> Value | None:
    """A metric that collects predictions."""
    short = name.rpartition(".")[2]
    if not short[:1].isupper():
        return None
    ref = machine.new(state, "other", place, name=short, extern=name, arguments=arguments)
    machine.things[ref.address].facts["metric"] = True
    return ref


@called("other")
def metric_call(machine: Machine, state: State, ref: Ref, arguments: Arguments, place: Place) -> Value | None:
    """``accuracy(outputs, targets)`` of a metric object."""
    del place
    if "metric" not in machine.things[ref.address].facts:
        return None
    mark_used(machine, state, arguments.values(), "predicted")
    return detached(gathered(machine, state, arguments.values()))


@attribute("*")
def data_attribute(machine: Machine, state: State, receiver: Value, name: str, place: Place) -> Value | None:
    """An attribute of a tensor or of a model's output."""
    del place
    if not plain_data(receiver):
        return None
    data = gathered(machine, state, [receiver], keep=True)
    if name in SHAPES:
        return _shape(data)
    if name == "data":
        return detached(data)
    if name == "grad":
        return Data(origins=data.origins - {"random"}, about=data.about)
    if name == "loss" or name.endswith("_loss"):
        return replace(data, activation=None, activation_at=None, origins=data.origins | {"loss"})
    if name in PLAIN:
        return data if PLAIN[name] else detached(data)
    if data == NOTHING:
        return None
    if data_has_method(name):
        return Bound(receiver, name)
    return data


def data_has_method(name: str) -> bool:
    """Whether a name is that of a method of tensors: looked up, it is about to be called."""
    return any(name in names for names in (KEEP_METHODS, NO_GRADIENT, ACTIVATIONS, FILLS, REDUCTIONS))


@operation
def arithmetic(machine: Machine, state: State, operator: str, operands: list[Value], place: Place) -> Value | None:
    """Arithmetic and comparison: the activation is lost, and what is compared with a target is a prediction."""
    del place
    if not any(plain_data(item) for item in operands):
        return None
    result = gathered(machine, state, operands)
    if operator in COMPARISONS:
        if any(_holds_data(item) for item in operands[1:]) or operator in {"==", "!="}:
            mark_used(machine, state, operands, "predicted")
        return detached(result)
    data = [item for item in operands if plain_data(item)]
    if len(data) == 1 and all(isinstance(item, Const) for item in operands if item is not data[0]):
        known = gathered(machine, state, data, keep=True)
        return replace(result, origins=result.origins | known.origins) if rows_of(known) is not None else result
    return result


def _holds_data(value: Value) -> bool:
    return any(isinstance(item, Data) and item != NOTHING for item in members(value))


@subscripted
def indexed(machine: Machine, state: State, receiver: Value, key: Value, place: Place) -> Value | None:
    """A part of a tensor, of a batch or of an output."""
    del place
    if not plain_data(receiver):
        return None
    data = gathered(machine, state, [receiver], keep=True)
    if "shape" in data.origins and not data.calls:
        return data
    if data.about is not None and "parameter" in data.origins:
        return data
    return data if isinstance(key, Const) and not rows_of(data) else resized(data)


@iterated
def elements(machine: Machine, state: State, value: Value, place: Place) -> tuple[list[Value], bool] | None:
    """Elements of a tensor, of a batch or of an output."""
    del place
    if not plain_data(value) or any("parts of a model" in item.origins for item in members(value) if isinstance(item, Data)):
        return None
    data = gathered(machine, state, [value], keep=True)
    return [resized(data) if rows_of(data) else data], False
