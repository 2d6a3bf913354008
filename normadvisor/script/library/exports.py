"""Exports: models turned into another form, in the mode they are in then."""

from __future__ import annotations

import ast
from typing import TYPE_CHECKING

from normadvisor.script.library.calls import add_model_places, model_attributes
from normadvisor.script.library.models import STAND_IN, as_model, new_module
from normadvisor.script.library.modes import mode_of
from normadvisor.script.library.registry import extern, method
from normadvisor.script.library.syntax import argument, written_call
from normadvisor.script.state import Mode
from normadvisor.script.values import NOTHING, Arguments, Const, Place, Ref, Thing, Value, members

if TYPE_CHECKING:
    from normadvisor.script.protocol import Machine
    from normadvisor.script.state import State

__all__ = ["record_export"]

_OF_EXPORTED = frozenset({"coremltools.convert", "openvino.convert_model", "torch.utils.mobile_optimizer.optimize_for_mobile"})
"""Exporters that are mostly given what another exporter made."""
_GIVING_BACK = frozenset({"torch.jit.trace", "torch.jit.script", "torch.jit.freeze", "torch.jit.trace_module"})


def record_export(
    machine: Machine, state: State, exporter: str, value: Value, place: Place, *, text: str, switches: bool | None, later: bool
) -> Thing | None:
    """Note that a model is exported; gives back the model."""
    thing = next((found for member in members(value) if (found := as_model(machine, member)) is not None), None)
    if thing is None or thing.facts.get(STAND_IN) is not None:
        return None
    event = machine.record(
        "export",
        place,
        **model_attributes(machine, state, thing, text, place),
        exporter=exporter,
        switches_itself=switches,
        can_switch_later=later,
    )
    add_model_places(machine, state, event, thing)
    return thing


def _written(place: Place, *names: str) -> str:
    """The model as the call names it."""
    call = written_call(place)
    for name in names:
        node = argument(call, 0, name)
        if node is not None:
            return ast.unparse(node)
    return ""


@extern(
    "torch.jit.trace", "torch.jit.trace_module", "torch.jit.script", "torch.jit.freeze", "torch.export.export",
    "torch.export.export_for_training",
    "torch.onnx.dynamo_export", "torch.onnx.export", "torch.onnx.utils.export", "torch.onnx._export", "torch.onnx.export_to_pretty_string",
    "torch2trt.torch2trt", "torch_tensorrt.compile", "torch_tensorrt.dynamo.compile", "coremltools.convert", "openvino.convert_model",
    "openvino.tools.mo.convert_model", "torch.utils.mobile_optimizer.optimize_for_mobile", "torch._export.aot_compile",
    "torch.ao.quantization.quantize_fx.convert_fx",
    "ai_edge_torch.convert", "torch.export.aot_compile", "tensorrt.export", "nncf.export", "pnnx.export", "executorch.exir.capture",
    "torch_neuron.trace", "torch_neuronx.trace", "onnxruntime.training.ORTModule", "hls4ml.converters.convert_from_pytorch_model",
)  # fmt: skip
def export(machine: Machine, state: State, name: str, arguments: Arguments, place: Place) -> Value | None:
    """An exporter by its dotted name."""
    model = arguments.get(0, "model", "obj", "mod", "func", "module", "example_model", "input_model")
    if model is None:
        return None
    if name in _OF_EXPORTED and _is_exported(machine, model):
        return NOTHING
    if name == "torch.jit.freeze" or name.startswith(("onnxruntime.", "torch.ao.")):
        return model  # freezing refuses a model in train mode by itself
    switches = _switches_itself(name, arguments)
    text = _written(place, "model", "obj", "mod", "func", "module")
    thing = record_export(machine, state, name, model, place, text=text, switches=switches, later=name == "torch.jit.script")
    if thing is None:
        return NOTHING if name not in _GIVING_BACK else model
    if name == "torch.jit.script":
        return Ref(thing.address)  # a script module keeps both modes and shares its parameters
    if name in _GIVING_BACK or name == "torch_tensorrt.compile":
        return _frozen_program(machine, state, name, thing, arguments, place)
    return NOTHING


def _is_exported(machine: Machine, value: Value) -> bool:
    thing = as_model(machine, value)
    return thing is None or "exported" in thing.facts


def _frozen_program(machine: Machine, state: State, name: str, thing: Thing, arguments: Arguments, place: Place) -> Ref:
    """A traced model: it does for ever what the model did in the mode it was traced in, and is of that mode."""
    was = mode_of(machine, state, thing)
    mode = Mode(was.batchnorm, was.rest, place)
    ref = new_module(machine, state, place, name=thing.name or name, mode=mode, arguments=arguments, tag="traced")
    machine.things[ref.address].facts["exported"] = thing.address
    machine.things[ref.address].extern = name
    return ref


def _switches_itself(name: str, arguments: Arguments) -> bool | None:
    """Whether the exporter puts the model into eval mode, as the older ONNX exporter does, no longer the default; ``None`` if unknown."""
    if not name.startswith("torch.onnx.") or name == "torch.onnx.dynamo_export":
        return False
    training = arguments.get(None, "training")
    if training is not None and training not in {Const(False), Const(None)} and "EVAL" not in str(getattr(training, "name", "")):
        return False
    dynamo = arguments.get(None, "dynamo")
    if dynamo is None:
        return False if arguments.complete else None
    return not dynamo.value if isinstance(dynamo, Const) else None


@method("to_torchscript", "to_onnx", "export", "save_torchscript")
def export_method(machine: Machine, state: State, receiver: Value, name: str, arguments: Arguments, place: Place) -> Value | None:
    """Exports of frameworks, which switch the mode and put it back."""
    del state, arguments, place
    thing = as_model(machine, receiver)
    if thing is None or (thing.kind == "opaque" and name == "export"):
        return None
    return NOTHING
