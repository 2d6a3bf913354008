"""Layers that stand in a sequence: arguments of ``nn.Sequential``, elements of lists, named pairs, and statements that append."""

from __future__ import annotations

import ast
from collections import defaultdict
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from weakref import WeakKeyDictionary

from normadvisor.rewrite.source.place import Refused, SourceTree, WriteContext, place_of
from normadvisor.rewrite.source.spans import Text
from normadvisor.rewrite.source.statements import without_statements
from normadvisor.types import Edit, Frame, Location

__all__ = ["Slot", "built_under", "frames_of", "reason_for_none", "receiver", "slot_of", "slots", "with_next", "without"]

_built: WeakKeyDictionary[WriteContext, dict[Location, list[str]]] = WeakKeyDictionary()
_APPENDING = frozenset({"append", "add_module", "register_module"})


@dataclass(frozen=True, slots=True, eq=False)
class Slot:
    """Where a layer stands in a sequence."""

    tree: SourceTree
    layer: ast.expr
    """The expression that builds the layer, or the name that holds it."""
    unit: ast.AST
    """What stands for it among its siblings: the layer itself, ``("relu", layer)``, a keyword, the key of a dict, or a statement."""
    siblings: tuple[ast.AST, ...]
    """The units of the sequence; a statement has none but itself."""
    holder: ast.AST
    """The call, list or statement that holds them."""
    assigned: ast.stmt | None = None
    """The statement that gives the layer its name, where a name stands in the sequence."""

    @property
    def is_statement(self) -> bool:
        """Whether a statement of its own adds the layer."""
        return isinstance(self.unit, ast.stmt)

    def adding(self) -> ast.stmt | None:
        """The statement that adds the layer to a sequence that exists or begins with it: ``layers += [...]``; ``None`` if there is none."""
        if isinstance(self.unit, ast.stmt):
            return self.unit
        parent = self.tree.parents[self.holder]
        if isinstance(parent, ast.AugAssign | ast.Assign) and isinstance(self.holder, ast.List | ast.Tuple):
            return parent
        statement = self.tree.parents[parent]
        is_extended = isinstance(statement, ast.Expr) and isinstance(parent, ast.Call) and _last(parent.func) == "extend"
        return statement if is_extended and isinstance(statement, ast.stmt) else None

    def span(self) -> tuple[int, int]:
        """Offsets of the unit."""
        text = Text(self.tree)
        if isinstance(self.holder, ast.Dict):
            value = self.holder.values[self.holder.keys.index(self.unit)]  # type: ignore[arg-type]
            return text.start(self.unit), text.extent(value)[1]
        if isinstance(self.unit, ast.keyword):
            return text.start(self.unit), text.extent(self.unit.value)[1]
        return (text.start(self.unit), text.end(self.unit)) if self.is_statement else text.extent(self.unit)


def frames_of(context: WriteContext, name: str) -> list[Frame]:
    """The frames that led to the construction of a module, innermost first, those in files that may be edited only.

    Raises:
        Refused: there are none.

    """
    context.construction(name)
    return [frame for frame in context.frames(name) if context.is_own(frame.location.path)]


def built_under(context: WriteContext, location: Location) -> list[str]:
    """All modules that were built while a place was being evaluated."""
    known = _built.get(context)
    if known is None:
        known = _built[context] = defaultdict(list)
        for name, module in context.graph.modules.items():
            for place in dict.fromkeys(frame.location for frame in module.site.frames) if module.site is not None else ():
                known[place].append(name)
    return known.get(location, [])


def slots(context: WriteContext, name: str, covered: Iterable[str], *, optional: bool = False) -> Iterator[list[Slot]]:
    """Where a layer stands in a sequence, from the place that builds it outwards; more than one where a name stands at several.

    Args:
        context: the model.
        name: the layer.
        covered: the layers that a fix changes; places that build others are passed over.
        optional: whether ``layer if condition else nothing`` may stand for the layer.

    """
    wanted = set(covered)
    for frame in frames_of(context, name):
        if not wanted.issuperset(built_under(context, frame.location)):
            continue
        tree = context.tree(frame.location)
        call = tree.call_at(frame.location)
        if call is not None and (found := _slots_of(tree, call)):
            yield found
            continue
        choice = _choice(context, tree, call, wanted) if call is not None and optional else None
        if choice is not None and (slot := slot_of(tree, choice)) is not None:
            yield [slot]


