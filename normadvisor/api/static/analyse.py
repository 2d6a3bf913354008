"""Reads files one after another: script rules, and where they are asked for models and comments."""

from __future__ import annotations

import gc
import traceback
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from normadvisor.api.static.result import FileResult, SurveyResult
from normadvisor.errors import NormAdvisorError, TargetError
from normadvisor.files.notebook import ForeignNotebookError
from normadvisor.types import Problem, RunContext

if TYPE_CHECKING:
    from normadvisor.files.source import Source
    from normadvisor.rulebook.model import Rule
    from normadvisor.script.project.modules import Project, SourceModule

__all__ = ["Analyser", "Setup", "setup_key"]

_ALLOCATIONS = 200_000
_MOST_TEXT = 2_500_000
"""Characters of source kept parsed at a time: a syntax tree takes some fifty times as much memory as its text."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Setup:
    """What is the same for every file of a run."""

    rules: tuple[Rule, ...]
    """Rules that look at scripts."""
    roots: tuple[Path, ...]
    """Folders that imports are followed in."""
    context: RunContext
    """From the configuration: comments in a file take precedence."""
    flags: RunContext
    """From the command line: takes precedence over comments."""
    survey: bool
    """Whether to look for models."""


class Analyser:
    """Reads files. What it parsed is kept for the files that follow, and dropped when it grows too large."""

    def __init__(self, setup: Setup) -> None:
        self._setup = setup
        self._project: Project | None = None

    def read(self, path: Path) -> FileResult:
        """What one file holds; whatever is wrong with it stands in the result."""
        try:
            with _rare_collections():
                return self._read(path)
        except ForeignNotebookError as error:
            return FileResult(path=path, problems=(_problem(error),), foreign=True)
        except NormAdvisorError as error:
            return FileResult(path=path, problems=(_problem(error),))
        except (RecursionError, MemoryError):
            self._forget()
            return FileResult(path=path, problems=(Problem(target="", message="the code is nested too deeply to be followed"),))
        except Exception as error:  # noqa: BLE001 - a mistake of ours in one file must not keep the others from being checked
            self._forget()
            message = f"reading it failed: {type(error).__name__}: {' '.join(str(error).split())[:200]}"
            hint = "this is a bug of normadvisor; --debug shows the traceback"
            return FileResult(path=path, problems=(Problem(target="", message=message, hint=hint, details=traceback.format_exc()),))

    def _read(self, path: Path) -> FileResult:
        project = self._opened()
        module = project.load(path)
        said = _pragmas(module)
        survey = self._surveyed(module, said) if self._setup.survey else None
        context = self._setup.context.merged(said[0]).merged(self._setup.flags)
        if not self._setup.rules:
            return FileResult(path=path, survey=survey)
        from normadvisor.match.script import script_findings
        from normadvisor.script import analyze

        script = analyze(path, project)
        found = script_findings(script, self._setup.rules, context, modules=_Modules(project, module))
        return FileResult(
            path=path,
            findings=found.own,
            elsewhere=found.elsewhere,
            problems=tuple(Problem(target="", message=item.message, location=item.location, hint=item.hint) for item in script.problems),
            notes=script.notes,
            dependencies=tuple(sorted(script.dependencies)),
            losses=script.losses,
            batch_sizes=script.batch_sizes,
            survey=survey,
        )

    def _opened(self) -> Project:
        if self._project is None or self._project.size > _MOST_TEXT:
            from normadvisor.script.project.modules import Project

            self._forget()
            self._project = Project(self._setup.roots)
        return self._project

    def _forget(self) -> None:
        if self._project is not None:
            self._project.close()
            self._project = None

    def _surveyed(self, module: SourceModule, said: tuple[RunContext, dict[str, RunContext]]) -> SurveyResult:
        from normadvisor.targets.discover import discover_in, needing_arguments

        if module.is_notebook:  # what it defines cannot be imported
            return SurveyResult(file_context=said[0], named_contexts=said[1])
        source = _source(module)
        return SurveyResult(
            candidates=tuple(discover_in(source)),
            needing_arguments=needing_arguments(source),
            file_context=said[0],
            named_contexts=said[1],
        )


@contextmanager
def _rare_collections() -> Iterator[None]:
    """Look for cyclic garbage less often: syntax trees hold no cycles, and going through them all takes a third of the time."""
    before = gc.get_threshold()
    gc.set_threshold(_ALLOCATIONS, *before[1:])
    try:
        yield
    finally:
        gc.set_threshold(*before)


class _Modules(Mapping[str, "SourceModule"]):
    """Files of a project by path, read when they are asked for."""

    def __init__(self, project: Project, module: SourceModule) -> None:
        self._project = project
        self._known = {module.path: module}

    def __getitem__(self, path: str) -> SourceModule:
        if path not in self._known:
            try:
                self._known[path] = self._project.load(Path(path))
            except TargetError as error:
                raise KeyError(path) from error
        return self._known[path]

    def __iter__(self) -> Iterator[str]:
        return iter(self._known)

    def __len__(self) -> int:
        return len(self._known)


def _source(module: SourceModule) -> Source:
    from normadvisor.files.source import Source

    return Source(Path(module.path), module.text, module.tree)


def _pragmas(module: SourceModule) -> tuple[RunContext, dict[str, RunContext]]:
    """What comments say about the training of everything in a file, and of single definitions.

    Raises:
        TargetError: a comment cannot be understood.

    """
    if "normadvisor" not in module.text.lower():
        return RunContext(), {}
    from normadvisor.targets.pragma import read_pragmas

    try:
        found = read_pragmas(_source(module))
    except TargetError as error:
        place = error.location
        if place is None or module.cells is None:
            raise
        located = module.cells.location(place.line, place.column, place.line, place.column)
        raise TargetError(error.message, location=located, hint=error.hint) from error
    return found.file, found.named


def _problem(error: NormAdvisorError) -> Problem:
    return Problem(target="", message=error.message, location=error.location, hint=error.hint)


def setup_key(setup: Setup) -> str:
    """Everything a result depends on beside the files, as text."""
    return repr((setup.rules, setup.roots, asdict(setup.context), asdict(setup.flags), setup.survey))
