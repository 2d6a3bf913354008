"""How another Python is started that can import this package."""

from __future__ import annotations

import sys
from pathlib import Path

__all__ = ["python_command"]


def python_command(module: str, call: str) -> list[str]:
    """A Python that runs ``call`` from ``module`` and can import this package, wherever the parent found it.

    ``-P`` keeps the working directory off the path, so that a file of the user's called ``types.py`` is not taken for Python's.
    """
    home = str(Path(__file__).resolve().parents[2])
    code = f"import sys; sys.path.append({home!r}); from {module} import main; {call}"
    return [sys.executable, "-P", "-c", code]
