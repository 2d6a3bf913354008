"""Gradient penalties: a norm per sample of the gradient of a critic's output with respect to its input (WGAN-GP)."""

from __future__ import annotations

import ast
from typing import TYPE_CHECKING

from normadvisor.script.library.calls import add_model_places, model_attributes
from normadvisor.script.library.flow import gathered, maker_of
from normadvisor.script.library.syntax import enclosing_statements, module_of
from normadvisor.script.values import Place, Value

if TYPE_CHECKING:
    from normadvisor.script.protocol import Machine
    from normadvisor.script.state import State

__all__ = ["record_penalty"]

_NORMS = frozenset({"norm", "vector_norm", "square", "pow", "pow_"})


def record_penalty(machine: Machine, state: State, outputs: Value, inputs: Value, place: Place) -> None:
    """Note a gradient penalty on the model that made ``outputs``, if the function around takes a norm of the gradients."""
    del inputs
    maker = maker_of(machine, gathered(machine, state, [outputs]))
    thing = machine.things.get(maker.attributes.get("_model") or -1) if maker is not None else None
    per_sample = _norm_around(machine, place)
    if thing is None or maker is None or per_sample is None:
        return
    attributes = model_attributes(machine, state, thing, maker.attributes["model"], place)
    event = machine.record("gradient_penalty", place, **attributes, per_sample=per_sample)
    add_model_places(machine, state, event, thing)


def _norm_around(machine: Machine, place: Place) -> str | None:
    """``yes`` if the statements after the place take a norm over some dimensions, ``unknown`` if over all or hidden; ``None``: no norm."""
    module = module_of(machine, place)
    if module is None:
        return None
    around = enclosing_statements(module, place.location)
    function = next((item for item in reversed(around) if isinstance(item, ast.FunctionDef | ast.AsyncFunctionDef)), None)
    scope: ast.AST = function if function is not None else module.tree
    line = around[-1].lineno if around else 1
    found: str | None = None
    for node in ast.walk(scope):
        if getattr(node, "lineno", 0) < line:
            continue
        if isinstance(node, ast.Call) and (_called(node) in _NORMS):
            as_function = isinstance(node.func, ast.Attribute) and _is_module(node.func.value)
            over = bool(node.keywords) or len(node.args) > (2 if as_function else 1)
            if _called(node) in {"norm", "vector_norm"}:
                return "yes" if over else (found or "unknown")
            found = found or "unknown"
        elif isinstance(node, ast.BinOp) and isinstance(node.op, ast.Pow):
            found = found or "unknown"
    return found


def _called(node: ast.Call) -> str:
    return node.func.attr if isinstance(node.func, ast.Attribute) else node.func.id if isinstance(node.func, ast.Name) else ""


def _is_module(node: ast.expr) -> bool:
    return ast.unparse(node) in {"torch", "torch.linalg", "np", "linalg", "LA"}
