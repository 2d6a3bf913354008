"""What functions read from outside: names of their module, attributes of what those stand for, and comparisons by identity."""

from __future__ import annotations

import ast
import dis
import importlib.util
import linecache
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import lru_cache
from types import CodeType
from typing import Any

__all__ = ["Chain", "Question", "Reads", "module_of", "reads_of", "rebinds"]

_ATTRIBUTES = frozenset({"LOAD_ATTR", "LOAD_METHOD"})
_GLOBALS = frozenset({"LOAD_GLOBAL", "LOAD_NAME"})
_COMPARES = frozenset({"IS_OP", "COMPARE_OP", "CONTAINS_OP"})
_SIMPLE = (ast.Name, ast.Attribute, ast.Subscript, ast.Constant, ast.Tuple, ast.List, ast.UnaryOp, ast.USub, ast.Load)
"""What can be computed once more and does nothing else; calls of ``type`` as well."""


@dataclass(frozen=True, slots=True)
class Chain:
    """``name.first.second``: a global name, or an imported module, and the attributes that are read from it."""

    name: str
    attributes: tuple[str, ...]
    imported: bool = False
    level: int = 0
    """Of a relative import."""


@dataclass(frozen=True, slots=True)
class Question:
    """A comparison that stand-ins cannot answer: by identity, or of classes. ``None`` where its operands are not plain to see."""

    left: ast.expr | None
    operator: ast.cmpop | None
    right: ast.expr | None


@dataclass(frozen=True, slots=True)
class Reads:
    """What the code of one function reads."""

    chains: tuple[Chain, ...]
    questions: Mapping[int, Question]
    """By the offset of the instruction."""
    writes: tuple[str, ...]
    """Global names that it binds."""
    of_classes: tuple[tuple[str, str], ...]
    """Variables and attributes of the classes of what they stand for: ``type(self).attribute``."""


@lru_cache(maxsize=4096)
def reads_of(code: CodeType) -> Reads:
    """What a function reads, told by its code."""
    instructions = list(dis.get_instructions(code))
    writes = tuple(each.argval for each in instructions if each.opname in {"STORE_GLOBAL", "DELETE_GLOBAL"})
    chains, questions = tuple(dict.fromkeys(_chains(instructions))), dict(_questions(code, instructions))
    return Reads(chains, questions, writes, tuple(dict.fromkeys(_of_classes(instructions))))


def _of_classes(instructions: list[dis.Instruction]) -> Iterator[tuple[str, str]]:
    """``type(name).attribute`` and ``name.__class__.attribute``."""
    told = [each for each in instructions if each.opname not in {"PRECALL", "PUSH_NULL", "CACHE", "EXTENDED_ARG"}]
    for index, each in enumerate(told):
        if each.opname not in _ATTRIBUTES or index < 2:
            continue
        before, first = told[index - 1], told[index - 2]
        by_call = before.opname == "CALL" and index > 2 and told[index - 3].opname in _GLOBALS and told[index - 3].argval == "type"
        by_name = before.opname in _ATTRIBUTES and before.argval == "__class__"
        if (by_call or by_name) and first.opname.startswith("LOAD_FAST") and isinstance(first.argval, str):
            yield first.argval, each.argval


def _chains(instructions: list[dis.Instruction]) -> Iterator[Chain]:
    for index, each in enumerate(instructions):
        following = instructions[index + 1 :]
        if each.opname in _GLOBALS:
            names = []
            for later in following:
                if later.opname not in _ATTRIBUTES:
                    break
                names.append(later.argval)
            yield Chain(each.argval, tuple(names))
        elif each.opname == "IMPORT_NAME":
            level = instructions[index - 2].argval if index > 1 else 0
            for later in following:
                if later.opname == "IMPORT_FROM":
                    yield Chain(each.argval, (later.argval,), imported=True, level=level if isinstance(level, int) else 0)
                elif not later.opname.startswith("STORE_"):
                    break


def module_of(chain: Chain, package: str | None) -> str:
    """Name of the module that an imported chain begins in.

    Raises:
        ImportError: it is relative, and the package is not known.

    """
    return importlib.util.resolve_name("." * chain.level + chain.name, package) if chain.level else chain.name


# -- comparisons -------------------------------------------------------------------------------------------------------------------


def _questions(code: CodeType, instructions: list[dis.Instruction]) -> Iterator[tuple[int, Question]]:
    asked = [
        each for index, each in enumerate(instructions)
        if each.opname in _COMPARES and not (each.opname == "IS_OP" and _is_constant(instructions[index - 1]))
    ]  # fmt: skip
    if not any(each.opname == "IS_OP" for each in asked) and "type" not in code.co_names:
        return
    compares = _compares(code.co_filename)
    for each in asked:
        place = each.positions
        found = compares.get((place.lineno, place.end_lineno, place.col_offset, place.end_col_offset)) if place is not None else None
        if found is not None and len(found.ops) == 1:
            operands = [found.left, *found.comparators]
            if each.opname == "IS_OP" or any(_asks_type(operand) for operand in operands):
                plain = all(_is_simple(operand) for operand in operands)
                yield each.offset, Question(found.left, found.ops[0], found.comparators[0]) if plain else Question(None, None, None)
        elif each.opname == "IS_OP":
            yield each.offset, Question(None, None, None)


def _is_constant(instruction: dis.Instruction) -> bool:
    return instruction.opname == "LOAD_CONST" and instruction.argval in {None, True, False, Ellipsis}


def _asks_type(operand: ast.expr) -> bool:
    return isinstance(operand, ast.Call) and isinstance(operand.func, ast.Name) and operand.func.id == "type" and len(operand.args) == 1


def _is_simple(operand: ast.expr) -> bool:
    """Whether computing an expression once more does nothing else."""
    return all(isinstance(node, _SIMPLE) or (isinstance(node, ast.Call) and _asks_type(node)) for node in ast.walk(operand))


@lru_cache(maxsize=256)
def _tree(path: str) -> ast.Module | None:
    try:
        return ast.parse("".join(linecache.getlines(path)))
    except (SyntaxError, ValueError):
        return None


@lru_cache(maxsize=256)
def _compares(path: str) -> dict[tuple[Any, ...], ast.Compare]:
    tree = _tree(path)
    nodes = (node for node in ast.walk(tree) if isinstance(node, ast.Compare)) if tree is not None else ()
    return {(node.lineno, node.end_lineno, node.col_offset, node.end_col_offset): node for node in nodes}


def rebinds(path: str, name: str) -> bool:
    """Whether a function of a file binds a name of a function around it, so that its value may change later."""
    tree = _tree(path)
    return tree is not None and any(isinstance(node, ast.Nonlocal) and name in node.names for node in ast.walk(tree))
