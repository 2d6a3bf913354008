"""What came of comparing two models; plain data, no torch."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any, Self

__all__ = ["Proof", "unprovable"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Proof:
    """Whether two models compute the same function, and how that was found."""

    equal: bool
    """Everything that was compared agrees. False as well where nothing could be compared: see :attr:`provable`."""
    provable: bool = True
    """Whether a comparison was possible at all."""
    modes: tuple[str, ...] = ()
    """``train``, ``eval``, and ``as it is`` for a model whose layers are not all in the same mode."""
    draws: int = 0
    """Sets of random weights and inputs in each mode."""
    worst: float = 0.0
    """Largest difference, relative to the largest entry of what was compared."""
    what: str = ""
    """What was compared, and between what."""
    reason: str = ""
    """Why the models are not equal, or why that could not be found out; empty when they are."""

    def __str__(self) -> str:
        """One line: ``outputs, gradients and buffers equal in float64, train and eval, 3 draws, worst 3e-15``."""
        if not self.equal:
            return self.reason
        draws = f"{self.draws} draw{'s' if self.draws != 1 else ''}"
        return f"{self.what} equal in float64, {' and '.join(self.modes)}, {draws}, worst {self.worst:.0e}"

    def to_dict(self) -> dict[str, Any]:
        """As JSON."""
        return {**asdict(self), "modes": list(self.modes)}

    @classmethod
    def from_dict(cls, data: Mapping[str, Any]) -> Self:
        """Read back what :meth:`to_dict` wrote.

        Raises:
            KeyError, TypeError: ``data`` is no proof.

        """
        return cls(**{**data, "modes": tuple(data["modes"])})


def unprovable(reason: str) -> Proof:
    """That nothing could be compared."""
    return Proof(equal=False, provable=False, reason=f"equality cannot be proven: {reason}")
