"""The search for inputs that a model's ``forward`` takes: guesses, and corrections after each failed trial."""

from __future__ import annotations

import inspect
import itertools
import math
from collections.abc import Generator, Iterator, Mapping, Sequence
from typing import TYPE_CHECKING

from normadvisor.errors import InputError
from normadvisor.targets.inputs.adapt import Adapter
from normadvisor.targets.inputs.configured import configured_plans
from normadvisor.targets.inputs.explained import explain_failure
from normadvisor.targets.inputs.flow import inner_parameters
from normadvisor.targets.inputs.layers import BATCH, SEQUENCE
from normadvisor.targets.inputs.metadata import metadata_plans
from normadvisor.targets.inputs.plan import CONFIGURED, Plan
from normadvisor.targets.inputs.signature import signature_plans
from normadvisor.targets.inputs.spec import Inputs, InputSpec, TensorSpec, Value
from normadvisor.targets.memory import reads_values

if TYPE_CHECKING:
    from torch import nn

    from normadvisor.types import RunContext

__all__ = ["MAX_TRIALS", "MAX_TRIALS_PER_GUESS", "candidate_inputs"]

MAX_TRIALS = 64
"""Trials before inference gives up."""
MAX_TRIALS_PER_GUESS = 24
"""Trials spent on correcting one guess before the next is taken."""
MAX_CONFIGURED = 12
"""Guesses taken from a configuration."""
MAX_ELEMENTS = 2**31
"""Most elements of one tensor that is tried."""
MAX_UNREADABLE = 6
"""Trials that may fail because forward reads values that its tensors do not have: other shapes would not help."""
REPORTED = 4
"""Ways to fail that the final error tells about."""
UNKNOWN = TensorSpec((BATCH, SEQUENCE))
"""What stands in the final error for an argument that nothing is known about."""
MAX_SIGNATURE = 200
"""Longest part of the signature of forward that is repeated."""


def candidate_inputs(
    model: nn.Module, specs: Sequence[InputSpec], context: RunContext
) -> Generator[Inputs, BaseException | None, None]:
    """Inputs to try on a model, until one is accepted.

    After each yielded :class:`Inputs` the caller sends the exception its trial raised, or ``None`` to accept. Tensors are on
    the meta device if the model's parameters are, else on the CPU.

    Args:
        model: the built model.
        specs: what the user gave with ``--input``; if any, nothing else is tried.
        context: the run context (its task tells detectors apart from their parts).

    Raises:
        InputError: the given inputs do not fit the signature of ``forward`` or failed, or every guess failed.

    """
    device = _device(model)
    _check_forward(model)
    if specs:
        error = yield _given(model, specs).inputs(device, given=True)
        if error is not None:
            raise _rejected(model, specs, error) from error
        return
    tried: list[tuple[Plan, BaseException]] = []
    seen: set[str] = set()
    unreadable = 0
    for guess in _guesses(model, context):
        adapter = Adapter()
        waiting = [guess]
        count = 0
        limit = MAX_TRIALS_PER_GUESS if guess.why != CONFIGURED else MAX_TRIALS_PER_GUESS // 3
        while waiting and count < limit and len(tried) < MAX_TRIALS:
            plan = waiting.pop(0)
            if plan.text in seen or any(math.prod(spec.shape) > MAX_ELEMENTS for _, spec in plan.tensors()):
                continue
            seen.add(plan.text)
            count += 1
            error = yield plan.inputs(device)
            if error is None:
                return
            tried.append((plan, error))
            unreadable += reads_values(error)
            if unreadable >= MAX_UNREADABLE:
                raise _exhausted(model, tried)
            waiting = [new for new in adapter.proposals(plan, error) if new.text not in seen] + waiting
    raise _exhausted(model, tried)


def _guesses(model: nn.Module, context: RunContext) -> Iterator[Plan]:
    yield from metadata_plans(model, context)
    configured = False
    for plan in itertools.islice(configured_plans(model), MAX_CONFIGURED):
        configured = True
        yield plan
    # A configuration says more than names and first layers do: after it, only the first of the other guesses is worth a trial.
    yield from itertools.islice(signature_plans(model), 1 if configured else None)


