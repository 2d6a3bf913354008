"""Calls of layers and functions in ``forward``: what stands around their input, and how they are taken out."""

from __future__ import annotations

import ast
from collections import defaultdict
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from weakref import WeakKeyDictionary

import torch

from normadvisor.graph.model import NodeInfo
from normadvisor.rewrite.source.imports import is_bound_locally
from normadvisor.rewrite.source.place import Refused, SourceTree, WriteContext, place_of
from normadvisor.rewrite.source.spans import Text
from normadvisor.rewrite.source.statements import without_statements
from normadvisor.types import Edit, Location

__all__ = ["Use", "all_covered", "called_at", "is_container_call", "runs_of", "unwrapped", "use_of"]

_ATOMS = (ast.Name, ast.Attribute, ast.Call, ast.Subscript, ast.List, ast.Dict, ast.Set, ast.ListComp, ast.DictComp, ast.SetComp,
          ast.JoinedStr)  # fmt: skip
_called: WeakKeyDictionary[WriteContext, dict[Location, list[NodeInfo]]] = WeakKeyDictionary()
_runs: WeakKeyDictionary[WriteContext, dict[str, list[NodeInfo]]] = WeakKeyDictionary()
_INPUTS = frozenset({"input", "x", "hidden_states"})
"""Names of the argument that a layer or function is run on."""


@dataclass(frozen=True, slots=True, eq=False)
class Use:
    """One call in ``forward``."""

    tree: SourceTree
    call: ast.Call
    data: ast.expr
    """The expression that the layer or function is run on."""
    location: Location
    is_method: bool
    """Whether ``data`` is what a method is called on."""

    @property
    def text(self) -> Text:
        """The file."""
        return Text(self.tree)

    def around(self) -> tuple[tuple[int, int], tuple[int, int]]:
        """The spans before and behind the input: ``F.relu(`` and ``, inplace=True)``."""
        text = self.text
        start, end = text.extent(self.data)
        return (text.start(self.call), start), (end, text.end(self.call))

    def words(self) -> tuple[str, str]:
        """The texts before and behind the input."""
        text = self.text.text
        (start, begin), (end, last) = self.around()
        return text[start:begin], text[end:last]


def use_of(context: WriteContext, node: NodeInfo) -> Use:
    """The call that made a node.

    Raises:
        Refused: it is made outside the files that may be edited, or not by a plain call of the layer or function itself.

    """
    if node.call_site is None:
        raise Refused(f"it is not known where `{node.module or node.op}` is called")
    location = context.call_site(node).location
    tree, call = context.call_at(location)
    if not _denotes(tree, call, node):
        called, what = tree.module.segment(call.func), node.module if node.cls else node.op
        raise Refused(f"`{called}(...)` at {place_of(location)} runs more than `{what}`")
    is_method = node.target.startswith("Tensor.") and _is_method(tree, call.func, node.target.rpartition(".")[2])
    if is_method:
        assert isinstance(call.func, ast.Attribute)  # noqa: S101 - the line above
        data: ast.expr | None = call.func.value
    else:
        data = call.args[0] if call.args else next((item.value for item in call.keywords if item.arg in _INPUTS), None)
        if data is None and len(call.keywords) == 1 and call.keywords[0].arg:
            data = call.keywords[0].value
    if data is None or isinstance(data, ast.Starred | ast.GeneratorExp):
        raise Refused(f"it is not clear what the call at {place_of(location)} is run on")
    return Use(tree, call, data, location, is_method)


def _is_method(tree: SourceTree, func: ast.expr, name: str) -> bool:
    """Whether what is called is a method of a value; ``F.tanh(x)`` calls ``x.tanh()`` as well, and is none."""
    if not isinstance(func, ast.Attribute) or func.attr != name:
        return False
    root = func.value
    while isinstance(root, ast.Attribute):
        root = root.value
    if not isinstance(root, ast.Name) or is_bound_locally(root.id, tree, func):
        return not (isinstance(func.value, ast.Name) and func.value.id == "self")
    return root.id not in tree.module.imports


