"""Measure whole families, several models at once, each in a process of its own; results as JSON lines."""

from __future__ import annotations

import argparse
import contextlib
import importlib
import json
import pkgutil
import time
from collections.abc import Iterator, Sequence
from functools import partial
from pathlib import Path
from typing import Any

from benchmarks.zoo.isolated import run_isolated
from benchmarks.zoo.names import FAMILIES, Entry, entries

__all__ = ["add_arguments", "rows_for", "sweep"]

_IMPORTED = {
    "torchvision": ["torchvision"],
    "timm": ["timm"],
    "transformers": ["torchvision", "transformers.modeling_utils", "transformers.masking_utils", "transformers.models.auto.modeling_auto"],
}
"""What the models of a family import in any case."""
_MEMORY = 8 * 2**30
"""Bytes one model may take, as in ``normadvisor check`` by default."""


def _prepare(families: Sequence[str]) -> None:
    """Import once what every forked process needs."""
    import torch  # noqa: PLC0415 - after the arguments are read

    import benchmarks.zoo.measure  # noqa: F401, PLC0415 - as above
    import normadvisor.graph  # noqa: PLC0415 - as above
    import normadvisor.match  # noqa: PLC0415 - as above
    import normadvisor.targets  # noqa: PLC0415 - as above

    for part in (normadvisor.targets, normadvisor.graph, normadvisor.match):
        for module in pkgutil.walk_packages(part.__path__, f"{part.__name__}."):
            importlib.import_module(module.name)
    torch.set_num_threads(1)
    for family in families:
        for name in _IMPORTED[family]:
            importlib.import_module(name)


def sweep(chosen: Sequence[Entry], *, jobs: int, timeout: float, select: Sequence[str] = ()) -> Iterator[dict[str, Any]]:
    """Yield what :func:`benchmarks.zoo.measure.measure` gives for each entry, with progress on standard error."""
    from rich.console import Console  # noqa: PLC0415 - after the arguments are read
    from rich.progress import track  # noqa: PLC0415 - as above

    from benchmarks.zoo.measure import measure  # noqa: PLC0415 - as above

    outcomes = run_isolated(partial(measure, select=tuple(select)), chosen, jobs=jobs, timeout=timeout, memory=_MEMORY)
    for outcome in track(outcomes, total=len(chosen), description="models", console=Console(stderr=True)):
        if outcome.value is not None:
            yield outcome.value
        else:
            entry = outcome.argument
            yield {"family": entry.family, "name": entry.name, "stage": "killed", "error": outcome.error}


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The flags that choose models and where rows are kept."""
    parser.add_argument("families", nargs="*", help=f"any of {', '.join(FAMILIES)}; all by default")
    parser.add_argument("--select", default="", help="rules, as NA704,NA705; those that are on by default, if none are named")
    parser.add_argument("--only", help="models whose name contains this")
    parser.add_argument("--every", type=int, default=1, help="only each N-th model")
    parser.add_argument("--jobs", type=int, default=2)
    parser.add_argument("--timeout", type=float, default=240.0, help="seconds for one model")
    parser.add_argument("--minutes", type=float, default=1e6, help="begin no further model after that long; 0: kept rows alone")
    parser.add_argument("--rows", type=Path, help="file of JSON lines that keeps what was measured, so that an interrupted sweep goes on")
    parser.add_argument("--write", type=Path, help="markdown file to write")


def rows_for(arguments: argparse.Namespace) -> list[dict[str, Any]]:
    """The rows asked for, by family and name; those that stand in the rows file already are not measured again."""
    families = arguments.families or list(FAMILIES)
    kept = []
    if arguments.rows and arguments.rows.exists():
        kept = [json.loads(line) for line in arguments.rows.read_text(encoding="utf-8").splitlines()]
    known = {(row["family"], row["name"]) for row in kept}
    _prepare(families)
    chosen = [entry for family in families for entry in entries(family)[:: arguments.every]]
    if arguments.only:
        chosen = [entry for entry in chosen if arguments.only in entry.name]
    rows = [row for row in kept if row["family"] in families]
    with contextlib.ExitStack() as stack:
        file = stack.enter_context(arguments.rows.open("a", encoding="utf-8")) if arguments.rows else None
        until = time.monotonic() + 60 * arguments.minutes
        missing = [entry for entry in chosen if (entry.family, entry.name) not in known] if arguments.minutes else []
        select = [name for name in arguments.select.split(",") if name]
        for row in sweep(missing, jobs=arguments.jobs, timeout=arguments.timeout, select=select):
            rows.append(row)
            if file:
                file.write(json.dumps(row) + "\n")
                file.flush()
            if time.monotonic() > until:
                break
    return sorted(rows, key=lambda row: (row["family"], row["name"]))
