"""Checks targets: the way from words to a report."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from normadvisor.api.options import Checked, CheckOptions
from normadvisor.api.progress import ProgressCallback
from normadvisor.api.session import Session
from normadvisor.config import Settings, load_settings, parse_context
from normadvisor.errors import UsageError
from normadvisor.types import Report

if TYPE_CHECKING:
    import torch

__all__ = ["CheckOptions", "Checked", "check", "run_check"]


def check(
    targets: torch.nn.Module | str | Path | Sequence[str | Path],
    settings: Settings | None = None,
    *,
    inputs: Any = None,
    show_graph: bool = False,
    static: bool = False,
    jobs: int | None = None,
    progress: ProgressCallback | None = None,
    **context: Any,
) -> Report:
    """Check models.

    >>> report = check("model.py", batch_size=2, task="detection")  # doctest: +SKIP
    >>> report = check(model, inputs=["2x3x224x224"])  # doctest: +SKIP

    Args:
        targets: what the command line takes, one or several: these are loaded in worker processes. Or a ``torch.nn.Module`` of this
            process, which is traced here and left as it is.
        settings: the configuration; found as on the command line when ``None``.
        inputs: as ``--input`` takes them (``"2x3x224x224"``, ``"mask=2x16:bool"``), one or several; inferred when ``None``. For a module
            of this process also a tensor or a sequence of tensors.
        show_graph: whether to put a table of each graph into the report.
        static: whether nothing may be imported or run: files are read, and no model is traced.
        jobs: models to check, and files to read, side by side.
        progress: called at every step.
        context: how the models are trained: ``batch_size=2``, ``task="detection"`` ...

    Raises:
        NormAdvisorError: an argument, the configuration or a rule is wrong. What is wrong with a target stands in ``problems``.

    """
    flags = parse_context(context)
    _check_settings(settings)
    if not isinstance(targets, str | Path | Sequence):
        from normadvisor.api.live import check_module

        return check_module(targets, settings, inputs=inputs, context=flags, show_graph=show_graph)
    texts = [str(targets)] if isinstance(targets, str | Path) else [str(target) for target in targets]
    given = (inputs,) if isinstance(inputs, str) else tuple(inputs or ())
    options = CheckOptions(inputs=given, context=flags, show_graph=show_graph, static=static, jobs=jobs)
    found = (lambda _start: settings) if settings is not None else load_settings
    return run_check(texts, found, options, progress=progress).report


def _check_settings(settings: object) -> None:
    """Refuse what is passed in the place of settings by a caller without a type checker."""
    if settings is not None and not isinstance(settings, Settings):
        message = f"settings is a value of type {type(settings).__name__}"
        raise UsageError(message, hint="pass inputs by name: check(model, inputs=...)")


def run_check(
    targets: Sequence[str],
    find_settings: Callable[[Path], Settings],
    options: CheckOptions,
    *,
    progress: ProgressCallback | None = None,
) -> Checked:
    """Check targets, beginning with what takes longest: importing torch in a process beside this one.

    Args:
        targets: as on the command line.
        find_settings: the settings that apply from a file or folder on; called once.
        options: how to run.
        progress: called at every step.

    Raises:
        NormAdvisorError: the configuration, a rule or an option is wrong.

    """
    with Session(targets, find_settings, options, progress) as session:
        outcomes = session.run(session.plan.jobs, progress)
        return session.checked(outcomes)
