"""The static part of a check: which files are read, what is known already, and what is learnt for the traced models."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, field, replace
from itertools import chain
from pathlib import Path
from typing import TYPE_CHECKING

from normadvisor.api.static.analyse import Setup
from normadvisor.api.static.result import FileResult
from normadvisor.types import Finding, Problem, RunContext

if TYPE_CHECKING:
    from normadvisor.rulebook.model import Rule

__all__ = ["Learnt", "Reading", "looks_at_scripts", "read_scripts"]

Told = Callable[[int, int, str], None]
"""Files that are done, files there are, and the one that was just finished."""


def looks_at_scripts(rule: Rule) -> bool:
    """Whether a rule, or a side of it, is about scripts."""
    return rule.scope == "script" or rule.script is not None


@dataclass(frozen=True, slots=True, kw_only=True)
class Reading:
    """Files that were read, in the order they were named."""

    results: tuple[FileResult, ...] = ()

    def of(self, path: Path) -> FileResult | None:
        """What came of one file; ``None`` if it was not read."""
        return next((result for result in self.results if result.path == path), None)

    def findings(self) -> tuple[Finding, ...]:
        """Findings, each event once: a function that two scripts call is judged on behalf of either.

        They stand in files that were read: what a script does in another one stands at the call that leads there.
        """
        read = {os.path.abspath(result.path) for result in self.results}  # noqa: PTH100 - links stay as they are
        worst: dict[object, Finding] = {}
        for result in self.results:
            outside = (found.there if path in read else found.here for path, found in result.elsewhere.items())
            for finding in (*result.findings, *chain.from_iterable(outside)):
                key = (finding.rule, finding.path, finding.cell, finding.line, finding.column)
                other = worst.get(key)
                if other is None or _weight(finding) > _weight(other):
                    worst[key] = finding
        return tuple(worst.values())

    def problems(self, label: Callable[[Path], str], named: Iterable[Path]) -> tuple[Problem, ...]:
        """What could not be read; a notebook in another language counts if it was named itself."""
        wanted = set(named)
        return tuple(
            replace(problem, target=label(result.path))
            for result in self.results
            if not result.foreign or result.path in wanted
            for problem in result.problems
        )

    def notes(self, label: Callable[[Path], str], named: Iterable[Path]) -> Iterator[str]:
        """What the reader should know beside."""
        wanted = set(named)
        for result in self.results:
            yield from (f"{label(result.path)}: {note.removeprefix(f'{result.path}: ')}" for note in result.notes)
            if result.foreign and result.path not in wanted:
                yield from (f"{label(result.path)} was passed over: {problem.message}" for problem in result.problems)

    def learnt(self, label: Callable[[Path], str]) -> Learnt:
        """What the scripts tell about the training of models."""
        learnt = Learnt()
        for result in self.results:
            for name, loss in result.losses.items():
                learnt.note(name, "loss", loss, label(result.path))
            for name, size in result.batch_sizes.items():
                learnt.note(name, "batch_size", size, label(result.path))
        return learnt


def _weight(finding: Finding) -> tuple[int, bool]:
    return finding.severity.rank, finding.confidence == "confirmed"


@dataclass(slots=True)
class Learnt:
    """How models are trained, as scripts show it. What two scripts show differently is not known."""

    _facts: dict[tuple[str, str], dict[object, str]] = field(default_factory=dict)
    """By model (``path:name``) and kind of fact: values, each with the script that shows it."""

    def note(self, model: str, kind: str, value: object, script: str) -> None:
        """Note one fact."""
        path, _, name = model.rpartition(":")
        self._facts.setdefault((f"{_real(path)}:{name}", kind), {}).setdefault(value, script)

    def complete(self, context: RunContext, path: Path, name: str) -> tuple[RunContext, str | None]:
        """A context with what was learnt put where nobody said anything, and the sentence that says so.

        Args:
            context: what the user said.
            path: file of the model.
            name: class or factory in it.

        """
        model = f"{_real(str(path))}:{name}"
        loss, shown_by = self._fact(model, "loss") if context.loss is None else (None, "")
        size, sized_by = self._fact(model, "batch_size") if context.batch_size is None else (None, "")
        words = []
        if isinstance(loss, str):
            context = context.merged(RunContext(loss=loss))
            words.append(f"the loss {loss} is that of {shown_by}")
        if isinstance(size, int):
            context = context.merged(RunContext(batch_size=size * (context.world_size or 1)))
            words.append(f"the batch size {size * (context.world_size or 1)} is that of {sized_by}")
        return context, ", ".join(words) or None

    def _fact(self, model: str, kind: str) -> tuple[object, str]:
        found = self._facts.get((model, kind), {})
        return next(iter(found.items())) if len(found) == 1 else (None, "")


def _real(path: str) -> str:
    return os.path.realpath(path)


def read_scripts(paths: Sequence[Path], setup: Setup, *, jobs: int, timeout: float, cache: Path | None, told: Told | None) -> Reading:
    """Read files, those that are known already from the cache.

    Args:
        paths: what to read.
        setup: what is the same for all of them.
        jobs: processes at most.
        timeout: seconds one file may take in a process of its own.
        cache: folder of the cache; ``None`` for none.
        told: called after every file that had to be read.

    """
    from normadvisor.api.static.pool import read_files

    kept = None
    if cache is not None:
        from normadvisor.api.static.cache import ResultCache

        kept = ResultCache(cache, setup)
    results: list[FileResult | None] = [kept.get(path) if kept is not None else None for path in paths]
    missing = [position for position, result in enumerate(results) if result is None]
    finished = len(paths) - len(missing)

    def done(number: int, result: FileResult) -> None:
        nonlocal finished
        finished += 1
        results[missing[number]] = result
        if kept is not None:
            kept.put(result)
        if told is not None:
            told(finished, len(paths), str(result.path))

    if missing:
        read_files([paths[position] for position in missing], setup, done, jobs=jobs, timeout=timeout)
    if kept is not None:
        kept.close()
    return Reading(results=tuple(result for result in results if result is not None))
