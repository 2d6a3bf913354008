"""From targets, comments and configuration to jobs. Nothing is imported here but by name."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import partial
from pathlib import Path
from typing import Any

from normadvisor.api.job import Job, ModelJob, Optimizing
from normadvisor.api.survey import Surveys
from normadvisor.config import ModelConfig, Settings
from normadvisor.errors import NormAdvisorError, UsageError
from normadvisor.files.folders import python_files
from normadvisor.files.notebook import is_notebook
from normadvisor.targets.parse import Target, TargetKind, parse_target
from normadvisor.types import Problem, RunContext

__all__ = ["Plan", "Planner", "problem_from", "shown"]


def problem_from(error: NormAdvisorError, target: str) -> Problem:
    """An error about a target as an entry of the report."""
    return Problem(target=target, message=error.message, location=error.location, hint=error.hint)


@dataclass(slots=True)
class Plan:
    """What is going to be checked, and what cannot be."""

    jobs: list[Job] = field(default_factory=list)
    problems: list[Problem] = field(default_factory=list)
    files: list[Path] = field(default_factory=list)
    """Files that are checked completely."""
    notes: list[str] = field(default_factory=list)


@dataclass(slots=True, kw_only=True)
class Planner:
    """Turns the words of a command line into a :class:`Plan`.

    Targets are parsed when the planner is made, so that :meth:`needs_torch` can be asked before the configuration is read.
    """

    texts: Sequence[str]
    cwd: Path
    surveys: Surveys = field(default_factory=Surveys)
    targets: list[Target] = field(init=False, default_factory=list)
    _listed: dict[Path, list[Path]] = field(init=False, default_factory=dict)
    problems: list[Problem] = field(init=False, default_factory=list)

    def __post_init__(self) -> None:
        for text in dict.fromkeys(self.texts):
            try:
                self.targets.append(parse_target(text, self.cwd))
            except NormAdvisorError as error:
                self.problems.append(problem_from(error, text))

    def needs_torch(self) -> bool:
        """Whether a target is a model, or a file that holds one; folders are not opened for this."""
        return any((target.kind is TargetKind.OBJECT and not _in_notebook(target)) or self._holds_model(target) for target in self.targets)

    def start(self) -> Path:
        """Where the search for a configuration begins."""
        return next((target.path for target in self.targets if target.path is not None), self.cwd)

    def scripts(self, settings: Settings, *, static: bool) -> list[Path]:
        """Files whose script rules are checked, in the order of the targets; with ``static`` also the files of models that were named."""
        found: dict[Path, Path] = {}
        for target in self.targets if self.texts else self._configured(settings)[0]:
            for path in self._files_of(target, settings, static=static):
                found.setdefault(path.resolve(), path)
        return list(found.values())

    def static_problems(self, settings: Settings) -> list[Problem]:
        """Why there are targets that no file is read for.

        Raises:
            UsageError: there is nothing to check.

        """
        self.check_not_empty(settings)
        configured, problems = self._configured(settings) if not self.texts else ([], [])
        problems = [*self.problems, *problems]
        for target in self.targets if self.texts else configured:
            if target.kind is TargetKind.OBJECT and not self._files_of(target, settings, static=True):
                message = f"{target.module} is no file below the working directory, and is not imported"
                problems.append(Problem(target=str(target), message=message, hint="leave out --static, or name the file"))
            elif target.kind is TargetKind.FOLDER and target.path is not None and not self.listing(target.path, settings):
                problems.append(no_files(str(target), settings))
        return problems

    def listing(self, folder: Path, settings: Settings) -> list[Path]:
        """The files of a folder; it is searched once."""
        if folder not in self._listed:
            self._listed[folder] = python_files(folder, settings.exclude)
        return self._listed[folder]

    def check_not_empty(self, settings: Settings) -> None:
        """Refuse a command line without targets where the configuration lists no models.

        Raises:
            UsageError: there is nothing to check.

        """
        if not self.texts and not settings.models:
            hint = "name a .py file, a folder, file.py:Name or package.module:Name, or list models in the configuration"
            raise UsageError("there is no target to check", hint=hint)

    def _configured(self, settings: Settings) -> tuple[list[Target], list[Problem]]:
        """Targets of the models in the configuration, and what is wrong with some."""
        targets, problems = list[Target](), list[Problem]()
        for entry in settings.models:
            try:
                targets.append(parse_target(entry.target, settings.root))
            except NormAdvisorError as error:
                problem = problem_from(error, entry.target)
                problems.append(replace(problem, location=problem.location or entry.location))
        return targets, problems

    def _files_of(self, target: Target, settings: Settings, *, static: bool) -> list[Path]:
        if target.kind is TargetKind.FOLDER and target.path is not None:
            return self.listing(target.path, settings)
        if target.kind is TargetKind.FILE and target.path is not None:
            return [target.path]
        path = (target.path or self.source_of(target.module)) if static else None
        return [] if path is None else [path]

    def source_of(self, module: str) -> Path | None:
        """File of a module below the working directory; installed packages say nothing about how we train."""
        stem = self.cwd.joinpath(*module.split("."))
        return next((path for path in (stem.with_name(stem.name + ".py"), stem / "__init__.py") if path.is_file()), None)

    def plan(
        self, settings: Settings, *, inputs: Sequence[str] = (), flags: RunContext, show_graph: bool = False,
        probing: Mapping[str, Any] | None = None, optimizing: Optimizing | None = None,
    ) -> Plan:  # fmt: skip
        """Find every model.

        Args:
            settings: the configuration; its models are added to their files, and checked alone where no target was named.
            inputs: from the command line; they take the place of configured ones.
            flags: context from the command line; it takes precedence over comments, and those over the configuration.
            show_graph: whether to render graphs.
            probing: how models are measured, from the command line; they are not when ``None``.
            optimizing: how models are optimized; they are not when ``None``.

        Raises:
            UsageError: there is nothing to check.

        """
        self.check_not_empty(settings)
        maker = _Maker(self, settings, tuple(inputs), flags, show_graph, probing, optimizing)
        maker.plan.problems += self.problems
        if self.texts:
            for target in self.targets:
                maker.add(target)
        else:
            maker.add_configured()
        return maker.plan

    def _holds_model(self, target: Target) -> bool:
        try:
            return target.kind is TargetKind.FILE and target.path is not None and bool(self.surveys.of(target.path).candidates)
        except NormAdvisorError:
            return False  # reported when the plan is made


@dataclass(slots=True)
class _Maker:
    planner: Planner
    settings: Settings
    inputs: tuple[str, ...]
    flags: RunContext
    show_graph: bool
    probing: Mapping[str, Any] | None = None
    optimizing: Optimizing | None = None
    plan: Plan = field(default_factory=Plan)
    entries: list[tuple[Target, ModelConfig]] = field(default_factory=list)
    seen: set[Path] = field(default_factory=set)

    def __post_init__(self) -> None:
        for entry in self.settings.models:
            try:
                self.entries.append((parse_target(entry.target, self.settings.root), entry))
            except NormAdvisorError as error:
                problem = problem_from(error, entry.target)
                self.plan.problems.append(replace(problem, location=problem.location or entry.location))

    def add(self, target: Target) -> None:
        if _in_notebook(target):
            message = "what a notebook defines cannot be imported, so it cannot be traced"
            self.plan.problems.append(Problem(target=str(target), message=message, hint=f"name the notebook itself: {target.path}"))
        elif target.kind is TargetKind.OBJECT:
            entry = next((entry for other, entry in self.entries if _same(other, target)), None)
            self._guarded(str(target), lambda: self._add_job(str(target), [self._model(target, entry)]))
        elif target.kind is TargetKind.FILE and target.path is not None:
            path = target.path
            self._guarded(str(target), lambda: self._add_file(path, str(target), named=True))
        elif target.path is not None:
            self._add_folder(target.path, str(target))

    def add_configured(self) -> None:
        for target, entry in self.entries:
            if target.kind is TargetKind.OBJECT:
                self._guarded(str(target), partial(self._add_configured, target, entry))
            else:
                self.add(target)

    def _guarded(self, label: str, act: Callable[[], None]) -> None:
        try:
            act()
        except NormAdvisorError as error:
            self.plan.problems.append(problem_from(error, label))

    def _add_job(self, label: str, models: Iterable[ModelJob], *, own: bool = False) -> None:
        # A configured module is importable from where the configuration stands.
        cwd = self.settings.root if own else None
        self.plan.jobs.append(Job(label=label, models=tuple(models), show_graph=self.show_graph, cwd=cwd))

    def _add_configured(self, target: Target, entry: ModelConfig) -> None:
        self._add_job(str(target), [self._model(target, entry)], own=True)

    def _add_folder(self, folder: Path, label: str) -> None:
        files = self.planner.listing(folder, self.settings)
        if not files:
            self.plan.problems.append(no_files(label, self.settings))
        for path in files:
            text = shown(path, self.planner.cwd)
            self._guarded(text, partial(self._add_file, path, text))

    def _add_file(self, path: Path, label: str, *, named: bool = False) -> None:
        resolved = path.resolve()
        if resolved in self.seen:
            return
        self.seen.add(resolved)
        if path in self.planner.surveys.unreadable:
            return
        survey = self.planner.surveys.of(path)
        configured = [(target, entry) for target, entry in self.entries if target.path is not None and target.path.resolve() == resolved]
        listed_names = {target.name for target, _ in configured}
        found = [
            self._model(Target(text=f"{label}:{candidate.name}", kind=TargetKind.OBJECT, path=path, name=candidate.name), None)
            for candidate in survey.candidates
            if candidate.name not in listed_names
        ]
        listed = [self._model(target, entry) for target, entry in configured if target.kind is TargetKind.OBJECT]
        self.plan.files.append(path)
        if found or listed:
            self._add_job(label, [*found, *listed])
        elif named:
            # In a folder, building blocks with arguments stand beside the models that use them.
            for name, arguments in survey.needing_arguments.items():
                call = ", ".join(f"{argument}=..." for argument in arguments)
                self.plan.notes.append(f"{label}: {name} was not checked, since it needs arguments: say {label}:{name}({call})")

    def _model(self, target: Target, entry: ModelConfig | None) -> ModelJob:
        context = self.settings.context.merged(entry.context if entry else RunContext())
        context = context.merged(self._pragma(target)).merged(self.flags)
        inputs = self.inputs or (entry.inputs if entry else ())
        probing = None
        if self.probing is not None:
            from normadvisor.api.wanted import wanted_probing

            probing = wanted_probing(self.probing, entry, self.settings, self.planner.cwd)
        return ModelJob(
            target=target, context=context, inputs=inputs, root=self._root(target), probing=probing, optimizing=self.optimizing
        )  # fmt: skip

    def _pragma(self, target: Target) -> RunContext:
        path = target.path or self.planner.source_of(target.module)
        if path is None:
            return RunContext()
        return self.planner.surveys.of(path).context_of(target.name.partition(".")[0])

    def _root(self, target: Target) -> Path:
        if target.path is None or target.path.resolve().is_relative_to(self.settings.root.resolve()):
            return self.settings.root
        return target.path.resolve().parent


def no_files(label: str, settings: Settings) -> Problem:
    """A folder without anything to check."""
    hint = "'exclude' in the configuration and --exclude may leave all of them out" if settings.exclude else None
    return Problem(target=label, message=f"there are no Python files in {label}", hint=hint)


def _in_notebook(target: Target) -> bool:
    return target.kind is TargetKind.OBJECT and target.path is not None and is_notebook(target.path)


def _same(one: Target, other: Target) -> bool:
    """Whether two targets name the same model."""
    if one.path is not None and other.path is not None:
        here = one.path.resolve() == other.path.resolve()
    else:
        here = one.path is other.path and one.module == other.module
    return here and one.name == other.name and (not other.called or (one.args, one.kwargs) == (other.args, other.kwargs))


def shown(path: Path, cwd: Path) -> str:
    """A path as a user would write it: relative where it lies below the working directory."""
    try:
        return str(path.relative_to(cwd))
    except ValueError:
        return str(path)
