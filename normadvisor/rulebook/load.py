"""Reading rule files: every error in every file is found, with its place."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path

from normadvisor.errors import RuleError
from normadvisor.rulebook.check import check_rule
from normadvisor.rulebook.model import Rule
from normadvisor.rulebook.shape import shape_rule
from normadvisor.rulebook.yamlfile import MAX_BYTES, Document, parse_document
from normadvisor.types import Location
from normadvisor.types.words import nearest

__all__ = ["LoadedRule", "RuleErrors", "load_file", "load_text", "load_texts", "read_rule_file"]


class RuleErrors(RuleError):  # noqa: N818  # it is several of them
    """Several errors in rule files; :attr:`errors` holds them one by one."""

    def __init__(self, errors: Sequence[RuleError]) -> None:
        self.errors = tuple(errors)
        files = len({error.location.path for error in errors if error.location})
        places = f" in {files} files" if files > 1 else ""
        super().__init__("\n  ".join([f"{len(errors)} errors{places}:", *map(str, errors)]))


class LoadedRule:
    """A rule and the document it was read from."""

    __slots__ = ("document", "rule")

    def __init__(self, rule: Rule, document: Document) -> None:
        self.rule = rule
        self.document = document


def read_rule_file(path: Path) -> str:
    """Text of a rule file.

    Raises:
        RuleError: it cannot be read, is too large, or is not UTF-8.

    """
    start = Location(str(path), 1)
    try:
        with path.open("rb") as file:
            content = file.read(MAX_BYTES + 1)
    except OSError as error:
        raise RuleError(f"cannot be read: {error.strerror}", location=start) from error
    if len(content) > MAX_BYTES:
        raise RuleError(f"larger than {MAX_BYTES // 1024} KiB", location=start, hint="one rule per file")
    try:
        return content.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        before = content[: error.start]
        line = before.count(b"\n") + 1
        column = len(before[before.rfind(b"\n") + 1 :].decode("utf-8", errors="replace")) + 1
        place = Location(str(path), line, column)
        raise RuleError("not UTF-8 text", location=place, hint="save the file as UTF-8") from error


def load_text(text: str, path: str) -> LoadedRule:
    """Read one rule from a string.

    Args:
        text: YAML.
        path: name of the file in locations.

    Raises:
        RuleError: something is wrong with it; :class:`RuleErrors` when there is more than one thing.

    """
    document = parse_document(text, path)
    rule = shape_rule(document)
    errors = rule if isinstance(rule, list) else check_rule(rule, document)
    if isinstance(rule, list) or errors:
        raise errors[0] if len(errors) == 1 else RuleErrors(errors)
    rule.source = path
    return LoadedRule(rule, document)


def load_file(path: Path) -> LoadedRule:
    """Read one rule file; see :func:`load_text`."""
    return load_text(read_rule_file(path), str(path))


def load_texts(paths: Iterable[Path]) -> list[LoadedRule]:
    """Read rule files that are used together.

    Raises:
        RuleError: something is wrong with any of them, an id or name is used twice, or a rule refers to one that does not exist;
            all errors of all files together.

    """
    loaded: list[LoadedRule] = []
    errors: list[RuleError] = []
    for path in paths:
        try:
            loaded.append(load_file(path))
        except RuleErrors as several:
            errors += several.errors
        except RuleError as error:
            errors.append(error)
    errors += _clashes(loaded)
    if not errors:
        # With files missing from the book, references to their rules would look wrong.
        errors += _dangling(loaded)
    if errors:
        raise errors[0] if len(errors) == 1 else RuleErrors(errors)
    return loaded


def _clashes(loaded: Sequence[LoadedRule]) -> Iterator[RuleError]:
    """Ids and names that two files claim."""
    for key in ("id", "name"):
        first: dict[str, LoadedRule] = {}
        for item in loaded:
            value = getattr(item.rule, key)
            other = first.setdefault(value, item)
            if other is not item:
                place = other.document.locate((key,))
                hint = f"the other one is {place}"
                yield RuleError(f"two rules have the {key} '{value}'", location=item.document.locate((key,)), hint=hint)


def _dangling(loaded: Sequence[LoadedRule]) -> Iterator[RuleError]:
    """References to rules that do not exist."""
    known = sorted(item.rule.id for item in loaded)
    for item in loaded:
        for position, other in enumerate(item.rule.silenced_by):
            if other not in known:
                location = item.document.locate(("silenced_by", position))
                yield RuleError(f"'silenced_by' names the unknown rule '{other}'", location=location, hint=nearest(other, known))
