"""Build a model without its weights, remembering where each module was constructed. Runs the target's code."""

from __future__ import annotations

import difflib
import inspect
import sys
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from normadvisor.errors import NormAdvisorError, TargetError
from normadvisor.targets.load import Loaded, call_text, is_module, is_module_class, signature_of, translate_errors
from normadvisor.targets.memory import Memory, building_in
from normadvisor.targets.offline import offline
from normadvisor.targets.pretrained import config_call
from normadvisor.types import Site

if TYPE_CHECKING:
    from collections.abc import Callable

    import torch

__all__ = ["Built", "build", "build_real"]


@dataclass(slots=True)
class Built:
    """A model in train mode.

    ``sites`` maps qualified module names (``""`` is the model) to where they were constructed; ``on_meta`` says that no
    parameter has memory; ``notes`` are for the reader.
    """

    model: torch.nn.Module
    sites: dict[str, Site]
    defined_at: Site | None
    on_meta: bool
    notes: list[str] = field(default_factory=list)


def build(loaded: Loaded) -> Built:
    """Build what was loaded: call a class or factory with the target's literals, or take an instance as it is.

    The model is built on the meta device. When its constructor reads values, it is built again with parameters moved to the
    meta device as they are registered, and at last in real memory.

    Raises:
        TargetError: arguments are missing or wrong, the constructor failed, or what it returned is not a ``torch.nn.Module``.

    """
    call = _call_of(loaded)
    if call is None:
        return _finish(loaded, loaded.obj, None, [])
    first: BaseException | None = None
    for memory in Memory:
        try:
            model, skipped = _attempt(loaded, call, memory)
        except KeyboardInterrupt:
            raise
        except NormAdvisorError:
            raise
        except (ImportError, SystemExit) as error:
            with translate_errors(loaded.target, "building"):
                raise error from None
        except BaseException as error:  # the target's code may raise anything; the next way may do better
            first = first or error
            if memory is Memory.REAL:
                with translate_errors(loaded.target, "building"):
                    if isinstance(error, MemoryError) or "allocate memory" in str(error):
                        raise _too_large(loaded, first) from error
                    raise
        else:
            return _finish(loaded, model, memory, skipped)
    raise AssertionError


def build_real(loaded: Loaded, *, seed: int) -> Built:
    """Build what was loaded with weights as its code draws them, on the device that its code says; or take an instance as it is.

    Args:
        loaded: a class, a factory or an instance; its file was imported in real memory.
        seed: of the random numbers that weights are drawn from.

    Raises:
        TargetError: the constructor failed, what it returned is not a ``torch.nn.Module``, or the weights have no values.

    """
    call = _call_of(loaded)
    with translate_errors(loaded.target, "building"):
        if call is None:
            built = _finish(loaded, loaded.obj, None, [])
        else:
            _set_seeds(seed)
            with offline() as skipped, loaded.recorder.recording():
                model = call()
            built = _finish(loaded, model, None, skipped)
    if any(tensor.is_meta for tensor in (*built.model.parameters(), *built.model.buffers())):
        where = loaded.defined_at.location if loaded.defined_at else None
        message = f"weights of {loaded.target} are on the meta device, where they have no values"
        raise TargetError(message, location=where, hint="build it in real memory")
    return built


def _set_seeds(seed: int) -> None:
    import random

    import torch

    random.seed(seed)
    torch.manual_seed(seed)
    if (numpy := sys.modules.get("numpy")) is not None:
        numpy.random.seed(seed % 2**32)


def _attempt(loaded: Loaded, call: Callable[[], Any], memory: Memory) -> tuple[Any, list[str]]:
    import torch

    dtype = torch.get_default_dtype()
    try:
        with offline() as skipped, building_in(memory), loaded.recorder.recording():
            model = call()
            if memory is Memory.LIGHT and is_module(model):
                model = model.to("meta")
            return model, skipped
    finally:
        torch.set_default_dtype(dtype)


def _finish(loaded: Loaded, model: Any, memory: Memory | None, skipped: list[str]) -> Built:
    if not is_module(model):
        what = f"{loaded.target.name}(...) returned {_describe(model)}" if memory else f"{loaded.target.name} is {_describe(model)}"
        where = loaded.defined_at.location if loaded.defined_at else None
        raise TargetError(f"{what}, not a torch.nn.Module", location=where, hint=_other_module(model))
    sites = loaded.recorder.collect(model)
    with translate_errors(loaded.target, "building"):
        model.train()
    tensors = [*model.parameters(), *model.buffers()]
    on_meta = all(tensor.is_meta for tensor in tensors)
    notes = list(loaded.notes)
    if memory is Memory.REAL:
        notes.append("built in real memory, because its constructor reads values of its tensors")
    if skipped:
        notes.append(f"pretrained weights were left out ({len(skipped)} download{'s' if len(skipped) > 1 else ''} not made)")
    return Built(model, sites, loaded.defined_at, on_meta, notes)


