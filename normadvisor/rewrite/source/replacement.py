"""Another layer built in the place of some: the class that a call names, and the arguments that it gives."""

from __future__ import annotations

import ast
import importlib
import inspect
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from normadvisor.rewrite.source.arguments import Item, Text, cst_call, differences, literal, rebuilt
from normadvisor.rewrite.source.callee import given, is_bound, slot_in, slot_of
from normadvisor.rewrite.source.imports import name_for
from normadvisor.rewrite.source.neighbour import width_in_front
from normadvisor.rewrite.source.place import Refused, SourceTree, WriteContext, place_of
from normadvisor.rewrite.source.steps import Step, Steps
from normadvisor.rewrite.source.unpacked import unpacked
from normadvisor.types import Edit
from normadvisor.types.operation import Operation

__all__ = ["WIDTHS", "Replacement"]

WIDTHS = frozenset({"num_features", "num_channels", "normalized_shape"})
"""Parameters that hold the number of channels, under the names that norms give it."""
_ALIKE = ({"affine", "elementwise_affine"}, set(WIDTHS))
"""Parameters of different classes that mean the same."""
_OWN_WIDTHS = WIDTHS | {
    "channels", "ch", "c", "dim", "dims", "embed_dim", "embedding_dim", "features", "feature_dim", "d_model", "hidden", "hidden_dim",
    "hidden_size", "in_channels", "n_channels", "n_embd", "n_features", "n_out", "ndim", "nf", "num_filters", "out_channels", "planes",
    "size", "width",
}  # fmt: skip
"""Names that hand-written norms give to the number of channels."""
_CARRIED = ("device", "dtype")
"""Arguments that say where a layer lives rather than what it is."""


@dataclass(frozen=True, slots=True)
class NewArgument:
    """An argument of the new layer."""

    name: str
    is_required: bool
    kept: ast.expr | None
    """The argument of the old call, whose text stays; else :attr:`text`."""
    text: str = ""


def class_of(dotted: str) -> type[Any]:
    """The class of a dotted name.

    Raises:
        Refused: it cannot be imported.

    """
    module, _, name = dotted.rpartition(".")
    try:
        found = getattr(importlib.import_module(module), name)
    except (ImportError, AttributeError, ValueError) as error:
        raise Refused(f"{dotted} cannot be imported") from error
    if not isinstance(found, type):
        raise Refused(f"{dotted} is no class")
    return found


def parameters_of(cls: type[Any]) -> list[inspect.Parameter]:
    """What the constructor of a class takes, ``self`` and what it collects aside."""
    found = inspect.signature(cls).parameters.values()
    return [item for item in found if item.kind not in {item.VAR_POSITIONAL, item.VAR_KEYWORD}]


