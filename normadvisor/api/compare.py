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
_SAMPLE = 0.5
"""Share of the smaller model's layers that two models have in common by name if one is a version of the other."""


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


def check_comparable(now: Sequence[Measurements], earlier: Sequence[Measurements], path: Path) -> None:
    """See whether the earlier run is of one of the models, or of another version of it.

    Raises:
        UsageError: it is not.

    """
    if not now:
        return  # said already
    targets = {item.target for item in earlier}
    if any(item.target in targets for item in now) or (len(now) == len(earlier) == 1 and _alike(now[0], earlier[0])):
        return
    names = ", ".join(sorted(targets)[:4])
    message = f"--compare: {path} is a run of another model: {names}"
    raise UsageError(message, hint=f"measured now: {', '.join(item.target for item in now[:4])}")


def _alike(one: Measurements, other: Measurements) -> bool:
    """Whether half of the layers of the smaller model are in the other by name and class."""
    layers = [{(layer.name, layer.cls) for layer in item.layers} for item in (one, other)]
    smaller = min(map(len, layers))
    return smaller > 0 and len(layers[0] & layers[1]) >= _SAMPLE * smaller
