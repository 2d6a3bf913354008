"""What the parameters of functions that nobody calls may hold."""

from __future__ import annotations

import ast
from typing import TYPE_CHECKING

from normadvisor.script.library.part_names import PLAIN_NAMES, TENSORS
from normadvisor.script.project.classes import ClassInfo
from normadvisor.script.values import Data, Place, Value

if TYPE_CHECKING:
    from normadvisor.script.protocol import Machine
    from normadvisor.script.state import State

__all__ = ["parameter"]


def parameter(machine: Machine, state: State, name: str, annotation: ast.expr | None, place: Place) -> Value:
    """A parameter of a function that nobody in the project calls: data if its annotation or name says so, else anything."""
    kind, cls = "opaque", None
    if annotation is not None:
        text = annotation.value if isinstance(annotation, ast.Constant) and isinstance(annotation.value, str) else ast.unparse(annotation)
        tail = text.rpartition(".")[2]
        if tail in TENSORS:
            return Data(origins=frozenset({"argument"}))
        enclosing = machine.enclosing()
        if tail == "Module":
            kind = "module"
        elif enclosing is not None and text.replace(".", "").replace("_", "").isalnum():
            first, *names = text.split(".")
            found = machine.project.lookup(first, enclosing.module)
            found = machine.project.attribute(found, names) if found is not None and names else found
            if isinstance(found, ClassInfo) and found.is_module:
                kind, cls = "module", found
    elif name in PLAIN_NAMES:
        return Data(origins=frozenset({"argument"}))
    return machine.new(state, kind, place, name=cls.name if cls is not None else "", cls=cls, tag=f"parameter {name}")
