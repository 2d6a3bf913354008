"""What reading one file gave, as the processes send it and the cache keeps it: plain JSON."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any, Self

from normadvisor.api.wire import read_finding, read_location, read_problem
from normadvisor.match.elsewhere import Elsewhere
from normadvisor.targets.candidate import Candidate, CandidateKind
from normadvisor.types import Finding, Problem, RunContext

__all__ = ["FileResult", "SurveyResult"]


@dataclass(frozen=True, slots=True, kw_only=True)
class SurveyResult:
    """The models of a file and what its comments say about them."""

    candidates: tuple[Candidate, ...] = ()
    needing_arguments: Mapping[str, list[str]] = field(default_factory=dict)
    file_context: RunContext = field(default_factory=RunContext)
    named_contexts: Mapping[str, RunContext] = field(default_factory=dict)

    def to_dict(self) -> dict[str, Any]:
        """As JSON."""
        return {
            "candidates": [[item.name, item.kind, asdict(item.location)] for item in self.candidates],
            "needing_arguments": dict(self.needing_arguments),
            "file_context": asdict(self.file_context),
            "named_contexts": {name: asdict(context) for name, context in self.named_contexts.items()},
        }

    @classmethod
    def from_dict(cls, data: Mapping[str, Any]) -> Self:
        """Read back what :meth:`to_dict` wrote.

        Raises:
            KeyError, TypeError, ValueError, AttributeError: ``data`` is something else.

        """
        return cls(
            candidates=tuple(Candidate(_text(name), CandidateKind(kind), read_location(place)) for name, kind, place in data["candidates"]),
            needing_arguments={name: [_text(item) for item in items] for name, items in data["needing_arguments"].items()},
            file_context=RunContext(**data["file_context"]),
            named_contexts={name: RunContext(**context) for name, context in data["named_contexts"].items()},
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class FileResult:
    """One file, read."""

    path: Path
    findings: tuple[Finding, ...] = ()
    """In this file."""
    elsewhere: Mapping[str, Elsewhere] = field(default_factory=dict)
    """What it does wrong in other files, by their paths."""
    problems: tuple[Problem, ...] = ()
    """Why it, or a part of it, could not be read; without a target, since what the user called the file is not known here."""
    foreign: bool = False
    """The file is a notebook in another language, which is the one problem."""
    notes: tuple[str, ...] = ()
    dependencies: tuple[str, ...] = ()
    """Further files that were read to know it."""
    losses: Mapping[str, str] = field(default_factory=dict)
    """Loss that the output of a model goes into, by ``path:name``."""
    batch_sizes: Mapping[str, int] = field(default_factory=dict)
    """Samples per forward pass in training, by ``path:name``."""
    survey: SurveyResult | None = None
    """``None`` where models were not looked for, and where there is a problem."""

    def to_dict(self) -> dict[str, Any]:
        """As JSON."""
        return {
            "path": str(self.path),
            "findings": [finding.to_dict() for finding in self.findings],
            "elsewhere": {
                path: [[finding.to_dict() for finding in found] for found in (other.there, other.here)]
                for path, other in self.elsewhere.items()
            },
            "problems": [asdict(problem) for problem in self.problems],
            "foreign": self.foreign,
            "notes": list(self.notes),
            "dependencies": list(self.dependencies),
            "losses": dict(self.losses),
            "batch_sizes": dict(self.batch_sizes),
            "survey": None if self.survey is None else self.survey.to_dict(),
        }

    @classmethod
    def from_dict(cls, data: Mapping[str, Any]) -> Self:
        """Read back what :meth:`to_dict` wrote.

        Raises:
            KeyError, TypeError, ValueError, AttributeError: ``data`` is something else.

        """
        return cls(
            path=Path(_text(data["path"])),
            findings=tuple(read_finding(item) for item in data["findings"]),
            elsewhere={
                _text(path): Elsewhere(tuple(map(read_finding, there)), tuple(map(read_finding, here)))
                for path, (there, here) in data["elsewhere"].items()
            },
            problems=tuple(read_problem(item) for item in data["problems"]),
            foreign=bool(data["foreign"]),
            notes=tuple(_text(note) for note in data["notes"]),
            dependencies=tuple(_text(path) for path in data["dependencies"]),
            losses={_text(name): _text(loss) for name, loss in data["losses"].items()},
            batch_sizes={_text(name): int(size) for name, size in data["batch_sizes"].items()},
            survey=None if data["survey"] is None else SurveyResult.from_dict(data["survey"]),
        )


def _text(value: object) -> str:
    if not isinstance(value, str):
        raise TypeError(value)
    return value
