"""What reading a file tells about it: its models and its comments. Nothing is imported."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Protocol

from normadvisor.files.source import Source, read_source
from normadvisor.types import RunContext

if TYPE_CHECKING:
    from normadvisor.api.static.result import FileResult, SurveyResult
    from normadvisor.targets.candidate import Candidate

__all__ = ["FileSurvey", "Survey", "Surveys"]


class Survey(Protocol):
    """What is known of one file."""

    @property
    def candidates(self) -> list[Candidate]:
        """The models defined in it."""

    @property
    def needing_arguments(self) -> Mapping[str, list[str]]:
        """Classes in it that cannot be built without arguments, and these arguments."""

    def context_of(self, name: str) -> RunContext:
        """What comments in it say about one definition.

        Raises:
            TargetError: a comment cannot be understood.

        """


@dataclass
class FileSurvey:
    """One file, read here."""

    source: Source

    @cached_property
    def candidates(self) -> list[Candidate]:
        """See :class:`Survey`; what a notebook defines cannot be imported, and so is no model to trace."""
        from normadvisor.targets.discover import discover_in

        return [] if self.source.notebook else discover_in(self.source)

    @cached_property
    def needing_arguments(self) -> Mapping[str, list[str]]:
        """See :class:`Survey`."""
        from normadvisor.targets.discover import needing_arguments

        return {} if self.source.notebook else needing_arguments(self.source)

    def context_of(self, name: str) -> RunContext:
        """See :class:`Survey`."""
        from normadvisor.targets.pragma import read_pragmas

        return read_pragmas(self.source).context_of(name)


@dataclass(frozen=True, slots=True)
class _KnownSurvey:
    """One file that was read by a process of its own, or is known from the cache."""

    result: SurveyResult

    @property
    def candidates(self) -> list[Candidate]:
        return list(self.result.candidates)

    @property
    def needing_arguments(self) -> Mapping[str, list[str]]:
        return self.result.needing_arguments

    def context_of(self, name: str) -> RunContext:
        return self.result.file_context.merged(self.result.named_contexts.get(name, RunContext()))


@dataclass
class Surveys:
    """Surveys by file."""

    _known: dict[Path, Survey] = field(default_factory=dict)
    unreadable: set[Path] = field(default_factory=set)
    """Files of which is known already that they cannot be read, and said elsewhere why."""

    def of(self, path: Path) -> Survey:
        """The survey of a file.

        Raises:
            TargetError: the file cannot be read or parsed.

        """
        if path not in self._known:
            self._known[path] = FileSurvey(read_source(path))
        return self._known[path]

    def take(self, result: FileResult) -> None:
        """Note what came of a file that was read elsewhere."""
        if result.survey is not None:
            self._known[result.path] = _KnownSurvey(result.survey)
        elif result.problems and result.path not in self._known:
            self.unreadable.add(result.path)
