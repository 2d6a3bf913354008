"""What rules say of a training that goes on."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING

from normadvisor.api.selection import load_selected
from normadvisor.config import Settings, load_settings
from normadvisor.match.measured import measured_findings
from normadvisor.rulebook.model import Rule
from normadvisor.targets.sites import site_of_code
from normadvisor.types import Finding, Measurements

if TYPE_CHECKING:
    import torch

__all__ = ["Judge"]


class Judge:
    """The rules of scope ``probe`` that the configuration selects.

    Args:
        model: findings about the whole run point at its class.
        settings: the configuration; the nearest one above the working directory when ``None``.

    Raises:
        NormAdvisorError: the configuration or a rule is wrong.

    """

    def __init__(self, model: torch.nn.Module, settings: Settings | None) -> None:
        self.settings = settings or load_settings(Path.cwd())
        self._book, self._rules = load_selected(self.settings)
        own = type(model).__module__.partition(".")[0] != "torch"  # nobody mends nn.Sequential
        site = site_of_code(type(model)) if own else None
        self._place = None if site is None else site.location
        self._told: dict[tuple[str, tuple[str, ...]], Finding] = {}

    @property
    def rules(self) -> Mapping[str, Rule]:
        """All rules by id."""
        return self._book.rules

    def findings(self, measurements: Measurements) -> tuple[Finding, ...]:
        """What the rules say of what was measured so far."""
        found = measured_findings(measurements, self._rules, self.settings.context, self.settings.root, place=self._place)
        return tuple(found)

    def news(self, findings: tuple[Finding, ...]) -> tuple[Finding, ...]:
        """Those that were not told before: of a rule and the first layer that it speaks of."""
        fresh: dict[tuple[str, tuple[str, ...]], Finding] = {}
        for finding in findings:
            if _key(finding) not in self._told:
                fresh.setdefault(_key(finding), finding)
        self._told |= fresh
        return tuple(fresh.values())

    def with_told(self, findings: tuple[Finding, ...]) -> tuple[Finding, ...]:
        """Findings after those that were told earlier and are no longer among them."""
        now = {_key(finding) for finding in findings}
        return (*(finding for key, finding in self._told.items() if key not in now), *findings)


def _key(finding: Finding) -> tuple[str, tuple[str, ...]]:
    return finding.rule, finding.modules[:1]
