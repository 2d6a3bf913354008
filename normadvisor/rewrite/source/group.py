"""Layers that come through one call, and where the call takes an argument of theirs."""

from __future__ import annotations

import ast
from collections.abc import Mapping
from dataclasses import dataclass

from normadvisor.rewrite.source.callee import Slot
from normadvisor.rewrite.source.place import Refused, place_of
from normadvisor.rewrite.source.steps import Step

__all__ = ["Group"]


@dataclass(frozen=True, slots=True)
class Group:
    """Layers that come through one call."""

    step: Step
    slot: Slot
    wanted: Mapping[str, int]
    """Layers that are to change, and the position of the call among their steps."""
    others: Mapping[str, int]
    """Layers that the argument reaches and that are to stay as they are."""

    @property
    def call(self) -> ast.Call:
        """The call.

        Raises:
            Refused: what is evaluated here is none.

        """
        if self.step.call is None:
            raise Refused(f"what is evaluated at {place_of(self.step.location)} is not a plain call")
        return self.step.call
