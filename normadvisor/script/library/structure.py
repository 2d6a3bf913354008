"""What a model class says about its parts: the assignments to ``self``, and what its constructor does to modes."""

from __future__ import annotations

import ast
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from normadvisor.script.values import Arguments, Const, Value

if TYPE_CHECKING:
    from normadvisor.script.project.classes import ClassInfo
    from normadvisor.script.project.modules import Project

__all__ = ["Structure", "bound_arguments", "structure_of"]


@dataclass(slots=True)
class Structure:
    """Assignments to attributes of ``self``, in every method of a class and of its ancestors in the project."""

    assigned: dict[str, list[tuple[ClassInfo, ast.expr]]] = field(default_factory=dict)
    """Attribute to the expressions assigned to it: the most derived class first, its constructor before its other methods."""
    open: bool = False
    """Parts are added under computed names: ``add_module``, ``setattr``, ``register_module``."""
    constructors: list[tuple[ClassInfo, ast.FunctionDef | ast.AsyncFunctionDef]] = field(default_factory=list)
    """``__init__`` of the class and of its ancestors, most derived first."""


def structure_of(project: Project, info: ClassInfo) -> Structure:
    """The structure of a class; found out once."""
    memory = project.memory.setdefault("structure", {})
    found = memory.get(info)
    if not isinstance(found, Structure):
        found = memory[info] = _read(info)
    return found


def _read(info: ClassInfo) -> Structure:
    structure = Structure()
    for owner in info.mro():
        methods = sorted(owner.methods.items(), key=lambda item: item[0] != "__init__")
        for name, node in methods:
            own = _self_name(node)
            if own is None:
                continue
            if name == "__init__":
                structure.constructors.append((owner, node))
            _read_method(structure, owner, node, own)
    return structure


def _self_name(node: ast.FunctionDef | ast.AsyncFunctionDef) -> str | None:
    arguments = [*node.args.posonlyargs, *node.args.args]
    static = any(isinstance(item, ast.Name) and item.id in {"staticmethod", "classmethod"} for item in node.decorator_list)
    return None if static or not arguments else arguments[0].arg


def _read_method(structure: Structure, owner: ClassInfo, node: ast.FunctionDef | ast.AsyncFunctionDef, own: str) -> None:
    for statement in ast.walk(node):
        if isinstance(statement, ast.Assign):
            for target in statement.targets:
                _read_target(structure, owner, target, statement.value, own)
        elif isinstance(statement, ast.AnnAssign) and statement.value is not None:
            _read_target(structure, owner, statement.target, statement.value, own)
        elif isinstance(statement, ast.Call):
            called = statement.func
            if isinstance(called, ast.Attribute) and called.attr in {"add_module", "register_module", "__setattr__"}:
                name = statement.args[0] if statement.args else None
                literal = isinstance(called.value, ast.Name) and isinstance(name, ast.Constant) and isinstance(name.value, str)
                if literal and len(statement.args) > 1 and called.value.id == own:  # type: ignore[attr-defined]
                    structure.assigned.setdefault(name.value, []).append((owner, statement.args[1]))  # type: ignore[union-attr]
                else:
                    structure.open = True
            elif isinstance(called, ast.Name) and called.id == "setattr":
                structure.open = True


def _read_target(structure: Structure, owner: ClassInfo, target: ast.expr, value: ast.expr, own: str) -> None:
    if isinstance(target, ast.Tuple | ast.List):
        one_each = isinstance(value, ast.Tuple | ast.List) and len(value.elts) == len(target.elts)
        values = value.elts if one_each and isinstance(value, ast.Tuple | ast.List) else [value] * len(target.elts)
        for one, its in zip(target.elts, values, strict=True):
            _read_target(structure, owner, one, its, own)
    elif isinstance(target, ast.Attribute) and isinstance(target.value, ast.Name) and target.value.id == own:
        structure.assigned.setdefault(target.attr, []).append((owner, value))


def bound_arguments(node: ast.FunctionDef | ast.AsyncFunctionDef, arguments: Arguments | None) -> dict[str, Value]:
    """Parameters of a constructor (without ``self``) to what is known about their values; defaults as far as they are literals."""
    parameters = [item.arg for item in (*node.args.posonlyargs, *node.args.args)][1:]
    bound: dict[str, Value] = {}
    for name, default in zip(reversed(parameters), reversed(node.args.defaults), strict=False):
        if isinstance(default, ast.Constant):
            bound[name] = Const(default.value)
    for item, keyword_default in zip(node.args.kwonlyargs, node.args.kw_defaults, strict=True):
        if isinstance(keyword_default, ast.Constant):
            bound[item.arg] = Const(keyword_default.value)
    if arguments is None or not arguments.complete:
        bound.clear()  # a default may have been replaced by what cannot be seen
    if arguments is not None:
        bound.update(zip(parameters, arguments.positional, strict=False))
        known = {*parameters, *(item.arg for item in node.args.kwonlyargs)}
        bound.update((name, value) for name, value in arguments.named if name in known)
    return bound
