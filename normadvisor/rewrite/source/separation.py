"""Gives every place where a shared layer runs a layer of its own."""

from __future__ import annotations

import ast
from collections import defaultdict
from collections.abc import Iterator, Sequence

from normadvisor.graph.model import NodeInfo
from normadvisor.rewrite.source.allies import with_allies
from normadvisor.rewrite.source.calls import Use, all_covered, is_container_call, use_of
from normadvisor.rewrite.source.imports import new_name
from normadvisor.rewrite.source.insertion import beside
from normadvisor.rewrite.source.mentions import names_of_class
from normadvisor.rewrite.source.place import Refused, SourceTree, WriteContext, place_of
from normadvisor.rewrite.source.removal import statement_of
from normadvisor.rewrite.source.sequence import built_under, frames_of, slot_of
from normadvisor.rewrite.source.spans import Text, joined
from normadvisor.types import Edit
from normadvisor.types.operation import Operation

__all__ = ["separate"]

_LOOPS = (ast.For, ast.While, ast.ListComp, ast.GeneratorExp)


def separate(operations: Sequence[Operation], context: WriteContext) -> list[Edit]:
    """Build one more layer for every call of a shared one but the first.

    ``self.bn`` that runs at two calls gets a ``self.bn_2`` built beside it, in the same words; a variable that stands in several
    sequences is built where it stands.

    Args:
        operations: of kind ``separate_layers``.
        context: the model.

    Raises:
        Refused: one call runs the layer behind several others, or it is the only one, or the place that builds it serves others, too.

    """
    operations = with_allies(operations, context)
    shared = {operation.part.module for operation in operations}
    runs: dict[str, list[NodeInfo]] = defaultdict(list)
    for node in context.graph.nodes:
        if node.cls and node.module in shared:
            runs[node.module].append(node)
    edits: list[Edit] = []
    for name in dict.fromkeys(operation.part.module for operation in operations):
        found = runs[name]
        if len(found) < 2:
            raise Refused(f"`{name}` runs at one place only")
        held = [is_container_call(context, node) or not _calls_itself(context, node) for node in found]
        edits += _variable(context, name, shared) if any(held) else _attribute(context, name, found, shared, runs)
    return joined(edits)


def _calls_itself(context: WriteContext, node: NodeInfo) -> bool:
    try:
        use_of(context, node)
    except Refused:
        return False
    return True


def _attribute(context: WriteContext, name: str, found: list[NodeInfo], shared: set[str], runs: dict[str, list[NodeInfo]]) -> list[Edit]:
    covered = {node.name for nodes in runs.values() for node in nodes}
    uses: dict[ast.Call, Use] = {}
    by_call: dict[ast.Call, list[NodeInfo]] = defaultdict(list)
    for node in found:
        use = use_of(context, node)
        all_covered(context, use.location, covered)
        uses.setdefault(use.call, use)
        by_call[use.call].append(node)
    for call, nodes in by_call.items():
        if len(by_call) == 1 or len({_layer_before(context, node) for node in nodes}) > 1:
            raise Refused(_several_times(name, uses[call], nodes))
    tree, statement = statement_of(context, name, shared)
    owner = type(context.module(name.rpartition(".")[0]))
    taken = names_of_class(context, owner)
    attribute = name.rpartition(".")[2]
    target, value = _parts_of(statement)
    text = Text(tree)
    lines: list[str] = []
    edits: list[Edit] = []
    for use in list(uses.values())[1:]:
        func = use.call.func
        if not isinstance(func, ast.Attribute) or func.attr != attribute:
            raise Refused(f"the call at {place_of(use.location)} does not name `{attribute}`")
        new = new_name(attribute, taken)
        taken.add(new)
        lines.append(f"{text.of(target.value)}.{new} = {text.of(value)}")
        words = Text(use.tree)
        end = words.end(func)
        edits.append(words.edit(end - len(attribute), end, new))
    indentation = text.indentation(text.start(statement))
    return [*edits, beside(tree, statement, f"\n{indentation}".join(lines))]


def _layer_before(context: WriteContext, node: NodeInfo) -> str:
    """The layer with parameters whose result a node is run on, or what the way back to it ends at."""
    while node.inputs:
        node = context.graph.nodes[node.inputs[0]]
        if node.cls and context.info(node.module).parameters:
            return node.module
        if len(node.inputs) > 1:
            break
    return node.name


