"""Every error a user can meet, each with a place and a way out.

All of them derive from :class:`NormAdvisorError`; the command line prints them as one message and exits with 2.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from normadvisor.types import Finding, Location, Problem

__all__ = [
    "AuditError",
    "ConfigError",
    "ExpressionError",
    "InputError",
    "NormAdvisorError",
    "ProbeError",
    "RankError",
    "RewriteError",
    "RuleError",
    "TargetError",
    "TraceError",
    "UsageError",
]


class NormAdvisorError(Exception):
    """An error the user can act on.

    Args:
        message: what went wrong, one sentence, naming the thing.
        location: where it stands, if it stands in a file.
        hint: what to do about it: the nearest right spelling, or the flag to use.

    """

    def __init__(self, message: str, *, location: Location | None = None, hint: str | None = None) -> None:
        super().__init__(message)
        self.message = message
        self.location = location
        self.hint = hint

    def __str__(self) -> str:
        """``path:line:column: message (hint)``, leaving out what is unknown."""
        place = f"{self.location}: " if self.location else ""
        hint = f" ({self.hint})" if self.hint else ""
        return f"{place}{self.message}{hint}"


class UsageError(NormAdvisorError):
    """A flag or an argument is wrong."""


class ConfigError(NormAdvisorError):
    """The configuration or the baseline cannot be used."""


class RuleError(NormAdvisorError):
    """A rule file cannot be used."""


class ExpressionError(RuleError):
    """A condition or template of a rule does not parse, names something unknown, or fails when evaluated."""


class TargetError(NormAdvisorError):
    """A target cannot be found, imported or built."""


class InputError(TargetError):
    """Inputs for a model's ``forward`` are malformed or could not be inferred.

    ``brief`` is the message without the list of what was tried.
    """

    def __init__(self, message: str, *, location: Location | None = None, hint: str | None = None, brief: str | None = None) -> None:
        super().__init__(message, location=location, hint=hint)
        self.brief = brief or message


class TraceError(TargetError):
    """A model was built but neither tracer could follow its ``forward``."""


class RankError(NormAdvisorError):
    """A process of several that run together has failed, hangs or is gone; the message names its rank."""


class ProbeError(TargetError):
    """A model was built but cannot be probed: it, its loss or its batches do not run."""


class AuditError(NormAdvisorError):
    """An audit found what training must not start with; see :meth:`normadvisor.api.audit.AuditReport.raise_on`.

    ``findings`` and ``problems`` are what it names.
    """

    def __init__(self, message: str, *, findings: tuple[Finding, ...] = (), problems: tuple[Problem, ...] = ()) -> None:
        super().__init__(message)
        self.findings = findings
        self.problems = problems


class RewriteError(NormAdvisorError):
    """Edits cannot be made: they overlap, leave the file, or would leave something that is no valid source."""