def _choice(context: WriteContext, tree: SourceTree, call: ast.Call, covered: set[str]) -> ast.IfExp | None:
    """The conditional expression that a layer is a branch of, if its other branch builds nothing that does anything."""
    parent = tree.parents[call]
    if not isinstance(parent, ast.IfExp) or parent.test is call:
        return None
    other = parent.orelse if parent.body is call else parent.body
    built = built_under(context, tree.module.location(other))
    is_nothing = all(context.info(name).op in {None, "identity"} and context.info(name).parameters == 0 for name in built)
    return parent if is_nothing or covered.issuperset(built) else None


def reason_for_none(context: WriteContext, name: str, covered: Iterable[str]) -> str:
    """Why a layer has no slot."""
    frame = context.construction(name)
    others = [other for other in built_under(context, frame.location) if other not in set(covered)]
    where = place_of(frame.location)
    if others:
        more = f" and {len(others) - 1} more" if len(others) > 1 else ""
        return f"{where} builds `{name}`, and also `{others[0]}`{more}, to which the fix does not apply"
    return f"`{name}` is built at {where} in a way that does not show where it stands"


def _slots_of(tree: SourceTree, call: ast.expr) -> list[Slot]:
    found = slot_of(tree, call)
    if found is not None:
        return [found]
    statement = tree.statement(call)
    if not (isinstance(statement, ast.Assign) and statement.value is call and len(statement.targets) == 1):
        return []
    target, function = statement.targets[0], tree.function(statement)
    if not isinstance(target, ast.Name) or function is None:
        return []
    mentions = [node for node in ast.walk(function) if isinstance(node, ast.Name) and node.id == target.id and node is not target]
    uses = [slot_of(tree, node) for node in mentions if isinstance(node.ctx, ast.Load)]
    if not uses or len(uses) != len(mentions) or None in uses:
        return []
    return [Slot(tree, use.layer, use.unit, use.siblings, use.holder, statement) for use in uses if use is not None]


def slot_of(tree: SourceTree, node: ast.expr) -> Slot | None:
    """Where an expression stands in a sequence; ``None`` if it stands in none."""
    parent = tree.parents[node]
    if isinstance(parent, ast.Tuple) and len(parent.elts) == 2 and parent.elts[1] is node:
        holder = tree.parents[parent]
        if isinstance(holder, ast.List | ast.Tuple) and _is_named(tree, holder):
            return Slot(tree, node, parent, tuple(holder.elts), holder)
    if isinstance(parent, ast.Dict) and _is_named(tree, parent) and None not in parent.keys:
        key = parent.keys[parent.values.index(node)] if node in parent.values else None
        return Slot(tree, node, key, tuple(item for item in parent.keys if item), parent) if key is not None else None
    if isinstance(parent, ast.keyword):
        holder = tree.parents[parent]
        if isinstance(holder, ast.Call) and _last(holder.func) in {"OrderedDict", "dict"}:
            return Slot(tree, node, parent, tuple(holder.keywords), holder)
    if isinstance(parent, ast.List | ast.Tuple) and _is_sequence(tree, parent):
        return Slot(tree, node, node, tuple(parent.elts), parent)
    if isinstance(parent, ast.Call) and node in parent.args:
        if _takes_layers(tree, parent):
            return Slot(tree, node, node, (*parent.args, *parent.keywords), parent)
        statement = tree.parents[parent]
        appends = isinstance(parent.func, ast.Attribute) and parent.func.attr in _APPENDING and parent.args[-1] is node
        if appends and isinstance(statement, ast.Expr):
            return Slot(tree, node, statement, (statement,), statement)
    is_item = isinstance(parent, ast.Assign) and [type(target) for target in parent.targets] == [ast.Subscript]
    if isinstance(parent, ast.Assign) and is_item and parent.value is node:
        return Slot(tree, node, parent, (parent,), parent)
    return None


def _last(node: ast.expr) -> str:
    return node.attr if isinstance(node, ast.Attribute) else node.id if isinstance(node, ast.Name) else ""


def _takes_layers(tree: SourceTree, call: ast.Call) -> bool:
    """Whether the arguments of a call are layers in a row: ``nn.Sequential``, and ``super().__init__`` of classes derived from it."""
    name = _last(call.func)
    if isinstance(call.func, ast.Attribute) and name == "__init__":
        owner = next((item for item in tree.around(call) if isinstance(item, ast.ClassDef)), None)
        return owner is not None and any("Sequential" in _last(base) for base in owner.bases)
    if name.endswith("Sequential"):
        return True
    found = tree.module.definitions.get(name)
    if not isinstance(found, ast.ClassDef) or not any("Sequential" in _last(base) for base in found.bases):
        return False
    return not any(isinstance(item, ast.FunctionDef) and item.name == "__init__" for item in found.body)


