"""Checks a module of this process: no worker, no building; the module is traced as it is."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from normadvisor.api.outcome import Outcome, report_of
from normadvisor.config import Settings, load_settings
from normadvisor.errors import NormAdvisorError, UsageError
from normadvisor.types import Report, RunContext

__all__ = ["check_module", "input_texts"]


def check_module(
    model: object, settings: Settings | None, *, inputs: Any, context: RunContext, show_graph: bool = False
) -> Report:
    """Check a built model.

    Args:
        model: left as it was found, its mode and weights included.
        settings: the configuration; the nearest one above the working directory when ``None``.
        inputs: as :func:`normadvisor.api.check` takes them.
        context: takes precedence over the configuration.
        show_graph: whether to put a table of the graph into the report.

    Raises:
        NormAdvisorError: ``model`` is no module, or the configuration or a rule is wrong.

    """
    import torch

    from normadvisor.api.examine import examine, failed, problem_of
    from normadvisor.api.selection import load_selected
    from normadvisor.suppress import apply_per_file_ignores
    from normadvisor.targets.sites import site_of_code

    if not isinstance(model, torch.nn.Module):  # a caller without a type checker may pass anything
        message = f"a value of type {type(model).__name__} cannot be checked"
        raise UsageError(message, hint="pass a torch.nn.Module, or targets as text")
    settings = settings or load_settings(Path.cwd())
    _, rules = load_selected(settings)
    name = type(model).__name__
    try:
        result = examine(
            model, rules, target=name, inputs=input_texts(inputs), context=settings.context.merged(context), root=settings.root,
            defined_at=site_of_code(type(model)), show_graph=show_graph,
        )  # fmt: skip
    except NormAdvisorError as error:
        result = failed(name, problem_of(error, name))
    findings = apply_per_file_ignores(result.findings, settings.per_file_ignores, root=settings.root)
    outcome = Outcome(
        summary=result.summary, findings=findings, notes=result.notes, inferred=result.inferred, table=result.table,
        problems=result.problems,
    )  # fmt: skip
    return report_of([outcome])


def input_texts(inputs: Any) -> tuple[str, ...]:
    """Inputs as ``--input`` takes them, from text, tensors or a sequence of either.

    Raises:
        UsageError: something else.

    """
    if inputs is None:
        return ()
    if isinstance(inputs, str) or hasattr(inputs, "shape"):
        inputs = (inputs,)
    return tuple(_input_text(item) for item in inputs)


def _input_text(item: Any) -> str:
    if isinstance(item, str):
        return item
    if not (hasattr(item, "shape") and hasattr(item, "dtype")):
        message = f"an input of type {type(item).__name__} is not understood"
        raise UsageError(message, hint="pass tensors, or text such as '2x3x224x224' or 'mask=2x16:bool'")
    return f"{'x'.join(str(int(size)) for size in item.shape)}:{str(item.dtype).removeprefix('torch.')}"
