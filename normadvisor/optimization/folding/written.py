"""The text of a function beside what of it ran: which parts did not, though other inputs could reach them."""

from __future__ import annotations

import ast
import linecache
from collections.abc import Iterator, Sequence
from functools import cache
from types import CodeType

__all__ = ["Function", "bound", "calls", "function_of", "heads_of", "loads", "simple"]

_ABOUT = frozenset({"shape", "dtype", "device", "ndim", "size", "dim", "is_cuda", "requires_grad", "stride", "numel", "is_contiguous"})
"""What tells nothing of the values of a tensor."""
_ENDS = (ast.Return, ast.Raise, ast.Break, ast.Continue)
_NESTED = (ast.FunctionDef, ast.AsyncFunctionDef, ast.ClassDef, ast.Lambda)


@cache
def _tree(path: str) -> ast.Module | None:
    try:
        return ast.parse("".join(linecache.getlines(path)))
    except (SyntaxError, ValueError):
        return None


@cache
def function_of(code: CodeType) -> ast.FunctionDef | None:
    """The definition that was compiled to ``code``; ``None`` without its source."""
    for node in ast.walk(_tree(code.co_filename) or ast.Module([], [])):
        if isinstance(node, ast.FunctionDef) and node.name == code.co_name:
            first = min([node.lineno, *(each.lineno for each in node.decorator_list)])
            if first == code.co_firstlineno:
                return node
    return None


def _span(node: ast.AST) -> tuple[tuple[int, int], tuple[int, int]]:
    place: ast.stmt = node  # type: ignore[assignment]
    return (place.lineno, place.col_offset), (place.end_lineno or place.lineno, place.end_col_offset or 0)


