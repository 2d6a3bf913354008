"""A rule's examples as its tests: what is run, and what the findings say about the rule. Running them is the caller's part."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from enum import StrEnum

from normadvisor.rulebook.model import Example, Rule
from normadvisor.types import Confidence, Finding, ProbeOptions

__all__ = ["BUDGET", "STEPS", "Kind", "Outcome", "Trial", "Verdict", "judge", "trials"]

STEPS = 5
"""Steps of a probe of an example that says nothing else: enough for a median, short enough to run all examples often."""
BUDGET = 600.0
"""Seconds: on a busy machine an example must not lose measurements that its rule needs."""


class Kind(StrEnum):
    """Which list an example stands in."""

    BAD = "bad"
    GOOD = "good"
    FIXED = "fixed"


class Verdict(StrEnum):
    """What running an example showed."""

    PASSED = "passed"
    MISSING = "missing"
    """A bad example without a finding, or with other findings than it expects."""
    NOISY = "noisy"
    """A good or fixed example with a finding."""
    ERROR = "error"
    """The example could not be built or traced."""


@dataclass(frozen=True, slots=True)
class Trial:
    """One example to run."""

    rule: Rule
    kind: Kind
    position: int
    """1-based position in its list."""
    example: Example

    @property
    def label(self) -> str:
        """``NA102 bad 1``."""
        return f"{self.rule.id} {self.kind} {self.position}"

    @property
    def is_script(self) -> bool:
        """Whether the example is read as a script, which needs no model and runs nothing."""
        return (self.example.scope or self.rule.scope) == "script"

    @property
    def is_probe(self) -> bool:
        """Whether the example is built and probed, and the rule judges what was measured."""
        return (self.example.scope or self.rule.scope) == "probe"

    def options(self) -> ProbeOptions:
        """How it is probed: as the example says, on the CPU. ``data`` and ``loss`` may name functions of its code.

        Raises:
            ValueError: the example is not probed.

        """
        if not self.is_probe:
            raise ValueError(f"{self.label} is not probed")
        return ProbeOptions(**{"device": "cpu", "steps": STEPS, "budget": BUDGET, **self.example.probe})


@dataclass(frozen=True, slots=True)
class Outcome:
    """What an example showed, with the reason when it did not pass."""

    trial: Trial
    verdict: Verdict
    reason: str = ""
    expected: tuple[str, ...] = ()
    found: tuple[str, ...] = field(default=())
    """``LINE:severity`` of the rule's findings, in order of their lines."""


def trials(rules: Sequence[Rule]) -> Iterator[Trial]:
    """Every example of the rules."""
    for rule in rules:
        for kind, examples in ((Kind.BAD, rule.examples.bad), (Kind.GOOD, rule.examples.good), (Kind.FIXED, rule.examples.fixed)):
            for position, example in enumerate(examples, 1):
                yield Trial(rule, kind, position, example)


def judge(trial: Trial, findings: Sequence[Finding], problems: Sequence[str] = ()) -> Outcome:
    """Compare the findings of an example with what it expects.

    Args:
        trial: the example.
        findings: what was reported on it, by whichever rules ran.
        problems: why it could not be checked.

    """
    if problems:
        return Outcome(trial, Verdict.ERROR, problems[0])
    own = sorted((finding for finding in findings if finding.rule == trial.rule.id), key=lambda finding: finding.line or 0)
    if trial.is_probe and trial.rule.scope != "probe":
        # Of a static rule the measurement decides: what it does not confirm counts as silent.
        own = [finding for finding in own if finding.confidence is Confidence.CONFIRMED]
    found = tuple(f"{finding.line or '?'}:{finding.severity}" for finding in own)
    expected = tuple(trial.example.expect)
    if trial.kind is not Kind.BAD:
        if not own:
            return Outcome(trial, Verdict.PASSED)
        return Outcome(trial, Verdict.NOISY, own[0].message, (), found)
    if not own:
        return Outcome(trial, Verdict.MISSING, "no finding", expected, found)
    if expected and not _agrees(expected, found):
        return Outcome(trial, Verdict.MISSING, f"expected {', '.join(expected)}; found {', '.join(found)}", expected, found)
    return Outcome(trial, Verdict.PASSED, "", expected, found)


def _agrees(expected: Sequence[str], found: Sequence[str]) -> bool:
    """Whether the lines, and the severities where they are given, are those that were found; order does not matter on one line."""
    if len(expected) != len(found):
        return False
    wanted = sorted(expected, key=lambda text: (int(text.partition(":")[0]), text))
    seen = sorted(found, key=lambda text: (_line(text), text))
    return all(item == want if ":" in want else item.partition(":")[0] == want for want, item in zip(wanted, seen, strict=True))


def _line(text: str) -> int:
    line = text.partition(":")[0]
    return int(line) if line.isdigit() else 0
