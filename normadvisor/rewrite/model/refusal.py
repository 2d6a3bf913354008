"""Why a live model is left as it is."""

from __future__ import annotations

from normadvisor.errors import NormAdvisorError

__all__ = ["CannotChange"]


class CannotChange(NormAdvisorError):  # noqa: N818 - it says what is the case
    """The change cannot be made by putting layers in place; the model and the optimizer are as they were.

    Args:
        reason: one sentence that names the layer.

    """

    @property
    def reason(self) -> str:
        """The sentence."""
        return self.message
