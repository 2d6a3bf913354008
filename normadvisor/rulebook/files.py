"""Which files hold rules."""

from __future__ import annotations

import os
from pathlib import Path

from normadvisor.errors import RuleError

__all__ = ["rule_files"]

_SUFFIXES = (".yaml", ".yml")


def rule_files(place: Path) -> list[Path]:
    """The rule files of a folder and the folders below it, or the file itself, in the order of their names.

    Raises:
        RuleError: there is no such folder or file.

    """
    # os.path, since the methods raise for names that are too long or hold NUL characters.
    if os.path.isfile(place):  # noqa: PTH113
        return [place]
    if not os.path.isdir(place):  # noqa: PTH112
        from normadvisor.types.words import nearest  # noqa: PLC0415  # needed for the hint only

        beside = place.parent
        names = os.listdir(beside) if os.path.isdir(beside) else []  # noqa: PTH112, PTH208
        raise RuleError(f"no folder or file '{place}' with rules", hint=nearest(place.name, names))
    found = [
        Path(folder, name)
        for folder, _, names in os.walk(place)
        for name in names
        if name.endswith(_SUFFIXES) and os.path.isfile(os.path.join(folder, name))  # noqa: PTH113, PTH118
    ]
    return sorted(found)
