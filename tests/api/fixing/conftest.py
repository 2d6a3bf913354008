"""Fixes files in a temporary folder."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from normadvisor.api.fixing import Fixer, FixOptions
from normadvisor.api.options import CheckOptions
from normadvisor.config import Settings


@pytest.fixture
def fixing(in_folder: Path) -> Callable[..., Fixer]:
    """A fixer of files that are written before; it is closed at the end."""
    made: list[Fixer] = []

    def make(files: dict[str, str | bytes], *targets: str, settings: dict[str, object] | None = None, **options: object) -> Fixer:
        for name, code in files.items():
            path = in_folder / name
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(code if isinstance(code, bytes) else code.encode())
        given = Settings(root=in_folder, **(settings or {}))
        check = CheckOptions(inputs=options.pop("inputs", ("2x3x8x8",)), **options.pop("check", {}))
        made.append(Fixer(targets or tuple(files), lambda _start: given, FixOptions(check=check, draws=1, **options)))
        return made[-1]

    yield make
    for fixer in made:
        fixer.close()
