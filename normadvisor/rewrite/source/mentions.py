"""Who names a layer: the methods of its class and of classes derived from it, and other code of the project."""

from __future__ import annotations

import ast
import inspect
import re
import sys
from collections.abc import Callable, Collection, Iterator
from functools import partial
from pathlib import Path
from weakref import WeakKeyDictionary

import torch

from normadvisor.errors import NormAdvisorError
from normadvisor.files.folders import python_files
from normadvisor.files.source import read_text
from normadvisor.rewrite.source.place import Refused, SourceFiles, SourceTree, WriteContext

__all__ = ["called_by_others", "class_nodes", "defined_in", "indexed_at", "named_at", "names_of_class"]

_MOST_FILES = 2000
"""Files searched for names; a project beyond that is searched in part."""
_texts: WeakKeyDictionary[SourceFiles, dict[str, str]] = WeakKeyDictionary()
_places: WeakKeyDictionary[WriteContext, dict[tuple[object, ...], str | None]] = WeakKeyDictionary()
_LOOKUPS = frozenset({"getattr", "hasattr", "setattr", "delattr", "get_submodule", "pop", "register_forward_hook"})
_HARMLESS = frozenset({
    "parameters", "named_parameters", "modules", "children", "apply", "train", "eval", "to", "append", "extend", "add_module",
    "requires_grad_", "state_dict", "load_state_dict", "buffers",
})  # fmt: skip
"""Methods of a container that do not depend on the positions of its layers."""


def _texts_of(context: WriteContext) -> dict[str, str]:
    """Every file under the root by its path, and the files that were imported from there."""
    known = _texts.get(context.files)
    if known is None:
        root = context.root if context.root.is_dir() else context.root.parent
        listed = [str(path) for path in python_files(root)[:_MOST_FILES] if path.suffix == ".py"] if context.root.is_dir() else []
        loaded = [file for module in list(sys.modules.values()) if (file := getattr(module, "__file__", None)) and context.is_own(file)]
        known = {}
        for path in dict.fromkeys(str(Path(item).resolve()) for item in [str(context.root), *listed, *loaded] if item.endswith(".py")):
            try:
                known[path] = read_text(Path(path))
            except NormAdvisorError:
                continue  # a file that cannot be read names nothing
        _texts[context.files] = known
    return known


def _relatives(cls: type, home: str = "") -> list[type]:
    """Classes whose methods may see an attribute of an instance.

    Those that its class is derived from, and those derived from the one named ``home``, whose methods give it the attribute.
    """
    found = dict.fromkeys(_bases(cls))
    pending = [base for base in found if base.__name__ == home or base is cls]
    while pending:
        derived: list[type] = type.__subclasses__(pending.pop())
        new = [base for base in derived if base not in found]
        found.update(dict.fromkeys(new))
        pending += new
    return list(found)


def _bases(cls: type) -> list[type]:
    return [found for found in inspect.getmro(cls) if found is not object and not found.__module__.startswith("torch.nn.")]


def defined_in(tree: SourceTree, node: ast.AST) -> str:
    """Name of the class that a node stands in."""
    return next((item.name for item in tree.around(node) if isinstance(item, ast.ClassDef)), "")


def class_nodes(context: WriteContext, cls: type) -> Iterator[tuple[SourceTree, ast.ClassDef]]:
    """Where a class is defined; more than one place if the file defines it twice."""
    file = getattr(sys.modules.get(cls.__module__), "__file__", None)
    if file is None or not file.endswith(".py"):
        return
    try:
        tree = context.files.tree(file if context.is_own(file) else str(Path(file).resolve()))
    except Refused:
        return
    for node in ast.walk(tree.module.tree):
        if isinstance(node, ast.ClassDef) and node.name == cls.__name__:
            yield tree, node


def names_of_class(context: WriteContext, cls: type) -> set[str]:
    """Names of attributes that methods of a class and its relatives use, and of the attributes of the class itself."""
    found = set(dir(cls))
    for relative in _relatives(cls):
        for _, node in class_nodes(context, relative):
            found.update(item.attr for item in ast.walk(node) if isinstance(item, ast.Attribute))
    return found


