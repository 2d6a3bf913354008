"""The call of a function of torch as it is written."""

from __future__ import annotations

import ast
import math
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from normadvisor.graph.record import note_of
from normadvisor.graph.written import Written
from normadvisor.graph.written.attention import DIVIDES, MULTIPLIES
from normadvisor.graph.written.exact import called
from normadvisor.rewrite.source.functions.definitions import Unclear, definition
from normadvisor.rewrite.source.functions.doubts import axis_as_written
from normadvisor.rewrite.source.functions.walk import Walk
from normadvisor.rewrite.source.place import Refused

if TYPE_CHECKING:
    from torch import fx, nn

__all__ = ["call_text"]

_NORMS = frozenset({"layer_norm", "rms_norm"})
_SOFTMAXES = frozenset({"softmax", "log_softmax"})
_CASTS = frozenset({"bfloat16", "double", "float", "half", "to", "type", "type_as"})


def call_text(name: str, written: Written, walk: Walk, model: nn.Module) -> str:
    """The call.

    Args:
        name: how the file writes the function.
        written: what it takes the place of.
        walk: the operands, as the file writes them; what the call passes on is noted there.
        model: what the targets in the graph of ``written`` are relative to.

    Raises:
        Refused: it cannot be written as one call.

    """
    if written.op == "attention":
        arguments = _attention(written, walk)
    elif written.op in _NORMS:
        arguments = _norm(written, walk)
    elif written.op in _SOFTMAXES:
        axis = axis_as_written(written, model)
        arguments = [walk.segment(walk.operands["input"]), f"dim={written.arguments['dim'] if axis is None else axis}"]
    else:
        arguments = [walk.segment(walk.operands["input"]), *_settings(written.arguments, walk)]
    return f"{name}({', '.join(arguments)})"


def _settings(arguments: Mapping[str, Any], walk: Walk) -> list[str]:
    given = {key: value for key, value in arguments.items() if value is not None}
    return [f'{key}="{value}"' if isinstance(value, str) else f"{key}={_as_written(value, walk)}" for key, value in given.items()]


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
    for role in ("weight", "bias"):
        shape = note_of(written.inputs[role]).shape if role in written.inputs else None
        if shape is not None and tuple(shape) != tuple(sizes):
            raise Refused(f"the {role} has the shape {tuple(shape)}, and the function of torch takes {tuple(sizes)}")
    if weight is not None:
        normalized = f"{walk.segment(weight)}.shape"
    elif isinstance(x, ast.Name | ast.Attribute):
        normalized = f"{walk.segment(x)}.shape[-{len(sizes)}:]"
    else:
        raise Refused(f"the normalized shape cannot be told from `{walk.segment(x)}`")
    positional = [walk.segment(x), normalized]
    named = [f"{role}={walk.segment(operand)}" for role, operand in (("weight", weight), ("bias", bias)) if operand is not None]
    return [*positional, *named, f"eps={_as_written(given.get('eps'), walk)}"]


def _as_written(number: Any, walk: Walk) -> str:
    """A number as the source writes it."""
    for value, expr in walk.numbers:
        if isinstance(value, float) and value == number and (text := _passed_on(expr, walk)):
            return text
    return repr(number)


def _passed_on(expr: ast.expr, walk: Walk) -> str:
    """The text of an expression that the call may hold, which is noted; empty if it has another value there."""
    for name in {node.id for node in ast.walk(expr) if isinstance(node, ast.Name)}:
        here = definition(walk.tree, name, expr, walk.helpers)
        if here is Unclear.SEVERAL or here is not definition(walk.tree, name, walk.root, walk.helpers):
            return ""
    walk.passed.add(ast.unparse(expr))
    return walk.segment(expr)


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
    if given.get("scaled_by") != "width":
        scale = given.get("scale")
        width = note_of(written.inputs["query"]).shape or (1,)
        text = _scale(scale if isinstance(scale, float) else width[-1] ** -0.5, written, walk)
        found += [f"scale={text}"] if text else []
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


def _scale(scale: float, written: Written, walk: Walk) -> str:
    """What scores are multiplied with, of the expressions that the source multiplies and divides by; empty if the function does it."""
    factors: list[tuple[float, ast.expr]] = []
    divisors: list[tuple[float, ast.expr]] = []
    for node in written.nodes:
        expr = walk.expressions.get(node)
        operands = [expr.left, expr.right] if isinstance(expr, ast.BinOp) else expr.args if isinstance(expr, ast.Call) else []
        found = factors if called(node) in MULTIPLIES else divisors if called(node) in DIVIDES else []
        found += [(value, each) for value, each in (*walk.numbers, *walk.sizes) if each in operands and isinstance(value, int | float)]
    product = math.prod(value for value, _ in factors) / math.prod(value for value, _ in divisors)
    texts = {each: _passed_on(each, walk) for _, each in (*factors, *divisors)}
    if not math.isclose(product, scale, rel_tol=1e-9) or not texts or not all(texts.values()):
        return repr(scale)
    if len(texts) == 1 and _is_default(next(iter(texts)), "" if factors else "1 / ", walk):
        return ""
    if len(texts) == 1 and factors:
        return texts[factors[0][1]]
    above = " * ".join(_bracketed(each, texts[each]) for _, each in factors) or "1"
    return " / ".join([above, *(_bracketed(each, texts[each]) for _, each in divisors)])


def _is_default(expr: ast.expr, before: str, walk: Walk) -> bool:
    """Whether it is one over the root of the features of a head, read from queries or keys."""
    widths = [f"{ast.unparse(walk.operands[role])}{read}" for role in ("query", "key") for read in (".size(-1)", ".shape[-1]")]
    known = {f"{one} / {root}" for width in widths for one in ("1", "1.0") for root in (f"math.sqrt({width})", f"{width} ** 0.5")}
    return f"{before}{ast.unparse(expr)}" in known | {f"{width} ** -0.5" for width in widths}


def _bracketed(expr: ast.expr, text: str) -> str:
    """As a factor of a product."""
    is_power = isinstance(expr, ast.BinOp) and isinstance(expr.op, ast.Pow)
    return text if is_power or isinstance(expr, ast.Name | ast.Attribute | ast.Call | ast.Constant) else f"({text})"


def _dropout(written: Written, walk: Walk) -> str:
    """The probability, as the dropout among the operations has it."""
    for node in written.nodes:
        expr = walk.expressions.get(node)
        if not isinstance(expr, ast.Call):
            continue
        if node.op == "call_module":
            layer = walk.segment(expr.func)
            return f"{layer}.p if {layer}.training else 0.0"
        if called(node) == "dropout":
            words = {item.arg: item.value for item in expr.keywords}
            p = expr.args[1] if len(expr.args) > 1 else words.get("p")
            training = expr.args[2] if len(expr.args) > 2 else words.get("training")
            return _chance(p, training, walk)
    raise Refused("it is not clear with which probability weights are dropped")


def _chance(p: ast.expr | None, training: ast.expr | None, walk: Walk) -> str:
    texts = ["0.5" if p is None else _passed_on(p, walk), "True" if training is None else _passed_on(training, walk)]
    if not all(texts):
        raise Refused("what dropout is told has changed when the result is computed")
    return texts[0] if texts[1] == "True" else f"{texts[0]} if {texts[1]} else 0.0"
