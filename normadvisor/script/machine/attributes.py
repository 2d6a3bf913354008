"""Attributes, definitions of functions, and iteration."""

from __future__ import annotations

import ast
from typing import TYPE_CHECKING

from normadvisor.script.machine.core import Defined, Frame
from normadvisor.script.machine.expressions import Expressions
from normadvisor.script.values import (
    NOTHING,
    Arguments,
    Bound,
    Choice,
    Class,
    Const,
    Context,
    Data,
    Extern,
    Function,
    ModuleValue,
    Partial,
    Place,
    Ref,
    Tuple,
    Value,
    choice,
    merged_data,
)

if TYPE_CHECKING:
    from normadvisor.script.project.classes import ClassInfo
    from normadvisor.script.state import State

__all__ = ["SUPER", "UNBOUND", "Attributes"]

SUPER = "super"
UNBOUND = "torch.nn.Module."
"""Beginning of the name of a method that is called with its object as first argument: ``nn.Module.train(self, mode)``."""
_THROUGH = frozenset(
    {"tqdm.tqdm", "tqdm.auto.tqdm", "tqdm.notebook.tqdm", "tqdm.std.tqdm", "tqdm.autonotebook.tqdm", "tqdm.contrib.tqdm"}
    | {"tqdm.tqdm_notebook", "tqdm", "rich.progress.track", "alive_progress.alive_it", "fastprogress.progress_bar"}
    | {"fastprogress.fastprogress.progress_bar", "fastprogress.master_bar", "progressbar.progressbar", "accelerate.skip_first_batches"}
    | {"more_itertools.peekable", "copy.copy", "iter", "reversed", "sorted", "list", "tuple", "set", "next", "random.sample"}
    | {"itertools.cycle", "itertools.islice", "itertools.tee"}
)
"""What gives the same elements again."""


