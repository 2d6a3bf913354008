"""Read a Python file: bytes to text to syntax tree, every way it can fail as one located error."""

from __future__ import annotations

import ast
import io
import tokenize
import warnings
from dataclasses import dataclass
from typing import TYPE_CHECKING

from normadvisor.errors import TargetError
from normadvisor.types import Location

if TYPE_CHECKING:
    from pathlib import Path

__all__ = ["MAX_BYTES", "Source", "read_source", "read_text"]

MAX_BYTES = 16 * 2**20
"""Files above this size (bytes) are not read: the largest hand-written modules are well below 1 MiB."""


@dataclass(frozen=True, slots=True)
class Source:
    """A file that parsed."""

    path: Path
    text: str
    tree: ast.Module


def read_text(path: Path) -> str:
    """Text of a Python file, decoded as its byte order mark or its PEP 263 coding line says; every line ends in a line feed.

    Raises:
        TargetError: the file cannot be read, is too large, holds NUL bytes, or is not in the encoding it claims.

    """
    try:
        if path.stat().st_size > MAX_BYTES:
            message = f"{path} is larger than {MAX_BYTES // 2**20} MiB"
            raise TargetError(message, location=Location(str(path), 1), hint="exclude it, or name the model's own file")
        data = path.read_bytes()
    except OSError as error:
        message = f"cannot read {path}: {error.strerror or error}"
        raise TargetError(message) from error
    if b"\0" in data:
        line = data.count(b"\n", 0, data.index(b"\0")) + 1
        message = "the file holds NUL bytes, so it is not Python source"
        raise TargetError(message, location=Location(str(path), line), hint="UTF-16 files have to be saved as UTF-8")
    try:
        encoding, _ = tokenize.detect_encoding(io.BytesIO(data).readline)
    except SyntaxError as error:
        raise TargetError(str(error.msg), location=Location(str(path), 1), hint="fix the coding line (PEP 263)") from error
    try:
        text = data.decode(encoding)
    except UnicodeDecodeError as error:
        line = data.count(b"\n", 0, error.start) + 1
        message = f"byte 0x{data[error.start]:02x} is not valid {encoding}"
        hint = "save the file as UTF-8, or name its encoding in a first line such as '# -*- coding: latin-1 -*-'"
        raise TargetError(message, location=Location(str(path), line), hint=hint) from error
    return text.replace("\r\n", "\n").replace("\r", "\n")


def read_source(path: Path) -> Source:
    """Read and parse a Python file.

    Raises:
        TargetError: as :func:`read_text`, and for text that is not valid Python, with line and column.

    """
    text = read_text(path)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # SyntaxWarning and DeprecationWarning of the user's escapes are not ours to print
            tree = ast.parse(text, filename=str(path))
    except SyntaxError as error:
        location = Location(str(path), max(error.lineno or 1, 1), max(error.offset or 1, 1))
        message = f"not valid Python: {error.msg}"
        raise TargetError(message, location=location) from error
    except (RecursionError, MemoryError) as error:
        message = "the code is nested too deeply to parse"
        raise TargetError(message, location=Location(str(path), 1)) from error
    except ValueError as error:
        message = f"not valid Python: {error}"
        raise TargetError(message, location=Location(str(path), 1)) from error
    return Source(path, text, tree)
