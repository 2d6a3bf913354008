"""What expressions see: nodes, modules, runs, the context and the model as read-only mappings.

A key that nothing knows is ``None``, since an unknown never fires a rule.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import fields
from math import prod
from typing import Any

from normadvisor.graph.model import ModelGraph, ModuleInfo, NodeInfo
from normadvisor.types import RunContext

__all__ = ["ChainView", "ContextView", "ModelView", "ModuleView", "NodeView", "View", "Views"]

_CHANNEL_AXIS_ONE = frozenset({"batch_norm", "instance_norm", "group_norm", "local_response_norm"})
"""Norms whose features always stand on axis 1."""


_HIDDEN_ACTIVATIONS = {
    "relu": "ReLU", "relu6": "ReLU6", "leaky_relu": "LeakyReLU", "elu": "ELU", "selu": "SELU", "celu": "CELU", "gelu": "GELU",
    "silu": "SiLU", "mish": "Mish", "hardswish": "Hardswish", "tanh": "Tanh",
}  # fmt: skip
"""Classes of the activations that stand between layers rather than on gates and outputs, and that hold no parameters."""


class View(Mapping[str, Any]):
    """A mapping that answers ``None`` for what it does not know."""

    __slots__ = ()

    def keys_known(self) -> Sequence[str]:
        """Keys that may hold something else than ``None``."""
        raise NotImplementedError

    def __iter__(self) -> Iterator[str]:
        """Iterate over the known keys."""
        return iter(self.keys_known())

    def __len__(self) -> int:
        """Count the known keys."""
        return len(self.keys_known())

    def __bool__(self) -> bool:
        """A view stands for something that is there."""
        return True

    def __contains__(self, key: object) -> bool:
        """Whether the key holds something."""
        return isinstance(key, str) and self[key] is not None

    def __hash__(self) -> int:
        """Views are compared by identity."""
        return id(self)

    def __eq__(self, other: object) -> bool:
        """Views are compared by identity: the same node gives the same view."""
        return self is other


_NODE_FIELDS = frozenset(f.name for f in fields(NodeInfo)) - {"attrs", "call_site"}
_MODULE_FIELDS = frozenset(f.name for f in fields(ModuleInfo)) - {"attrs", "site"}


class NodeView(View):
    """One node: the fields of :class:`NodeInfo`, its attributes, and what follows from both.

    ``inputs`` and ``users`` are counts of data inputs and of consumers. Derived keys, ``None`` where the shape is unknown:

    - ``owner``: qualified name of the module that holds the node's module, empty for the model itself.
    - ``rank``: axes of the first data input.
    - ``spatial``: product of the axes after batch and channels (1 for a 2-D input).
    - ``channels``: size of the feature axis.
    - ``batch_factor``: how many rows of the node's input come from one sample, e.g. points folded into the batch axis; at least 1.
    - ``statistic_batch``: rows that share one batch statistic on one device (all devices for synchronised layers).
    - ``values_per_channel``: ``statistic_batch`` times ``spatial``.
    """

    __slots__ = ("_context", "_trace_batch", "node")

    def __init__(self, node: NodeInfo, context: RunContext, trace_batch: int | None) -> None:
        self.node = node
        self._context = context
        self._trace_batch = trace_batch

    def __getitem__(self, key: str) -> Any:
        """The value of a key, ``None`` when unknown."""
        node = self.node
        if key in _NODE_FIELDS:
            value = getattr(node, key)
            if key in {"inputs", "users"}:
                return len(value)
            return node.attrs.get(key) if value is None else value
        if key in node.attrs:
            return node.attrs[key]
        derive = _DERIVED.get(key)
        return None if derive is None else derive(self)

    def keys_known(self) -> Sequence[str]:
        """Fields, attributes and derived keys."""
        return (*sorted(_NODE_FIELDS), *self.node.attrs, *_DERIVED)

    def __str__(self) -> str:
        return self.node.module or self.node.name

    def owner(self) -> str:
        """Qualified name of the module that holds the node's module."""
        return self.node.module.rpartition(".")[0]

    def rank(self) -> int | None:
        """Axes of the first data input."""
        return None if self.node.in_shape is None else len(self.node.in_shape)

    def spatial(self) -> int | None:
        """Product of the axes of the input after batch and channels, 1 for a 2-D input."""
        shape = self.node.in_shape
        return None if shape is None or len(shape) < 2 else prod(shape[2:])

    def channels(self) -> int | None:
        """Size of the feature axis."""
        node = self.node
        if node.op in _CHANNEL_AXIS_ONE:
            axis, shape = 1, node.in_shape
        elif node.channel_axis is not None:
            axis, shape = node.channel_axis, node.shape
        else:
            return None
        return shape[axis] if shape is not None and axis < len(shape) else None

    def batch_factor(self) -> float:
        """Rows per sample, at least 1: a model may fold points, patches or regions into the batch axis."""
        shape = self.node.in_shape
        if not shape or not self._trace_batch:
            return 1.0
        return max(1.0, shape[0] / self._trace_batch)

    def statistic_batch(self) -> int | None:
        """Rows that share one batch statistic: per device, times the world size when the layer is synchronised."""
        batch = self._context.per_device_batch
        if batch is None:
            return None
        devices = (self._context.world_size or 1) if self.node.attrs.get("sync") else 1
        return round(batch * devices * self.batch_factor())

    def values_per_channel(self) -> int | None:
        """Values that one statistic of a batch norm is computed from."""
        batch, spatial = self.statistic_batch(), self.spatial()
        return None if batch is None or spatial is None else batch * spatial