def _describe(value: object) -> str:
    if isinstance(value, tuple | list):
        return f"a {type(value).__name__} of {len(value)} ({', '.join(type(item).__name__ for item in value[:4])})"
    return "None" if value is None else f"a value of type {type(value).__name__}"


def _other_module(value: object) -> str | None:
    if isinstance(value, tuple | list | dict):
        return "write a factory function that returns one of them, and name it"
    return None


def _too_large(loaded: Loaded, first: BaseException) -> TargetError:
    words = (str(first).strip().splitlines() or [type(first).__name__])[0][:200]
    message = f"{loaded.target} has to be built in real memory, because building reads values of its tensors ({words}), and does not fit"
    where = loaded.defined_at.location if loaded.defined_at else None
    return TargetError(message, location=where, hint="raise the limit with --memory, or name a smaller configuration")


def _call_of(loaded: Loaded) -> Callable[[], Any] | None:
    """The call that builds the model, its arguments checked; ``None`` when the model exists already."""
    target, obj = loaded.target, loaded.obj
    if is_module(obj) and not target.called:
        return None
    from_config = config_call(obj, target.args, dict(target.kwargs))
    if from_config is not None:
        return from_config
    if inspect.isclass(obj) and not is_module_class(obj):
        where = loaded.defined_at.location if loaded.defined_at else None
        message = f"{target.name} is a class, but not a subclass of torch.nn.Module"
        raise TargetError(message, location=where, hint=f"name the model that {target.name} holds, or a function that returns it")
    if is_module(obj):
        message = f"{target.name} is a built module and is not called with arguments"
        raise TargetError(message, hint=f"name it without parentheses: {target.text.partition('(')[0]}")
    _check_arguments(loaded)
    args, kwargs = target.args, dict(target.kwargs)
    return lambda: obj(*args, **kwargs)


def _check_arguments(loaded: Loaded) -> None:
    target = loaded.target
    signature = signature_of(loaded.obj)
    if signature is None:
        return
    try:
        signature.bind(*target.args, **target.kwargs)
    except TypeError as error:
        where = loaded.defined_at.location if loaded.defined_at else None
        kinds = (inspect.Parameter.VAR_POSITIONAL, inspect.Parameter.VAR_KEYWORD)
        unknown = [name for name in target.kwargs if name not in signature.parameters]
        if unknown and not any(p.kind is p.VAR_KEYWORD for p in signature.parameters.values()):
            near = difflib.get_close_matches(unknown[0], [name for name in signature.parameters if name not in target.kwargs], n=1)
            hint = f"did you mean {near[0]}={target.kwargs[unknown[0]]!r}?" if near else f"it takes {target.name}{signature}"
            raise TargetError(f"{target.name} has no argument {unknown[0]!r}", location=where, hint=hint) from error
        named = {name: value for name, value in target.kwargs.items() if name in signature.parameters}
        try:
            bound = signature.bind_partial(*_as_many(target.args, signature), **named)
        except TypeError:  # one argument both by position and by name
            raise TargetError(f"{target.name}{signature} cannot be called like this: {error}", location=where) from error
        missing = [
            name
            for name, p in signature.parameters.items()
            if p.default is p.empty and p.kind not in kinds and name not in bound.arguments
        ]
        if missing:
            names = ", ".join(missing)
            message = f"{target.name} cannot be built without {'the argument' if len(missing) == 1 else 'the arguments'} {names}"
            hint = f"say {call_text(target, missing)}, or write a function without arguments that builds it"
            raise TargetError(message, location=where, hint=hint) from error
        message = f"{target.name}{signature} cannot be called like this: {error}"
        raise TargetError(message, location=where) from error


def _as_many(args: tuple[Any, ...], signature: inspect.Signature) -> tuple[Any, ...]:
    kinds = (inspect.Parameter.POSITIONAL_ONLY, inspect.Parameter.POSITIONAL_OR_KEYWORD)
    return args[: sum(parameter.kind in kinds for parameter in signature.parameters.values())]
