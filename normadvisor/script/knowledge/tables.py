"""The tables of models, read when a model of that library is first looked up."""

from __future__ import annotations

import json
from functools import cache
from pathlib import Path

from normadvisor.script.knowledge.known import KnownContents

__all__ = ["names_of", "table_entry"]

_KINDS = {"B": "batchnorm", "D": "dropout", "O": "other", "N": "norm"}
_FOLDER = Path(__file__).parent / "data"


@cache
def names_of(library: str) -> dict[str, tuple[str, str]]:
    """Every model of a library: its contents as written in the table, and flags."""
    found: dict[str, tuple[str, str]] = {}
    table = json.loads((_FOLDER / f"{library}.json").read_text(encoding="utf-8"))
    for group, names in table["groups"].items():
        for word in names.split():
            name, _, flags = word.partition(":")
            found[name] = (group, flags)
    return found


def table_entry(library: str, name: str) -> tuple[KnownContents, str] | None:
    """Contents of a model with default arguments, and its flags: ``r`` (takes notice of ``drop_rate``), ``p`` (``drop_path_rate``)."""
    found = names_of(library).get(name)
    return None if found is None else (_parsed(found[0]), found[1])


@cache
def _parsed(group: str) -> KnownContents:
    layers: dict[str, tuple[str, ...]] = {}
    counts: dict[str, int] = {}
    for part in filter(None, group.split("; ")):
        names: list[str] = []
        for item in part[2:].split(", "):
            name, _, number = item.partition(" ")
            names.append(name)
            counts[name] = int(number)
        layers[_KINDS[part[0]]] = tuple(names)
    norms = layers.pop("norm", ())
    return KnownContents(
        batchnorm="yes" if "batchnorm" in layers else "no",
        dropout="yes" if "dropout" in layers else "no",
        other="yes" if "other" in layers else "no",
        layers=layers,
        norms=norms,
        counts=counts,
    )
