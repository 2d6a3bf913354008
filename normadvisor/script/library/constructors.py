"""Construction of models of project classes: what is handed to them, and what their constructors do to modes."""

from __future__ import annotations

import ast
import re
from typing import TYPE_CHECKING

from normadvisor.script.library import modes
from normadvisor.script.library.containers import fill_container, is_container_class
from normadvisor.script.library.factories import initial_mode, is_module_name
from normadvisor.script.library.models import as_model, new_module
from normadvisor.script.library.parts import KEEPING, part_of, resolved_callee
from normadvisor.script.library.structure import bound_arguments, structure_of
from normadvisor.script.project.classes import ClassInfo
from normadvisor.script.values import NOTHING, Arguments, Bound, Const, Data, Place, Ref, Thing, Value, members

if TYPE_CHECKING:
    from normadvisor.script.protocol import Machine
    from normadvisor.script.state import State

__all__ = ["build_class"]


def build_class(machine: Machine, state: State, cls: ClassInfo, arguments: Arguments, place: Place) -> Value | None:
    """A model of a project class; ``None`` for classes that are none."""
    if cls.is_module is False or (cls.is_module is None and cls.method("forward") is None):
        return None
    ref = new_module(machine, state, place, name=cls.name, cls=cls, arguments=arguments)
    thing = machine.things[ref.address]
    thing.facts["fresh"] = True
    if is_container_class(cls, assigns=bool(structure_of(machine.project, cls).assigned)):
        fill_container(machine, state, thing, arguments)
    _hand_over(machine, state, thing, arguments)
    _replay_all(machine, state, thing, cls)
    return ref


def _replay_all(machine: Machine, state: State, thing: Thing, cls: ClassInfo, depth: int = 3) -> None:
    """What the constructors of a class do to modes, and those of its parts."""
    structure = structure_of(machine.project, cls)
    for name, assigned in structure.assigned.items() if depth else ():
        owner, node = assigned[0]
        found = resolved_callee(machine, owner, node.func) if isinstance(node, ast.Call) else None
        if isinstance(found, str) and is_module_name(found):
            mode = initial_mode(found, _place(owner, node))
            if mode.both != "train" and (ref := part_of(machine, state, thing, name)) is not None:
                state.modes[ref.address] = mode
        elif isinstance(found, ClassInfo) and found.is_module and found is not cls and _switches(machine, found):
            ref = part_of(machine, state, thing, name)
            if ref is not None and machine.things[ref.address].cls is found:
                _replay_all(machine, state, machine.things[ref.address], found, depth - 1)
    for owner, constructor in reversed(structure.constructors):
        _replay(machine, state, thing, owner, constructor.body)


def _switches(machine: Machine, cls: ClassInfo) -> bool:
    """Whether the constructors of a class, or of its parts, may switch a mode."""
    memory = machine.project.memory.setdefault("switches", {})
    if cls not in memory:
        memory[cls] = False  # a class that builds itself
        structure = structure_of(machine.project, cls)
        names = ("eval", "train", "freeze", "from_pretrained", "load", "requires_grad_")
        memory[cls] = any(
            isinstance(item, ast.Attribute) and item.attr.startswith(names) for _, node in structure.constructors for item in ast.walk(node)
        ) or any(
            isinstance(found := resolved_callee(machine, owner, node.func), ClassInfo) and _switches(machine, found)
            for assigned in structure.assigned.values()
            for owner, node in assigned[:1]
            if isinstance(node, ast.Call)
        )
    return bool(memory[cls])


def _hand_over(machine: Machine, state: State, thing: Thing, arguments: Arguments) -> None:
    """Models among the arguments of a constructor become parts, under the attribute they are assigned to."""
    if thing.cls is None:
        return
    structure = structure_of(machine.project, thing.cls)
    for owner, node in structure.constructors[:1]:
        for name, value in bound_arguments(node, arguments).items():
            kinds = {found.kind for member in members(value) if (found := as_model(machine, member)) is not None}
            if not kinds:
                _hold_unseen(machine, state, thing, name, value)
                continue
            for attribute, assigned in structure.assigned.items():
                for where, expression in assigned:
                    if where is not owner or not any(isinstance(item, ast.Name) and item.id == name for item in ast.walk(expression)):
                        continue
                    if itself(expression, name):
                        state.fields[thing.address, attribute] = value
                    elif not _copies(expression) and (kinds != {"opaque"} or _holds_parts(expression, name)):
                        state.fields[thing.address, f"({name})"] = value


_OTHER_CALLABLES = re.compile(r"act|loss|crit|fn|func|norm|transform|token|hook|callback|log|metric|init|optim|sched")


def _hold_unseen(machine: Machine, state: State, thing: Thing, name: str, value: Value) -> None:
    """Something of which nothing is known, kept under an attribute that the class calls: a module in whatever mode, as in a wrapper."""
    if thing.cls is None or not isinstance(value, Data) or value.origins or _OTHER_CALLABLES.search(name):
        return
    for attribute, assigned in structure_of(machine.project, thing.cls).assigned.items():
        owner, expression = assigned[0]
        if itself(expression, name) and f"self.{attribute}(" in owner.module.segment(owner.node):
            state.fields[thing.address, attribute] = machine.new(state, "opaque", thing.place, tag=f"given {thing.address} {name}")


