"""The graph every rule reads: one neutral node per operation, whichever tracer recorded it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from normadvisor.types import JSONValue, Site, TraceKind

if TYPE_CHECKING:
    import torch.fx

__all__ = ["ModelGraph", "ModuleInfo", "NodeInfo"]


@dataclass(slots=True, kw_only=True)
class NodeInfo:
    """One operation of the forward pass.

    ``inputs`` and ``users`` are positions in :attr:`ModelGraph.nodes`; ``inputs`` holds the tensors that carry data (parameters
    and buffers are not among them). ``attrs`` holds what rules ask for, the same keys for modules and functions; see
    :mod:`normadvisor.graph.attributes`.
    """

    index: int
    name: str
    op: str
    """Canonical operation, a member of :data:`normadvisor.types.OPS`."""
    module: str = ""
    """Qualified name of the module that is the operation, or of the innermost module whose ``forward`` called it."""
    cls: str = ""
    """Class name of the module that is the operation; empty for a function or method call."""
    target: str = ""
    """The spelling: ``torch.nn.modules.activation.ReLU``, ``torch.nn.functional.relu``, ``Tensor.relu_`` ..."""
    attrs: Mapping[str, JSONValue] = field(default_factory=dict)
    inputs: tuple[int, ...] = ()
    users: tuple[int, ...] = ()
    shape: tuple[int, ...] | None = None
    in_shape: tuple[int, ...] | None = None
    """Shape of the first input that carries data."""
    dtype: str | None = None
    training: bool | None = None
    """``training`` flag of the module (or of the call) while the model as a whole was in train mode."""
    channel_axis: int | None = None
    """Which axis of the output holds features, when dataflow tells (1 after a convolution, last after a linear layer)."""
    channel_origin: str | None = None
    """The operation that :attr:`channel_axis` comes from: ``conv``, ``linear``, ``norm``, ``embedding`` ..."""
    calls: int = 1
    """How often the module that is the operation runs in one forward pass."""
    is_residual: bool = False
    """For ``add``: one operand reaches back to an ancestor of the other."""
    reaches_output: bool = False
    """The value leaves the model unchanged but for identity and reshaping."""
    call_site: Site | None = None
    symbolic: bool = False
    """Whether shape and values were symbolic when the node was recorded."""


@dataclass(slots=True, kw_only=True)
class ModuleInfo:
    """One module of the model, run or not."""

    name: str
    cls: str
    """Class name, e.g. ``BatchNorm2d``."""
    op: str | None = None
    """Canonical operation if the module is one, else ``None``."""
    attrs: Mapping[str, JSONValue] = field(default_factory=dict)
    site: Site | None = None
    """Where it was constructed."""
    parameters: int = 0
    """Number of parameters held directly."""
    calls: int = 0
    """How often it ran in the traced forward pass (train mode, or the mode that could be traced)."""
    ran: bool = True
    """Whether it ran in any traced mode."""
    owner_ran: bool = True
    """Whether the module that holds it ran."""
    referenced: bool | None = None
    """Whether the owner's source reads the attribute outside ``__init__``; ``None`` when the source is out of reach."""


@dataclass(slots=True, kw_only=True)
class ModelGraph:
    """A traced model: nodes in execution order, modules by qualified name."""

    target: str
    trace: TraceKind
    mode: str
    """``train`` or ``eval``: the mode of the recorded pass."""
    nodes: list[NodeInfo]
    modules: dict[str, ModuleInfo]
    fx_graph: torch.fx.Graph | None = None
    """The recorded graph; :attr:`NodeInfo.name` of a node starts with the fx node's name."""
    site: Site | None = None
    """Where the model's class or factory is defined."""
    notes: tuple[str, ...] = ()
    """What the reader should know about the trace, e.g. that only eval mode could be traced."""
    inputs_given: bool = True
    """False when the inputs were inferred, so that shapes are plausible rather than the user's."""
    facts: dict[str, Any] = field(default_factory=dict)
    """Whole-model numbers: ``parameters``, ``weight_layers`` ..."""
