"""Which layers are meant: globs over qualified names."""

from __future__ import annotations

import fnmatch
from collections.abc import Collection, Iterable

__all__ = ["is_chosen"]


def is_chosen(names: Collection[str], layers: str | Iterable[str]) -> bool:
    """Whether a layer is meant.

    Args:
        names: every qualified name of it; a shared layer has several.
        layers: one glob or several, in which ``*`` stands for dots as well. ``!glob`` leaves layers out, whatever the others say; if all of
            them do, every other layer is meant.

    """
    globs = [layers] if isinstance(layers, str) else list(layers)
    wanted = [glob for glob in globs if not glob.startswith("!")]
    unwanted = [glob[1:] for glob in globs if glob.startswith("!")]
    if not wanted and unwanted:
        wanted = ["*"]
    return _any(names, wanted) and not _any(names, unwanted)


def _any(names: Collection[str], globs: Iterable[str]) -> bool:
    return any(fnmatch.fnmatchcase(name, glob) for glob in globs for name in names)