def _denotes(tree: SourceTree, call: ast.Call, node: NodeInfo) -> bool:
    """Whether a call calls the layer or function of a node, rather than something that calls it in turn."""
    func = call.func
    if node.cls:
        name = node.module.rpartition(".")[2]
        if isinstance(func, ast.Attribute):
            return func.attr == name or not func.attr.isidentifier()
        if isinstance(func, ast.Name):
            return func.id == name or is_bound_locally(func.id, tree, call)
        return isinstance(func, ast.Subscript | ast.Call)
    wanted = node.target.rpartition(".")[2].strip("_")
    if isinstance(func, ast.Attribute):
        return func.attr.strip("_") == wanted or (isinstance(func.value, ast.Name) and func.value.id == "self")
    if isinstance(func, ast.Name):
        imported = tree.module.imports.get(func.id, func.id).rpartition(".")[2]
        return imported.strip("_") == wanted or is_bound_locally(func.id, tree, call)
    return isinstance(func, ast.Call)


def is_container_call(context: WriteContext, node: NodeInfo) -> bool:
    """Whether a layer runs because the ``nn.Sequential`` that holds it does."""
    owner = node.module.rpartition(".")[0]
    return bool(node.module) and type(context.module(owner)).forward is torch.nn.Sequential.forward


def called_at(context: WriteContext, location: Location) -> list[NodeInfo]:
    """All nodes whose call, in a file that may be edited, is at a place, in the order they ran."""
    known = _called.get(context)
    if known is None:
        known = _called[context] = defaultdict(list)
        for node in context.graph.nodes:
            place = context.places.of_site(node.call_site, built=False)
            if place is not None and place.own:
                known[place.frame.location].append(node)
    return known.get(location, [])


def runs_of(context: WriteContext, name: str) -> list[NodeInfo]:
    """The nodes of a layer."""
    known = _runs.get(context)
    if known is None:
        known = _runs[context] = defaultdict(list)
        for node in context.graph.nodes:
            if node.cls:
                known[node.module].append(node)
    return known.get(name, [])


def all_covered(context: WriteContext, location: Location, names: Iterable[str], *, idle: frozenset[str] = frozenset()) -> None:
    """Check that everything a call runs is among the nodes of a fix.

    Args:
        context: the model.
        location: the call.
        names: of the nodes that the fix is about.
        idle: operations that it may run beside them.

    Raises:
        Refused: the call also runs another layer.

    """
    covered = set(names)
    for node in called_at(context, location):
        if node.name not in covered and node.op not in idle:
            what = f"`{node.module}`" if node.cls else f"{node.op} in `{node.module or context.graph.target}`"
            raise Refused(f"the call at {place_of(location)} also runs {what}, to which the fix does not apply")


def unwrapped(uses: Iterable[Use]) -> list[Edit]:
    """Take calls out, so that their input stands in their place; statements that do nothing any more go as well.

    Raises:
        Refused: a comment stands where it would be lost.

    """
    edits: dict[Edit, None] = {}
    by_tree: dict[SourceTree, dict[ast.Call, Use]] = defaultdict(dict)
    for use in uses:
        by_tree[use.tree][use.call] = use
    for tree, calls in by_tree.items():
        by_statement: dict[ast.stmt, dict[ast.Call, Use]] = defaultdict(dict)
        for call, use in calls.items():
            by_statement[tree.statement(call)][call] = use
        gone = [statement for statement, inside in by_statement.items() if _is_idle(statement, inside)]
        edits.update(dict.fromkeys(without_statements(tree, gone)))
        for statement, inside in by_statement.items():
            if statement in gone:
                continue
            edits.update(dict.fromkeys(_own_targets(tree, statement, inside)))
            for use in inside.values():
                edits.update(dict.fromkeys(_bared(use, inside)))
    return list(edits)


def _peeled(node: ast.expr, calls: dict[ast.Call, Use]) -> ast.expr:
    while isinstance(node, ast.Call) and node in calls:
        node = calls[node].data
    return node


