"""What the arguments of ``forward`` are, by their names, annotations and the layers they reach."""

from __future__ import annotations

import inspect
import re
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from normadvisor.targets.inputs.flow import Entry, calculated_with, constant_views, entries, inner_parameters
from normadvisor.targets.inputs.layers import BATCH, SEQUENCE, first_layer, layer_input, min_embeddings
from normadvisor.targets.inputs.plan import Plan
from normadvisor.targets.inputs.spec import TensorSpec, Value

if TYPE_CHECKING:
    from collections.abc import Iterator

    from torch import nn

__all__ = ["required_parameters", "signature_plans"]

_LABEL = re.compile(r"(y|c|label|labels|target|targets|class_label|class_labels|classes|cls|category|user|item|.*_id)$")
_FLOAT = re.compile(
    r"(z|noise|latents?|states?|obs|observation|actions?|cond|features?|.*_features?|x|img|image|.*_image|inputs?)$",
)
_STEP = re.compile(r"(t|ts|timestep|timesteps|time_step|step|steps|noise_level|sigma|sigmas|time|diffusion_step)$")
_MASK = re.compile(r".*mask.*|.*padding.*")
_LENGTH = re.compile(r".*(length|lengths|lens|len)$")
_TOKENS = re.compile(
    r"(.*input_ids|ids|idx|token|tokens|.*token_ids|src|tgt|trg|source|seq|sequence|sentence|text|words?|.*_ids|decoder_input)$",
)
_AUDIO = re.compile(r"(audio|wav|waveform|waveforms|wave|speech|signal)$")
_CLIP = re.compile(r"(video|videos|clip|clips|frames)$")
_FLAG = re.compile(r"(return_|use_|is_|output_|do_|train$|training$|verbose|debug|eval|test|inference|teacher_forcing)")
_STATE = re.compile(r"(h|h0|hx|hidden|hidden_state|prev_state|cell|c0|memory_state)$")

_KINDS = (inspect.Parameter.POSITIONAL_ONLY, inspect.Parameter.POSITIONAL_OR_KEYWORD, inspect.Parameter.KEYWORD_ONLY)


def required_parameters(model: nn.Module) -> list[str]:
    """Arguments of ``forward`` that have no default; the first positional one even if it has."""
    parameters = inner_parameters(model)
    taken = [name for name, p in parameters.items() if p.kind in _KINDS]
    needed = [name for name in taken if parameters[name].default is inspect.Parameter.empty]
    return needed or taken[:1]


def signature_plans(model: nn.Module) -> Iterator[Plan]:
    """Guesses from the signature of ``forward`` and the layers its arguments reach, the likeliest first."""
    parameters = inner_parameters(model)
    reached = entries(model)
    needed = required_parameters(model)
    values = {name: _value(model, name, parameters[name], reached.get(name), i) for i, name in enumerate(needed)}
    if not needed:
        takes_rest = any(p.kind is inspect.Parameter.VAR_POSITIONAL for p in parameters.values())
        if takes_rest and (spec := _fallback(model)):
            yield Plan((spec,), {}, "first layer")
        yield Plan((), {}, "forward takes no arguments")
        return
    why = "first layer" if len(needed) == 1 else f"first layers of {', '.join(needed)}"

    def supply(name: str) -> Value:
        """A value for an argument that may be left out, once a trial shows that it may not."""
        parameter = parameters.get(name)
        if parameter is None or name in needed or parameter.kind not in _KINDS or parameter.default is not None:
            return None
        return _value(model, name, parameter, reached.get(name), len(needed))

    plan = replace(_alike(_arrange(parameters, values, why)), supply=supply)
    if constant_views(model):
        # Start small: a view of a fixed width would fold a larger image into the batch without an error.
        yield _small(plan)
    yield plan
    if steps := {name: TensorSpec((BATCH,), "int64") for name in needed if _STEP.match(name) and _is_vector(values[name])}:
        # What reaches a linear layer may be an encoding of one number for each sample.
        yield replace(_alike(_arrange(parameters, {**values, **steps}, f"{why}, with one step for each sample")), supply=supply)
    yield from _variants(model, plan)
    optional = {name: value for name in parameters if (value := supply(name)) is not None}
    for name, value in optional.items():
        yield _arrange(parameters, {**values, name: value}, f"{why}, with {name}")
    if len(optional) > 1:
        yield _arrange(parameters, {**values, **optional}, f"{why}, with every optional argument")


