"""An earlier run, read back from the JSON that was written of it. Nothing here imports torch."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from normadvisor.api.wire import read_measurements
from normadvisor.errors import UsageError
from normadvisor.types import Location, Measurements

__all__ = ["MAX_BYTES", "check_comparable", "read_run"]

MAX_BYTES = 256 * 2**20
"""A run of ten thousand layers and a hundred steps has a tenth of that."""
_HINT = "name a file that 'normadvisor probe ... --json FILE' wrote"
_WORDS = {"nan": math.nan, "inf": math.inf, "-inf": -math.inf}


def read_run(path: Path) -> tuple[Measurements, ...]:
    """What was measured in an earlier run.

    Args:
        path: a file written with ``--json``.

    Raises:
        UsageError: it cannot be read, is no JSON, or holds no measurements.

    """
    text = _text(path)
    try:
        data = json.loads(text)
    except json.JSONDecodeError as error:
        place = Location(str(path), error.lineno, error.colno)
        raise UsageError(f"--compare: not valid JSON: {error.msg}", location=place, hint=_HINT) from error
    except (RecursionError, ValueError) as error:  # nested too deeply; a number too long to read
        raise UsageError(f"--compare: {path} is not valid JSON", hint=_HINT) from error
    probe = data.get("probe") if isinstance(data, dict) else None
    entries = probe.get("measurements") if isinstance(probe, dict) else None
    if not isinstance(entries, list):
        raise UsageError(f"--compare: {path} holds no measurements", hint=_HINT)
    try:
        found = tuple(read_measurements(_with_numbers(entry)) for entry in entries)
    except (KeyError, TypeError, ValueError, AttributeError) as error:
        words = f"{type(error).__name__}: {str(error)[:100]}"
        raise UsageError(f"--compare: measurements in {path} cannot be read ({words})", hint=f"{_HINT}, of this version") from error
    if not found:
        raise UsageError(f"--compare: nothing was measured in the run of {path}", hint=_HINT)
    return found


def _text(path: Path) -> str:
    try:
        if path.stat().st_size > MAX_BYTES:
            raise UsageError(f"--compare: {path} is larger than {MAX_BYTES // 2**20} MiB", hint=_HINT)
        return path.read_text(encoding="utf-8-sig")
    except FileNotFoundError as error:
        raise UsageError(f"--compare: there is no file {path}", hint=_HINT) from error
    except UnicodeDecodeError as error:
        raise UsageError(f"--compare: {path} is not UTF-8", hint=_HINT) from error
    except (OSError, ValueError) as error:  # ValueError: a NUL in the path
        raise UsageError(f"--compare: cannot read {path}: {getattr(error, 'strerror', None) or error}", hint=_HINT) from error


def _with_numbers(entry: Any) -> Mapping[str, Any]:
    """An entry whose facts are numbers again where JSON, which knows no infinity, holds words."""
    facts = {key: _number(value) for key, value in entry["facts"].items()}
    layers = [{**layer, "facts": {key: _number(value) for key, value in layer["facts"].items()}} for layer in entry["layers"]]
    return {**entry, "facts": facts, "layers": layers}


def _number(value: Any) -> Any:
    return _WORDS.get(value, value) if isinstance(value, str) else value


def check_comparable(now: Sequence[Measurements], earlier: Sequence[Measurements], path: Path) -> str | None:
    """See whether the earlier run is of one of the models, or there is one model on either side and they have layers in common.

    Returns:
        A sentence for the reader where two models of different names are compared.

    Raises:
        UsageError: there is nothing to compare.

    """
    targets = {item.target for item in earlier}
    if not now or any(item.target in targets for item in now):
        return None  # where nothing was measured, that is said already
    if len(now) == len(earlier) == 1 and (common := _in_common(now[0], earlier[0])):
        one, other = now[0], earlier[0]
        sizes = f"{len(one.layers)} and {len(other.layers)}"
        return f"{one.target} is compared with {other.target}: {common} of their {sizes} layers have the same name"
    names = ", ".join(sorted(targets)[:4])
    message = f"--compare: {path} is a run of another model: {names}"
    raise UsageError(message, hint=f"measured now: {', '.join(item.target for item in now[:4])}")


def _in_common(one: Measurements, other: Measurements) -> int:
    """How many layers have the same name."""
    return len({layer.name for layer in one.layers} & {layer.name for layer in other.layers})