def _is_idle(statement: ast.stmt, calls: dict[ast.Call, Use]) -> bool:
    """Whether nothing is left to do: ``x = x``, or a name alone."""
    if isinstance(statement, ast.Expr):
        return isinstance(_peeled(statement.value, calls), ast.Name | ast.Attribute)
    if isinstance(statement, ast.Assign | ast.AnnAssign) and statement.value is not None:
        value = _peeled(statement.value, calls)
        targets = statement.targets if isinstance(statement, ast.Assign) else [statement.target]
        return all(_same(value, target) for target in targets)
    return False


def _same(value: ast.expr, target: ast.expr) -> bool:
    return isinstance(value, ast.Name | ast.Attribute) and ast.unparse(value) == ast.unparse(target)


def _own_targets(tree: SourceTree, statement: ast.stmt, calls: dict[ast.Call, Use]) -> Iterator[Edit]:
    """``x = y = relu(x)`` becomes ``y = x``."""
    if not isinstance(statement, ast.Assign):
        return
    value = _peeled(statement.value, calls)
    text = Text(tree)
    following = [*statement.targets[1:], statement.value]
    for target, after in zip(statement.targets, following, strict=True):
        if _same(value, target):
            yield text.edit(text.extent(target)[0], text.extent(after)[0])


def _bared(use: Use, calls: dict[ast.Call, Use]) -> Iterator[Edit]:
    """A call without all but its input."""
    text = use.text
    (start, begin), (end, last) = use.around()
    opening, closing = _parentheses(use, calls)
    if "#" in text.text[start:begin] or "#" in text.text[end:last]:
        yield from _around_comments(use)
        return
    yield text.edit(start, begin, opening)
    yield text.edit(end, last, closing)


def _around_comments(use: Use) -> Iterator[Edit]:
    """The parentheses stay where comments stand inside them."""
    text = use.text
    _, (end, last) = use.around()
    func_end = text.extent(use.call.func)[1]
    more = len(use.call.args) + len(use.call.keywords) > 1 or bool(use.call.keywords)
    rest = text.text[end : last - 1]
    if use.is_method or more or rest.count(",") > 1:
        raise Refused(f"comments inside the call at {place_of(use.location)} would be lost")
    yield text.edit(text.start(use.call), func_end)
    comma = rest.find(",")
    if comma >= 0:
        if "#" in rest[:comma]:
            raise Refused(f"comments inside the call at {place_of(use.location)} would be lost")
        yield text.edit(end + comma, end + comma + 1)


def _parentheses(use: Use, calls: dict[ast.Call, Use]) -> tuple[str, str]:
    """What has to stand around the input where the call stood."""
    text = use.text
    data = use.data
    if isinstance(data, ast.Call) and data in calls:
        return "", ""  # its own edits see to it
    outer: ast.AST = use.call
    while (parent := use.tree.parents[outer]) in calls and calls[parent].data is outer:
        outer = parent
    start, end = text.extent(data)
    is_atom = isinstance(data, _ATOMS) or start != text.start(data) or (isinstance(data, ast.Constant | ast.Tuple))
    outer_start, outer_end = text.extent(outer)
    if (outer_start, outer_end) != (text.start(outer), text.end(outer)):
        return "", ""
    in_brackets = isinstance(parent, ast.Call | ast.keyword | ast.List | ast.Dict | ast.Set) and getattr(parent, "func", None) is not outer
    alone = isinstance(parent, ast.Assign | ast.Return | ast.AugAssign | ast.AnnAssign | ast.Expr)
    if in_brackets and not isinstance(data, ast.NamedExpr | ast.Yield | ast.YieldFrom):
        return "", ""
    if not is_atom and not (alone and not isinstance(data, ast.NamedExpr)):
        return "(", ")"
    if "\n" in text.text[start:end] and not _stands_alone(text.text[start:end]) and not _bracketed(use.tree, outer):
        return "(", ")"
    return "", ""


def _stands_alone(text: str) -> bool:
    try:
        ast.parse(text, mode="eval")
    except SyntaxError:
        return False
    return True


def _bracketed(tree: SourceTree, node: ast.AST) -> bool:
    child = node
    for parent in tree.around(node):
        if isinstance(parent, ast.stmt):
            return False
        if isinstance(parent, ast.List | ast.Dict | ast.Set) or (isinstance(parent, ast.Call) and child is not parent.func):
            return True
        child = parent
    return False