def _is_vector(value: Value) -> bool:
    return isinstance(value, TensorSpec) and len(value.shape) == 2 and value.dtype == "float32"


def _arrange(parameters: dict[str, inspect.Parameter], values: dict[str, Value], why: str) -> Plan:
    """Positional arguments as long as they follow one another in the signature, the others by name."""
    positional: list[Value] = []
    keyword: dict[str, Value] = {}
    unbroken = True
    for name, parameter in parameters.items():
        unbroken = unbroken and name in values and parameter.kind is not inspect.Parameter.KEYWORD_ONLY
        if name in values:
            if unbroken:
                positional.append(values[name])
            else:
                keyword[name] = values[name]
    return Plan(tuple(positional), keyword, why)


def _alike(plan: Plan) -> Plan:
    """Images of the same height and width: the branches of a model usually see one scene."""
    images = [(place, spec) for place, spec in plan.tensors() if len(spec.shape) == 4 and spec.shape[1] <= 4 and spec.dtype == "float32"]
    size = max((spec.shape[-1] for _, spec in images), default=0)
    for place, spec in images:
        plan = plan.reshaped(place, (*spec.shape[:2], size, size))
    return plan


def _small(plan: Plan) -> Plan:
    for place, spec in plan.tensors():
        if len(spec.shape) == 4 and spec.shape[-1] > 32:
            plan = plan.reshaped(place, (*spec.shape[:2], 32, 32))
    return plan


def _variants(model: nn.Module, plan: Plan) -> Iterator[Plan]:
    """Other readings: steps before the features, another first layer, an image for a model without known layers."""
    for place, spec in plan.tensors():
        if len(spec.shape) == 2 and spec.dtype == "float32":
            yield replace(plan.reshaped(place, (spec.shape[0], SEQUENCE, spec.shape[1])), why="first layer, with a sequence axis")
    if len(plan.positional) == 1 and not plan.keyword:
        for skip in range(1, 4):
            other = _input_of(skip, model)
            if other is not None:
                yield Plan((other,), {}, f"layer {skip + 1}")
        for shape in ((BATCH, 3, 224, 224), (BATCH, SEQUENCE, 64), (BATCH, 64), (BATCH, 1, 28, 28), (BATCH, 3, 32, 32)):
            yield Plan((TensorSpec(shape),), {}, "a usual shape")


def _fallback(model: nn.Module) -> TensorSpec | None:
    return _input_of(0, model)


def _input_of(skip: int, model: nn.Module) -> TensorSpec | None:
    layer = first_layer(model, skip)
    spec = layer_input(layer) if layer is not None else None
    if spec is not None and spec.dtype == "int64":  # the other tables of the model may be smaller
        return replace(spec, high=min(spec.high, max(min_embeddings(model), 2)))
    return spec


def _value(model: nn.Module, name: str, parameter: inspect.Parameter, entry: Entry | None, index: int) -> Value:
    note = str(parameter.annotation) if parameter.annotation is not inspect.Parameter.empty else ""
    if _FLAG.match(name) or re.search(r"\bbool\b", note):
        return False
    if re.fullmatch(r"(<class ')?int('>)?", note):
        return 2
    if re.fullmatch(r"(<class ')?float('>)?", note):
        return 0.5
    value: Value = _from_entry(model, name, entry) if entry is not None else None
    if value is None or (_MASK.match(name) and isinstance(value, TensorSpec) and len(value.shape) < 4):
        value = _from_name(model, name, index)
        if entry is None and isinstance(value, TensorSpec) and value.dtype == "int64" and _are_numbers(model, name, note):
            value = TensorSpec((BATCH, SEQUENCE))
    if re.search(r"\b(list|List|Sequence)\[", note) and "Tensor" in note and isinstance(value, TensorSpec):
        return [value, value]
    return value


