"""The call of a function of torch as it is written."""

from __future__ import annotations

import ast
import math
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from normadvisor.graph.record import note_of
from normadvisor.graph.written import Written
from normadvisor.rewrite.source.functions.walk import Walk
from normadvisor.rewrite.source.place import Refused

if TYPE_CHECKING:
    from torch import fx

__all__ = ["call_text"]

_NORMS = frozenset({"layer_norm", "rms_norm"})
_CASTS = frozenset({"bfloat16", "double", "float", "half", "to", "type", "type_as"})


def call_text(name: str, written: Written, walk: Walk) -> str:
    """The call.

    Args:
        name: how the file writes the function.
        written: what it takes the place of.
        walk: the operands, as the file writes them.

    Raises:
        Refused: it cannot be written as one call.

    """
    if written.op == "attention":
        arguments = _attention(written, walk)
    elif written.op in _NORMS:
        arguments = _norm(written, walk)
    else:
        arguments = [walk.segment(walk.operands["input"]), *_settings(written.arguments)]
    return f"{name}({', '.join(arguments)})"


def _settings(arguments: Mapping[str, Any]) -> list[str]:
    return [f'{key}="{value}"' if isinstance(value, str) else f"{key}={value!r}" for key, value in arguments.items() if value is not None]


def _norm(written: Written, walk: Walk) -> list[str]:
    given: Mapping[str, Any] = written.arguments
    sizes = list(given.get("normalized_shape") or [])
    rank = len(note_of(written.root).shape or ())
    if not sizes or list(given.get("axes") or []) != list(range(rank - len(sizes), rank)):
        raise Refused("the function of torch takes the normalized axes last, and the tensor would have to be permuted")
    if given.get("sizes") == "fixed":
        raise Refused("it is a normalization for axes of these sizes alone, by the numbers that it is written with")
    if given.get("widens"):
        raise Refused("in half precision the result would be single precision, which the function of torch does not give")
    x, weight, bias = (walk.operands.get(role) for role in ("input", "weight", "bias"))
    assert x is not None  # noqa: S101 - every operand was followed
    for role, operand in (("weight", weight), ("bias", bias)):
        if operand is not None and not isinstance(operand, ast.Name | ast.Attribute):
            raise Refused(f"the {role} `{walk.segment(operand)}` is computed")
    if weight is not None and note_of(written.inputs["weight"]).shape == tuple(sizes):
        shape = f"{walk.segment(weight)}.shape"
    elif isinstance(x, ast.Name | ast.Attribute):
        shape = f"{walk.segment(x)}.shape[-{len(sizes)}:]"
    else:
        raise Refused(f"the normalized shape cannot be told from `{walk.segment(x)}`")
    positional = [walk.segment(x), shape]
    named = [f"{role}={walk.segment(operand)}" for role, operand in (("weight", weight), ("bias", bias)) if operand is not None]
    return [*positional, *named, f"eps={_eps(given.get('eps'), walk)}"]


def _eps(eps: Any, walk: Walk) -> str:
    """``eps`` as the source writes it."""
    for value, expr in walk.numbers:
        if isinstance(value, float) and value == eps:
            return walk.segment(expr)
    return repr(eps)


def _attention(written: Written, walk: Walk) -> list[str]:
    given: Mapping[str, Any] = written.arguments
    _demand_plain(given)
    if any(_is_cast(written.inputs[role]) for role in ("query", "key", "value")):
        raise Refused("queries, keys or values change their dtype, so that they would not have the same one in a model of half precision")
    found = [walk.segment(walk.operands[role]) for role in ("query", "key", "value")]
    mask = walk.operands.get("attn_mask")
    if mask is not None:
        found.append(f"attn_mask={_kept(mask, walk) if given.get('mask') == 'drop' else walk.segment(mask)}")
    if given.get("dropout"):
        found.append(f"dropout_p={_dropout(written, walk)}")
    scale = given.get("scale")
    if isinstance(scale, float):
        found.append(f"scale={_scale(scale, walk)}")
    return found


def _is_cast(node: fx.Node) -> bool:
    return node.op == "call_method" and node.target in _CASTS


def _demand_plain(given: Mapping[str, Any]) -> None:
    """Refuse what takes more than the one call."""
    kinds, fills = str(given.get("mask", "")), given.get("fill") or []
    if "factor" in given:
        raise Refused("the scores are multiplied with a tensor, which would have to go into the queries")
    if any(f"{name}_axes" in given for name in ("query", "key", "value", "output")):
        raise Refused("queries, keys or values would have to be permuted")
    if kinds not in {"", "add", "drop", "keep"}:
        raise Refused("there is more than one mask, or one that is subtracted")
    if kinds in {"drop", "keep"} and list(fills) not in ([], ["-inf"]):
        raise Refused("masked scores become a finite number, which is not the same where a whole row is masked")


def _kept(mask: ast.expr, walk: Walk) -> str:
    """Where scores are kept, from where they are dropped."""
    text = walk.segment(mask)
    if isinstance(mask, ast.UnaryOp) and isinstance(mask.op, ast.Invert):
        return walk.segment(mask.operand)
    if isinstance(mask, ast.Compare) and len(mask.ops) == 1 and isinstance(mask.ops[0], ast.Eq | ast.NotEq):
        sign = "!=" if isinstance(mask.ops[0], ast.Eq) else "=="
        return f"{walk.segment(mask.left)} {sign} {walk.segment(mask.comparators[0])}"
    return f"~{text}" if isinstance(mask, ast.Name | ast.Attribute | ast.Call | ast.Subscript) else f"~({text})"


def _scale(scale: float, walk: Walk) -> str:
    for value, expr in walk.numbers:
        if isinstance(value, int | float) and math.isclose(value, scale, rel_tol=1e-9) and isinstance(expr, ast.Name | ast.Attribute):
            return walk.segment(expr)
    return repr(scale)


def _dropout(written: Written, walk: Walk) -> str:
    """The probability, as the dropout among the operations has it."""
    for node in written.nodes:
        expr = walk.expressions.get(node)
        if not isinstance(expr, ast.Call):
            continue
        if node.op == "call_module":
            layer = walk.segment(expr.func)
            return f"{layer}.p if {layer}.training else 0.0"
        if str(getattr(node.target, "__name__", node.target)) == "dropout":
            words = {item.arg: walk.segment(item.value) for item in expr.keywords}
            p = walk.segment(expr.args[1]) if len(expr.args) > 1 else words.get("p", "0.5")
            training = walk.segment(expr.args[2]) if len(expr.args) > 2 else words.get("training", "True")
            return p if training == "True" else f"{p} if {training} else 0.0"
    raise Refused("it is not clear with which probability weights are dropped")
