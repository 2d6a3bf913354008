"""Why there is no number."""

from __future__ import annotations

from normadvisor.errors import NormAdvisorError

__all__ = ["Busy", "NotMeasured"]


class NotMeasured(NormAdvisorError):  # noqa: N818 - it says what is the case
    """Something could not be measured.

    Args:
        reason: one sentence without a full stop.

    """

    @property
    def reason(self) -> str:
        """The sentence."""
        return self.message


class Busy(NotMeasured):
    """The machine computes too much for others."""
