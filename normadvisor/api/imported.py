"""Which of the user's files a worker has imported."""

from __future__ import annotations

import os
import sys
from pathlib import Path

from normadvisor.files.real import RealPaths

__all__ = ["imported_files"]

_INSTALLED = (f"{os.sep}site-packages{os.sep}", f"{os.sep}dist-packages{os.sep}")


def imported_files(root: Path) -> tuple[str, ...]:
    """Resolved paths of the imported source files below a folder that are not of packages installed there."""
    below = f"{root.resolve()}{os.sep}"
    found: set[str] = set()
    real = RealPaths()
    for module in list(sys.modules.values()):
        try:
            file = vars(module).get("__file__")
        except TypeError:  # something else that was put there
            continue
        if isinstance(file, str) and file.endswith((".py", ".pyw")) and "\0" not in file:
            path = real.of(file)
            if path.startswith(below) and not any(folder in path for folder in _INSTALLED):
                found.add(path)
    return tuple(sorted(found))
