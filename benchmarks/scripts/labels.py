"""What the labels in the corpus say: comments on the line where a finding must stand, may stand, or must not.

``# expect: NA401`` asks for a warning or error; ``# expect: NA210:info`` for information. ``# allow: NA508`` stands where information is as
right as silence, ``# allow: NA404:warning`` where any severity is. ``# never`` makes even information a false alarm.
"""

from __future__ import annotations

import io
import json
import re
import tokenize
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

__all__ = ["CORPUS", "Label", "LabelError", "Script", "corpus", "labels_in"]

CORPUS = Path(__file__).with_name("corpus")
_COMMENT = re.compile(r"#\s*(expect|allow|never)\b:?(?P<rest>[^#]*)")
_RULE = re.compile(r"(?P<rule>NA\d{3})(?::(?P<severity>info|warning|error))?$")
_SUFFIXES = (".py", ".ipynb")


class LabelError(ValueError):
    """A comment that looks like a label and is none."""


@dataclass(frozen=True, slots=True, order=True)
class Label:
    """One rule named by a label."""

    path: str
    """File, relative to the corpus."""
    cell: int
    """Cell of a notebook (1-based, text cells counted); 0 in a file."""
    line: int
    rule: str
    """Empty for ``never``."""
    kind: str
    """``expect``, ``allow`` or ``never``."""
    severity: str
    """``info``, ``warning`` or ``error``; empty where the label names none."""

    @property
    def place(self) -> str:
        """``path:line``, in a notebook ``path:cell 3:line``."""
        cell = f"cell {self.cell}:" if self.cell else ""
        return f"{self.path}:{cell}{self.line}"


@dataclass(frozen=True, slots=True)
class Script:
    """One entry of the corpus: a file, or a folder that is a small project."""

    name: str
    files: tuple[Path, ...]
    labels: tuple[Label, ...]

    @property
    def clean(self) -> bool:
        """Nothing is expected in it."""
        return all(label.kind != "expect" for label in self.labels)


def _comments(text: str) -> Iterator[tuple[int, str]]:
    """Line and text of every comment. Lines of IPython are comments enough to keep the others in place."""
    lines = [f"#{line}" if line.lstrip().startswith(("%", "!")) else line for line in text.splitlines(keepends=True)]
    for token in tokenize.generate_tokens(io.StringIO("".join(lines)).readline):
        if token.type == tokenize.COMMENT:
            yield token.start[0], token.string


def _texts(path: Path) -> Iterator[tuple[int, str]]:
    """Cell number and text of every code cell; 0 and the whole text of a file."""
    text = path.read_text(encoding="utf-8")
    if path.suffix != ".ipynb":
        yield 0, text
        return
    for number, cell in enumerate(json.loads(text)["cells"], 1):
        if cell["cell_type"] == "code":
            source = cell["source"]
            yield number, source if isinstance(source, str) else "".join(source)


def _parse(path: str, cell: int, line: int, comment: str) -> Iterator[Label]:
    for match in _COMMENT.finditer(comment):
        kind, words = match.group(1), match.group("rest").replace(",", " ").split()
        if kind == "never":
            yield Label(path, cell, line, "", kind, "")
            continue
        rules = [_RULE.match(word) for word in words]
        if not rules or None in rules:
            raise LabelError(f"{path}:{line}: after '{kind}' come rules such as NA401 or NA210:info, not {match.group('rest').strip()!r}")
        for rule in rules:
            assert rule is not None
            yield Label(path, cell, line, rule["rule"], kind, rule["severity"] or "")


def labels_in(path: Path, root: Path = CORPUS) -> tuple[Label, ...]:
    """The labels of one file.

    Raises:
        LabelError: a comment starts like a label and names no rule.

    """
    name = path.relative_to(root).as_posix()
    return tuple(
        label
        for cell, text in _texts(path)
        for line, comment in _comments(text)
        for label in _parse(name, cell, line, comment)
    )


def corpus(root: Path = CORPUS) -> tuple[Script, ...]:
    """Every entry of the corpus with its labels, in order of names."""
    scripts = []
    for entry in sorted(root.iterdir()):
        if entry.name.startswith((".", "__")):
            continue
        files = (entry,) if entry.is_file() else tuple(sorted(path for path in entry.rglob("*") if "__pycache__" not in path.parts))
        files = tuple(path for path in files if path.suffix in _SUFFIXES)
        if files:
            scripts.append(Script(entry.name, files, tuple(label for path in files for label in labels_in(path, root))))
    return tuple(scripts)
