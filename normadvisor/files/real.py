"""Real paths of many files that lie in few folders, such as those of all imported modules."""

from __future__ import annotations

import os
from dataclasses import dataclass, field

__all__ = ["RealPaths"]


@dataclass(slots=True)
class RealPaths:
    """Resolves paths as ``os.path.realpath`` does, each folder once: most of the time goes into the links that folders might be.

    Not to be kept for long, as folders may change.
    """

    _folders: dict[str, str] = field(init=False, default_factory=dict)

    def of(self, path: str) -> str:
        """The real path of a file.

        Raises:
            ValueError: there is a NUL in it.

        """
        folder, name = os.path.split(path)
        if name in {"", ".", ".."} or os.path.islink(path):  # noqa: PTH114 - thousands of paths
            return os.path.realpath(path)
        real = self._folders.get(folder)
        if real is None:
            real = self._folders[folder] = os.path.realpath(folder)
        return os.path.join(real, name)  # noqa: PTH118 - as above
