"""What one look at the text of a class tells: which attributes it calls, where it asks for the mode, its functional dropout."""

from __future__ import annotations

import ast
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from normadvisor.script.project.nodes import walk

if TYPE_CHECKING:
    from normadvisor.script.project.classes import ClassInfo

__all__ = ["ClassFacts", "facts_of"]

_FUNCTIONAL = frozenset(
    {"dropout", "dropout1d", "dropout2d", "dropout3d", "alpha_dropout", "feature_alpha_dropout", "batch_norm", "instance_norm", "rrelu"}
    | {"scaled_dot_product_attention", "dropout_", "drop_path", "stochastic_depth"}
)


@dataclass(slots=True)
class ClassFacts:
    """Found in the body of one class."""

    used: set[str] = field(default_factory=set)
    """Attributes of ``self`` that are called, indexed or run over."""
    reads_training: bool = False
    functional: list[tuple[ast.Call, str]] = field(default_factory=list)
    """Calls of functions that may depend on the mode, with the last part of their names."""
    buffers: set[str] = field(default_factory=set)
    """Names given to ``register_buffer``."""


def facts_of(info: ClassInfo) -> ClassFacts:
    """Look through the body of a class, once."""
    known = info.module.class_facts.get(info.node)
    if isinstance(known, ClassFacts):
        return known
    facts = ClassFacts()
    for node in walk(info.node):
        if isinstance(node, ast.Call):
            _call(facts, node)
        elif isinstance(node, ast.Attribute):
            if node.attr == "training" and isinstance(node.ctx, ast.Load) and isinstance(node.value, ast.Name) and node.value.id == "self":
                facts.reads_training = True
        elif isinstance(node, ast.For | ast.comprehension):
            pending: list[ast.AST] = [node.iter]
            while pending:
                part = pending.pop()
                _use(facts, part)
                pending.extend(ast.iter_child_nodes(part))
        elif isinstance(node, ast.Subscript):
            _use(facts, node.value)
    info.module.class_facts[info.node] = facts
    return facts


def _use(facts: ClassFacts, node: ast.AST) -> None:
    if isinstance(node, ast.Attribute) and isinstance(node.value, ast.Name) and node.value.id == "self":
        facts.used.add(node.attr)


def _call(facts: ClassFacts, node: ast.Call) -> None:
    function = node.func
    _use(facts, function)
    name = function.attr if isinstance(function, ast.Attribute) else function.id if isinstance(function, ast.Name) else ""
    own = isinstance(function, ast.Attribute) and isinstance(function.value, ast.Name) and function.value.id == "self"
    if name in _FUNCTIONAL and not own:
        facts.functional.append((node, name))
    elif isinstance(function, ast.Attribute):
        _use(facts, function.value)  # self.net.forward(x), self.net.features(x)
        if name == "register_buffer" and node.args and isinstance(node.args[0], ast.Constant):
            facts.buffers.add(str(node.args[0].value))
        elif name in {"checkpoint", "checkpoint_sequential"}:
            for argument in node.args:
                _use(facts, argument)
    if name in {"checkpoint", "checkpoint_sequential", "data_parallel", "vmap", "map"}:
        for argument in node.args:
            _use(facts, argument)
