"""Every module of a model: what it is, whether it ran, and whether its owner's code ever asks for it."""

from __future__ import annotations

import ast
import inspect
import textwrap
from collections import Counter
from collections.abc import Mapping
from functools import lru_cache
from typing import TYPE_CHECKING, Any

from torch import nn

from normadvisor.graph.attributes import module_attrs
from normadvisor.graph.canonical import NORMS, module_op
from normadvisor.graph.leaves import Leaves, class_name
from normadvisor.graph.model import ModuleInfo, NodeInfo
from normadvisor.types import GROUPS, Site

if TYPE_CHECKING:
    from collections.abc import Iterable

__all__ = ["list_modules", "unrun"]

_WATCHED = NORMS | set(GROUPS["activation"]) | set(GROUPS["dropout_like"])


def list_modules(
    model: nn.Module, nodes: list[NodeInfo], entered: Iterable[str], leaves: Leaves, sites: Mapping[str, Site]
) -> dict[str, ModuleInfo]:
    """All modules by qualified name; ``entered`` are the modules whose ``forward`` ran beside those that made a node."""
    calls = Counter(node.module for node in nodes if node.cls)
    ran = {""}
    for inner in {*entered, *(node.module for node in nodes)}:
        name = inner
        while name and name not in ran:
            ran.add(name)
            name = name.rpartition(".")[0]
    # Modules that are one operation, and (parents come first) what lies inside of them.
    whole = {node.module for node in nodes if node.cls}
    found: dict[str, ModuleInfo] = {}
    for name, module in model.named_modules():
        if name and name.rpartition(".")[0] in whole:
            whole.add(name)
            ran.add(name)
        op, attrs = _operation(module, leaves)
        owner = name.rpartition(".")[0]
        used = name in ran
        found[name] = ModuleInfo(
            name=name,
            cls=class_name(module),
            op=op,
            attrs=attrs,
            site=sites.get(name),
            parameters=sum(parameter is not None for parameter in module._parameters.values()),  # noqa: SLF001
            calls=calls[name] or int(used),
            ran=used,
            owner_ran=owner in ran,
            referenced=_referenced(model.get_submodule(owner), name.rpartition(".")[2]) if op and not used else True if used else None,
        )
    return found


def _operation(module: nn.Module, leaves: Leaves) -> tuple[str | None, dict[str, Any]]:
    leaf = leaves.of(module)
    if leaf is not None and leaf.op != "other":
        return leaf.op, {**module_attrs(leaf.op, module), **leaf.known}
    known = module_op(type(module))
    if known is not None and known[0] in _WATCHED:
        return known[0], module_attrs(known[0], module)
    return None, {}


def unrun(modules: Mapping[str, ModuleInfo]) -> list[str]:
    """Norms, activations and dropout layers that did not run."""
    return [name for name, module in modules.items() if module.op in _WATCHED and not module.ran]


def _referenced(owner: nn.Module, attribute: str) -> bool | None:
    """Whether the class of ``owner`` reads ``self.attribute`` outside ``__init__``; None when that cannot be told."""
    cls: Any = type(owner)
    reads = _reads(cls)
    if reads is None:
        return None
    names, all_of_them = reads
    if attribute in names:
        return True
    return None if all_of_them else False


@lru_cache(maxsize=512)
def _reads(cls: type[nn.Module]) -> tuple[frozenset[str], bool] | None:
    """Attributes that the methods of ``cls`` read outside ``__init__``, and whether they also reach for children by other means."""
    names: set[str] = set()
    indirect = False
    for base in cls.__mro__:
        if base in {nn.Module, object}:
            continue
        if base.__module__.startswith("torch.nn."):
            return None
        try:
            tree = ast.parse(textwrap.dedent(inspect.getsource(base)))
        except (OSError, TypeError, SyntaxError):
            return None
        for node in ast.walk(tree.body[0]):
            if isinstance(node, (ast.FunctionDef, ast.AsyncFunctionDef)) and node.name != "__init__":
                indirect = _scan(node, names) or indirect
    return frozenset(names), indirect


_INDIRECT = {"children", "modules", "named_children", "named_modules", "_modules", "__dict__", "get_submodule"}


def _scan(function: ast.AST, names: set[str]) -> bool:
    indirect = False
    for node in ast.walk(function):
        if isinstance(node, ast.Attribute) and isinstance(node.ctx, ast.Load):
            names.add(node.attr)
            indirect = indirect or node.attr in _INDIRECT
        elif isinstance(node, ast.Call) and isinstance(node.func, ast.Name) and node.func.id in {"getattr", "vars"}:
            indirect = True
        elif isinstance(node, ast.Constant) and isinstance(node.value, str):
            names.add(node.value)
    return indirect