def _are_numbers(model: nn.Module, name: str, note: str) -> bool:
    """Whether what looks like ids, since the model has embeddings, is something to calculate with."""
    return "FloatTensor" in note or ("LongTensor" not in note and "IntTensor" not in note and name in calculated_with(model))


def _from_entry(model: nn.Module, name: str, entry: Entry) -> TensorSpec | None:
    layer = first_layer(entry.module)
    spec = layer_input(layer) if layer is not None else None
    if spec is None:
        return None
    if spec.dtype == "int64":
        single = (_LABEL.match(name) or _STEP.match(name)) and not _TOKENS.match(name)
        spec = replace(spec, high=min(spec.high, max(min_embeddings(model), 2)), shape=(BATCH,) if single else spec.shape)
    shape = spec.shape
    for method, arguments in reversed(entry.before):
        shape = _undo(shape, method, arguments)
        if method in {"long", "one_hot"}:
            spec = replace(spec, dtype="int64", high=shape[-1] if method == "one_hot" else spec.high)
            shape = shape[:-1] if method == "one_hot" else shape
    return replace(spec, shape=shape)


def _undo(shape: tuple[int, ...], method: str, arguments: tuple[Any, ...]) -> tuple[int, ...]:
    """Shape before a shaping method whose result has ``shape``; the same shape where it cannot be told."""
    numbers = [argument for argument in arguments if isinstance(argument, int)]
    rank = len(shape)
    if len(numbers) != len(arguments) or not all(-rank <= number < rank for number in numbers):
        return shape
    if method == "permute" and sorted(number % rank for number in numbers) == list(range(rank)):
        before = [0] * rank
        for axis, number in enumerate(numbers):
            before[number % rank] = shape[axis]
        return tuple(before)
    if method in {"transpose", "swapaxes"} and len(numbers) == 2:
        before = list(shape)
        one, other = numbers
        before[one], before[other] = before[other], before[one]
        return tuple(before)
    if method == "unsqueeze" and len(numbers) == 1 and rank > 1:
        return tuple(size for axis, size in enumerate(shape) if axis != numbers[0] % rank)
    return shape


def _from_name(model: nn.Module, name: str, index: int) -> Value:
    """A value for an argument no layer was found for."""
    first = _fallback(model)
    if first is not None and first.dtype == "int64" and _FLOAT.match(name):
        first = next((spec for spec in map(_input_of, range(1, 8), [model] * 7) if spec is not None and spec.dtype == "float32"), first)
    if _MASK.match(name):
        return TensorSpec((BATCH, SEQUENCE), "bool")
    if _LENGTH.match(name):
        return TensorSpec((BATCH,), "int64", values=(float(SEQUENCE),) * BATCH)
    if _STEP.match(name):
        return TensorSpec((BATCH,), "int64")
    if _STATE.match(name) and index:
        return None
    if _AUDIO.match(name) and (first is None or first.dtype != "float32"):
        return TensorSpec((BATCH, 16000))
    if _CLIP.match(name) and (first is None or len(first.shape) == 4):
        return TensorSpec((BATCH, 16, 3, *(first.shape[-2:] if first else (112, 112))))
    if _LABEL.match(name) and index and min_embeddings(model) > 2:
        return TensorSpec((BATCH,), "int64", high=min_embeddings(model))
    if _TOKENS.match(name) and min_embeddings(model) > 2:
        return TensorSpec((BATCH, SEQUENCE), "int64", high=min_embeddings(model))
    return first or TensorSpec((BATCH, 3, 224, 224))