def _several_times(name: str, use: Use, nodes: Sequence[NodeInfo]) -> str:
    """Why one call runs a layer more than once: the calls of what holds it, where they are apart, else a loop."""
    where, owner = place_of(use.location), name.rpartition(".")[0]
    paths = [node.call_site.frames if node.call_site is not None else () for node in nodes]
    for frames in zip(*paths, strict=False):
        if len({frame.location for frame in frames}) > 1 and owner:
            places = " and ".join(dict.fromkeys(place_of(frame.location) for frame in frames))
            runs = f"`{frames[0].function}` runs `{owner}` {len(nodes)} times, at {places}"
            return f"{runs}, and the call at {where} runs `{name}` each time"
    if any(isinstance(item, _LOOPS) for item in use.tree.around(use.call)):
        return f"the call at {where} runs `{name}` {len(nodes)} times in a loop: it takes an `nn.ModuleList` with one layer for each turn"
    return f"the call at {where} runs `{name}` several times"


def _parts_of(statement: ast.stmt) -> tuple[ast.Attribute, ast.expr]:
    if isinstance(statement, ast.Assign):
        target, value = statement.targets[0], statement.value
    elif isinstance(statement, ast.AnnAssign) and statement.value is not None:
        target, value = statement.target, statement.value
    else:
        raise Refused(f"line {statement.lineno} does not build the layer")
    assert isinstance(target, ast.Attribute)  # noqa: S101 - statement_of sees to it
    return target, value


def _variable(context: WriteContext, name: str, shared: set[str]) -> list[Edit]:
    """A variable or attribute whose layer stands in several sequences: each but the first gets the words that build it."""
    for frame in frames_of(context, name):
        tree = context.tree(frame.location)
        call = tree.call_at(frame.location)
        if call is None or not shared.issuperset(built_under(context, frame.location)):
            continue
        statement = tree.statement(call)
        if not (isinstance(statement, ast.Assign) and statement.value is call and len(statement.targets) == 1):
            continue
        uses = list(_uses(tree, statement))
        if len(uses) < 2 or not all(_may_be_built(tree, statement, use) for use in uses):
            continue
        text = Text(tree)
        return [tree.edit(use, text.of(call)) for use in uses[1 if isinstance(statement.targets[0], ast.Name) else 0 :]]
    raise Refused(f"`{name}` runs with the containers that hold it, and the source does not show where it was put into them")


def _uses(tree: SourceTree, statement: ast.Assign) -> Iterator[ast.expr]:
    """Where a variable is read in its function."""
    target, function = statement.targets[0], tree.function(statement)
    if isinstance(target, ast.Name) and function is not None:
        for node in ast.walk(function):
            if isinstance(node, ast.Name) and node.id == target.id and node is not target:
                yield node


def _may_be_built(tree: SourceTree, statement: ast.Assign, use: ast.expr) -> bool:
    """Whether the words that build a layer mean the same where it is used: in the same function, outside of other loops, no new values."""
    if not isinstance(use, ast.Name) or not isinstance(use.ctx, ast.Load):
        return False
    parent = tree.parents[use]
    plain = isinstance(parent, ast.Assign) and parent.value is use and isinstance(parent.targets[0], ast.Attribute)
    if slot_of(tree, use) is None and not plain:
        return False
    function = tree.function(statement)
    if function is None or tree.function(use) is not function:
        return False
    own = [item for item in tree.around(statement) if isinstance(item, _LOOPS)]
    if any(isinstance(item, _LOOPS) and item not in own for item in _inside(tree, use, function)):
        return False
    names = {item.id for item in ast.walk(statement.value) if isinstance(item, ast.Name)}
    stored = [item for item in ast.walk(function) if isinstance(item, ast.Name) and isinstance(item.ctx, ast.Store) and item.id in names]
    return not any(statement.lineno <= item.lineno <= use.lineno for item in stored)


def _inside(tree: SourceTree, node: ast.AST, function: ast.AST) -> Iterator[ast.AST]:
    for item in tree.around(node):
        if item is function:
            return
        yield item
