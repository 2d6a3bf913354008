"""Read a Python file or notebook: bytes to text to syntax tree, every way it can fail as one located error."""

from __future__ import annotations

import ast
import re
import sys
import warnings
from dataclasses import dataclass
from pathlib import Path

from normadvisor.errors import TargetError
from normadvisor.files.notebook import Notebook, is_notebook, notebook_in
from normadvisor.files.overlay import overlay_of
from normadvisor.types import Location

__all__ = [
    "MAX_BYTES",
    "MAX_NOTEBOOK_BYTES",
    "Source",
    "decoded",
    "encoding_of",
    "parse_text",
    "read_bytes",
    "read_source",
    "read_text",
    "text_of",
]

MAX_BYTES = 16 * 2**20
"""Files above this size (bytes) are not read: the largest hand-written modules are well below 1 MiB."""
MAX_NOTEBOOK_BYTES = 128 * 2**20
"""The same for notebooks, which hold their outputs: pictures, tables, whole interactive plots."""
_CODING = re.compile(rb"coding[=:]")


@dataclass(frozen=True, slots=True)
class Source:
    """A file that parsed."""

    path: Path
    text: str
    tree: ast.Module
    notebook: Notebook | None = None
    """The cells, if the file is a notebook; ``text`` and ``tree`` are those of all its cells together."""


def read_text(path: Path) -> str:
    """Text of a Python file, or of the cells of a notebook: see :func:`text_of`.

    Raises:
        TargetError: the file cannot be read or is not what its name says.

    """
    return text_of(read_bytes(path), path)[0]


def read_source(path: Path) -> Source:
    """Read and parse a Python file or a notebook.

    Raises:
        TargetError: as :func:`read_text`, and for text that is not valid Python, with line and column.

    """
    text, notebook = text_of(read_bytes(path), path)
    return Source(path, text, parse_text(text, path, notebook), notebook)


def read_bytes(path: Path) -> bytes:
    """Contents of a file; those that an overlay gives it, if there is one (:mod:`normadvisor.files.overlay`).

    Raises:
        TargetError: it cannot be read, or is too large.

    """
    most = MAX_NOTEBOOK_BYTES if is_notebook(path) else MAX_BYTES
    data = overlay_of(path)
    if data is None:
        try:
            with path.open("rb") as file:
                data = file.read(most + 1)
        except OSError as error:
            message = f"cannot read {path}: {error.strerror or error}"
            raise TargetError(message) from error
    if len(data) > most:
        message = f"{path} is larger than {most // 2**20} MiB"
        raise TargetError(message, location=Location(str(path), 1), hint="exclude it, or name the model's own file")
    return data


def text_of(data: bytes, path: Path) -> tuple[str, Notebook | None]:
    """The Python text that bytes hold, and the notebook they are if the name of the file says so.

    A Python file is decoded as its byte order mark or its PEP 263 coding line says; every line ends in a line feed.

    Raises:
        TargetError: there are NUL bytes, the encoding is not the one it claims, or it is no notebook.

    """
    if b"\0" in data:
        line = data.count(b"\n", 0, data.index(b"\0")) + 1
        message = "the file holds NUL bytes, so it is not Python source"
        raise TargetError(message, location=Location(str(path), line), hint="UTF-16 files have to be saved as UTF-8")
    if is_notebook(path):
        notebook = notebook_in(decoded(data, "utf-8-sig", path), path)
        return notebook.text, notebook
    text = decoded(data, encoding_of(data, path), path)
    return (text.replace("\r\n", "\n").replace("\r", "\n") if "\r" in text else text), None


def encoding_of(data: bytes, path: Path) -> str:
    """The encoding that a Python file claims by its byte order mark or its PEP 263 coding line; ``utf-8`` if it claims none.

    Raises:
        TargetError: there is no such encoding, or mark and line contradict one another.

    """
    start = data[:4096]
    if not _CODING.search(start):
        return "utf-8-sig" if data.startswith(b"\xef\xbb\xbf") else "utf-8"
    import tokenize  # noqa: PLC0415 - few files say how they are encoded

    # The line stands among the first two, and any of the three line endings ends one for Python.
    lines = iter([line + b"\n" for line in re.split(rb"\r\n|\r|\n", data, maxsplit=2)[:2]])
    try:
        return tokenize.detect_encoding(lambda: next(lines, b""))[0]
    except SyntaxError as error:
        raise TargetError(str(error.msg), location=Location(str(path), 1), hint="fix the coding line (PEP 263)") from error


def decoded(data: bytes, encoding: str, path: Path) -> str:
    """The text of bytes in an encoding, line endings as they are.

    Raises:
        TargetError: the bytes are not in that encoding.

    """
    try:
        return data.decode(encoding)
    except UnicodeDecodeError as error:
        line = data.count(b"\n", 0, error.start) + 1
        message = f"byte 0x{data[error.start]:02x} is not valid {encoding.removesuffix('-sig')}"
        hint = "save the file as UTF-8, or name its encoding in a first line such as '# -*- coding: latin-1 -*-'"
        raise TargetError(message, location=Location(str(path), line), hint=None if is_notebook(path) else hint) from error


_NEWER = (
    ((3, 12), re.compile(r"^\s*type\s+\w+(\[.*\])?\s*=|^\s*(async\s+)?(def|class)\s+\w+\[")),
    ((3, 14), re.compile(r"^\s*except\*?\s+[\w.]+\s*,|(?<!\w)t[rR]?[\"']")),
)
"""Spellings that later versions of Python brought."""


def _newer_syntax(text: str, line: int) -> str | None:
    """What to do about a line that a later Python would take; ``None`` if none would."""
    lines = text.split("\n")
    written = lines[line - 1] if line <= len(lines) else ""
    for version, pattern in _NEWER:
        if sys.version_info < version and pattern.search(written):
            own = f"{sys.version_info.major}.{sys.version_info.minor}"
            looks = f"this looks like Python {version[0]}.{version[1]}"
            return f"{looks}; files are read by the Python that normadvisor runs on, which is {own}"
    return None


def parse_text(text: str, path: Path, notebook: Notebook | None = None) -> ast.Module:
    """The syntax tree of a text that was read from a file.

    Raises:
        TargetError: it is not valid Python for this interpreter; with line and column, and the cell.

    """

    def failure(message: str, line: int = 1, column: int = 1, hint: str | None = None) -> TargetError:
        place = Location(str(path), line, column)
        return TargetError(message, location=notebook.located(place) if notebook else place, hint=hint)

    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # SyntaxWarning and DeprecationWarning of the user's escapes are not ours to print
            return ast.parse(text, filename=str(path))
    except SyntaxError as error:
        line = max(error.lineno or 1, 1)
        raise failure(f"not valid Python: {error.msg}", line, max(error.offset or 1, 1), _newer_syntax(text, line)) from error
    except (RecursionError, MemoryError) as error:
        raise failure("the code is nested too deeply to parse") from error
    except ValueError as error:
        raise failure(f"not valid Python: {error}") from error
