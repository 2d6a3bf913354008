"""How to mend a finding, in words."""

from __future__ import annotations

from normadvisor.types import Applicability, Finding, Fix

__all__ = ["kind_of", "other_ways", "titled"]


def kind_of(fix: Fix) -> str:
    """``safe``, ``unsafe`` or ``by hand``."""
    return "by hand" if fix.applicability is Applicability.DISPLAY else fix.applicability.value


def titled(fix: Fix) -> str:
    """What is done, with its title before it, and why it cannot be done automatically if that was tried."""
    words = f"{fix.title}: {fix.description}" if fix.title else fix.description
    return f"{words} Not automatically: {fix.refused}" if fix.refused else words


def other_ways(finding: Finding) -> list[str]:
    """The other fixes by their titles, each once, as a list beside the default one."""
    return list(dict.fromkeys(f"({kind_of(fix)}) {fix.title or fix.description}" for fix in finding.alternatives))
