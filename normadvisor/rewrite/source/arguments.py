"""Changes to the arguments of one call: each edit spans what changes, and keeps comments and the way the call is broken into lines."""

from __future__ import annotations

import ast
import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from difflib import SequenceMatcher
from itertools import accumulate
from typing import TypeAlias

import libcst as cst

from normadvisor.rewrite.source.place import Refused, SourceTree, place_of
from normadvisor.types import Edit, JSONValue

__all__ = ["Addition", "Change", "Item", "Text", "added", "cst_call", "differences", "edits_of", "literal", "rebuilt"]

_WORD = re.compile(r"\w+|\n[ \t]*|\s|.")


def literal(value: JSONValue) -> str:
    """A value as Python text; lists are written as tuples, which is how sizes and shapes are given.

    Raises:
        Refused: it has no text that Python reads back, such as infinity.

    """
    if isinstance(value, list):
        inner = ", ".join(literal(item) for item in value)
        return f"({inner},)" if len(value) == 1 else f"({inner})"
    if isinstance(value, float) and (value != value or value in {float("inf"), float("-inf")}):  # noqa: PLR0124 - NaN
        raise Refused(f"{value} has no literal in Python")
    if isinstance(value, str) and not {'"', "\\"} & set(value) and value.isprintable():
        return f'"{value}"'
    return repr(value)


def cst_call(tree: SourceTree, call: ast.Call) -> cst.Call:
    """A call with all its white space and comments.

    Raises:
        Refused: libcst does not know the syntax.

    """
    where = place_of(tree.module.location(call))
    try:
        # Inside parentheses, since what stands there may be broken into lines outside those of the call itself.
        found = cst.parse_expression(f"({tree.module.segment(call)})")
    except (cst.ParserSyntaxError, cst.CSTValidationError, RecursionError) as error:
        raise Refused(f"the call at {where} is written in a syntax that is not known") from error
    if not isinstance(found, cst.Call):
        raise Refused(f"what stands at {where} is no call")
    return found.with_changes(lpar=(), rpar=())


@dataclass(frozen=True, slots=True)
class Addition:
    """A keyword argument that a call is to get."""

    tree: SourceTree
    call: ast.Call
    name: str
    text: str


Change: TypeAlias = Edit | Addition
Text: TypeAlias = Callable[[SourceTree, ast.AST], tuple[str, list[Edit]]]
"""What to write in a file at a place, and the imports it needs there."""


def edits_of(changes: Iterable[Change]) -> list[Edit]:
    """The edits of some changes; arguments that one call gets are added together.

    Raises:
        Refused: libcst does not know the syntax.

    """
    edits: dict[Edit, None] = {}
    calls: dict[ast.Call, tuple[SourceTree, dict[str, str]]] = {}
    for change in changes:
        if isinstance(change, Addition):
            calls.setdefault(change.call, (change.tree, {}))[1][change.name] = change.text
        else:
            edits[change] = None
    for call, (tree, arguments) in calls.items():
        edits.update(dict.fromkeys(added(tree, call, arguments)))
    return list(edits)


def added(tree: SourceTree, call: ast.Call, arguments: Mapping[str, str]) -> list[Edit]:
    """Keyword arguments put behind all others, before ``**`` if there is one.

    Raises:
        Refused: libcst does not know the syntax.

    """
    changed = old = cst_call(tree, call)
    for name, text in arguments.items():
        args = list(changed.args)
        at = next((index for index, item in enumerate(args) if item.star == "**"), len(args))
        new = cst.Arg(cst.parse_expression(text), cst.Name(name), equal=_equal(old.args))
        changed = _with_argument(changed, args, at, new)
    return differences(tree, call, changed)


@dataclass(frozen=True, slots=True)
class Item:
    """An argument of a call that is written anew."""

    name: str
    by_position: bool
    """Whether it may be given by position."""
    text: str
    old: int | None = None
    """Which argument of the old call it is, counted as they are written; its text and comments stay."""


def rebuilt(call: cst.Call, name: str, items: Sequence[Item]) -> cst.Call:
    """A call of something else with other arguments, in the layout of the old one.

    Arguments that may be given by position are, unless one of them was given by name.
    """
    old = list(call.args)
    named = any(item.by_position and item.old is not None and old[item.old].keyword is not None for item in items)
    args = [_rebuilt_argument(item, old, named=named or not item.by_position) for item in items]
    line_break = _line_break(old, call) if old else None
    between = cst.Comma(whitespace_after=line_break or cst.SimpleWhitespace(" "))
    for index, (item, arg) in enumerate(zip(items, args, strict=True)):
        if index == len(items) - 1:
            comma, space = _ending(arg, old)
        else:
            own = item.old is not None and item.old < len(old) - 1
            comma, space = arg.comma if own else between, cst.SimpleWhitespace("")
        args[index] = arg.with_changes(comma=comma, whitespace_after_arg=space)
    return call.with_changes(func=cst.parse_expression(name), args=args)


