"""Templates as a reader sees them, with words for placeholders."""

from __future__ import annotations

import ast
import re

from normadvisor.rulebook.template import Template

__all__ = ["readable"]

MAX_EXPRESSION = 40
"""Longest expression that is shown; of longer ones the sentences in them are."""
_WORD = re.compile(r"[a-z]{2,}")
_NAMING = frozenset({"module", "name", "op", "target"})
"""Attributes that name a node."""


def readable(template: str) -> str:
    """A template with its placeholders as the words they stand for: ``{bn.module}`` reads `` `bn` ``, ``{drop.p}`` reads `` `p` ``."""
    parts = Template(template.strip()).parts
    return "".join(part if isinstance(part, str) else _said(ast.parse(part[0].text.strip(), mode="eval").body) for part in parts)


def _said(node: ast.expr) -> str:
    """What an expression stands for: the captured node itself, one of its attributes, or the expression as it is."""
    if isinstance(node, ast.BoolOp):
        return _said(node.values[0])  # what follows stands in where the first has no value
    if isinstance(node, ast.IfExp) and all(isinstance(part, ast.Constant) for part in (node.body, node.orelse)):
        usual, other = _texts(node.orelse), _texts(node.body)
        return "".join(usual) or f"({''.join(other)})"
    text = ast.unparse(_Shortened().visit(node))
    if len(text) <= MAX_EXPRESSION:
        return f"`{text}`"
    return " / ".join(words.strip(" ,:;") for words in _texts(node) if len(_WORD.findall(words)) > 2) or "..."


def _texts(node: ast.expr) -> list[str]:
    """The texts in an expression, in order, empty ones left out."""
    constants = [part for part in ast.walk(node) if isinstance(part, ast.Constant)]
    constants.sort(key=lambda part: (part.lineno, part.col_offset))
    return [part.value for part in constants if isinstance(part.value, str) and part.value]


class _Shortened(ast.NodeTransformer):
    """``bn.module`` as ``bn``, ``drop.p`` as ``p``, ``call.layers[:3]`` as ``layers``."""

    def visit_Attribute(self, node: ast.Attribute) -> ast.expr:
        inner: ast.expr = self.visit(node.value)
        name = "class" if node.attr == "cls" else node.attr.replace("_", " ")
        return inner if node.attr in _NAMING else ast.Name(name)

    def visit_Subscript(self, node: ast.Subscript) -> ast.expr:
        """The first few of a list are the list, to a reader."""
        self.generic_visit(node)
        return node.value if isinstance(node.slice, ast.Slice) else node