class Function:
    """One function and the instructions of it that ran for one module.

    ``left`` are parameters that have their defaults whatever the model is given; ``holder`` is the object whose method it is.
    """

    def __init__(self, code: CodeType, node: ast.FunctionDef, ran: set[int], left: set[str], holder: object = None) -> None:
        self.node, self.own = node, node.args.args[0].arg if node.args.args else ""
        self._left, self._holder = left, holder
        self._places = list(code.co_positions())
        self._ran = [span for step in ran if (span := self.place(step)) is not None]
        self._state = {_dotted(each) for each in ast.walk(node) if isinstance(each, ast.Attribute) and isinstance(each.ctx, ast.Store)}
        self._fixed = self._fixed_names()
        self.statements = list(simple(node.body))
        self._switches = False
        self.unrun = list(self._unrun(node.body))
        """Lists of statements, or one expression each, that did not run and that other inputs may reach."""
        self._switches = True
        self.switched = list(self._unrun(node.body))
        """The same, and those that a switch of the module reaches which can be turned any time."""

    def place(self, step: int) -> tuple[tuple[int, int], tuple[int, int]] | None:
        """From where to where the text of an instruction goes."""
        line, end, column, last = self._places[step // 2]
        return None if line is None or end is None or column is None or last is None else ((line, column), (end, last))

    def statement(self, step: int) -> ast.stmt | None:
        """The innermost statement that an instruction belongs to."""
        place = self.place(step)
        if place is None:
            return None
        found = [each for each in self.statements if _holds(_span(each), place)]
        return min(found, key=lambda each: (_span(each)[1][0] - _span(each)[0][0], _span(each)[1][1])) if found else None

    def is_in(self, step: int, node: ast.AST) -> bool:
        """Whether an instruction belongs to a part of the text."""
        place = self.place(step)
        return place is not None and _holds(_span(node), place)

    def did_run(self, node: ast.AST) -> bool:
        """Whether anything of it ran."""
        span = _span(node)
        return any(_holds(span, place) for place in self._ran)

    def _unrun(self, body: Sequence[ast.stmt]) -> Iterator[list[ast.AST]]:
        may_end = False
        for place, statement in enumerate(body):
            if not self.did_run(statement):
                if may_end:
                    yield list(body[place:])
                    return
                continue
            for test, part in _parts(statement):
                if part and not any(self.did_run(each) for each in part):
                    if test is None or not self.is_fixed(test):
                        yield list(part)
                else:
                    yield from self._unrun(part)
            yield from self._unrun_expressions(statement)
            may_end = may_end or self._may_end(statement)

    def _unrun_expressions(self, statement: ast.stmt) -> Iterator[list[ast.AST]]:
        """Halves of ``a if test else b``."""
        parts = {id(each) for _, part in _parts(statement) for each in part}
        waiting: list[ast.AST] = [each for each in ast.iter_child_nodes(statement) if id(each) not in parts]
        while waiting:
            node = waiting.pop()
            if isinstance(node, (ast.stmt, *_NESTED)):
                continue
            if isinstance(node, ast.IfExp) and not self.is_fixed(node.test) and self.did_run(node.test):
                halves: list[ast.AST] = [node.body, node.orelse]
                yield from ([half] for half in halves if not self.did_run(half))
            waiting += ast.iter_child_nodes(node)

    def _may_end(self, statement: ast.stmt) -> bool:
        return any(
            isinstance(node, ast.If) and not self.is_fixed(node.test) and any(isinstance(each, _ENDS) for each in ast.walk(node))
            for node in ast.walk(statement)
        )

    def _fixed_names(self) -> set[str]:
        """Local names that hang on nothing but the module itself."""
        given = self.node.args
        names = {each.arg for each in (*given.posonlyargs, *given.args, *given.kwonlyargs, given.vararg, given.kwarg) if each is not None}
        values: dict[str, list[ast.AST]] = {}
        for statement in simple(self.node.body):
            value = statement.iter if isinstance(statement, ast.For) else getattr(statement, "value", None)
            for name in bound(statement):
                values.setdefault(name, []).append(value or statement)
        for inner in ast.walk(self.node):
            if isinstance(inner, ast.comprehension):
                for each in ast.walk(inner.target):
                    if isinstance(each, ast.Name):
                        values.setdefault(each.id, []).append(inner.iter)
        names -= self._left - values.keys()
        self._hanging = (names | values.keys()) - {self.own}
        while True:
            free = {name for name in self._hanging & values.keys() - names if all(self._hangs_on_nothing(each) for each in values[name])}
            if not free:
                return values.keys() - self._hanging
            self._hanging -= free

    def _hangs_on_nothing(self, node: ast.AST) -> bool:
        return not any(
            (isinstance(each, ast.Name) and each.id in self._hanging) or (isinstance(each, ast.Attribute) and _dotted(each) in self._state)
            for each in ast.walk(node)
        )

    def is_fixed(self, test: ast.AST) -> bool:
        """Whether a condition hangs on how the module was made, not on what it is given, nor on a switch if these are asked for."""
        return self._hangs_on_nothing(test) and not (self._switches and any(self._is_switch(each) for each in ast.walk(test)))

    def is_constant(self, test: ast.AST) -> bool:
        """Whether a condition is the same throughout a call."""
        return self._hangs_on_nothing(test)

    def _is_switch(self, node: ast.AST) -> bool:
        """``self.return_features`` or ``self.config.output_features`` where that is true or false."""
        names = _dotted(node).split(".") if isinstance(node, ast.Attribute) else []
        if len(names) < 2 or names[0] != self.own or names[-1] == "training":
            return False
        value = self._holder
        for name in names[1:]:
            try:
                value = getattr(value, name)
            except Exception:  # noqa: BLE001 -- properties are code of the user's own
                return False
        return isinstance(value, bool)


def _holds(outer: tuple[tuple[int, int], tuple[int, int]], inner: tuple[tuple[int, int], tuple[int, int]]) -> bool:
    return outer[0] <= inner[0] and inner[1] <= outer[1]


def _parts(statement: ast.stmt) -> Iterator[tuple[ast.AST | None, Sequence[ast.stmt]]]:
    """Blocks of a statement and what decides on whether they run; ``None`` for an exception."""
    match statement:
        case ast.If() | ast.While():
            yield from ((statement.test, part) for part in (statement.body, statement.orelse))
        case ast.For():
            yield from ((statement.iter, part) for part in (statement.body, statement.orelse))
        case ast.With():
            yield ast.Constant(value=True), statement.body
        case ast.Try():
            yield from ((ast.Constant(value=True), part) for part in (statement.body, statement.orelse, statement.finalbody))
            yield from ((None, handler.body) for handler in statement.handlers)
        case ast.Match():
            yield from ((statement.subject, case.body) for case in statement.cases)


def simple(body: Sequence[ast.stmt]) -> Iterator[ast.stmt]:
    """All statements in their order, those with blocks ahead of what stands in them."""
    for statement in body:
        yield statement
        for _, part in _parts(statement):
            yield from simple(part)


def bound(statement: ast.AST) -> set[str]:
    """Names that a statement gives a value to; of an item, or of a list that something is added to, the name of the whole."""
    targets: list[ast.AST] = []
    match statement:
        case ast.Assign():
            targets += statement.targets
        case ast.AugAssign() | ast.AnnAssign() | ast.For():
            targets.append(statement.target)
        case ast.With():
            targets += [item.optional_vars for item in statement.items if item.optional_vars is not None]
        case ast.Expr(value=ast.Call(func=ast.Attribute(value=ast.Name() as holder, attr="append" | "extend" | "insert"))):
            targets.append(holder)
    found = {name for target in targets for name in _names_of(target)}
    return found | {node.target.id for head in heads_of(statement) for node in ast.walk(head) if isinstance(node, ast.NamedExpr)}


def heads_of(statement: ast.AST) -> list[ast.AST]:
    """What belongs to a statement itself, without the statements in it."""
    parts = {id(each) for _, part in _parts(statement) for each in part} if isinstance(statement, ast.stmt) else set()
    return [each for each in ast.iter_child_nodes(statement) if id(each) not in parts]


def _names_of(target: ast.AST) -> Iterator[str]:
    match target:
        case ast.Name():
            yield target.id
        case ast.Tuple() | ast.List():
            for each in target.elts:
                yield from _names_of(each)
        case ast.Starred() | ast.Subscript():
            yield from _names_of(target.value)


def loads(node: ast.AST, names: set[str]) -> bool:
    """Whether the value of a name is read, not only its shape."""
    match node:
        case ast.Attribute(attr=attr, value=ast.Name()) if attr in _ABOUT:
            return False
        case ast.Call(func=ast.Name(id="len" | "isinstance" | "type")):
            return False
        case ast.Compare(left=ast.Name(), ops=[ast.Is() | ast.IsNot()]):
            return False
        case ast.Name():
            return node.id in names and isinstance(node.ctx, ast.Load)
        case ast.AugAssign(target=ast.Name(id=name)) if name in names:
            return True
    return any(loads(each, names) for each in ast.iter_child_nodes(node))


def calls(node: ast.AST, own: str) -> Iterator[str]:
    """``a.b`` for every call of ``self.a.b``, also where it is handed over to be called under a checkpoint."""
    for each in ast.walk(node):
        if isinstance(each, ast.Call):
            called = _dotted(each.func)
            given = each.args if "checkpoint" in called.rpartition(".")[2] else []
            for name in (called, *map(_dotted, given)):
                if name.startswith(f"{own}.") and own:
                    yield name.partition(".")[2]


def _dotted(node: ast.AST) -> str:
    names: list[str] = []
    while isinstance(node, (ast.Attribute, ast.Subscript)):
        if isinstance(node, ast.Subscript):
            names.append(str(node.slice.value) if isinstance(node.slice, ast.Constant) else "?")
        else:
            names.append(node.attr)
        node = node.value
    return ".".join([node.id, *reversed(names)]) if isinstance(node, ast.Name) else ""
