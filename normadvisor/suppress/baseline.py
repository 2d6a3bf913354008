"""Known findings, kept in a file: what stands in it does not count, what is new does."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import asdict, dataclass, fields, replace
from pathlib import Path, PurePath
from typing import Any, NamedTuple, Self

from normadvisor.errors import ConfigError
from normadvisor.files.replace import replace_file
from normadvisor.suppress.files import position_of
from normadvisor.types import Finding, Location, Suppression

__all__ = ["SCHEMA", "Baseline", "BaselineEntry", "BaselineResult"]

SCHEMA = 1
"""Version of the file; it grows when an entry changes its meaning."""
MAX_BYTES = 256 * 2**20
"""Files above this size (bytes) are no baseline: an entry is a few hundred bytes."""
REWRITE = "write it anew with --write-baseline"


@dataclass(frozen=True, slots=True, kw_only=True, order=True)
class BaselineEntry:
    """A known finding. Only the fingerprint decides what it stands for; the rest is for the reader of the file."""

    path: str
    rule: str
    message: str
    fingerprint: str
    count: int = 1
    """How many equal findings it stands for."""


_MOST_NAMED = 3


class BaselineResult(NamedTuple):
    """Findings, some of them suppressed now, and what is left of the baseline."""

    findings: tuple[Finding, ...]
    stale: tuple[BaselineEntry, ...]
    """Entries, with the count that is left over, for findings that are gone: the baseline can be written anew."""

    def note(self, path: Path) -> str | None:
        """One sentence about the stale entries of the baseline ``path``; ``None`` when there are none."""
        if not self.stale:
            return None
        places = list(dict.fromkeys(f"{entry.rule} in {entry.path}" if entry.path else entry.rule for entry in self.stale))
        more = f" and {len(places) - _MOST_NAMED} more" if len(places) > _MOST_NAMED else ""
        number = sum(entry.count for entry in self.stale)
        what, are = ("finding", "is") if number == 1 else ("findings", "are")
        return f"{number} {what} of the baseline {path} {are} gone: {', '.join(places[:_MOST_NAMED])}{more}; {REWRITE}"


class _Key(NamedTuple):
    fingerprint: str
    words: tuple[str, str, str] | None
    """Rule, path and message, for findings without a fingerprint."""


@dataclass(frozen=True, slots=True)
class Baseline:
    """The entries of a baseline file, sorted."""

    entries: tuple[BaselineEntry, ...] = ()

    @classmethod
    def from_findings(cls, findings: Iterable[Finding], *, root: Path) -> Self:
        """A baseline of all findings that count now, or are silenced by a baseline. Paths are kept relative to ``root``."""
        counts: Counter[_Key] = Counter()
        first: dict[_Key, BaselineEntry] = {}
        for finding in findings:
            if finding.suppressed not in {None, Suppression.BASELINE}:
                continue
            entry = BaselineEntry(
                path=_relative(finding.path, root), rule=finding.rule, message=finding.message, fingerprint=finding.fingerprint
            )
            key = _key(entry)
            counts[key] += 1
            first[key] = min(entry, first.get(key, entry))
        return cls(tuple(sorted(replace(entry, count=counts[key]) for key, entry in first.items())))

    @classmethod
    def load(cls, path: Path) -> Self:
        """Read a baseline file.

        Raises:
            ConfigError: the file cannot be read, is no JSON, or is no baseline of this version; with the place.

        """
        text = _text(path)
        try:
            data = json.loads(text)
        except json.JSONDecodeError as error:
            place = Location(str(path), error.lineno, error.colno)
            raise ConfigError(f"the baseline is not valid JSON: {error.msg}", location=place, hint=REWRITE) from error
        except (RecursionError, ValueError) as error:  # nested too deeply; a number too long to read
            raise ConfigError("the baseline is not valid JSON", location=Location(str(path), 1), hint=REWRITE) from error
        return cls(tuple(sorted(_Reader(path, text).entries(data))))

    def write(self, path: Path) -> None:
        """Write the file so that a reader sees the old or the new one and never half of it; permissions are kept.

        Raises:
            ConfigError: the file cannot be written.

        """
        findings = [{name: entry[name] for name in _ORDER} for entry in map(asdict, self.entries)]
        text = json.dumps({"schema": SCHEMA, "tool": "normadvisor", "findings": findings}, indent=2, ensure_ascii=False) + "\n"
        try:
            replace_file(path, text.encode("utf-8", "backslashreplace"))
        except (OSError, ValueError) as error:  # ValueError: a NUL in the path
            raise ConfigError(f"cannot write the baseline {path}: {getattr(error, 'strerror', None) or error}") from error

    def apply(self, findings: Sequence[Finding], *, root: Path, files: Iterable[str | Path] | None = None) -> BaselineResult:
        """Mark findings that are known as ``suppressed="baseline"``; each entry swallows as many as it counts.

        Args:
            findings: suppressed ones stay as they are and use up nothing.
            root: as when the baseline was written.
            files: files that were checked completely, where not all were: entries for others are not stale.

        """
        checked = None if files is None else {_relative(str(path), root) for path in files}
        left: Counter[_Key] = Counter()
        for entry in self.entries:
            left[_key(entry)] += entry.count
        marked = []
        for finding in findings:
            words = (finding.rule, _relative(finding.path, root), finding.message)
            key = _Key(finding.fingerprint, None if finding.fingerprint else words)
            if finding.suppressed is None and left[key] > 0:
                left[key] -= 1
                marked.append(replace(finding, suppressed=Suppression.BASELINE))
            else:
                marked.append(finding)
        stale = []
        for entry in self.entries:
            over = min(entry.count, left[_key(entry)])
            left[_key(entry)] -= over
            if over and (checked is None or entry.path in checked):
                stale.append(replace(entry, count=over))
        return BaselineResult(tuple(marked), tuple(stale))


_ORDER = ("path", "rule", "message", "count", "fingerprint")
_TYPES = {"path": str, "rule": str, "message": str, "count": int, "fingerprint": str}
_WORDS = {str: "a string", int: "a whole number"}


def _key(entry: BaselineEntry) -> _Key:
    return _Key(entry.fingerprint, None if entry.fingerprint else (entry.rule, entry.path, entry.message))


def _relative(path: str | None, root: Path) -> str:
    if path is None:
        return ""
    pure = PurePath(path)
    return (pure.relative_to(root) if pure.is_absolute() and pure.is_relative_to(root) else pure).as_posix()


def _text(path: Path) -> str:
    try:
        if path.stat().st_size > MAX_BYTES:
            raise ConfigError(f"the baseline {path} is larger than {MAX_BYTES // 2**20} MiB")
        return path.read_text(encoding="utf-8-sig")
    except FileNotFoundError as error:
        raise ConfigError(f"there is no baseline {path}", hint="make one with --write-baseline") from error
    except UnicodeDecodeError as error:
        raise ConfigError("the baseline is not UTF-8", location=Location(str(path), 1), hint=REWRITE) from error
    except (OSError, ValueError) as error:  # ValueError: a NUL in the path
        raise ConfigError(f"cannot read the baseline {path}: {getattr(error, 'strerror', None) or error}") from error


class _Reader:
    """Checks what a baseline file holds."""

    def __init__(self, path: Path, text: str) -> None:
        self.path = path
        self.text = text

    def entries(self, data: Any) -> list[BaselineEntry]:
        if not isinstance(data, dict) or "findings" not in data:
            raise self._error("the file is no baseline", ())
        if data.get("schema") != SCHEMA or isinstance(data["schema"], bool):
            message = f"the baseline has schema {json.dumps(data.get('schema'))[:40]}, this version reads {SCHEMA}"
            raise self._error(message, ("schema",))
        if not isinstance(data["findings"], list):
            raise self._error("'findings' must be a list", ("findings",))
        return [self._entry(entry, number) for number, entry in enumerate(data["findings"])]

    def _entry(self, entry: Any, number: int) -> BaselineEntry:
        place: tuple[str | int, ...] = ("findings", number)
        if not isinstance(entry, dict):
            raise self._error("an entry of 'findings' must be an object", place)
        for name in (field.name for field in fields(BaselineEntry)):
            if name not in entry:
                raise self._error(f"an entry of 'findings' has no '{name}'", place)
            if not isinstance(entry[name], _TYPES[name]) or isinstance(entry[name], bool):
                raise self._error(f"'{name}' must be {_WORDS[_TYPES[name]]}", (*place, name))
        if entry["count"] < 1:
            raise self._error("'count' must be at least 1", (*place, "count"))
        return BaselineEntry(**{name: entry[name] for name in _TYPES})

    def _error(self, message: str, where: tuple[str | int, ...]) -> ConfigError:
        line, column = position_of(self.text, where)
        return ConfigError(message, location=Location(str(self.path), line, column), hint=REWRITE)
