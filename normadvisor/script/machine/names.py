"""Names: environments of functions and modules, and what imports and definitions of the project stand for."""

from __future__ import annotations

import ast
import builtins
from collections import Counter
from collections.abc import Callable
from typing import TYPE_CHECKING

from normadvisor.script.machine.conditions import Conditions
from normadvisor.script.machine.core import Defined, Frame
from normadvisor.script.project.classes import ClassInfo
from normadvisor.script.project.modules import SourceModule
from normadvisor.script.project.nodes import walk
from normadvisor.script.values import NOTHING, Class, Const, Extern, ModuleValue, Value

if TYPE_CHECKING:
    from normadvisor.script.project.modules import Resolved
    from normadvisor.script.state import State

__all__ = ["Names"]

_BUILTINS = frozenset(dir(builtins)) - {"__name__", "__doc__", "__file__"}
UNDEFINED = "undefined"
"""Stands for the module of names that nothing binds, as in parts of notebooks."""
_EXECUTED = "(executed)"
_MOST_STATEMENTS = 400
"""Statements of an imported file that is executed for its variables."""
_MOST_PENDING = 12
"""Assignments of other files that may wait for one another."""


class Names(Conditions):
    """Looks names up and binds them."""

    def new_environment(self, state: State, module: SourceModule, parent: int | None) -> int:
        """An environment of a function."""
        address = self.fresh_address()
        state.names[address] = {}
        self._parents[address] = parent
        self._modules_of[address] = module
        return address

    def module_environment(self, state: State, module: SourceModule) -> int:
        """The environment of a module's top level."""
        address = self._module_environments.get(id(module))
        if address is None:
            address = self._module_environments[id(module)] = self.fresh_address()
            self._parents[address] = None
            self._modules_of[address] = module
        state.names.setdefault(address, {})
        return address

    def environment_of(self, name: str, state: State) -> int | None:
        """The environment that binds a name; ``None`` for builtins and names of other files."""
        frame, names = self.frames[-1], state.names
        environment: int | None = frame.environment
        if name in frame.global_names:
            return self.module_environment(state, frame.module)
        if name in frame.outer_names:
            return frame.outer_names[name]
        while environment is not None:
            if name in names.get(environment, ()):
                return environment
            environment = self._parents.get(environment)
        module = self.module_environment(state, frame.module)
        return module if name in state.names[module] else None

    def lookup(self, name: str, state: State) -> Value:
        """The value of a name."""
        environment = self.environment_of(name, state)
        if environment is not None and (known := state.names.get(environment, {}).get(name)) is not None:
            return known
        module = self.frame.module
        found = self.project.lookup(name, module)
        if found is not None:
            value = self.value_of(found, state, module, name)
            if not isinstance(found, tuple) or not isinstance(found[1], ast.Assign | ast.AnnAssign):
                return value
            state.environment(self.module_environment(state, module))[name] = value
            return value
        if name == "__name__":
            return NOTHING
        if name in module.nested_classes and name not in _BUILTINS:
            return Class(self.project.class_info(module, module.nested_classes[name], name))
        return Extern(name) if name in _BUILTINS else self._unbound(name, module)

    def _unbound(self, name: str, module: SourceModule) -> Value:
        """A name that the file does not bind: it comes from a star import out of reach, or, if it looks like a class, from anywhere."""
        if name.startswith("__"):
            return NOTHING
        for star in module.stars:
            if isinstance(self.project.resolve(star, module), str):
                return Extern(f"{star}.{name}")
        return Extern(f"{UNDEFINED}.{name}") if name[0].isupper() else NOTHING

    def value_of(self, found: Resolved, state: State, importer: SourceModule, name: str = "") -> Value:
        """The value of what a dotted name was resolved to."""
        if isinstance(found, str):
            return Extern(found)
        if isinstance(found, SourceModule):
            return ModuleValue(found)
        if isinstance(found, ClassInfo):
            return Class(found)
        module, node = found
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
            return self._in_module(state, module, lambda: self.define(node, state))
        if isinstance(node, ast.Assign | ast.AnnAssign) and node.value is not None and (module is not importer or len(self.frames) > 1):
            return self._assigned(state, module, node, name)
        return NOTHING

    def _assigned(self, state: State, module: SourceModule, node: ast.Assign | ast.AnnAssign, name: str) -> Value:
        """A variable of a module whose body was not executed: its assignment is."""
        environment = self.module_environment(state, module)
        if _depends(module, node, name) and self._execute_other(state, module, environment) and name in state.names[environment]:
            return state.names[environment][name]
        pending: set[int] = self.project.memory.setdefault("pending", {}).setdefault("nodes", set())  # type: ignore[assignment]
        if id(node) in pending or len(pending) > _MOST_PENDING or node.value is None:
            return NOTHING
        pending.add(id(node))
        try:
            value = node.value

            def bind() -> Value:
                result = self.evaluate(value, state)
                for target in node.targets if isinstance(node, ast.Assign) else [node.target]:
                    self.assign(target, result, state)
                return result

            result = self._in_module(state, module, bind)
        finally:
            pending.discard(id(node))
        return state.names[environment].get(name, result)

    def _execute_other(self, state: State, module: SourceModule, environment: int) -> bool:
        """Execute the body of a file that variables are imported from, once on each path; whether that was done or had been."""
        if _EXECUTED in state.names[environment]:
            return True
        executing = any(frame.module is module and frame.function is None for frame in self.frames)
        if executing or len(module.tree.body) > _MOST_STATEMENTS or self.steps > self.steps_with_calls:
            return False
        state.environment(environment)[_EXECUTED] = Const(value=True)
        self.frames.append(Frame(module, environment, callers=self.frame.callers if self.frames else ()))
        try:
            flow = self.execute(module.tree.body, [state])
        finally:
            self.frames.pop()
        ended = [(after, NOTHING) for after in (*flow.normal, *flow.raises)]
        if ended:
            self.merged(state, ended)  # type: ignore[arg-type]
        return True

    def _in_module(self, state: State, module: SourceModule, act: Callable[[], Value]) -> Value:
        """Evaluate something at the top level of a module."""
        if self.frames and self.frame.module is module and self.frame.function is None:
            return act()
        self.frames.append(Frame(module, self.module_environment(state, module), callers=self.frame.callers if self.frames else ()))
        try:
            return act()
        finally:
            self.frames.pop()

    def bind(self, name: str, value: Value, state: State) -> None:
        """Bind a name in the current function or module."""
        frame = self.frame
        environment = frame.environment
        if name in frame.global_names or name in frame.outer_names:
            environment = self.environment_of(name, state) or self.module_environment(state, frame.module)
        state.environment(environment)[name] = value
        self.changed(state, environment, name)

    def bind_nonlocal(self, name: str, state: State) -> None:
        """``nonlocal name``: nothing to do but find it in an enclosing function when it is bound."""
        environment = self._parents.get(self.frame.environment)
        while environment is not None and name not in state.names.get(environment, ()):
            environment = self._parents.get(environment)
        if environment is not None:
            self.frame.outer_names[name] = environment

    def define(self, node: Defined, state: State, *, owner: ClassInfo | None = None, decorated: bool = True) -> Value:
        """The value a function definition makes, decorators applied."""
        raise NotImplementedError


def _depends(module: SourceModule, node: ast.Assign | ast.AnnAssign, name: str) -> bool:
    """Whether the value of a module's variable depends on more than one assignment: the file does something else with it too."""
    if module.mentions is None:
        module.mentions = Counter(
            found
            for statement in module.tree.body
            if not isinstance(statement, ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef | ast.Import | ast.ImportFrom)
            for found in {inner.id for inner in walk(statement) if isinstance(inner, ast.Name)}
        )
    return module.mentions[name] > 1 or "global " in module.text or node not in module.tree.body
