"""The loss that the file of a model computes of a model it is given: ``F.cross_entropy(model(x), y)`` in a ``training_step(model, batch)``.

What is trained by a script is known from the script (:mod:`normadvisor.script`). Functions that take any model say no class, but in a file
with a single model there is no other.
"""

from __future__ import annotations

import ast
from collections.abc import Iterator
from pathlib import Path

from normadvisor.script.library.losses import FUNCTIONS, LAYERS
from normadvisor.types import LOSSES

__all__ = ["loss_of_file"]

_MODELS = frozenset(("model", "net", "network", "module"))
"""Parameters that stand for a model."""
_MOST = 2_000_000
"""Characters of a file beyond which it is not read."""
_UNFIT = frozenset(("gaussian_nll", "none"))
"""Losses that need more than an output and a target."""


def loss_of_file(path: Path) -> str | None:
    """One of :data:`normadvisor.types.LOSSES`, where the functions of a file apply one loss, and no other, to what a model gives.

    Args:
        path: a Python file; anything else has none.

    """
    try:
        text = path.read_text(encoding="utf-8")
        tree = ast.parse(text) if path.suffix == ".py" and len(text) <= _MOST else ast.Module([], [])
    except (OSError, ValueError, SyntaxError, RecursionError, MemoryError):
        return None
    objects = _objects(tree)
    found: set[str | None] = set()
    for function in _functions(tree):
        parameters = {argument.arg for argument in (*function.args.posonlyargs, *function.args.args, *function.args.kwonlyargs)}
        models = parameters & _MODELS
        outputs = _outputs(function, models)
        for node in ast.walk(function):
            kind = _kind(node, objects)
            if kind is not None and isinstance(node, ast.Call):
                found.add(kind if node.args and _is_output(node.args[0], models, outputs) else None)
    (only,) = found if len(found) == 1 else (None,)
    return only if only in LOSSES and only not in _UNFIT else None


def _functions(tree: ast.Module) -> Iterator[ast.FunctionDef | ast.AsyncFunctionDef]:
    """Functions of the module; methods of classes know what they are called on."""
    yield from (node for node in tree.body if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef))


def _objects(tree: ast.Module) -> dict[str, str]:
    """Losses of ``torch.nn`` by the names they are bound to, anywhere in the file."""
    found = {}
    for node in ast.walk(tree):
        if isinstance(node, ast.Assign) and isinstance(node.value, ast.Call) and (kind := LAYERS.get(_last(node.value.func))):
            found.update({target.id: kind for target in node.targets if isinstance(target, ast.Name)})
    return found


def _outputs(function: ast.FunctionDef | ast.AsyncFunctionDef, models: set[str]) -> set[str]:
    """Names that hold what a model gave, and nothing else."""
    bound: dict[str, set[bool]] = {}
    for node in ast.walk(function):
        if isinstance(node, ast.Assign):
            for target in node.targets:
                if isinstance(target, ast.Name):
                    bound.setdefault(target.id, set()).add(_is_output(node.value, models, set()))
    return {name for name, kinds in bound.items() if kinds == {True}}


def _is_output(node: ast.expr, models: set[str], outputs: set[str]) -> bool:
    if isinstance(node, ast.Name):
        return node.id in outputs
    return isinstance(node, ast.Call) and isinstance(node.func, ast.Name) and node.func.id in models


def _kind(node: ast.AST, objects: dict[str, str]) -> str | None:
    """What loss a call computes."""
    if not isinstance(node, ast.Call):
        return None
    if isinstance(node.func, ast.Call):
        return LAYERS.get(_last(node.func.func))
    if isinstance(node.func, ast.Name) and node.func.id in objects:
        return objects[node.func.id]
    return FUNCTIONS.get(_last(node.func))


def _last(node: ast.expr) -> str:
    return node.attr if isinstance(node, ast.Attribute) else node.id if isinstance(node, ast.Name) else ""
