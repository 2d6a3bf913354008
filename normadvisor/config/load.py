"""Finds the configuration file and turns it into settings."""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING

from normadvisor.config.settings import Settings
from normadvisor.errors import ConfigError

if TYPE_CHECKING:
    from normadvisor.config.document import Document

__all__ = ["CONFIG_FILE", "load_settings"]

CONFIG_FILE = "normadvisor.toml"
"""A configuration of our own, its keys at the top level; takes precedence over ``pyproject.toml`` in the same folder."""

_PYPROJECT = "pyproject.toml"
_TABLE = ("tool", "normadvisor")


def load_settings(start: Path, explicit: Path | None = None) -> Settings:
    """Read the settings that apply to ``start``.

    Args:
        start: a file or folder. It and its parents are searched, nearest first, for ``normadvisor.toml`` or a ``pyproject.toml``
            with a ``[tool.normadvisor]`` table.
        explicit: read this file instead of searching. One named ``pyproject.toml`` must hold the table.

    Returns:
        The settings; the defaults, with ``root`` set to the folder of ``start``, when there is no file.

    Raises:
        ConfigError: the file cannot be read or holds a mistake; names file, line and column, and what would be right.

    """
    if explicit is not None:
        return _read_explicit(explicit)
    folder = Path(os.path.abspath(start))  # noqa: PTH100 - links stay as the user wrote them
    if os.path.isfile(folder):  # noqa: PTH113 - the method raises where permissions are missing
        folder = folder.parent
    for candidate in (folder, *folder.parents):
        settings = _read_folder(candidate)
        if settings is not None:
            return settings
    return Settings(root=folder)


def _read_explicit(path: Path) -> Settings:
    from normadvisor.config.document import read_document  # noqa: PLC0415 - costs tomllib
    from normadvisor.config.table import read_table  # noqa: PLC0415 - costs pydantic

    document = read_document(path)
    if path.name != _PYPROJECT:
        return read_table(document, ())
    if not _has_table(document):
        raise ConfigError(f"'{path}' has no [tool.normadvisor] table", location=document.locate(), hint="add one")
    return read_table(document, _TABLE)


def _read_folder(folder: Path) -> Settings | None:
    """The settings a folder holds, if it holds any."""
    own, shared = folder / CONFIG_FILE, folder / _PYPROJECT
    has_own, has_shared = os.path.isfile(own), os.path.isfile(shared)  # noqa: PTH113 - as above
    if not has_own and not has_shared:
        return None
    from normadvisor.config.document import read_document  # noqa: PLC0415 - costs tomllib
    from normadvisor.config.table import read_table  # noqa: PLC0415 - costs pydantic

    if has_own:
        return read_table(read_document(own), ())
    document = read_document(shared)
    return read_table(document, _TABLE) if _has_table(document) else None


def _has_table(document: Document) -> bool:
    tool = document.data.get("tool")
    return isinstance(tool, dict) and "normadvisor" in tool