class Replacement:
    """What some layers, built by one call, are built with instead.

    Args:
        context: the model.
        operations: what to do with each of the layers that the call builds.

    """

    def __init__(self, context: WriteContext, operations: Sequence[Operation]) -> None:
        self._context = context
        self._operations = {operation.part.module: operation for operation in operations}
        kinds = {operation.layer for operation in operations}
        if len(kinds) > 1:
            raise Refused(f"{self._place()} builds layers that are replaced by different ones: {', '.join(sorted(kinds))}")
        self.layer = kinds.pop()
        self.cls = class_of(self.layer)
        for name in self._operations:
            _check_plain(name, context.module(name), self.cls)

    @property
    def names(self) -> list[str]:
        """The layers."""
        return list(self._operations)

    def _place(self) -> str:
        return place_of(self._context.frames(next(iter(self._operations)))[0].location)

    def arguments(self, step: Step, *, here: bool = False) -> list[NewArgument]:
        """The arguments that the call has to give, in the order of the new constructor.

        Args:
            step: the call.
            here: whether the arguments are written there, so that they may read variables.

        Raises:
            Refused: the layers disagree about one, or one is not known.

        """
        found: list[NewArgument] = []
        parameters = parameters_of(self.cls)
        known = {item.name for item in parameters}
        unknown = [name for operation in self._operations.values() for name in operation.arguments if name not in known]
        if unknown:
            raise Refused(f"{self.layer} takes no argument `{unknown[0]}`")
        for parameter in parameters:
            argument = self._argument(parameter, step, here=here)
            if argument is not None:
                found.append(argument)
        return found

    def _argument(self, parameter: inspect.Parameter, step: Step, *, here: bool) -> NewArgument | None:
        values = [self._value(name, parameter) for name in self._operations]
        required = parameter.default is parameter.empty
        if required and any(value is parameter.empty for value in values):
            raise Refused(f"it is not known what `{parameter.name}` of {self.layer} should be")
        expression = self._old_text(parameter.name, step, values)
        width = None
        if here and parameter.name in WIDTHS and (expression is None or isinstance(expression, ast.Constant)):
            width = width_in_front(self._context, dict(zip(self.names, values, strict=True)))
        if width is not None:
            return NewArgument(parameter.name, required, None, width)
        if expression is not None:
            return NewArgument(parameter.name, required, expression)
        if parameter.name in _CARRIED or all(_equal(value, parameter.default) for value in values):
            return None
        if any(not _equal(value, values[0]) for value in values):
            shown = " and ".join(dict.fromkeys(literal(value) for value in values[:8]))
            raise Refused(f"the layers built at {place_of(step.location)} need different values of `{parameter.name}`: {shown}")
        return NewArgument(parameter.name, required, None, literal(values[0]))

    def _value(self, name: str, parameter: inspect.Parameter) -> Any:
        """What an argument of one layer is to be."""
        return self._operations[name].arguments.get(parameter.name, parameter.default)

    def _old_text(self, name: str, step: Step, values: Sequence[Any]) -> ast.expr | None:
        """The argument of the old call that has the value of a new one for every layer; ``None`` if there is none."""
        if step.call is None:
            return None
        for role in _roles(name):
            expressions = {self._source(role, layer, step) for layer in self._operations}
            expression = expressions.pop()
            if expressions or expression is None:
                continue
            if name in _CARRIED:
                return expression
            olds = [getattr(self._context.module(layer), role, inspect.Parameter.empty) for layer in self._operations]
            if all(_equal(old, value) for old, value in zip(olds, values, strict=True)):
                return expression
            if isinstance(expression, ast.Tuple | ast.List):
                return _element(expression, olds, values)
        return self._own_width(step, values) if name in WIDTHS else None

    def _source(self, role: str, layer: str, step: Step) -> ast.expr | None:
        """The argument of the call that a parameter of torch's class comes from, through constructors of derived classes."""
        steps = Steps(self._context, role)
        slot = slot_of(steps.base(layer), role)
        for inner in steps.of(layer):
            if slot is None or inner.call is None:
                return None
            found = given(inner.call, slot)
            if inner.call is step.call:
                return found.value
            function = inner.function
            if not isinstance(found.value, ast.Name) or function is None:
                return None
            slot = slot_in(function, found.value.id, bound=is_bound(function, inner.tree))
        return None

    def _own_width(self, step: Step, values: Sequence[Any]) -> ast.expr | None:
        """The first argument of a hand-written norm, if its name says that it is the number of channels."""
        cls = type(self._context.module(self.names[0]))
        first = next(iter(parameters_of(cls)), None)
        if first is None or first.name not in _OWN_WIDTHS or step.call is None:
            return None
        slot = slot_of(cls, first.name)
        found = None if slot is None else given(step.call, slot).value
        if isinstance(found, ast.Constant) and any(found.value != value for value in values):
            return None
        return found if found is None or not isinstance(found, ast.Tuple | ast.List) else None

    def in_place(self, step: Step) -> list[Edit]:
        """The edits that write the call anew."""
        call = _call(step)
        items = [self._item(argument, step) for argument in self.arguments(step, here=True)]
        items += [Item("", False, "", old) for old in self._unpacked(step, {item.name for item in items})]
        name, imports = name_for(self.layer, step.tree, call, like=call.func)
        return [*differences(step.tree, call, rebuilt(cst_call(step.tree, call), name, items)), *imports]

    def _item(self, argument: NewArgument, step: Step) -> Item:
        if argument.kept is None:
            return Item(argument.name, argument.is_required, argument.text)
        values = _in_order(_call(step))
        old = next((index for index, value in enumerate(values) if value is argument.kept), None)
        return Item(argument.name, argument.is_required, step.tree.module.segment(argument.kept), old)

    def _unpacked(self, step: Step, given_now: set[str]) -> list[int]:
        """Which arguments of the old call are ``**`` that the new one takes as well.

        Raises:
            Refused: nobody can tell what is in there.

        """
        found: list[int] = []
        call = _call(step)
        known = {item.name for item in parameters_of(self.cls)} - given_now
        named = {keyword.value for keyword in call.keywords if keyword.arg is None}
        for index, value in enumerate(_in_order(call)):
            if isinstance(value, ast.Starred):
                raise Refused(f"the call at {place_of(step.location)} unpacks its arguments")
            if value in named:
                entries = unpacked(step.tree, value)
                if entries is None or not known.issuperset(entries.entries) or not set(_CARRIED).issuperset(entries.entries):
                    raise Refused(f"nobody can tell what the call at {place_of(step.location)} unpacks")
                found.append(index)
        return found

    def as_class(self, step: Step) -> Text:
        """What to hand over as the class: the class itself, or ``partial`` with the arguments that the call does not give.

        Raises:
            Refused: the call gives arguments that the new class does not take like this.

        """
        call = _call(step)
        arguments = self.arguments(step)
        before = [item for item in arguments if item.is_required and item.kept is None]
        kept = [item for item in arguments if item.kept is not None]
        order = [item.name for item in parameters_of(self.cls) if item.kind is not item.KEYWORD_ONLY]
        positions = {index: next((item.name for item in kept if item.kept is value), None) for index, value in enumerate(call.args)}
        names = {keyword.arg: next((item.name for item in kept if item.kept is keyword.value), None) for keyword in call.keywords}
        fits = order[: len(before)] == [item.name for item in before] and all(
            order[len(before) + index : len(before) + index + 1] == [name] for index, name in positions.items()
        )
        if not fits or any(name != own for name, own in names.items()):
            raise Refused(f"the call at {place_of(step.location)} does not give its arguments as {self.layer} takes them")
        bound = [item.text if item.is_required else f"{item.name}={item.text}" for item in arguments if item.kept is None]

        def text(tree: SourceTree, at: ast.AST) -> tuple[str, list[Edit]]:
            like = at if isinstance(at, ast.Name | ast.Attribute) else None
            name, imports = name_for(self.layer, tree, at, like=like)
            if not bound:
                return name, imports
            partial, more = name_for("functools.partial", tree, at)
            return f"{partial}({', '.join([name, *bound])})", [*imports, *more]

        return text


