"""What reading a file tells about it: its models and its comments. Nothing is imported."""

from __future__ import annotations

from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path

from normadvisor.files.source import Source, read_source
from normadvisor.targets.discover import Candidate, discover_in, needing_arguments
from normadvisor.targets.pragma import Pragmas, read_pragmas

__all__ = ["Survey", "Surveys"]


@dataclass
class Survey:
    """One file, read once."""

    source: Source

    @cached_property
    def candidates(self) -> list[Candidate]:
        """The models defined in it."""
        return discover_in(self.source)

    @cached_property
    def needing_arguments(self) -> dict[str, list[str]]:
        """Classes in it that cannot be built without arguments, and these arguments."""
        return needing_arguments(self.source)

    @cached_property
    def pragmas(self) -> Pragmas:
        """Contexts said in comments.

        Raises:
            TargetError: a comment cannot be understood.

        """
        return read_pragmas(self.source)


@dataclass
class Surveys:
    """Surveys by file."""

    _known: dict[Path, Survey] = field(default_factory=dict)

    def of(self, path: Path) -> Survey:
        """The survey of a file.

        Raises:
            TargetError: the file cannot be read or parsed.

        """
        if path not in self._known:
            self._known[path] = Survey(read_source(path))
        return self._known[path]
