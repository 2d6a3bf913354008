from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path

import pytest

from normadvisor.script.project import Project, SourceModule

Write = Callable[[Mapping[str, str]], tuple[Project, Callable[[str], SourceModule]]]


@pytest.fixture
def written(tmp_path: Path) -> Write:
    """Write files and give the project, and a function that loads one of them."""

    def write(files: Mapping[str, str]) -> tuple[Project, Callable[[str], SourceModule]]:
        for name, text in files.items():
            path = tmp_path / name
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(text, encoding="utf-8")
        project = Project([tmp_path])
        return project, lambda name: project.load(tmp_path / name)

    return write