def _check_forward(model: nn.Module) -> None:
    from torch import jit, nn

    if isinstance(model, jit.ScriptModule):
        message = f"{getattr(model, 'original_name', type(model).__name__)} is scripted, and compiled code cannot be followed"
        raise InputError(message, hint="name the model before it goes to torch.jit.script or torch.jit.trace")
    if type(model).forward is nn.Module.forward:
        message = f"{type(model).__name__} has no forward, so there is nothing to follow"
        raise InputError(message, hint="name a model or a part of it that can be called")


def _device(model: nn.Module) -> str:
    tensor = next(iter(model.parameters()), next(iter(model.buffers()), None))
    return "meta" if tensor is not None and tensor.is_meta else "cpu"


def _given(model: nn.Module, specs: Sequence[InputSpec]) -> Plan:
    """The user's inputs, checked against the signature of ``forward``."""
    positional = tuple(spec.value for spec in specs if not spec.name)
    keyword: dict[str, Value] = {}
    for spec in specs:
        if spec.name in keyword:
            message = f"the input {spec.name!r} is given twice"
            raise InputError(message)
        if spec.name:
            keyword[spec.name] = spec.value
    parameters = inner_parameters(model)
    if parameters:
        try:
            inspect.Signature(list(parameters.values())).bind(*positional, **keyword)
        except TypeError as error:
            message = f"the inputs do not fit forward({', '.join(map(str, parameters.values()))}): {error}"
            raise InputError(message, hint="one --input per argument, in order or by name: --input mask=2x16:bool") from error
    return Plan(positional, keyword, "given")


def _rejected(model: nn.Module, specs: Sequence[InputSpec], error: BaseException) -> InputError:
    explained = explain_failure(model, error)
    message = f"forward failed with the given inputs {' '.join(map(str, specs))}: {explained.words}"
    return InputError(message, location=explained.location, hint="correct --input, or leave it out to have inputs inferred")


def _exhausted(model: nn.Module, tried: list[tuple[Plan, BaseException]]) -> InputError:
    """Every guess failed: the first one that failed in each way, with how to say it."""
    reasons = [explain_failure(model, error) for _, error in tried]
    lines: dict[str, str] = {}
    for (plan, _), reason in zip(tried, reasons, strict=True):
        lines.setdefault(reason.words, f"  {plan.text or '(no arguments)'}: {reason.words}")
    shown = list(lines.values())[:REPORTED]
    parameters = inner_parameters(model)
    signature = ", ".join(map(str, parameters.values()))[:MAX_SIGNATURE]
    start = f"no inputs found for {type(model).__name__}.forward({signature})"
    some = f"{len(tried)} tried" if len(shown) == len(tried) else f"{len(tried)} tried, among them"
    return InputError(
        "\n".join([f"{start}; {some}:", *shown]),
        location=reasons[0].location,
        hint=f"say them, sizes joined by x, a dtype after a colon: {_example(tried[0][0], parameters)}",
        brief=f"{start}; {len(tried)} tried, first {tried[0][0].text or '(no arguments)'}: {reasons[0].short}",
    )


def _example(plan: Plan, parameters: Mapping[str, inspect.Parameter]) -> str:
    """A guess as the user would type it, by name where there are several arguments."""
    named = [(name, UNKNOWN if value is None else value) for name, value in zip(parameters, plan.positional, strict=False)]
    if len(named) == 1 and not plan.keyword:
        return f"--input {_quoted(str(InputSpec(named[0][1])))}"
    specs = [InputSpec(value, name) for name, value in (*named, *plan.keyword.items())]
    return " ".join(f"--input {_quoted(str(spec))}" for spec in specs) or "--input 2x3x224x224"


def _quoted(text: str) -> str:
    return f"'{text}'" if set(text) & set(" ()[]{}") else text
