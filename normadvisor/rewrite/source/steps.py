"""The calls that lead to the construction of a layer, innermost first, those between a class and its base included."""

from __future__ import annotations

import ast
import inspect
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any

from normadvisor.rewrite.source.callee import slot_of
from normadvisor.rewrite.source.place import FunctionNode, Refused, SourceFiles, SourceTree, WriteContext
from normadvisor.types import Location

__all__ = ["Step", "Steps"]


@dataclass(frozen=True)
class Step:
    """One call on the way to a layer. Its file is read when it is first asked for."""

    location: Location
    files: SourceFiles = field(compare=False, repr=False)

    @cached_property
    def tree(self) -> SourceTree:
        """The parsed file.

        Raises:
            Refused: it cannot be read.

        """
        return self.files.tree(self.location.path)

    @cached_property
    def call(self) -> ast.Call | None:
        """The call; ``None`` if what is evaluated here is no plain call: a decorator, an operator, a property."""
        return self.tree.call_at(self.location)

    @property
    def function(self) -> FunctionNode | None:
        """The function that makes the call."""
        return None if self.call is None else self.tree.function(self.call)


class Steps:
    """The steps of all layers of a model for one argument of them.

    The innermost step is the call that fills in the argument: ``nn.Conv2d(...)``, or ``super().__init__(...)`` in a class derived from
    a layer of torch, or the constructor of a class of the user's own that has this parameter.

    Args:
        context: the model.
        argument: the parameter's name; empty for the call that constructs the layer, whatever its arguments.

    """

    def __init__(self, context: WriteContext, argument: str = "") -> None:
        self._context = context
        self._argument = argument
        self._known: dict[str, tuple[Step, ...]] = {}

    def of(self, name: str) -> tuple[Step, ...]:
        """The steps of a layer, innermost first, never empty.

        Raises:
            Refused: it is not known where it is built.

        """
        if name not in self._known:
            inner = self._inside(type(self._context.module(name)))
            self._known[name] = (*inner, *(Step(frame.location, self._context.files) for frame in self._context.frames(name)))
        return self._known[name]

    def base(self, name: str) -> type[Any]:
        """The class whose constructor takes the argument at the innermost step."""
        return _base(type(self._context.module(name)), self._argument)

    def beginning_at(self, name: str) -> list[str]:
        """All modules whose innermost step is that of a layer, the layer itself included."""
        first = self.of(name)[0]
        if first.location == self._context.frames(name)[0].location:
            alike = list(self._context.made_at(first.location))
        else:
            kind = type(self._context.module(name))
            bases = {cls for cls in kind.__mro__ if not _is_of_torch(cls) and cls is not object}
            alike = [other for other, module in self._context.model.named_modules() if bases.intersection(type(module).__mro__)]
        return [other for other in alike if self._begins_with(other, first)]

    def _begins_with(self, name: str, step: Step) -> bool:
        try:
            return self.of(name)[0].location == step.location
        except Refused:
            return False

    def _inside(self, cls: type[Any]) -> tuple[Step, ...]:
        """The calls of a base's constructor between the class of a layer and the class that takes the argument."""
        base = _base(cls, self._argument)
        if not self._argument:
            return ()
        chain = [item for item in cls.__mro__[: cls.__mro__.index(base)] if "__init__" in vars(item)]
        return tuple(self._call_of_base(item) for item in reversed(chain))

    def _call_of_base(self, cls: type[Any]) -> Step:
        code = getattr(inspect.unwrap(vars(cls)["__init__"]), "__code__", None)
        if code is None:
            raise Refused(f"the constructor of `{cls.__name__}` is not written in Python")
        tree = self._context.files.tree(code.co_filename)
        functions = (node for node in ast.walk(tree.module.tree) if isinstance(node, ast.FunctionDef))
        found = [function for function in functions if _first_line(function) == code.co_firstlineno]
        calls = [node for node in ast.walk(found[0]) if _calls_base(node)] if len(found) == 1 else []
        if len(calls) != 1:
            raise Refused(f"`{cls.__name__}` in {code.co_filename} does not call the constructor of its base exactly once")
        return Step(tree.module.location(calls[0]), self._context.files)


def _base(cls: type[Any], argument: str) -> type[Any]:
    """The first class of torch among the bases; else the last one of the user's whose own constructor has the parameter."""
    of_torch: type[Any] = next((item for item in cls.__mro__ if _is_of_torch(item)), cls)
    if of_torch.__name__ != "Module":
        return of_torch
    taking = [item for item in cls.__mro__ if "__init__" in vars(item) and slot_of(item, argument) is not None]
    return taking[-1] if taking else cls


def _is_of_torch(cls: type[Any]) -> bool:
    return cls.__module__ == "torch" or cls.__module__.startswith("torch.")


def _first_line(node: ast.FunctionDef) -> int:
    return min([node.lineno, *(item.lineno for item in node.decorator_list)])


def _calls_base(node: ast.AST) -> bool:
    return isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute) and node.func.attr == "__init__"