class Attributes(Expressions):
    """Attributes, definitions, iteration."""

    def attribute(self, state: State, value: Value, name: str, place: Place) -> Value:
        """``value.name``."""
        if isinstance(value, Choice):
            return choice([self.attribute(state, member, name, place) for member in value.values if member != Const(None)])
        if isinstance(value, Extern):
            return Extern(f"{value.name}.{name}")
        if isinstance(value, ModuleValue):
            return self._module_attribute(state, value, name)
        if isinstance(value, Class):
            return self._class_attribute(state, value.info, name)
        if isinstance(value, Ref):
            found = self._object_attribute(state, value, name, place)
            if found is not None:
                return found
        result = self.library.attribute(self, state, value, name, place)
        if result is not None:
            return result
        if isinstance(value, Data):
            return merged_data([value])
        return Bound(value, name)

    def _module_attribute(self, state: State, value: ModuleValue, name: str) -> Value:
        environment = self._module_environments.get(id(value.module))
        if environment is not None and (known := state.names.get(environment, {}).get(name)) is not None:
            return known
        found = self.project.attribute(value.module, [name])
        return self.value_of(found, state, self.frame.module, name) if found is not None else NOTHING

    def _class_attribute(self, state: State, info: ClassInfo, name: str) -> Value:
        found = info.method(name)
        if found is not None:
            function = self.method_function(state, *found)
            if isinstance(function, Function) and function.kind == "class":
                return Partial(function, (Class(info),))
            return function
        member = info.member(name)
        if member is not None:
            return self.value_of(member, state, info.module, name)
        return Extern(f"{UNBOUND}{name}") if info.is_module else NOTHING

    def _object_attribute(self, state: State, ref: Ref, name: str, place: Place) -> Value | None:
        stored = state.get_field(ref.address, name)
        if stored is not None:
            return stored
        thing = self.things[ref.address]
        if thing.cls is None:
            return None
        found = thing.cls.method(name)
        if found is not None:
            function = self.method_function(state, *found)
            if isinstance(function, Function) and function.kind == "property":
                return self.merged(state, self.invoke(state, function, Arguments((ref,)), place))
            return Bound(ref, name)
        if thing.kind == "instance":
            member = thing.cls.member(name)
            if member is not None:
                return self._class_variable(state, thing.cls, name)
        return None

    def _class_variable(self, state: State, info: ClassInfo, name: str) -> Value:
        """A variable of a class body."""
        for owner in info.mro():
            for node in owner.node.body:
                targets = node.targets if isinstance(node, ast.Assign) else [node.target] if isinstance(node, ast.AnnAssign) else []
                if any(isinstance(target, ast.Name) and target.id == name for target in targets):
                    value = getattr(node, "value", None)
                    if value is None:
                        return NOTHING
                    expression: ast.expr = value
                    return self._in_module(state, owner.module, lambda: self.evaluate(expression, state))  # noqa: B023 - called here
        member = info.member(name)
        return self.value_of(member, state, info.module, name) if member is not None else NOTHING

    # --- definitions

    def method_function(self, state: State, info: ClassInfo, node: ast.FunctionDef | ast.AsyncFunctionDef) -> Value:
        """A method, decorators applied."""
        key = (id(node), None)
        known = self._functions.get(key)
        if known is not None:
            return known
        if self.frames and self.frame.module is info.module:
            return self.define(node, state, owner=info)
        self.frames.append(Frame(info.module, self.module_environment(state, info.module)))
        try:
            return self.define(node, state, owner=info)
        finally:
            self.frames.pop()

    def define(self, node: Defined, state: State, *, owner: ClassInfo | None = None, decorated: bool = True) -> Value:
        """The value a function definition makes, decorators applied."""
        frame = self.frame
        closure = frame.environment if frame.function is not None and owner is None else None
        key = (id(node), closure)
        known = self._functions.get(key)
        if known is not None:
            return known
        name = getattr(node, "name", "<lambda>")
        around = owner.qualname if owner is not None else frame.function.qualname if frame.function is not None else ""
        contexts: list[Context] = []
        kind = "function"
        others: list[Value] = []
        for decorator in [] if isinstance(node, ast.Lambda) or not decorated else reversed(node.decorator_list):
            value = self._decorator_value(decorator, state)
            effect = self.library.decorator(self, state, value, self.place(decorator))
            if isinstance(effect, Context):
                contexts.insert(0, effect)
            elif effect:
                kind = effect
            elif isinstance(value, Function | Partial | Class) or (isinstance(value, Bound) and isinstance(value.receiver, Ref)):
                others.append(value)
        made = Function(
            node, frame.module, f"{around}.{name}" if around else name, closure, owner, self._defaults(node, state), tuple(contexts), kind
        )
        result: Value = made
        for value in others:
            if value in self.transparent:
                continue
            applied = self.run(state, value, Arguments((result,)), self.place(node))
            if applied is result:
                self.transparent.add(value)  # registers what it is given, as a rule
            result = applied if isinstance(applied, Function | Partial) else result
        if isinstance(result, Function):
            self._functions[key] = result
        return result

    def _decorator_value(self, node: ast.expr, state: State) -> Value:
        return self.evaluate(node, state)

    def _defaults(self, node: ast.FunctionDef | ast.AsyncFunctionDef | ast.Lambda, state: State) -> dict[str, Value]:
        spec = node.args
        positional = [*spec.posonlyargs, *spec.args]
        defaults = {
            parameter.arg: self.evaluate(value, state)
            for parameter, value in zip(positional[len(positional) - len(spec.defaults) :], spec.defaults, strict=True)
        }
        for parameter, default in zip(spec.kwonlyargs, spec.kw_defaults, strict=True):
            if default is not None:
                defaults[parameter.arg] = self.evaluate(default, state)
        return defaults

    # --- iteration

    def elements(self, state: State, value: Value, place: Place) -> tuple[list[Value], bool]:
        """Elements of an iteration, and whether these are all."""
        if isinstance(value, Choice):
            parts = [self.elements(state, member, place) for member in value.values if member != Const(None)]
            found = [item for items, _ in parts for item in items]
            return ([choice(found)] if found else []), False
        if isinstance(value, Tuple):
            return [*value.items, *([value.rest] if value.rest is not None else [])], value.rest is None
        if isinstance(value, Partial) and isinstance(value.function, Extern):
            lazily = self._lazy_elements(state, value, place)
            if lazily is not None:
                return lazily
        thing = self.thing(value)
        if thing is not None and isinstance(value, Ref):
            found_items = self._container_elements(state, value, thing.kind)
            if found_items is not None:
                return found_items
            if thing.cls is not None and (method := thing.cls.method("__iter__")) is not None and thing.kind == "instance":
                result = self.merged(state, self.invoke(state, self.method_function(state, *method), Arguments((value,)), place))
                if isinstance(result, Tuple):
                    return self.elements(state, result, place)
        result_of = self.library.iterate(self, state, value, place)
        if result_of is not None:
            return result_of
        if isinstance(value, Const) and isinstance(value.value, str | bytes | tuple):
            return [NOTHING], False
        return [merged_data([value])], False

    def _container_elements(self, state: State, ref: Ref, kind: str) -> tuple[list[Value], bool] | None:
        if kind not in {"list", "dict", "set"}:
            return None
        fields = {name: item for name, item in state.fields_of(ref.address).items() if name.startswith("[")}
        if kind == "dict":
            keys: list[Value] = [Const(name[2:-2]) if name.startswith("['") else NOTHING for name in fields if name != "[*]"]
            return [*keys, *([NOTHING] if "[*]" in fields else [])], "[*]" not in fields
        return list(fields.values()), "[*]" not in fields

    def _lazy_elements(self, state: State, value: Partial, place: Place) -> tuple[list[Value], bool] | None:
        name = value.function.name if isinstance(value.function, Extern) else ""
        parts = list(value.positional)
        if name == "enumerate" and parts:
            found, complete = self.elements(state, parts[0], place)
            if complete:
                return [Tuple((Const(index), item)) for index, item in enumerate(found)], True
            return [Tuple((NOTHING, item)) for item in found], False
        if name in {"zip", "itertools.zip_longest", "itertools.product"} and parts:
            columns = [self.elements(state, part, place) for part in parts]
            if all(complete for _, complete in columns) and name == "zip":
                return [Tuple(items) for items in zip(*(items for items, _ in columns), strict=False)], True
            return [Tuple(tuple(choice(items) if items else NOTHING for items, _ in columns))], False
        if name == "map" and len(parts) > 1:
            found, complete = self.elements(state, parts[1], place)
            return [self.run(state, parts[0], Arguments((item,)), place) for item in found], complete
        if name == "filter" and len(parts) > 1:
            return self.elements(state, parts[1], place)[0], False
        if name in {"itertools.chain", "chain"}:
            columns = [self.elements(state, part, place) for part in parts]
            return [item for items, _ in columns for item in items], all(complete for _, complete in columns)
        if name in _THROUGH and parts:
            return self.elements(state, parts[0], place)
        return None


def is_through(name: str) -> bool:
    """Whether a function gives the elements of its first argument again."""
    return name in _THROUGH