def _call(step: Step) -> ast.Call:
    if step.call is None:
        raise Refused(f"what is evaluated at {place_of(step.location)} is not a plain call")
    return step.call


def _in_order(call: ast.Call) -> list[ast.expr]:
    """The arguments of a call as they are written one after the other."""
    values: list[ast.expr] = [*call.args, *(keyword.value for keyword in call.keywords)]
    return sorted(values, key=lambda value: (value.lineno, value.col_offset))


def _roles(name: str) -> list[str]:
    """A parameter's name, and what other classes call it."""
    return [name, *(other for alike in _ALIKE if name in alike for other in sorted(alike - {name}))]


def _equal(old: Any, new: Any) -> bool:
    """Whether two values of an argument mean the same; sizes may be numbers, lists or tuples of one number."""
    if isinstance(old, list | tuple) or isinstance(new, list | tuple):
        first = list(old) if isinstance(old, list | tuple) else [old]
        return first == (list(new) if isinstance(new, list | tuple) else [new])
    return (type(old) in {int, float} and type(new) in {int, float} and old == new) or (type(old) is type(new) and old == new)


def _element(expression: ast.Tuple | ast.List, olds: Sequence[Any], values: Sequence[Any]) -> ast.expr | None:
    """The element of a shape that has the value for every layer."""
    for index, item in enumerate(expression.elts):
        sized = [old[index] if isinstance(old, list | tuple) and len(old) == len(expression.elts) else None for old in olds]
        if not isinstance(item, ast.Starred) and all(size == value for size, value in zip(sized, values, strict=True)):
            return item
    return None


def _check_plain(name: str, module: Any, new: type[Any]) -> None:
    """Check that a layer does no more than the layer of torch that it derives from.

    Raises:
        Refused: its ``forward`` is its own.

    """
    cls: Any = type(module)
    of_torch: Any = next((item for item in cls.__mro__ if item.__module__.startswith("torch.")), None)
    if of_torch is None or of_torch.__name__ == "Module" or issubclass(cls, new):
        return
    if cls.forward is not of_torch.forward:
        raise Refused(f"`{name}` is a `{cls.__name__}`, which does more than the `{of_torch.__name__}` it derives from")
