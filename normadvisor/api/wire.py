"""JSON lines from a worker to the parent.

The parent trusts its own rules and targets but not what a worker answers, since the target's code runs there: every line is
limited in size, checked for its types, and a line that is no message is kept as text (that is where crash dumps arrive).
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from dataclasses import asdict, fields
from typing import TYPE_CHECKING, Any

from normadvisor.types import Edit, Finding, Fix, Location, Measurements, ModelSummary, Operation, Problem, TraceKind, Withdrawn
from normadvisor.types.optimization import Optimization, Ratio

if TYPE_CHECKING:
    from normadvisor.rewrite.keys import KeyMap
    from normadvisor.rewrite.proof.result import Proof

__all__ = [
    "MAX_LINE",
    "decode",
    "encode",
    "read_finding",
    "read_key_map",
    "read_location",
    "read_measurements",
    "read_optimization",
    "read_problem",
    "read_proof",
    "read_summary",
    "read_withdrawn",
    "write_problem",
    "write_withdrawn",
]

MAX_LINE = 64 * 2**20
"""Longest message in bytes: a graph table of 20,000 nodes has about 5 MB."""

# Bound here: the target's code shares the child with this module and may put something else in place of json.dumps.
_dumps = json.JSONEncoder(separators=(",", ":"), default=str).encode


def encode(message: Mapping[str, Any]) -> bytes:
    """One message as a line of ASCII."""
    return _dumps(message).encode("ascii") + b"\n"


def decode(line: bytes) -> dict[str, Any] | None:
    """The message in a line, ``None`` if it holds none."""
    if not line.startswith(b'{"kind":'):
        return None
    try:
        message = json.loads(line)
    except (ValueError, RecursionError):
        return None
    return message if isinstance(message, dict) else None


def write_problem(problem: Problem) -> dict[str, Any]:
    """A problem as JSON."""
    return asdict(problem)


def read_problem(data: Mapping[str, Any]) -> Problem:
    """Read back what :func:`write_problem` wrote.

    Raises:
        KeyError, TypeError, ValueError: ``data`` is no problem.

    """
    location = data["location"]
    return Problem(
        target=_text(data["target"]),
        message=_text(data["message"]),
        location=None if location is None else read_location(location),
        hint=None if data["hint"] is None else _text(data["hint"]),
        details=None if data["details"] is None else _text(data["details"]),
    )


def read_summary(data: Mapping[str, Any]) -> ModelSummary:
    """Read back what :meth:`ModelSummary.to_dict` wrote.

    Raises:
        KeyError, TypeError, ValueError: ``data`` is no summary.

    """
    return ModelSummary(
        target=_text(data["target"]),
        trace=TraceKind(data["trace"]),
        inputs=None if data["inputs"] is None else _text(data["inputs"]),
        modules=_count(data["modules"]),
        nodes=_count(data["nodes"]),
        error=None if data["error"] is None else _text(data["error"]),
    )


def read_finding(data: Mapping[str, Any]) -> Finding:
    """Read back what :meth:`Finding.to_dict` wrote.

    Raises:
        KeyError, TypeError, ValueError, AttributeError: ``data`` is no finding.

    """
    finding = Finding.from_dict(data)
    for name in ("rule", "name", "message", "fingerprint"):
        _text(getattr(finding, name))
    for name in ("path", "model"):
        if getattr(finding, name) is not None:
            _text(getattr(finding, name))
    for name in ("line", "column", "end_line", "end_column", "cell"):
        if getattr(finding, name) is not None:
            _count(getattr(finding, name))
    for module in finding.modules:
        _text(module)
    for place in finding.related:
        _text(place.path), _count(place.line), _text(place.message)
    if not isinstance(finding.evidence, dict):
        raise TypeError(finding.evidence)
    for fix in (finding.fix, *finding.alternatives):
        if fix is not None:
            _check_fix(fix)
    return finding


def read_measurements(data: Mapping[str, Any]) -> Measurements:
    """Read back what :meth:`Measurements.to_dict` wrote.

    Raises:
        KeyError, TypeError, ValueError, AttributeError: ``data`` holds no measurements.

    """
    found = Measurements.from_dict(data)
    _text(found.target)
    for note in found.notes:
        _text(note)
    for key, reason in found.missing.items():
        _text(key), _text(reason)
    for layer in found.layers:
        _text(layer.name), _text(layer.cls)
        for number in (layer.order, layer.calls, layer.parameters, layer.trainable, layer.units or 0):
            _count(number)
        _text(layer.op or "")
        if layer.location is not None:
            read_location(asdict(layer.location))
    for mapping in (found.facts, found.setup, *(layer.facts for layer in found.layers)):
        if not isinstance(mapping, dict):
            raise TypeError(mapping)
    return found


def write_withdrawn(withdrawn: Withdrawn) -> dict[str, Any]:
    """A finding that was withdrawn as JSON."""
    return {"finding": withdrawn.finding.to_dict(), "reason": withdrawn.reason}


def read_withdrawn(data: Mapping[str, Any]) -> Withdrawn:
    """Read back what :func:`write_withdrawn` wrote.

    Raises:
        KeyError, TypeError, ValueError, AttributeError: ``data`` is no such finding.

    """
    return Withdrawn(finding=read_finding(data["finding"]), reason=_text(data["reason"]))


def read_optimization(data: Mapping[str, Any]) -> Optimization:
    """Read back what :meth:`Optimization.to_dict` wrote.

    Raises:
        KeyError, TypeError, ValueError, AttributeError: ``data`` is none.

    """
    found = Optimization.from_dict(data)
    for text in (found.target, found.mode, found.device, found.dtype, found.inputs, found.saved, *found.notes):
        _text(text)
    for key, words in found.keys.items():
        _text(key), _text(words)
    for row in found.replacements:
        for text in (row.rule, row.stage, row.pattern, row.replacement, row.proof, row.reason, *row.modules, *row.left_out):
            _text(text)
    for left in found.left:
        for text in (left.rule, left.reason, *left.modules):
            _text(text)
    for variant in found.variants:
        _text(variant.name), _text(variant.reason)
    for ratio in _ratios(found):
        _numbers(ratio.median, ratio.low, ratio.high, ratio.before, ratio.after)
        _count(ratio.pairs)
    return found


def _ratios(found: Optimization) -> Iterator[Ratio]:
    every = [found.end_to_end, *(variant.end_to_end for variant in found.variants)]
    every += [ratio for row in found.replacements for ratio in (row.kernel, row.end_to_end)]
    yield from (ratio for ratio in every if ratio is not None)


def _numbers(*values: object) -> None:
    for value in values:
        if not isinstance(value, int | float) or isinstance(value, bool):
            raise TypeError(value)


def _check_fix(fix: Fix) -> None:
    for name in ("description", "title", "trade_off", "refused"):
        _text(getattr(fix, name))
    for edit in fix.edits:
        _check_edit(edit)
    for operation in fix.operations:
        _check_operation(operation)


def _check_edit(edit: Edit) -> None:
    _text(edit.path), _text(edit.text)
    for number in (edit.line, edit.column, edit.end_line, edit.end_column):
        _count(number)
    if edit.cell is not None:
        _count(edit.cell)


def _check_operation(operation: Operation) -> None:
    _text(operation.argument), _text(operation.layer)
    for part in (operation.part, operation.other):
        if part is not None:
            _text(part.module), _text(part.node), _text(part.op)
            if not isinstance(part.is_layer, bool):
                raise TypeError(part)
    for name in operation.arguments:
        _text(name)


def read_proof(data: Mapping[str, Any]) -> Proof:
    """Read back what :meth:`Proof.to_dict` wrote.

    Raises:
        KeyError, TypeError, ValueError: ``data`` is no proof.

    """
    from normadvisor.rewrite.proof.result import Proof

    proof = Proof.from_dict(data)
    for mode in (*proof.modes, proof.what, proof.reason):
        _text(mode)
    _count(proof.draws)
    if not all(isinstance(data[name], kind) for name, kind in (("equal", bool), ("provable", bool), ("worst", int | float))):
        raise TypeError(data)
    return proof


def read_key_map(data: Mapping[str, Any]) -> KeyMap:
    """Read back what :meth:`KeyMap.to_dict` wrote.

    Raises:
        KeyError, TypeError, ValueError: ``data`` is no key map.

    """
    from normadvisor.rewrite.keys import KeyMap

    return KeyMap.from_dict(data)


def read_location(data: Mapping[str, Any]) -> Location:
    """Read back a location.

    Raises:
        TypeError, ValueError: ``data`` is none.

    """
    location = Location(**data)
    _text(location.path)
    for item in fields(location)[1:]:
        value = getattr(location, item.name)
        if value is not None:
            _count(value)
    return location


def _text(value: object) -> str:
    if not isinstance(value, str):
        raise TypeError(value)
    return value


def _count(value: object) -> int:
    if not isinstance(value, int) or isinstance(value, bool) or value < 0:
        raise TypeError(value)
    return value