_DERIVED: dict[str, Callable[[NodeView], Any]] = {
    "owner": NodeView.owner,
    "rank": NodeView.rank,
    "spatial": NodeView.spatial,
    "channels": NodeView.channels,
    "batch_factor": NodeView.batch_factor,
    "statistic_batch": NodeView.statistic_batch,
    "values_per_channel": NodeView.values_per_channel,
}


class ModuleView(View):
    """One module, run or not: the fields of :class:`ModuleInfo` and its attributes."""

    __slots__ = ("module",)

    def __init__(self, module: ModuleInfo) -> None:
        self.module = module

    def __str__(self) -> str:
        return self.module.name

    def __getitem__(self, key: str) -> Any:
        """The value of a key, ``None`` when unknown."""
        value = getattr(self.module, key) if key in _MODULE_FIELDS else None
        return self.module.attrs.get(key) if value is None else value

    def keys_known(self) -> Sequence[str]:
        """Fields and attributes."""
        return (*sorted(_MODULE_FIELDS), *self.module.attrs)


class ChainView(View):
    """A run of operations along one path: ``length``, ``first``, ``last``, ``nodes`` and ``modules``."""

    __slots__ = ("nodes",)

    def __init__(self, nodes: Sequence[NodeView]) -> None:
        self.nodes = tuple(nodes)

    def __getitem__(self, key: str) -> Any:
        """The value of a key, ``None`` when unknown."""
        match key:
            case "length":
                return len(self.nodes)
            case "first":
                return self.nodes[0]
            case "last":
                return self.nodes[-1]
            case "nodes":
                return list(self.nodes)
            case "nodes":
                return list(self.nodes)
            case "modules":
                return list(dict.fromkeys(view.node.module for view in self.nodes if view.node.module))
        return None

    def keys_known(self) -> Sequence[str]:
        """The keys of a run."""
        return ("length", "first", "last", "nodes", "modules")


class ContextView(View):
    """The run context, with ``per_device_batch``."""

    __slots__ = ("_values",)

    def __init__(self, context: RunContext) -> None:
        self._values = {f.name: getattr(context, f.name) for f in fields(RunContext)} | {"per_device_batch": context.per_device_batch}

    def __getitem__(self, key: str) -> Any:
        """The value of a key, ``None`` when unknown."""
        return self._values.get(key)

    def keys_known(self) -> Sequence[str]:
        """Fields of the context."""
        return tuple(self._values)


class ModelView(View):
    """Facts about the whole model: ``parameters``, ``weight_layers``, ``nodes``, ``mode``, ``trace``, ``inputs_given``, ``counts`` ...

    ``activation`` is the class of the activation that stands most often between its layers, ``torch.nn.ReLU`` where there is none.
    """

    __slots__ = ("_values",)

    def __init__(self, graph: ModelGraph, counts: Mapping[str, int]) -> None:
        self._values: dict[str, Any] = {
            **graph.facts,
            "counts": counts,
            "inputs_given": graph.inputs_given,
            "mode": graph.mode,
            "modules": len(graph.modules),
            "nodes": len(graph.nodes),
            "target": graph.target,
            "trace": str(graph.trace),
        }

    def __getitem__(self, key: str) -> Any:
        """The value of a key, ``None`` when unknown."""
        return self._usual_activation() if key == "activation" else self._values.get(key)

    def keys_known(self) -> Sequence[str]:
        """Names of the facts."""
        return ("activation", *self._values)

    def _usual_activation(self) -> str:
        """Class of the hidden activation that runs most often; the first of the table among equals."""
        counts: Mapping[str, int] = self._values["counts"]
        return f"torch.nn.{_HIDDEN_ACTIVATIONS[max(_HIDDEN_ACTIVATIONS, key=lambda op: counts[op])]}"


class Views:
    """The views of one graph, made on demand and once each."""

    def __init__(self, graph: ModelGraph, context: RunContext) -> None:
        self._graph = graph
        self._context = context
        self._nodes: dict[int, NodeView] = {}
        self._modules: dict[str, ModuleView] = {}
        first = next((node for node in graph.nodes if node.op == "input" and node.shape), None)
        self._trace_batch = first.shape[0] if first is not None and first.shape else None

    def node(self, index: int) -> NodeView:
        """The view of the node at a position of :attr:`ModelGraph.nodes`."""
        view = self._nodes.get(index)
        if view is None:
            view = self._nodes[index] = NodeView(self._graph.nodes[index], self._context, self._trace_batch)
        return view

    def module(self, name: str) -> ModuleView:
        """The view of the module with a qualified name."""
        view = self._modules.get(name)
        if view is None:
            view = self._modules[name] = ModuleView(self._graph.modules[name])
        return view
