"""Finds normalization and activation mistakes in PyTorch models.

    report = normadvisor.check("model.py", batch_size=2, task="detection")
    for finding in report.active:
        print(finding.path, finding.line, finding.rule, finding.message)

    print(normadvisor.audit(model, (images, labels), loss_fn))  # measures it for a few training steps as well: go or no-go

    normadvisor.fix("model.py").write()  # mends the source; what is called safe is proven
    result = normadvisor.fix(model, optimizer=optimizer)  # mends a model of this process

    result = normadvisor.optimize(model, images)  # a copy that computes the same, faster: proven and measured

Names are loaded on demand, so that ``import normadvisor`` costs nothing and never imports torch.
"""

from __future__ import annotations

import importlib
import sys
from types import ModuleType
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from normadvisor.api.audit import AuditReport, audit
    from normadvisor.api.check import check
    from normadvisor.api.fix import convert, fix
    from normadvisor.api.fixing import Fixer, FixOptions, FixRun
    from normadvisor.api.live_fix import FixResult
    from normadvisor.api.optimize import OptimizeResult, load_optimized, optimize
    from normadvisor.api.probe import ProbeResult, probe
    from normadvisor.config import Settings, load_settings
    from normadvisor.errors import AuditError, NormAdvisorError
    from normadvisor.integrations.healthy import assert_model_healthy
    from normadvisor.integrations.watch import watch
    from normadvisor.rewrite.convert import ConversionResult, convert_norms
    from normadvisor.rewrite.keys import KeyMap
    from normadvisor.rulebook import RuleBook, load_rules
    from normadvisor.types import (
        Applicability,
        Confidence,
        Finding,
        Fix,
        Location,
        Measurements,
        Optimization,
        OptimizeOptions,
        ProbeOptions,
        Report,
        RunContext,
        Severity,
    )

__all__ = [
    "Applicability",
    "AuditError",
    "AuditReport",
    "Confidence",
    "ConversionResult",
    "Finding",
    "Fix",
    "FixOptions",
    "FixResult",
    "FixRun",
    "Fixer",
    "KeyMap",
    "Location",
    "Measurements",
    "NormAdvisorError",
    "Optimization",
    "OptimizeOptions",
    "OptimizeResult",
    "ProbeOptions",
    "ProbeResult",
    "Report",
    "RuleBook",
    "RunContext",
    "Settings",
    "Severity",
    "__version__",
    "assert_model_healthy",
    "audit",
    "check",
    "convert",
    "convert_norms",
    "fix",
    "load_optimized",
    "load_rules",
    "load_settings",
    "optimize",
    "probe",
    "watch",
]

__version__ = "0.1.0"

_HOMES = {
    "audit": "normadvisor.api.audit",
    "AuditReport": "normadvisor.api.audit",
    "probe": "normadvisor.api.probe",
    "ProbeResult": "normadvisor.api.probe",
    "check": "normadvisor.api.check",
    "convert": "normadvisor.api.fix",
    "fix": "normadvisor.api.fix",
    "Fixer": "normadvisor.api.fixing",
    "FixOptions": "normadvisor.api.fixing",
    "FixRun": "normadvisor.api.fixing",
    "FixResult": "normadvisor.api.live_fix",
    "optimize": "normadvisor.api.optimize",
    "OptimizeResult": "normadvisor.api.optimize",
    "load_optimized": "normadvisor.api.optimize",
    "convert_norms": "normadvisor.rewrite.convert",
    "ConversionResult": "normadvisor.rewrite.convert",
    "KeyMap": "normadvisor.rewrite.keys",
    "load_settings": "normadvisor.config",
    "Settings": "normadvisor.config",
    "AuditError": "normadvisor.errors",
    "NormAdvisorError": "normadvisor.errors",
    "assert_model_healthy": "normadvisor.integrations.healthy",
    "watch": "normadvisor.integrations.watch",
    "load_rules": "normadvisor.rulebook",
    "RuleBook": "normadvisor.rulebook",
    "Applicability": "normadvisor.types",
    "Confidence": "normadvisor.types",
    "Finding": "normadvisor.types",
    "Fix": "normadvisor.types",
    "Location": "normadvisor.types",
    "Measurements": "normadvisor.types",
    "Optimization": "normadvisor.types",
    "OptimizeOptions": "normadvisor.types",
    "ProbeOptions": "normadvisor.types",
    "Report": "normadvisor.types",
    "RunContext": "normadvisor.types",
    "Severity": "normadvisor.types",
}


def __getattr__(name: str) -> Any:
    if name not in _HOMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(importlib.import_module(_HOMES[name]), name)


def __dir__() -> list[str]:
    return __all__


class _Package(ModuleType):
    """This package, in which ``probe`` is the function: importing the package of that name would put itself there."""

    @property
    def probe(self) -> Any:
        return __getattr__("probe")

    @probe.setter
    def probe(self, value: object) -> None:
        """Leave it as it is; modules of that package are imported by their full names."""


sys.modules[__name__].__class__ = _Package
