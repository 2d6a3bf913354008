"""What an expression may say: grammar, functions, names and limits, checked without running anything.

The grammar is a small part of Python's: constants, names, attributes, subscripts, lists, arithmetic, comparisons, ``and``/``or``/
``not``, ``a if b else c``, calls of the functions below, and comprehensions with one ``for``. Everything else is refused when the rule
is read.
"""

from __future__ import annotations

import ast
import warnings
from collections.abc import Collection, Mapping
from dataclasses import dataclass

from normadvisor.types import GROUPS, OPS
from normadvisor.types.words import nearest

__all__ = [
    "FUNCTIONS",
    "MAX_TEXT",
    "RESERVED",
    "Flaw",
    "Names",
    "parse_expression",
]

MAX_TEXT = 2000
"""Longest expression, in characters."""
MAX_NODES = 400
"""Most syntax nodes in an expression."""
MAX_DEPTH = 40
"""Deepest nesting of syntax nodes."""
MAX_CONSTANT = 10**18
"""Largest whole number that may be written."""

FUNCTIONS: dict[str, tuple[int, int | None]] = {
    "abs": (1, 1), "all": (1, 1), "any": (1, 1), "count": (1, 1), "group_count": (1, 2), "has": (2, 2), "len": (1, 1), "max": (1, None),
    "min": (1, None), "prod": (1, 1), "round": (1, 2), "sorted": (1, 1), "sum": (1, 1),
}  # fmt: skip
"""Functions by name, with the fewest and the most arguments they take."""

RESERVED = frozenset({"context", "matches", "model", "probe", "via"}) | frozenset(FUNCTIONS)
"""Names a rule may not give to its own nodes and values."""

Names = Mapping[str, Collection[str] | None]
"""Names an expression may use, each with the attributes it has; ``None`` where any attribute may be asked for."""

_STRUCTURE = frozenset({
    ast.BoolOp, ast.And, ast.Or, ast.UnaryOp, ast.Not, ast.USub, ast.UAdd, ast.BinOp, ast.Add, ast.Sub, ast.Mult, ast.Div, ast.FloorDiv,
    ast.Mod, ast.Pow, ast.Compare, ast.Eq, ast.NotEq, ast.Lt, ast.LtE, ast.Gt, ast.GtE, ast.In, ast.NotIn, ast.Is, ast.IsNot, ast.IfExp,
    ast.Constant, ast.Name, ast.Attribute, ast.Subscript, ast.Slice, ast.List, ast.Tuple, ast.Call, ast.GeneratorExp, ast.ListComp,
})  # fmt: skip
_CONTEXTS = (ast.Load, ast.Store, ast.Del)
_LEAVES = frozenset({ast.Attribute, ast.Constant, ast.Name})

_REFUSED = {
    ast.Lambda: "functions cannot be defined",
    ast.NamedExpr: "':=' is not available",
    ast.JoinedStr: "f-strings are not available",
    ast.Dict: "dictionaries are not available",
    ast.DictComp: "dictionaries are not available",
    ast.Set: "sets are not available, write a list",
    ast.SetComp: "sets are not available, write a list",
    ast.Starred: "'*' before a value is not available",
    ast.Await: "'await' is not available",
    ast.Yield: "'yield' is not available",
    ast.keyword: "keyword arguments are not available",
}


@dataclass
class Flaw(Exception):  # noqa: N818  # it becomes an ExpressionError once its place in the file is known
    """What is wrong with an expression, and where in its text.

    Lines and columns are 0-based; columns count code points.
    """

    message: str
    hint: str | None = None
    line: int = 0
    column: int = 0


def parse_expression(text: str, names: Names | None = None, countable: Collection[str] | None = None) -> ast.expr:
    """Parse an expression and check it.

    Args:
        text: the expression; may run over several lines.
        names: names it may use; ``None`` leaves names unchecked.
        countable: what ``count`` may count beside operations and their groups; ``None`` leaves it unchecked.

    Returns:
        A tree of the admitted grammar; the argument of ``count`` has become a string constant.

    Raises:
        Flaw: the text is not an expression, or not an admitted one.

    """
    if len(text) > MAX_TEXT:
        raise Flaw(f"the expression has {len(text)} characters, at most {MAX_TEXT} are allowed", "name parts of it in define.values")
    if not text.strip():
        raise Flaw("the expression is empty")
    tree = _parse(text)
    _Checker(text, names, countable).check(tree)
    return tree