def named_at(context: WriteContext, owner: torch.nn.Module, name: str, allowed: Collection[ast.AST], home: str = "") -> str | None:
    """A place that names an attribute of a module.

    Args:
        context: the model.
        owner: the module that holds the attribute.
        name: of the attribute.
        allowed: nodes that are about to go.
        home: name of the class whose methods give it the attribute.

    Returns:
        ``model.py:12``, or ``None`` if nothing else names it.

    """
    gone = {id(inner) for node in allowed for inner in ast.walk(node)}
    for cls in _relatives(type(owner), home):
        for tree, node in class_nodes(context, cls):
            for item in ast.walk(node):
                if id(item) not in gone and (_is_own_attribute(item, name) or _is_lookup(tree, item, name)):
                    return _place(tree, item)
    return _named_outside(context, owner, name, gone)


def called_by_others(context: WriteContext, owner: torch.nn.Module, name: str, allowed: Collection[ast.AST], home: str = "") -> bool:
    """Whether a method of the class of a module, or of one related to it, calls a layer by its name, calls that are about to go aside.

    The arguments are those of :func:`named_at`.
    """
    gone = {id(inner) for node in allowed for inner in ast.walk(node)}
    for cls in _relatives(type(owner), home):
        for _, node in class_nodes(context, cls):
            called = (item.func for item in ast.walk(node) if isinstance(item, ast.Call))
            if any(id(func) not in gone and _is_own_attribute(func, name) for func in called):
                return True
    return False


def _named_outside(context: WriteContext, owner: torch.nn.Module, name: str, gone: set[int]) -> str | None:
    pattern = re.compile(rf"(?<!\bself)\.{name}\b|[\"'](?:[\w.]+\.)?{name}(?:\.[\w.]+)?[\"']")
    for tree in _trees_with(context, owner, pattern):
        for item in ast.walk(tree.module.tree):
            if id(item) not in gone and (_is_other_attribute(tree, item, name) or _is_lookup(tree, item, name)):
                return _place(tree, item)
    return None


def _trees_with(context: WriteContext, owner: torch.nn.Module, pattern: re.Pattern[str]) -> Iterator[SourceTree]:
    """Files that hold a pattern and have to do with a module: that define its class or the model's, or import one of them."""
    classes = {cls for cls in (type(owner), type(context.model)) if not cls.__module__.startswith("torch.nn")}
    homes = {str(Path(file).resolve()) for cls in classes if (file := getattr(sys.modules.get(cls.__module__), "__file__", None))}
    words = {cls.__name__ for cls in classes} | {Path(home).stem for home in homes if Path(home).stem != "__init__"}
    words.update(name for cls in classes for tree, node in class_nodes(context, cls) for name in _builders(tree, node.name))
    imported = re.compile(rf"\bimport\b.*?\b(?:{'|'.join(map(re.escape, words)) or '$.'})\b", re.DOTALL)
    for path, text in _texts_of(context).items():
        if not pattern.search(text) or not (path in homes or imported.search(text)):
            continue
        try:
            tree = context.files.tree(path)
        except Refused:
            continue
        if path in homes or any(target.rpartition(".")[2] in words for target in tree.module.imports.values()):
            yield tree


def _builders(tree: SourceTree, name: str) -> Iterator[str]:
    """Functions of a file that name a class."""
    for function in tree.module.tree.body:
        if isinstance(function, ast.FunctionDef) and any(isinstance(node, ast.Name) and node.id == name for node in ast.walk(function)):
            yield function.name


def _place(tree: SourceTree, node: ast.AST) -> str:
    return f"{Path(tree.module.path).name}:{getattr(node, 'lineno', 1)}"


def _is_own_attribute(node: ast.AST, name: str) -> bool:
    return isinstance(node, ast.Attribute) and node.attr == name and isinstance(node.value, ast.Name) and node.value.id == "self"


def _is_other_attribute(tree: SourceTree, node: ast.AST, name: str) -> bool:
    """``model.act``; not ``F.act``, nor the method of a tensor of that name."""
    if not isinstance(node, ast.Attribute) or node.attr != name:
        return False
    value = node.value
    if isinstance(value, ast.Name) and (value.id == "self" or value.id in tree.module.imports):
        return False
    if ast.unparse(value) in {"nn.functional", "torch.nn.functional", "nn.init", "torch.nn.init", "torch.nn", "torch.special"}:
        return False
    parent = tree.parents.get(node)
    is_called = isinstance(parent, ast.Call) and parent.func is node
    return not (is_called and hasattr(torch.Tensor, name))


