"""Findings that do not count: silenced in the code, in the configuration, or known since the baseline was written."""

from __future__ import annotations

from normadvisor.suppress.baseline import Baseline, BaselineEntry, BaselineResult
from normadvisor.suppress.noqa import NoqaResult, apply_noqa
from normadvisor.suppress.per_file import apply_per_file_ignores

__all__ = ["Baseline", "BaselineEntry", "BaselineResult", "NoqaResult", "apply_noqa", "apply_per_file_ignores"]
