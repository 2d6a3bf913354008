"""Write one section of the results file and leave the others as they are."""

from __future__ import annotations

import re
from pathlib import Path

from benchmarks.report import header

__all__ = ["RESULTS", "write_section"]

RESULTS = Path(__file__).parents[1] / "results" / "scripts.md"
_TITLE = "# Script rules\n"


def write_section(title: str, command: str, text: str, path: Path = RESULTS) -> None:
    """Put a section, headed by its date, versions and command, in the place of the one with the same title, or at the end."""
    section = "#" + header(title, command) + text.strip() + "\n"
    before = path.read_text(encoding="utf-8") if path.exists() else _TITLE
    parts = re.split(r"(?m)^(?=## )", before)
    places = [number for number, part in enumerate(parts) if part.startswith(f"## {title}\n")]
    if places:
        parts[places[0]] = section
    else:
        parts.append(section)
    path.write_text("\n".join(part.strip() + "\n" for part in parts), encoding="utf-8")
