"""What is exchanged while a forward is traced: questions that Python and torch would ask the stand-ins in a way they cannot answer."""

from __future__ import annotations

import builtins
import inspect
import math
import sys
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from functools import wraps
from typing import Any
from unittest.mock import patch

import torch
from torch import nn

from normadvisor.graph.frames import is_user_file
from normadvisor.optimization.forward.traced import Traced
from normadvisor.optimization.forward.tracer import Tracer

__all__ = ["patched"]

_FACTORIES = (
    "arange", "zeros", "ones", "full", "empty", "eye", "rand", "randn", "randint", "randperm", "linspace", "logspace", "tensor",
    "as_tensor", "tril_indices", "triu_indices", "scalar_tensor",
)  # fmt: skip
"""Functions that make tensors of numbers: they cannot be given stand-ins, and what they make is no parameter."""
_OF_NUMBERS = ("sqrt", "log", "log2", "log10", "exp", "pow", "floor", "ceil", "isqrt", "cos", "sin", "tanh", "prod")
_STATES: tuple[tuple[Any, str, str], ...] = (
    (torch, "is_grad_enabled", "torch.is_grad_enabled()"),
    (torch, "is_inference_mode_enabled", "torch.is_inference_mode_enabled()"),
    (torch.jit, "is_tracing", "torch.jit.is_tracing()"),
    (torch.compiler, "is_compiling", "torch.compiler.is_compiling()"),
    (torch.compiler, "is_dynamo_compiling", "torch.compiler.is_dynamo_compiling()"),
    (torch, "get_default_dtype", "torch.get_default_dtype()"),
    (torch.distributed, "is_initialized", "torch.distributed.is_initialized()"),
    (torch.onnx, "is_in_onnx_export", "torch.onnx.is_in_onnx_export()"),
)
"""Questions about the state of torch; a forward that asks them is only as traced while the answers stay the same."""


@contextmanager
def patched(tracer: Tracer) -> Iterator[None]:
    """Modules, factories and questions lead to ``tracer``; everything is as it was afterwards."""
    with torch.device("cpu"):
        # The first call in such a block makes torch look its factories up, once for the whole process: it has to find its own.
        torch.empty(0)
    with ExitStack() as stack:
        _patch_modules(tracer, stack)
        for name in _FACTORIES:
            stack.enter_context(patch.object(torch, name, _function(tracer, getattr(torch, name), always=True)))
        for name in ("finfo", "iinfo"):
            stack.enter_context(patch.object(torch, name, _function(tracer, getattr(torch, name))))
        for name in _OF_NUMBERS:
            stack.enter_context(patch.object(math, name, _function(tracer, getattr(math, name))))
        for home, name, text in _STATES:
            stack.enter_context(patch.object(home, name, _question(tracer, getattr(home, name), text)))
        if torch.is_autocast_enabled.__module__:
            asked = _question(tracer, torch.is_autocast_enabled, "torch.is_autocast_enabled({})")
            stack.enter_context(patch.object(torch, "is_autocast_enabled", asked))
        stack.enter_context(patch.object(torch.autograd.Function, "apply", classmethod(_applied(tracer))))
        for context in (torch.no_grad, torch.enable_grad, torch.inference_mode, torch.autocast):
            stack.enter_context(patch.object(context, "__enter__", _entered(tracer, context.__enter__)))
        stack.enter_context(patch.object(builtins, "isinstance", _isinstance(tracer, builtins.isinstance)))
        yield


def _patch_modules(tracer: Tracer, stack: ExitStack) -> None:
    original, read, write = nn.Module.__call__, nn.Module.__getattr__, nn.Module.__setattr__

    def call(module: nn.Module, *args: Any, **kwargs: Any) -> Any:
        return original(module, *args, **kwargs) if tracer.quiet else tracer.child(module, args, kwargs)

    def get(module: nn.Module, name: str) -> Any:
        return tracer.held(module, name, object.__getattribute__(module, name))

    def get_held(module: nn.Module, name: str) -> Any:
        try:
            return tracer.held(module, name, read(module, name))
        except AttributeError:
            tracer.absent(module, name)
            raise

    def put(module: nn.Module, name: str, value: Any) -> None:
        if tracer.owns(module):
            tracer.refuse(f"writes {name} of a {type(module).__name__} while it runs")
        write(module, name, value)

    def members(module: nn.Module, *args: Any, **kwargs: Any) -> Iterator[tuple[str, Any]]:
        for name, value in listed(module, *args, **kwargs):
            owner, _, own = name.rpartition(".")
            yield name, value if tracer.quiet else tracer.held(module.get_submodule(owner), own, value)

    listed: Any = nn.Module._named_members  # noqa: SLF001 -- what parameters() and buffers() are made of
    exchanged = {"_named_members": members, "__call__": call, "__getattribute__": get, "__getattr__": get_held, "__setattr__": put}
    for name, function in exchanged.items():
        stack.enter_context(patch.object(nn.Module, name, function))


def _has_traced(value: Any) -> bool:
    if type(value) in {tuple, list}:
        return any(_has_traced(item) for item in value)
    return type(value) is Traced


def _function(tracer: Tracer, original: Callable[..., Any], *, always: bool = False) -> Callable[..., Any]:
    def function(*args: Any, **kwargs: Any) -> Any:
        if not tracer.quiet and (always or _has_traced(args) or _has_traced(tuple(kwargs.values()))):
            return tracer.call("call_function", original, args, kwargs)
        return original(*args, **kwargs)

    return function


def _question(tracer: Tracer, original: Callable[..., Any], text: str) -> Callable[..., Any]:
    @wraps(original)
    def function(*args: Any) -> Any:
        answer = original(*args)
        if not tracer.quiet:
            asked = text.format(", ".join(repr(argument) for argument in args))
            if isinstance(answer, torch.dtype):
                tracer.guards.add(f"{asked} is {answer!r}")
            else:
                tracer.guards.add(asked if answer else f"not {asked}")
        return answer

    return function


def _entered(tracer: Tracer, original: Callable[[Any], Any]) -> Callable[[Any], Any]:
    def enter(context: Any) -> Any:
        if not tracer.quiet:
            tracer.refuse(f"does a part of its work under {type(context).__name__}, which no graph can hold")
        return original(context)

    return enter


def _applied(tracer: Tracer) -> Callable[..., Any]:
    original = inspect.getattr_static(torch.autograd.Function, "apply")

    def apply(cls: type, *args: Any, **kwargs: Any) -> Any:
        if not tracer.quiet:
            tracer.refuse(f"calls {cls.__name__}, which has a backward of its own")
        return original.__get__(None, cls)(*args, **kwargs)

    return apply


def _isinstance(tracer: Tracer, original: Callable[[Any, Any], bool]) -> Callable[[Any, Any], bool]:
    module_class = nn.Module

    def check(value: Any, kinds: Any) -> bool:
        answer = original(value, kinds) or (type(value) is Traced and original(value._value, kinds))  # noqa: SLF001
        if original(value, module_class) and not tracer.quiet and is_user_file(sys._getframe(1).f_code.co_filename):  # noqa: SLF001
            tracer.guards.of_class(tracer.place_of(value), kinds, is_one=answer)
        return answer

    return check