def _parse(text: str) -> ast.expr:
    """Parse in parentheses on lines of their own, so that an expression may span lines and positions stay simple."""
    try:
        with warnings.catch_warnings():
            # Such as the one about a backslash that escapes nothing.
            warnings.simplefilter("ignore")
            return ast.parse(f"(\n{text}\n)", mode="eval").body
    except SyntaxError as error:
        line = max((error.lineno or 2) - 2, 0)
        lines = text.split("\n")
        inside = line < len(lines)
        column = max((error.offset or 1) - 1, 0) if inside else len(lines[-1])
        raise Flaw(f"not an expression: {error.msg}", None, min(line, len(lines) - 1), column) from None
    except (ValueError, RecursionError, MemoryError) as error:
        # Null characters, numbers of thousands of digits, nesting beyond what the interpreter's own parser takes.
        raise Flaw(f"not an expression: {str(error) or 'nested too deep'}") from None


class _Checker:
    """Walks a tree without recursion, so that no depth of nesting can hurt."""

    def __init__(self, text: str, names: Names | None, countable: Collection[str] | None) -> None:
        self.lines = text.split("\n")
        self.names = names
        self.countable = countable

    def flaw(self, node: ast.AST, message: str, hint: str | None = None) -> Flaw:
        """A flaw at a node."""
        line, offset = max(getattr(node, "lineno", 2) - 2, 0), getattr(node, "col_offset", 0)
        if isinstance(node, ast.Attribute) and node.end_lineno is not None and node.end_col_offset is not None:
            # An attribute's own name is what is wrong, and it stands last.
            line, offset = node.end_lineno - 2, node.end_col_offset - len(node.attr.encode())
        source = self.lines[line] if line < len(self.lines) else ""
        return Flaw(message, hint, line, len(source.encode()[:offset].decode(errors="ignore")))

    def check(self, tree: ast.expr) -> None:
        """Raise for the first thing that is not admitted: first of the grammar, then of names and constants."""
        nothing: frozenset[str] = frozenset()
        stack: list[tuple[ast.AST, int, frozenset[str]]] = [(tree, 1, nothing)]
        leaves: list[tuple[ast.AST, frozenset[str]]] = []
        seen = 0
        while stack:
            node, depth, bound = stack.pop()
            kind = type(node)
            seen += 1
            if seen > MAX_NODES:
                raise self.flaw(tree, f"the expression has more than {MAX_NODES} parts", "name parts of it in define.values")
            if depth > MAX_DEPTH:
                raise self.flaw(node, f"nested deeper than {MAX_DEPTH} levels", "name parts of it in define.values")
            if kind not in _STRUCTURE:
                raise self.flaw(node, _REFUSED.get(kind, f"'{kind.__name__}' is not available in an expression"))
            if isinstance(node, ast.GeneratorExp | ast.ListComp):
                generator = node.generators[0]
                inside = self.comprehension(node, bound)
                stack += [(part, depth + 1, inside) for part in (*generator.ifs[::-1], node.elt)]
                stack.append((generator.iter, depth + 1, bound))
                continue
            if isinstance(node, ast.Call):
                self.call(node)
            elif kind in _LEAVES:
                leaves.append((node, bound))
            stack += [(child, depth + 1, bound) for child in reversed(self.children(node))]
        for node, bound in leaves:
            self.leaf(node, bound)

    @staticmethod
    def children(node: ast.AST) -> list[ast.AST]:
        """Parts of a node; the name of a called function is none of them."""
        if isinstance(node, ast.Call):
            return list(node.args)
        found: list[ast.AST] = []
        for name in node._fields:
            value = getattr(node, name, None)
            if isinstance(value, list):
                found += value
            elif isinstance(value, ast.AST) and not isinstance(value, _CONTEXTS):
                found.append(value)
        return found

    def call(self, node: ast.Call) -> None:
        """Only the listed functions can be called, by name."""
        if not isinstance(node.func, ast.Name):
            raise self.flaw(node, "only functions can be called, methods cannot", f"available: {', '.join(FUNCTIONS)}")
        name = node.func.id
        if name not in FUNCTIONS:
            raise self.flaw(node, f"unknown function '{name}'", nearest(name, FUNCTIONS))
        if node.keywords:
            raise self.flaw(node, _REFUSED[ast.keyword])
        least, most = FUNCTIONS[name]
        given = len(node.args)
        if given < least or (most is not None and given > most):
            wanted = f"{least}" if least == most else f"{least} or more" if most is None else f"{least} to {most}"
            raise self.flaw(node, f"{name}() takes {wanted} argument{'s' * (wanted != '1')}, not {given}")
        if name == "count":
            self.counted(node)

    def counted(self, node: ast.Call) -> None:
        """``count(batch_norm)`` and ``count("batch_norm")`` are the same."""
        argument = node.args[0]
        if isinstance(argument, ast.Name):
            what = argument.id
        elif isinstance(argument, ast.Constant) and isinstance(argument.value, str):
            what = argument.value
        else:
            raise self.flaw(argument, "count() takes the name of an operation, a group or a pattern of define.patterns")
        if self.countable is not None and what not in OPS and what not in GROUPS and what not in self.countable:
            known = [*self.countable, *GROUPS, *sorted(OPS)]
            raise self.flaw(argument, f"nothing called '{what}' to count", nearest(what, known))
        node.args[0] = ast.copy_location(ast.Constant(what), argument)

    def comprehension(self, node: ast.GeneratorExp | ast.ListComp, bound: frozenset[str]) -> frozenset[str]:
        """One ``for`` over a list, one plain name; returns the names known inside."""
        if len(node.generators) != 1:
            raise self.flaw(node, "a comprehension may have one 'for'")
        generator = node.generators[0]
        if generator.is_async:
            raise self.flaw(node, "'async' is not available")
        target = generator.target
        if not isinstance(target, ast.Name):
            raise self.flaw(target, "a comprehension binds one plain name")
        if target.id in RESERVED or target.id.startswith("_") or (self.names is not None and target.id in self.names):
            raise self.flaw(target, f"'{target.id}' already means something else here", "choose another name")
        for inner in ast.walk(node):
            if inner is not node and isinstance(inner, ast.GeneratorExp | ast.ListComp):
                raise self.flaw(inner, "a comprehension may not stand inside another one")
        return bound | {target.id}

    def leaf(self, node: ast.AST, bound: frozenset[str]) -> None:
        """Names, attributes and constants."""
        if isinstance(node, ast.Constant):
            self.constant(node)
        elif isinstance(node, ast.Name):
            self.name(node, bound)
        elif isinstance(node, ast.Attribute):
            self.attribute(node)

    def constant(self, node: ast.Constant) -> None:
        """Numbers, strings, truth values and None."""
        value = node.value
        if value is not None and not isinstance(value, bool | int | float | str):
            raise self.flaw(node, f"a constant of type {type(value).__name__} is not available")
        if isinstance(value, int) and value > MAX_CONSTANT:
            raise self.flaw(node, "the number is too large", f"at most {MAX_CONSTANT:.0e}")

    def name(self, node: ast.Name, bound: frozenset[str]) -> None:
        """Names must be known."""
        if node.id.startswith("_"):
            raise self.flaw(node, f"the name '{node.id}' is not available")
        if self.names is None or node.id in self.names or node.id in bound:
            return
        if node.id in FUNCTIONS:
            raise self.flaw(node, f"'{node.id}' is a function", f"write {node.id}(...)")
        known = sorted({*self.names, *bound})
        raise self.flaw(node, f"unknown name '{node.id}'", nearest(node.id, known) or f"known here: {', '.join(known) or 'nothing'}")

    def attribute(self, node: ast.Attribute) -> None:
        """Attributes hold data; those of known owners must exist."""
        if node.attr.startswith("_"):
            raise self.flaw(node, f"the attribute '{node.attr}' is not available")
        if self.names is None or not isinstance(node.value, ast.Name):
            return
        known = self.names.get(node.value.id)
        if known is not None and node.attr not in known:
            hint = nearest(node.attr, known) or f"it has: {', '.join(sorted(known))}"
            raise self.flaw(node, f"'{node.value.id}' has no attribute '{node.attr}'", hint)
