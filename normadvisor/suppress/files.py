"""Files: replaced in one step, and places in JSON."""

from __future__ import annotations

import os
import secrets
import stat
from contextlib import suppress
from pathlib import Path

__all__ = ["position_of", "replace_file"]


def replace_file(path: Path, data: bytes) -> None:
    """Write ``data`` beside ``path`` and put it in its place in one step; a link stays a link, permissions stay as they are.

    Raises:
        OSError: the folder or the file cannot be written; what was there before is untouched.

    """
    target = path.resolve()
    # Not the tempfile module: its files are the owner's alone, while a new file should follow the umask.
    beside = target.with_name(f".normadvisor-{secrets.token_hex(8)}.tmp")
    descriptor = os.open(beside, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o666)
    try:
        with os.fdopen(descriptor, "wb") as file:
            file.write(data)
            file.flush()
            os.fsync(file.fileno())
        if target.exists():
            beside.chmod(stat.S_IMODE(target.stat().st_mode))
        beside.replace(target)
    except BaseException:
        with suppress(OSError):
            beside.unlink()
        raise


def position_of(text: str, where: tuple[str | int, ...]) -> tuple[int, int]:
    """Line and column (1-based) of the value at ``where`` (keys and indices) in JSON text; 1, 1 where it cannot be told."""
    import yaml  # noqa: PLC0415 - YAML reads JSON and keeps positions; only errors need it

    try:
        node = yaml.compose(text, Loader=yaml.SafeLoader)
    except (yaml.YAMLError, RecursionError):  # JSON that is not YAML, such as one indented by tabs
        return 1, 1
    for step in where:
        match node:
            case yaml.MappingNode():
                node = next((value for key, value in node.value if key.value == step), node)
            case yaml.SequenceNode() if isinstance(step, int) and step < len(node.value):
                node = node.value[step]
            case _:
                break
    return (1, 1) if node is None else (node.start_mark.line + 1, node.start_mark.column + 1)