def _is_named(tree: SourceTree, node: ast.AST) -> bool:
    """Whether a list of pairs or a dict becomes the layers of a module."""
    parent = tree.parents[node]
    if isinstance(parent, ast.Call):
        return _last(parent.func) in {"OrderedDict", "ModuleDict", "dict", "update"} and node in parent.args
    return isinstance(parent, ast.Assign | ast.AnnAssign | ast.Return) and isinstance(node, ast.Dict)


def _is_sequence(tree: SourceTree, node: ast.List | ast.Tuple) -> bool:
    """Whether a list stays a list of whatever length."""
    parent = tree.parents[node]
    if isinstance(parent, ast.Assign):
        return parent.value is node and all(isinstance(target, ast.Name | ast.Attribute) for target in parent.targets)
    if isinstance(parent, ast.Call):
        return node in parent.args and (_takes_layers(tree, parent) or _last(parent.func) in {"ModuleList", "extend", "list", "tuple"})
    whole = ast.Starred | ast.AugAssign | ast.AnnAssign | ast.Return | ast.BinOp | ast.IfExp | ast.ListComp | ast.GeneratorExp
    return isinstance(parent, whole)


def without(found: Iterable[Slot]) -> list[Edit]:
    """Take layers out of their sequences."""
    statements: dict[SourceTree, dict[ast.stmt, None]] = defaultdict(dict)
    lists: dict[ast.AST, list[Slot]] = defaultdict(list)
    for slot in found:
        if slot.assigned is not None:
            statements[slot.tree][slot.assigned] = None
        if isinstance(slot.unit, ast.stmt):
            statements[slot.tree][slot.unit] = None
        elif (whole := _left_empty(slot, found)) is not None:
            statements[slot.tree][whole] = None
        else:
            lists[slot.holder].append(slot)
    edits = [edit for tree, gone in statements.items() for edit in without_statements(tree, gone)]
    for held in lists.values():
        edits += _from_list(held)
    return edits


def _left_empty(slot: Slot, found: Iterable[Slot]) -> ast.stmt | None:
    """The statement ``layers += [...]`` or ``layers.extend([...])`` that would add nothing any more."""
    units = {id(other.unit) for other in found}
    if not isinstance(slot.holder, ast.List | ast.Tuple) or not all(id(item) in units for item in slot.siblings):
        return None
    parent = slot.tree.parents[slot.holder]
    if isinstance(parent, ast.AugAssign):
        return parent
    statement = slot.tree.parents[parent]
    return statement if isinstance(statement, ast.Expr) and isinstance(parent, ast.Call) and _last(parent.func) == "extend" else None


def _unit_span(slot: Slot, unit: ast.AST) -> tuple[int, int]:
    return Slot(slot.tree, slot.layer, unit, slot.siblings, slot.holder).span()


def _from_list(held: list[Slot]) -> Iterator[Edit]:
    first = held[0]
    text = Text(first.tree)
    gone = {id(slot.unit) for slot in held}
    spans = [_unit_span(first, unit) for unit in first.siblings]
    kept = [span for unit, span in zip(first.siblings, spans, strict=True) if id(unit) not in gone]
    if isinstance(first.holder, ast.Tuple) and len(kept) == 1:
        yield _one_left(text, kept[0], spans)
        return
    position = 0
    while position < len(spans):
        if id(first.siblings[position]) not in gone:
            position += 1
            continue
        last = position
        while last + 1 < len(spans) and id(first.siblings[last + 1]) in gone:
            last += 1
        before = spans[position - 1][1] if position else None
        after = spans[last + 1][0] if last + 1 < len(spans) else None
        yield _run_removed(text, (spans[position][0], spans[last][1]), before, after)
        position = last + 1


def _one_left(text: Text, kept: tuple[int, int], spans: list[tuple[int, int]]) -> Edit:
    """A tuple of one keeps its comma."""
    start, end = spans[0][0], spans[-1][1]
    if "#" in text.text[start:end]:
        raise Refused(f"comments in the tuple on line {text.line(start)} of {text.tree.module.path} would be lost")
    comma = "" if text.text[text.after(end)] == "," else ","
    return text.edit(start, end, text.text[slice(*kept)] + comma)


