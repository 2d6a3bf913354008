"""What a rule says about a model: the finding, and the words it is made of."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass, field
from enum import StrEnum
from typing import Any, Self, TypeAlias

from normadvisor.types.location import Related
from normadvisor.types.operation import Operation

__all__ = ["Applicability", "Confidence", "Edit", "Finding", "Fix", "JSONValue", "Severity", "Suppression"]

JSONValue: TypeAlias = "None | bool | int | float | str | list[JSONValue] | dict[str, JSONValue]"
"""A value that ``json.dumps`` accepts."""


class Severity(StrEnum):
    """How much a finding matters; ordered ``info < warning < error``."""

    INFO = "info"
    WARNING = "warning"
    ERROR = "error"

    @property
    def rank(self) -> int:
        """0 for ``info``, 1 for ``warning``, 2 for ``error``."""
        return list(Severity).index(self)


class Confidence(StrEnum):
    """Whether a finding follows from structure or configuration alone, or was proven or measured."""

    SUSPECTED = "suspected"
    CONFIRMED = "confirmed"


class Applicability(StrEnum):
    """What a fix preserves.

    ``safe``: the same function is computed. ``unsafe``: what is learned or stored changes. ``display``: words only.
    """

    SAFE = "safe"
    UNSAFE = "unsafe"
    DISPLAY = "display"


class Suppression(StrEnum):
    """Why a finding does not count."""

    NOQA = "noqa"
    BASELINE = "baseline"
    CONFIG = "config"


@dataclass(frozen=True, slots=True)
class Edit:
    """Replace the text of a span (1-based, ends exclusive, columns in code points) by ``text``."""

    path: str
    line: int
    column: int
    end_line: int
    end_column: int
    text: str
    cell: int | None = None
    """Cell of a notebook that lines are counted in."""


@dataclass(frozen=True, slots=True)
class Fix:
    """How a finding can be mended."""

    applicability: Applicability
    description: str
    edits: tuple[Edit, ...] = ()
    title: str = ""
    """A few words for a menu."""
    trade_off: str = ""
    """What is paid for it, beside other fixes of the same finding."""
    operations: tuple[Operation, ...] = ()
    """What it does to the layers of a model; empty for fixes of scripts and those in words."""
    refused: str = ""
    """Why the source cannot be edited, where ``operations`` say what to do and there are no edits."""

    def to_dict(self) -> dict[str, Any]:
        """The fix as JSON, keys in the contract's order."""
        return {
            **asdict(self),
            "edits": [asdict(edit) for edit in self.edits],
            "operations": [operation.to_dict() for operation in self.operations],
        }

    @classmethod
    def from_dict(cls, data: Mapping[str, Any]) -> Self:
        """Read back what :meth:`to_dict` wrote.

        Raises:
            KeyError, TypeError, ValueError: ``data`` is no fix.

        """
        return cls(
            **{
                **data,
                "applicability": Applicability(data["applicability"]),
                "edits": tuple(Edit(**edit) for edit in data["edits"]),
                "operations": tuple(Operation.from_dict(operation) for operation in data["operations"]),
            }
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class Finding:
    """One event in one model, as printed and as stored; the field names are the JSON contract.

    ``path``/``line`` point at the construction of the layer when it is known, since a fix belongs there; the forward call
    stands in ``related``. ``evidence`` holds what was measured or the published number the finding rests on.
    """

    rule: str
    name: str
    severity: Severity
    confidence: Confidence
    message: str
    path: str | None = None
    line: int | None = None
    column: int | None = None
    end_line: int | None = None
    end_column: int | None = None
    model: str | None = None
    modules: tuple[str, ...] = ()
    related: tuple[Related, ...] = ()
    evidence: Mapping[str, JSONValue] = field(default_factory=dict)
    fix: Fix | None = None
    alternatives: tuple[Fix, ...] = ()
    """Other ways to mend it."""
    suppressed: Suppression | None = None
    fingerprint: str = ""
    cell: int | None = None
    """Cell of a notebook that lines are counted in."""

    def mended_by(self, able: Callable[[Fix], bool]) -> Fix | None:
        """The fix that is applied unless another is chosen: the first safe one, else the default one if that is unsafe.

        An unsafe alternative is never applied unasked: where the default is in words, the rule leaves the decision to people.

        Args:
            able: whether a fix can be applied, e.g. because it has edits.

        """
        fixes = [fix for fix in (self.fix, *self.alternatives) if fix is not None and able(fix)]
        safe = next((fix for fix in fixes if fix.applicability is Applicability.SAFE), None)
        unsafe = next((fix for fix in fixes if fix is self.fix and fix.applicability is Applicability.UNSAFE), None)
        return safe or unsafe

    def to_dict(self) -> dict[str, Any]:
        """The finding as the JSON contract prints it, keys in the contract's order."""
        return {
            **asdict(self),
            "modules": list(self.modules),
            "related": [asdict(place) for place in self.related],
            "fix": None if self.fix is None else self.fix.to_dict(),
            "alternatives": [fix.to_dict() for fix in self.alternatives],
        }

    @classmethod
    def from_dict(cls, data: Mapping[str, Any]) -> Self:
        """Read back what :meth:`to_dict` wrote.

        Raises:
            KeyError, TypeError, ValueError: ``data`` is not a finding.

        """
        fix = data["fix"]
        suppressed = data["suppressed"]
        return cls(
            **{
                **data,
                "severity": Severity(data["severity"]),
                "confidence": Confidence(data["confidence"]),
                "modules": tuple(data["modules"]),
                "related": tuple(Related(**place) for place in data["related"]),
                "fix": fix and Fix.from_dict(fix),
                "alternatives": tuple(Fix.from_dict(item) for item in data["alternatives"]),
                "suppressed": suppressed and Suppression(suppressed),
            }
        )
