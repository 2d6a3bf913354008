"""Follows the functions that a forward calls, and notes what they read from outside of the module: globals, classes, closures."""

from __future__ import annotations

import ast
import gc
import os
import random
import sys
import time
from collections.abc import Callable
from contextlib import ExitStack
from types import FrameType, ModuleType
from typing import TYPE_CHECKING, Any, Self
from unittest.mock import patch

import torch

from normadvisor.graph.frames import is_user_file
from normadvisor.optimization.forward.guards import is_plain, written
from normadvisor.optimization.forward.reading import Chain, Question, module_of, reads_of, rebinds
from normadvisor.optimization.forward.rendering import rendered
from normadvisor.optimization.forward.traced import Traced
from normadvisor.optimization.forward.watching import CODE, Watch, class_attribute

if TYPE_CHECKING:
    from torch import fx

    from normadvisor.optimization.forward.tracer import Tracer

__all__ = ["OURS", "Outside"]

OURS = "<forward of "
"""How the names of files of forwards begin that this package has written."""
_CLOCKS = ("time", "perf_counter", "monotonic", "time_ns", "perf_counter_ns", "monotonic_ns")
_COMPARED: dict[type[ast.cmpop], Callable[[Any, Any], Any]] = {
    ast.Is: lambda left, right: left is right,
    ast.IsNot: lambda left, right: left is not right,
    ast.Eq: lambda left, right: left == right,
    ast.NotEq: lambda left, right: left != right,
    ast.In: lambda left, right: left in right,
    ast.NotIn: lambda left, right: left not in right,
}