def itself(expression: ast.expr, name: str) -> bool:
    """Whether an expression is what a name stands for: ``model``, ``model.eval().to(device)``."""
    while isinstance(expression, ast.Call) and isinstance(expression.func, ast.Attribute) and expression.func.attr in KEEPING:
        expression = expression.func.value
    return isinstance(expression, ast.Name) and expression.id == name


def _copies(expression: ast.expr) -> bool:
    """Whether an expression makes a copy of what stands in it."""
    return any(
        isinstance(item, ast.Call) and ast.unparse(item.func).rpartition(".")[2] in {"deepcopy", "copy", "clone"}
        for item in ast.walk(expression)
    )


def _holds_parts(expression: ast.expr, name: str) -> bool:
    """Whether an expression puts something nobody knows, or its children, into a container: a module, then, and no setting."""
    for item in ast.walk(expression):
        if isinstance(item, ast.Attribute) and item.attr in {"children", "named_children", "modules"}:
            return any(isinstance(inner, ast.Name) and inner.id == name for inner in ast.walk(item.value))
        if isinstance(item, ast.Call) and ast.unparse(item.func).rpartition(".")[2] in {"Sequential", "ModuleList"}:
            listed = [inner for given in item.args for inner in (given.elts if isinstance(given, ast.List) else [given])]
            if any(isinstance(inner, ast.Name) and inner.id == name for inner in listed):
                return True
    return False


def _replay(machine: Machine, state: State, thing: Thing, owner: ClassInfo, body: list[ast.stmt]) -> None:
    """What a constructor does to modes: ``self.eval()``, ``self.backbone.eval()``, ``self.freeze()``."""
    for statement in body:
        if isinstance(statement, ast.If | ast.With | ast.Try | ast.For):
            if isinstance(statement, ast.With):
                _replay(machine, state, thing, owner, statement.body)
            elif any(isinstance(node, ast.Attribute) and node.attr in {"eval", "train"} for node in ast.walk(statement)):
                modes.doubt(machine, state, thing, _place(owner, statement))
            continue
        value = getattr(statement, "value", None)
        if isinstance(value, ast.Call) and isinstance(value.func, ast.Attribute) and isinstance(statement, ast.Expr | ast.Assign):
            _replay_call(machine, state, thing, owner, value, value.func)


def _replay_call(machine: Machine, state: State, thing: Thing, owner: ClassInfo, node: ast.Call, called: ast.Attribute) -> None:
    place = _place(owner, node)
    target = _self_path(called.value)
    if target is None:
        _replay_on_argument(machine, state, thing, owner, node)
        return
    part: Thing | None = thing
    if not target and thing.cls is not None and (found := thing.cls.method(called.attr)) is not None:
        if called.attr in {"train", "eval"} or _touches_modes(found[1]):
            machine.run(state, Bound(Ref(thing.address), called.attr), _constants(node), place)
        return
    if called.attr not in {"eval", "train", "requires_grad_", "load_state_dict"}:
        return
    for name in target:
        ref = part_of(machine, state, part, name, place) if part is not None else None
        part = machine.things[ref.address] if ref is not None else None
    if part is None:
        return
    first = _constants(node).get(0, "mode", "requires_grad")
    if called.attr in {"eval", "train"}:
        on = called.attr == "train" and first != Const(False)
        modes.set_mode(machine, state, part, "train" if on else "eval", place)
    elif called.attr == "load_state_dict":
        state.marks[part.address, "loaded"] = place
    elif first == Const(False):
        state.marks[part.address, "frozen"] = place


def _replay_on_argument(machine: Machine, state: State, thing: Thing, owner: ClassInfo, node: ast.expr) -> None:
    """``model.eval()``, where ``model`` was given to the constructor."""
    switches: list[ast.Call] = []
    while isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute):
        if node.func.attr in {"eval", "train"}:
            switches.append(node)
        node = node.func.value
    constructor = owner.methods.get("__init__")
    if not isinstance(node, ast.Name) or constructor is None or thing.cls is not owner or not switches:
        return
    value = bound_arguments(constructor, thing.arguments).get(node.id)
    model = as_model(machine, value) if value is not None else None
    if model is None:
        return
    method = switches[0].func.attr if isinstance(switches[0].func, ast.Attribute) else ""
    on = method == "train" and _constants(switches[0]).get(0, "mode") != Const(False)
    modes.set_mode(machine, state, model, "train" if on else "eval", _place(owner, switches[0]))


def _touches_modes(node: ast.AST) -> bool:
    names = {"eval", "train", "requires_grad", "requires_grad_", "load_state_dict"}
    return any(isinstance(item, ast.Attribute) and item.attr in names for item in ast.walk(node))


def _constants(node: ast.Call) -> Arguments:
    def known(item: ast.expr) -> Value:
        return Const(item.value) if isinstance(item, ast.Constant) else NOTHING

    return Arguments(tuple(known(item) for item in node.args), tuple((item.arg, known(item.value)) for item in node.keywords if item.arg))


def _self_path(node: ast.expr) -> list[str] | None:
    """Attributes between ``self`` and the method; ``None`` if the call is not on a part of ``self``."""
    names: list[str] = []
    while isinstance(node, ast.Attribute):
        names.insert(0, node.attr)
        node = node.value
    return names if isinstance(node, ast.Name) and node.id == "self" else None


def _place(owner: ClassInfo, node: ast.AST) -> Place:
    return Place(owner.module.location(node), f"{owner.qualname}.__init__", text=owner.module.segment(node))