def _ending(arg: cst.Arg, old: Sequence[cst.Arg]) -> tuple[cst.Comma | cst.MaybeSentinel, cst.BaseParenthesizableWhitespace]:
    """What follows the last argument: what followed the last one of the old call, but for a comment of its own."""
    if not old:
        return arg.comma, arg.whitespace_after_arg
    comma, space = old[-1].comma, old[-1].whitespace_after_arg
    own = arg.comma.whitespace_after if isinstance(arg.comma, cst.Comma) else None
    if not isinstance(own, cst.ParenthesizedWhitespace) or own.first_line.comment is None:
        return comma, space
    if isinstance(comma, cst.Comma) and isinstance(comma.whitespace_after, cst.ParenthesizedWhitespace):
        return comma.with_changes(whitespace_after=comma.whitespace_after.with_changes(first_line=own.first_line)), space
    if isinstance(space, cst.ParenthesizedWhitespace):
        return comma, space.with_changes(first_line=own.first_line)
    return comma, space


def _rebuilt_argument(item: Item, old: Sequence[cst.Arg], *, named: bool) -> cst.Arg:
    arg = cst.Arg(cst.parse_expression(item.text)) if item.old is None else old[item.old]
    if arg.star:
        return arg
    if not named:
        return arg.with_changes(keyword=None, equal=cst.MaybeSentinel.DEFAULT)
    equal = arg.equal if arg.keyword is not None else _equal(old)
    return arg.with_changes(keyword=cst.Name(item.name), equal=equal)


def _equal(args: Sequence[cst.Arg]) -> cst.AssignEqual:
    """``=`` with the spaces that other keyword arguments have around theirs, or none."""
    for item in args:
        if item.keyword is not None and isinstance(item.equal, cst.AssignEqual):
            before, after = item.equal.whitespace_before, item.equal.whitespace_after
            if isinstance(before, cst.SimpleWhitespace) and isinstance(after, cst.SimpleWhitespace):
                return cst.AssignEqual(cst.SimpleWhitespace(before.value), cst.SimpleWhitespace(after.value))
    return cst.AssignEqual(cst.SimpleWhitespace(""), cst.SimpleWhitespace(""))


def _with_argument(call: cst.Call, args: list[cst.Arg], at: int, new: cst.Arg) -> cst.Call:
    """A call with one more argument at a position."""
    if not args:
        return call.with_changes(args=[new])
    if at < len(args):
        before = args[at - 1] if at else None
        comma = before.comma if before is not None and isinstance(before.comma, cst.Comma) else _comma(" ")
        return call.with_changes(args=[*args[:at], new.with_changes(comma=comma), *args[at:]])
    last = args[-1]
    line_break = _line_break(args, call)
    if isinstance(last.comma, cst.Comma):
        # The last argument has a comma of its own: so gets the new one.
        space = last.comma.whitespace_after
        first, rest = _parted(space, line_break)
        return call.with_changes(args=[*args[:-1], last.with_changes(comma=_comma_with(first)), new.with_changes(comma=_comma_with(rest))])
    first, rest = _parted(last.whitespace_after_arg, line_break)
    old = last.with_changes(comma=_comma_with(first), whitespace_after_arg=cst.SimpleWhitespace(""))
    return call.with_changes(args=[*args[:-1], old, new.with_changes(whitespace_after_arg=rest)])


def _parted(
    space: cst.BaseParenthesizableWhitespace, line_break: cst.ParenthesizedWhitespace | None
) -> tuple[cst.BaseParenthesizableWhitespace, cst.BaseParenthesizableWhitespace]:
    """The space before and after an argument that is put into a space: a comment on the line of the one before stays there."""
    if line_break is None:
        return cst.SimpleWhitespace(" "), space
    if isinstance(space, cst.ParenthesizedWhitespace) and space.first_line.comment is not None:
        return line_break.with_changes(first_line=space.first_line), space.with_changes(first_line=cst.TrailingWhitespace())
    return line_break, space


def _comma(text: str) -> cst.Comma:
    return cst.Comma(whitespace_after=cst.SimpleWhitespace(text))


def _comma_with(space: cst.BaseParenthesizableWhitespace) -> cst.Comma:
    return cst.Comma(whitespace_after=space)


def _line_break(args: Sequence[cst.Arg], call: cst.Call) -> cst.ParenthesizedWhitespace | None:
    """The line break before the last argument, without comments and empty lines; ``None`` if it shares its line with another."""
    before = call.whitespace_before_args
    if len(args) > 1:
        comma = args[-2].comma
        before = comma.whitespace_after if isinstance(comma, cst.Comma) else before
    if not isinstance(before, cst.ParenthesizedWhitespace):
        return None
    return before.with_changes(first_line=cst.TrailingWhitespace(), empty_lines=[])


def differences(tree: SourceTree, node: ast.expr, new: cst.BaseExpression) -> list[Edit]:
    """The edits that turn the text of a node into another, by words: what both have in common is not part of them."""
    old_words, new_words = _WORD.findall(tree.module.segment(node)), _WORD.findall(cst.Module([]).code_for_node(new))
    starts = [0, *accumulate(len(word) for word in old_words)]
    steps = SequenceMatcher(None, old_words, new_words, autojunk=False).get_opcodes()
    return [tree.within(node, starts[a], starts[b], "".join(new_words[c:d])) for step, a, b, c, d in steps if step != "equal"]