def _run_removed(text: Text, run: tuple[int, int], before: int | None, after: int | None) -> Edit:
    """Neighbours from one offset to another taken out of a list, with the comma that would be too many."""
    start, end = run
    comma = text.after(end)
    behind = comma + 1 if text.text[comma : comma + 1] == "," else end
    if text.begins_line(start) and text.ends_line(behind) and text.line_end(behind) < len(text.text):
        return text.edit(text.line_start(start), text.line_end(behind) + 1)
    if before is not None and "#" not in text.text[before:start] and (after is None or "\n" not in text.text[before:start]):
        return text.edit(before, end)
    if after is not None and "#" not in text.text[end:after]:
        return text.edit(start, after)
    while behind < len(text.text) and text.text[behind] == " ":
        behind += 1
    return text.edit(start, behind)


def with_next(slot: Slot, layer: str, name: str) -> Edit:
    """Put another layer behind one of a sequence.

    Args:
        slot: the layer.
        layer: text that builds the other.
        name: for sequences whose layers have names.

    Raises:
        Refused: the statement shares its line with others.

    """
    text = Text(slot.tree)
    start, end = slot.span()
    if isinstance(slot.unit, ast.stmt):
        return _statement_next(slot, layer, name)
    words = {ast.Tuple: f'("{name}", {layer})', ast.keyword: f"{name}={layer}"}.get(type(slot.unit), layer)
    if isinstance(slot.holder, ast.Dict):
        words = f'"{name}": {layer}'
    elif slot.unit is slot.layer:
        words = layer
    comma = text.after(end)
    behind = comma + 1 if text.text[comma : comma + 1] == "," else end
    if not text.begins_line(start) or not text.ends_line(behind):
        return text.edit(end, end, f",{_parting(slot, text)}{words}")
    if behind == end:
        return text.edit(end, end, f",\n{text.indentation(start)}{words}")
    stop = text.line_end(behind)
    return text.edit(stop, stop, f"\n{text.indentation(start)}{words},")


def _parting(slot: Slot, text: Text) -> str:
    """What parts a layer from the next one put behind it: the blanks of commas on its line, or a line break where it has its line alone."""
    start, end = slot.span()
    following, before = text.after(end), text.before(start)
    if text.text[following : following + 1] == ",":
        next_one = text.after(following + 1)
        if next_one < text.line_end(following) and text.text[next_one] not in "#)]}":
            return text.text[following + 1 : next_one]
    elif text.begins_line(start) and len(slot.siblings) > 1:
        return f"\n{text.indentation(start)}"
    own = text.text[before + 1 : start]
    return own if text.text[before] == "," and "\n" not in own else " "


def _statement_next(slot: Slot, layer: str, name: str) -> Edit:
    text = Text(slot.tree)
    start, end = slot.span()
    if not text.begins_line(start) or not text.ends_line(end):
        raise Refused(f"{slot.tree.module.path}:{slot.unit.lineno} holds more than one statement")  # type: ignore[attr-defined]
    if isinstance(slot.unit, ast.Assign):
        target = slot.unit.targets[0]
        assert isinstance(target, ast.Subscript)  # noqa: S101 - no other assignment is a slot
        statement = f'{text.of(target.value)}["{name}"] = {layer}'
    else:
        assert isinstance(slot.unit, ast.Expr)  # noqa: S101 - no other statement is a slot
        call = slot.unit.value
        assert isinstance(call, ast.Call)  # noqa: S101 - as above
        named = f'"{name}", ' if len(call.args) > 1 else ""
        statement = f"{text.of(call.func)}({named}{layer})"
    stop = text.line_end(end)
    return text.edit(stop, stop, f"\n{text.indentation(start)}{statement}")


def receiver(statement: ast.stmt) -> str:
    """What a statement adds its layers to."""
    if isinstance(statement, ast.AugAssign):
        return ast.unparse(statement.target)
    if isinstance(statement, ast.Assign):
        target = statement.targets[0]
        return ast.unparse(target.value if isinstance(target, ast.Subscript) else target)
    if isinstance(statement, ast.Expr) and isinstance(statement.value, ast.Call) and isinstance(statement.value.func, ast.Attribute):
        return ast.unparse(statement.value.func.value)
    return ""
