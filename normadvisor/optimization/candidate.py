"""What a finder finds: a place of a model where something faster could stand, and how to put it there."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Protocol

if TYPE_CHECKING:
    import torch
    from torch import nn

    from normadvisor.graph.model import ModelGraph
    from normadvisor.rewrite.model.journal import Journal
    from normadvisor.rewrite.proof.inputs import Arguments

__all__ = ["Candidate", "Finder", "Kernel", "Refused", "Setting", "StateStep"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Setting:
    """Where and for what the model is to run."""

    mode: str
    """``inference`` or ``training``."""
    device: torch.device
    dtype: torch.dtype
    inputs: Arguments
    """On the device, in the dtype."""
    force: bool = False
    """Whether to yield what is pointless on this device, too: for tests."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Kernel:
    """The operations of one place alone, before and after, for measuring and for the rounding error."""

    before: Callable[..., Any]
    after: Callable[..., Any]
    arguments: tuple[Any, ...]
    """For both; of the shapes, dtypes and memory formats that they have in the model."""
    parameters: tuple[torch.Tensor, ...] = ()
    """What takes gradients beside the arguments, where backward is to be measured."""
    exact: Callable[..., Any] | None = None
    """The same operations in float64, of the arguments in float64: what the rounding error of both is measured by. ``None`` where that of
    the whole model has to do."""


@dataclass(frozen=True, slots=True, kw_only=True)
class StateStep:
    """How keys of the new state come from keys of the old: plain data that can be stored and done again for another checkpoint."""

    kind: str
    """Which function does it, see :mod:`normadvisor.optimization.folding.state`."""
    into: tuple[str, ...]
    """Keys of the new state dict that it writes."""
    sources: tuple[str, ...]
    """Keys of the old state dict that it reads."""
    dropped: tuple[str, ...] = ()
    """Keys of the old state dict that the new one does not have."""
    options: Mapping[str, Any] = field(default_factory=dict)
    """JSON values: eps, axis, groups ..."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Candidate:
    """One place where something faster could stand."""

    rule: str
    pattern: str
    """What stands there, in canonical operations: ``conv2d + batch_norm``."""
    replacement: str
    modules: tuple[str, ...]
    """Qualified names of the layers that are involved, the one that leads first."""
    places: int = 1
    """How many places these are, where one forward has several that are changed together."""
    shape_key: str
    """Places of one pattern with equal keys take equally long: shapes, dtype, memory format and settings, as text."""
    apply: Callable[[nn.Module, Journal], tuple[StateStep, ...]]
    """Changes a model, found again by names, so that it works on any copy of it in any dtype; every change goes through the journal, which
    can take it back. Raises
    :class:`~normadvisor.rewrite.model.refusal.CannotChange` before anything is changed."""
    remark: str = ""
    """What the user has to know once it is kept, beside what the outputs of the model are."""
    kernel: Callable[[], Kernel] | None = None
    """Builds the operations alone; ``None`` where the whole model is all that can be measured."""

    @property
    def group(self) -> str:
        """Candidates of one group are decided on together, and are one row of the table."""
        return f"{self.rule} {self.pattern} -> {self.replacement}"


@dataclass(frozen=True, slots=True, kw_only=True)
class Refused:
    """A place that looks like the pattern and has to stay as it is."""

    rule: str
    modules: tuple[str, ...]
    reason: str


class Finder(Protocol):
    """Finds all places of its kind in a model.

    Modules of :mod:`normadvisor.optimization` register theirs in a list ``FINDERS`` with the stage they belong to:
    ``FINDERS = (("fold", find_folds),)``.
    """

    def __call__(self, model: nn.Module, graph: ModelGraph, setting: Setting) -> Iterator[Candidate | Refused]:
        """Look at ``model``, whose trace is ``graph``; nothing is changed."""