def _is_lookup(tree: SourceTree, node: ast.AST, name: str) -> bool:
    """A string that names the attribute: in a path such as ``"layer1.act"``, in ``getattr`` and its like, or as a key."""
    if not isinstance(node, ast.Constant) or not isinstance(node.value, str) or name not in node.value.split("."):
        return False
    if "." in node.value and " " not in node.value:
        return True
    parent = tree.parents.get(node)
    if isinstance(parent, ast.Call):
        called = parent.func.attr if isinstance(parent.func, ast.Attribute) else getattr(parent.func, "id", "")
        return called in _LOOKUPS
    if isinstance(parent, ast.keyword):
        return parent.arg in {"module", "name", "module_name", "target"}
    if isinstance(parent, ast.Compare):
        return any(isinstance(item, ast.In | ast.NotIn) for item in parent.ops)
    return isinstance(parent, ast.Subscript)


def indexed_at(context: WriteContext, name: str) -> str | None:
    """A place that depends on the position of a layer in the containers that hold it.

    Args:
        context: the model.
        name: of the layer, ``features.2``.

    Returns:
        ``model.py:12``, or ``None`` if the layers behind it may move up.

    """
    path = name.rpartition(".")[0]
    while path:
        holder = context.module(path)
        if not isinstance(holder, torch.nn.Sequential | torch.nn.ModuleList):
            break
        place = _known(context, ("itself", type(holder)), partial(_indexes_itself, context, type(holder)))
        if place is not None:
            return place
        owner, _, attribute = path.rpartition(".")
        outer = context.module(owner)
        key = ("position", type(outer), attribute)
        if attribute.isidentifier() and (place := _known(context, key, partial(_used_by_position, context, outer, attribute))):
            return place
        path = owner
    return None


def _known(context: WriteContext, key: tuple[object, ...], find: Callable[[], str | None]) -> str | None:
    """What was found before for the same classes."""
    known = _places.setdefault(context, {})
    if key not in known:
        known[key] = find()
    return known[key]


def _indexes_itself(context: WriteContext, cls: type) -> str | None:
    for relative in _relatives(cls):
        for tree, node in class_nodes(context, relative):
            for item in ast.walk(node):
                if isinstance(item, ast.Subscript) and isinstance(item.value, ast.Name) and item.value.id == "self":
                    return _place(tree, item)
    return None


def _used_by_position(context: WriteContext, owner: torch.nn.Module, name: str) -> str | None:
    for cls in _relatives(type(owner)):
        for tree, node in class_nodes(context, cls):
            for item in ast.walk(node):
                if _is_own_attribute(item, name) and not _is_whole(tree, item):
                    return _place(tree, item)
    outside = re.compile(rf"(?<!\bself)\.{name}\b|[\"'](?:[\w.]+\.)?{name}\.\d")
    dotted = re.compile(rf"(?:^|\.){name}\.\d")
    for tree in _trees_with(context, owner, outside):
        for item in ast.walk(tree.module.tree):
            is_string = isinstance(item, ast.Constant) and isinstance(item.value, str) and dotted.search(item.value) is not None
            if is_string or (_is_other_attribute(tree, item, name) and not _is_whole(tree, item)):
                return _place(tree, item)
    return None


def _is_whole(tree: SourceTree, node: ast.AST) -> bool:
    """Whether a container is named in a way that takes all its layers, however many there are."""
    parent = tree.parents.get(node)
    if isinstance(node, ast.Attribute) and isinstance(node.ctx, ast.Store):
        return True
    if isinstance(parent, ast.Call):
        return parent.func is node
    if isinstance(parent, ast.Attribute):
        return parent.attr in _HARMLESS
    if isinstance(parent, ast.For | ast.comprehension):
        return parent.iter is node
    if isinstance(parent, ast.Compare):
        return all(isinstance(item, ast.Constant) and item.value is None for item in parent.comparators)
    return isinstance(parent, ast.Starred | ast.Expr | ast.If | ast.BoolOp)
