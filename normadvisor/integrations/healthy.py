"""An assertion for tests: nothing is wrong with a model, neither in its structure nor in what a few measured training steps show."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from normadvisor.config import load_settings
from normadvisor.integrations.severities import severity
from normadvisor.types import Finding, Problem, Severity

if TYPE_CHECKING:
    import torch

    from normadvisor.api.audit import AuditReport

__all__ = ["assert_model_healthy"]


def assert_model_healthy(
    model: torch.nn.Module | str | Path,
    batch: object = None,
    loss_fn: Callable[..., Any] | None = None,
    *,
    fail_on: str = "warning",
    ignore: Iterable[str] = (),
    **options: Any,
) -> AuditReport:
    """Check a model and probe a few steps of its training; the model is left exactly as it was.

    Args:
        model: a ``torch.nn.Module``, or a target as text, such as ``models.py:Net``.
        batch: what the loss takes, for example ``(images, labels)``; random inputs are made up where it is missing.
        loss_fn: called as ``loss_fn(output, batch)`` or ``loss_fn(output, target)``; chosen to fit the output where it is missing.
        fail_on: ``info``, ``warning`` or ``error``: the mildest finding that fails.
        ignore: ids of rules, or beginnings of ids, that do not count; beside those that the configuration ignores.
        **options: of :class:`normadvisor.types.ProbeOptions` and :class:`normadvisor.types.RunContext`, such as ``steps=3`` or
            ``task="detection"``.

    Returns:
        The audit, findings below ``fail_on`` included.

    Raises:
        AssertionError: findings, each with its place, reason and mend; or the model could not be measured.
        NormAdvisorError: an argument or the configuration is wrong.

    """
    __tracebackhide__ = True  # pytest shows the line of the test
    from normadvisor.api.audit import audit  # noqa: PLC0415 - only a test that runs needs it

    least = severity(fail_on, "fail_on") or Severity.WARNING
    ignored = (ignore,) if isinstance(ignore, str) else tuple(ignore)
    settings = load_settings(Path.cwd())
    settings = replace(settings, ignore=(*settings.ignore, *ignored))
    result = audit(model, batch, loss_fn, settings=settings, **options)
    bad = [finding for finding in result.report.active if finding.severity.rank >= least.rank]
    if result.report.problems:
        raise AssertionError("\n".join(["the model could not be measured", *map(_problem, result.report.problems)]))
    if bad:
        raise AssertionError("\n".join([f"the model is not healthy: {_count(bad)}", *map(_described, bad)]))
    return result


def _count(findings: list[Finding]) -> str:
    return "1 finding" if len(findings) == 1 else f"{len(findings)} findings"


def _described(finding: Finding) -> str:
    where = f"{finding.path}:{finding.line}: " if finding.path else f"{finding.model}: " if finding.model else ""
    lines = [f"{where}{finding.rule} {finding.name} ({finding.severity}): {finding.message}"]
    if finding.modules:
        shown = ", ".join(finding.modules[:6])
        lines.append(f"    layers: {shown}{', ...' if len(finding.modules) > 6 else ''}")
    if finding.fix is not None:
        lines.append(f"    mend: {finding.fix.description}")
    return "\n".join(lines)


def _problem(problem: Problem) -> str:
    hint = f" ({problem.hint})" if problem.hint else ""
    return f"{problem.target}: {problem.message}{hint}"