class Outside:
    """At work while one forward is traced."""

    def __init__(self, tracer: Tracer, watch: Watch) -> None:
        self._tracer, self._watch = tracer, watch
        self._drawn: tuple[Any, ...] = ()
        self._known: set[tuple[int, int]] = set()
        """Codes whose globals have been looked at, with the globals."""
        self._stack = ExitStack()

    def __enter__(self) -> Self:
        """Begin."""
        if gc.isenabled():  # what it calls is no part of the forward: callbacks of others, and whatever objects do when they go
            self._stack.callback(gc.enable)
            gc.disable()
        self._drawn = _random_states()
        self._stack.enter_context(self._watch)
        for name in _CLOCKS:
            self._stack.enter_context(patch.object(time, name, self._refusing(getattr(time, name), "asks what time it is")))
        environment: Any = type(os.environ)
        read = self._refusing(environment.__getitem__, "reads variables of the environment")
        self._stack.enter_context(patch.object(environment, "__getitem__", read))
        self._stack.callback(sys.settrace, sys.gettrace())
        sys.settrace(self._called)
        return self

    def __exit__(self, *_: object) -> None:
        """All is as it was."""
        self._stack.close()

    def settle(self) -> None:
        """Refuse what only shows once the forward has run."""
        self._watch.settle()
        if _random_states() != self._drawn:
            self._tracer.refuse("draws random numbers from Python or numpy")

    def _refusing(self, original: Any, why: str) -> Any:
        def function(*args: Any) -> Any:
            if not self._tracer.quiet and any(is_user_file(_caller(depth)) for depth in (1, 2, 3)):
                self._tracer.refuse(why)
            return original(*args)

        return function

    # -- functions -----------------------------------------------------------------------------------------------------------

    def _called(self, frame: FrameType, event: str, _: Any) -> Any:
        code = frame.f_code
        if event != "call" or self._tracer.quiet or not (is_user_file(code.co_filename) or code.co_filename.startswith(OURS)):
            return None
        reads = reads_of(code)
        if reads.writes:
            self._tracer.refuse(f"may write {reads.writes[0]}, which is global, while it runs")
        if (id(code), id(frame.f_globals)) not in self._known:
            self._known.add((id(code), id(frame.f_globals)))
            for chain in reads.chains:
                self._follow(chain, frame)
        for name, attribute in reads.of_classes:
            self._of_class(frame.f_locals.get(name), attribute)
        self._closure(frame)
        if not reads.questions:
            return None
        frame.f_trace = self._stepped  # before it is asked for instructions: Python 3.13 asks for them where there is somebody to tell
        frame.f_trace_opcodes = True
        return self._stepped

    def _stepped(self, frame: FrameType, event: str, _: Any) -> Any:
        if event == "opcode" and not self._tracer.quiet:
            question = reads_of(frame.f_code).questions.get(frame.f_lasti)
            if question is not None:
                self._ask(question, frame)
        return self._stepped

    # -- globals -------------------------------------------------------------------------------------------------------------

    def _follow(self, chain: Chain, frame: FrameType) -> None:
        """What a global name and the attributes behind it stand for, which has to stay."""
        value, place = self._root(chain, frame)
        for attribute in chain.attributes:
            if isinstance(value, ModuleType):
                if attribute not in vars(value) or not is_user_file(getattr(value, "__file__", None) or ""):
                    return
                value, place = vars(value)[attribute], f"{self._tracer.guards.name(value)}.{attribute}"
            elif isinstance(value, type):
                found = class_attribute(value, attribute)
                if found is None or str(value.__module__).startswith("torch."):
                    return
                value, place = found[0], f"{self._tracer.guards.name(value)}.{attribute}"
            else:
                break
        if place and not isinstance(value, (*CODE, torch.Tensor)):
            self._watch.value(value, place)

    def _of_class(self, holder: Any, attribute: str) -> None:
        """What ``type(self).attribute`` is, which has to stay."""
        place = self._tracer.place_of(holder)
        found = class_attribute(type(holder), attribute)
        if place is not None and found is not None:
            self._watch.value(found[0], f"type({place}).{attribute}")

    def _root(self, chain: Chain, frame: FrameType) -> tuple[Any, str]:
        space, guards = frame.f_globals, self._tracer.guards
        if chain.imported:
            try:
                return sys.modules.get(module_of(chain, space.get("__package__"))), ""
            except (ImportError, TypeError):
                return None, ""
        value = space.get(chain.name)
        if value is None and chain.name not in space:
            return None, ""  # a builtin
        if isinstance(value, CODE) or chain.name.startswith("__"):
            return value, ""
        if frame.f_code.co_filename.startswith(OURS):
            return value, "" if is_plain(value) else guards.name(value)
        module = sys.modules.get(space.get("__name__", ""))
        if module is None or vars(module) is not space:
            return value, f"{guards.name(space)}[{chain.name!r}]"
        return value, f"{guards.name(module)}.{chain.name}"

    def _closure(self, frame: FrameType) -> None:
        """Names of functions around a function: what they stand for stays, but if a function binds them anew, or changes what they name."""
        code = frame.f_code
        for name in code.co_freevars:
            value = frame.f_locals.get(name)
            if name == "__class__" or isinstance(value, (*CODE, Traced, torch.Tensor)) or self._is_local(name, frame):
                continue
            if rebinds(code.co_filename, name):
                self._tracer.refuse(f"reads {name}, which another function may bind anew")
            if not is_plain(value) and value is not None:
                self._watch.value(value, self._tracer.guards.name(value))

    def _is_local(self, name: str, frame: FrameType) -> bool:
        """Whether a name belongs to a function that the forward has called, or is the forward itself."""
        above = frame.f_back
        while above is not None and above is not self._tracer.until:
            if name in above.f_code.co_cellvars:
                return True
            above = above.f_back
        return False

    # -- comparisons ---------------------------------------------------------------------------------------------------------

    def _ask(self, question: Question, frame: FrameType) -> None:
        """Refuse where a comparison of stand-ins comes out otherwise than that of values, else demand that it comes out the same."""
        if question.operator is None or question.left is None or question.right is None:
            self._tracer.refuse("compares by identity what it computes")
        before = len(self._tracer.graph.nodes)
        try:
            self._compare(question.operator, (question.left, question.right), frame)
        finally:
            self._tracer.forget(before)

    def _compare(self, operator: ast.cmpop, operands: tuple[ast.expr, ast.expr], frame: FrameType) -> None:
        seen, real = zip(*(self._operand(operand, frame) for operand in operands), strict=True)
        compared = _COMPARED[type(operator)]
        stand_ins = [each for each in seen if _is_traced(each)]
        if not stand_ins:
            return
        if bool(compared(*seen)) != bool(compared(*real)):
            self._tracer.refuse(f"asks {ast.unparse(ast.Compare(operands[0], [operator], [operands[1]]))}")
        if all(isinstance(each, Traced) for each in stand_ins):
            self._demand(operator, seen, real)

    def _operand(self, operand: ast.expr, frame: FrameType) -> tuple[Any, Any]:
        """What an operand is while the forward is traced, and what it would be."""
        is_type = isinstance(operand, ast.Call)
        inner = operand.args[0] if isinstance(operand, ast.Call) else operand
        code = compile(ast.Expression(inner), "<operand>", "eval")
        value = eval(code, frame.f_globals, frame.f_locals)  # noqa: S307 -- an expression of the model's own code
        real = value._value if isinstance(value, Traced) else value  # noqa: SLF001 -- of this package
        return (type(value), type(real)) if is_type else (value, real)

    def _demand(self, operator: ast.cmpop, seen: tuple[Any, Any], real: tuple[Any, Any]) -> None:
        texts: list[str | None] = []
        for each in seen:
            node: fx.Node | None = each._node if isinstance(each, Traced) else None  # noqa: SLF001 -- of this package
            known = written(each) if is_plain(each) else self._tracer.guards.name(each) if node is None else None
            texts.append(known if node is None else rendered(node, self._tracer.inputs))
        if None not in texts:
            word = "is" if isinstance(operator, ast.Is) else "is not"
            answer = _COMPARED[type(operator)](*real)
            self._tracer.guards.add(f"({texts[0]} {word} {texts[1]})" if answer else f"not ({texts[0]} {word} {texts[1]})")
        elif any(not isinstance(each, torch.Tensor) for each, node in zip(real, seen, strict=True) if isinstance(node, Traced)):
            self._tracer.refuse("compares by identity what it computes")


def _is_traced(value: Any) -> bool:
    return isinstance(value, Traced) or value is Traced


def _caller(depth: int) -> str:
    return sys._getframe(depth + 1).f_code.co_filename  # noqa: SLF001 -- the documented way to look at the caller


def _random_states() -> tuple[Any, ...]:
    """States of the generators of Python and numpy."""
    numpy = sys.modules.get("numpy.random")
    drawn = numpy.get_state(legacy=False)["state"] if numpy is not None else {}
    return random.getstate(), drawn.get("pos"), bytes(drawn["key"].data) if "key" in drawn else b""
