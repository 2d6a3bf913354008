"""The static part of a check beside the traced one: files are read first, since they tell how models are trained."""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Container, Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

from normadvisor.api.file_loss import loss_of_file
from normadvisor.api.job import ModelJob
from normadvisor.api.plan import Plan, Planner, shown
from normadvisor.api.progress import Progress, ProgressCallback
from normadvisor.api.static.check import Reading, looks_at_scripts, read_scripts
from normadvisor.config import Settings
from normadvisor.targets.parse import TargetKind
from normadvisor.types import Report, RunContext

if TYPE_CHECKING:
    from normadvisor.api.options import CheckOptions
    from normadvisor.api.static.analyse import Setup
    from normadvisor.api.static.result import FileResult
    from normadvisor.rulebook.model import Rule

__all__ = ["Scripts", "default_jobs"]

_CACHE = ".normadvisor_cache"
_CACHE_VARIABLE = "NORMADVISOR_CACHE_DIR"


def default_jobs() -> int:
    """Processes to run side by side: one per CPU this process may use, at most four."""
    usable = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    return min(4, usable)


class Scripts:
    """The files of one check.

    Args:
        planner: the targets.
        settings: the configuration.
        rules: all rules of the run.
        options: how to run.

    """

    def __init__(self, planner: Planner, settings: Settings, rules: Sequence[Rule], options: CheckOptions) -> None:
        self._planner = planner
        self._settings = settings
        self._options = options
        self._rules = tuple(rule for rule in rules if looks_at_scripts(rule))
        self.reading = Reading()
        """What came of the files; see :meth:`read`."""
        self._setup: Setup | None = None
        self._contexts: list[str] = []
        """Sentences about contexts that scripts gave."""

    def read(self, progress: ProgressCallback | None) -> None:
        """Read the files."""
        static = self._options.static
        paths = self._planner.scripts(self._settings, static=static)
        survey = not static and any(target.kind is TargetKind.FOLDER for target in self._planner.targets)
        if not paths or not (self._rules or survey or static):
            return
        from normadvisor.api.static.analyse import Setup

        setup = self._setup = Setup(
            rules=self._rules, roots=self._roots(), context=self._settings.context, flags=self._options.context,
            survey=survey,
        )  # fmt: skip

        def told(done: int, total: int, path: str) -> None:
            if progress is not None:
                progress(Progress(done=done, total=total, target=self._label(Path(path)), phase="reading"))

        self.reading = read_scripts(
            paths, setup, jobs=self._options.jobs or default_jobs(), timeout=self._settings.timeout, cache=self._cache(), told=told
        )
        for result in self.reading.results:
            self._planner.surveys.take(result)

    def reread(self, reading: Reading, changed: Container[str]) -> Reading:
        """A reading in which files that were changed, and those that depend on them, are read again as the overlay gives them.

        Args:
            reading: what came of the files before.
            changed: real paths of the files that were changed.

        """
        from normadvisor.api.static.analyse import Analyser

        if self._setup is None:
            return reading
        analyser = Analyser(self._setup)

        def concerned(result: FileResult) -> bool:
            return any(os.path.realpath(path) in changed for path in (str(result.path), *result.dependencies))

        return Reading(results=tuple(analyser.read(result.path) if concerned(result) else result for result in reading.results))

    def plan(self) -> Plan:
        """What is to be traced: nothing in a static check."""
        if self._options.static:
            known = {result.path for result in self.reading.results if result.problems}
            files = [result.path for result in self.reading.results if result.path not in known]
            return Plan(problems=self._planner.static_problems(self._settings), files=files, notes=[self._untraced()])
        options = self._options
        plan = self._planner.plan(
            self._settings, inputs=options.inputs, flags=options.context, show_graph=options.show_graph, probing=options.probing,
            optimizing=options.optimizing,
        )
        learnt = self.reading.learnt(self._label)

        beside = Counter(model.target.path for job in plan.jobs for model in job.models)

        def completed(model: ModelJob) -> ModelJob:
            path = model.target.path
            if path is None:
                return model
            context, words = learnt.complete(model.context, path, model.target.name.partition(".")[0])
            if context.loss is None and beside[path] == 1 and (loss := loss_of_file(path)) is not None:
                context = context.merged(RunContext(loss=loss))
                words = "; ".join(filter(None, (words, f"the loss {loss} is that which {self._label(path)} computes of a model")))
            if words is None:
                return model
            self._contexts.append(f"{model.target}: {words}")
            return replace(model, context=context)

        plan.jobs = [replace(job, models=tuple(completed(model) for model in job.models)) for job in plan.jobs]
        return plan

    def report(self, plan: Plan, reading: Reading | None = None) -> Report:
        """What reading the files gave; at first, or as it is given."""
        reading = reading or self.reading
        named = [target.path for target in self._planner.targets if target.kind is not TargetKind.FOLDER and target.path is not None]
        problems = reading.problems(self._label, named)
        notes = (*plan.notes, *reading.notes(self._label, named), *self._contexts)
        return Report(
            findings=reading.findings(),
            problems=(*plan.problems, *problems),
            notes=notes,
            files=sum(not result.problems for result in reading.results),
            static=self._options.static,
        )

    def joined(self, report: Report, traced: Report) -> Report:
        """The report on the files followed by that on the models, each event once."""
        if not report.findings or not traced.findings:
            return report.joined(traced)
        from normadvisor.api.static.merge import merged

        return replace(report.joined(traced), findings=tuple(merged(report.findings, traced.findings)))

    def _label(self, path: Path) -> str:
        return shown(path, self._planner.cwd)

    def _untraced(self) -> str:
        named = [str(target) for target in self._planner.targets if target.kind is TargetKind.OBJECT]
        if not named and not self._planner.texts:
            named = [entry.target for entry in self._settings.models]
        if not named:
            return "no model was traced (--static)"
        more = f" and {len(named) - 4} more" if len(named) > 4 else ""
        what = "its file was read instead" if len(named) == 1 else "their files were read instead"
        return f"{', '.join(named[:4])}{more} {'was' if len(named) == 1 else 'were'} not traced (--static): {what}"

    def _roots(self) -> tuple[Path, ...]:
        """Folders that imports are followed in: those that were named, and the project around them."""
        found = [target.path if target.kind is TargetKind.FOLDER else target.path.parent for target in self._planner.targets if target.path]
        for folder in (self._settings.root, self._planner.cwd):
            if any(path.is_relative_to(folder) for path in found) or not found:
                found.append(folder)
        return tuple(dict.fromkeys(found))

    def _cache(self) -> Path | None:
        """The folder of the cache: as the flag, the environment, the configuration say, else beside the configuration."""
        options, settings, cwd = self._options, self._settings, self._planner.cwd
        if not options.use_cache:
            return None
        if options.cache_dir is not None:
            return cwd / options.cache_dir
        if said := os.environ.get(_CACHE_VARIABLE):
            return cwd / said
        if settings.cache_dir is not None:
            return settings.cache_dir
        # Without a configuration, what is checked may be an installed package: nothing is written into it.
        return (settings.root if settings.source is not None else cwd) / _CACHE
