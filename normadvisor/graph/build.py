"""From a recorded fx graph to the neutral nodes that rules read; the same for both tracers."""

from __future__ import annotations

import operator
from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from torch import fx

from normadvisor.graph.attributes import axis_order, call_attrs, module_attrs, norm_axes
from normadvisor.graph.canonical import NORMS, base_name, function_op, module_op, spelling
from normadvisor.graph.leaves import class_name
from normadvisor.graph.model import NodeInfo
from normadvisor.graph.record import MANY, NOTHING, TENSOR, Note, note_of
from normadvisor.graph.signatures import bind

if TYPE_CHECKING:
    from torch import nn

__all__ = ["build_nodes"]

_OWNING = ("weight", "running_mean", "running_var", "bias")
_PLAIN_READS = {"shape", "dtype", "device", "ndim", "layout", "is_cuda", "requires_grad", "training", "names", "itemsize"}
_PLAIN_METHODS = {"size", "dim", "numel", "nelement", "ndimension", "stride", "is_contiguous", "get_device", "is_floating_point"}
_LIKE = {"reshape_as", "view_as", "expand_as", "type_as"}
"""Read nothing but the shape or the dtype of their second operand."""
_COLLECTIONS = {"split", "chunk", "unbind", "tensor_split", "topk", "sort", "var_mean", "std_mean", "meshgrid"}


@dataclass(slots=True)
class _Value:
    """What an fx node stands for in the neutral graph."""

    index: int | None = None
    """Position of the node that carries the data; None for parameters and constants."""
    owner: str | None = None
    """Module that holds the parameter it was computed from."""
    constant: bool = False
    source: fx.Node | None = None


class _Builder:
    def __init__(self, model: nn.Module, mode: str, *, symbolic: bool) -> None:
        self.nodes: list[NodeInfo] = []
        self._modules = dict(model.named_modules())
        self._values: dict[fx.Node, _Value] = {}
        self._latest: dict[fx.Node, fx.Node] = {}
        self._shown: set[fx.Node] = set()
        self._mode, self._symbolic = mode, symbolic
        self._fused = {name for name, module in self._modules.items() if type(module).__module__.startswith("normadvisor.fused.")}

    # -- one fx node -------------------------------------------------------------------------------------------------------

    def add(self, node: fx.Node) -> None:
        note = note_of(node)
        if note.kind is None:
            note.kind = self._guess(node)
        if node.op == "placeholder":
            if note.kind != NOTHING:
                self._values[node] = _Value(self._append(node, note, "input", "input"))
        elif node.op == "get_attr":
            self._parameter(node)
        elif node.op == "output":
            self._append(node, note, "output", "output", self._data(node))
        elif note.kind != NOTHING:
            self._call(node, note)

    def _guess(self, node: fx.Node) -> int:
        """Kind of a value when no shapes were computed."""
        if node.op in {"placeholder", "get_attr", "call_module", "output"}:
            return TENSOR
        sources = node.all_input_nodes
        name = node.target if isinstance(node.target, str) else getattr(node.target, "__name__", "")
        if node.target is getattr:
            return NOTHING if node.args[1] in _PLAIN_READS else TENSOR
        if name in _PLAIN_METHODS or name in {"_assert", "_assert_is_none"}:
            return NOTHING
        if sources and all(note_of(source).kind == NOTHING for source in sources) and node.op == "call_function":
            return NOTHING
        if node.target is operator.getitem and sources and note_of(sources[0]).kind == NOTHING:
            return NOTHING
        return MANY if name in _COLLECTIONS else TENSOR

    def _parameter(self, node: fx.Node) -> None:
        target = str(node.target)
        owner, _, attribute = target.rpartition(".")
        constant = attribute.startswith("_tensor_constant")
        self._values[node] = _Value(owner=None if constant else owner, constant=constant, source=node)

    def _now(self, node: fx.Node) -> fx.Node:
        """The node that holds the value of ``node`` after the in-place operations so far."""
        while node in self._latest:
            node = self._latest[node]
        return node

    def _sources(self, node: fx.Node) -> list[fx.Node]:
        return [self._now(source) for source in node.all_input_nodes]

    def _data(self, node: fx.Node) -> tuple[int, ...]:
        found: dict[int, None] = {}
        only_like = getattr(node.target, "__name__", node.target) in _LIKE and isinstance(node.args[0] if node.args else None, fx.Node)
        for source in [self._now(node.args[0])] if only_like else self._sources(node):  # type: ignore[arg-type] # a node, by the line above
            value = self._values.get(source)
            if value is None:
                continue
            if value.index is not None:
                found[value.index] = None
            elif value.source is not None:
                self._show(value)
        return tuple(found)

    def _show(self, value: _Value) -> None:
        """Make the parameter or constant that is about to be used a node."""
        source = value.source
        if source is None or source in self._shown:
            return
        self._shown.add(source)
        note = note_of(source)
        written = str(source.target) if source.op != "call_function" else spelling(source.target)[1]
        self._append(source, note, "constant" if value.constant else "param", written, module=value.owner)

    def _call(self, node: fx.Node, note: Note) -> None:
        sources = self._sources(node)
        values = [self._values[source] for source in sources if source in self._values]
        if node.target is operator.getitem or base_name(getattr(node.target, "__name__", ""))[0] == "getitem":
            first = node.args[0]
            if isinstance(first, fx.Node) and first in self._values and note_of(first).kind == MANY:
                self._values[node] = self._values[first]
                return
        if note.leaf is not None:
            self._leaf(node, note)
            return
        called: Any = node.target if node.target is not getattr else node.args[1]
        op, in_place = function_op(called, len(values))
        carries = any(value.index is not None for value in values)
        if op == "constant" or not carries:
            owner = next((value.owner for value in values if value.owner is not None), None)
            self._values[node] = _Value(owner=owner, constant=owner is None, source=node)
        else:
            in_place = self._function(node, note, op) or in_place
        first = node.args[0] if node.args else None
        if (in_place or note.in_place) and first in self._values and note.kind != MANY:
            self._latest[self._now(first)] = node  # type: ignore[arg-type]

    # -- calls -------------------------------------------------------------------------------------------------------------

    def _leaf(self, node: fx.Node, note: Note) -> None:
        leaf = note.leaf
        assert leaf is not None  # noqa: S101 -- the caller has looked
        module = self._modules[note.path]
        attrs = {**module_attrs(leaf.op, module), **leaf.known}
        base = leaf.base
        cls = class_name(module)
        home = base if base.__name__ == cls else type(module)
        index = self._append(
            node, note, leaf.op, f"{home.__module__}.{cls}", self._data(node), attrs=attrs, cls=cls, module=note.path
        )
        self._values[node] = _Value(index)
        first = node.args[0] if node.args else None
        if attrs.get("inplace") is True and first in self._values:
            self._latest[self._now(first)] = node  # type: ignore[arg-type]

    def _function(self, node: fx.Node, note: Note, op: str) -> bool:
        target = node.target if node.target is not getattr else str(node.args[1])
        name, written = spelling(target)
        arguments = bind(base_name(name)[0], written, node.args, node.kwargs)
        weight = arguments.get("weight")
        shape = note_of(weight).shape if isinstance(weight, fx.Node) else None
        attrs = call_attrs(op, arguments, shape)
        if op == "permute" and (known := self._in_shape(node)) is not None:
            order = axis_order(base_name(name)[0], node.args if node.target is not getattr else node.args[:1], node.kwargs, len(known))
            if order is not None:
                attrs["order"] = order
        module, training = note.path, None
        if op in NORMS or op in {"conv", "conv_transpose", "linear", "embedding", "prelu"}:
            owner = self._owner(arguments)
            if owner is not None:
                module = self._adopt(owner, op, attrs)
        flag = arguments.get("training", arguments.get("use_input_stats"))
        if isinstance(flag, bool):
            training = flag
        index = self._append(node, note, op, written, self._data(node), attrs=attrs, module=module, training=training)
        self._values[node] = _Value(index)
        return attrs.get("inplace") is True

    def _owner(self, arguments: Mapping[str, Any]) -> str | None:
        for key in _OWNING:
            held = arguments.get(key)
            if isinstance(held, fx.Node):
                value = self._values.get(self._now(held))
                if value is not None and value.owner is not None:
                    return value.owner
        return None

    def _adopt(self, owner: str, op: str, attrs: dict[str, Any]) -> str:
        """Take over what the module that owns the parameters says and the call does not."""
        module = self._modules[owner]
        known = module_op(type(module))
        if known is not None and known[0] == op:
            for key, value in module_attrs(op, module).items():
                attrs.setdefault(key, value)
        else:
            held = [parameter.requires_grad for parameter in module.parameters(recurse=False)]
            if held:
                attrs.setdefault("requires_grad", any(held))
        return owner

    # -- neutral nodes -----------------------------------------------------------------------------------------------------

    def _append(  # noqa: PLR0913 -- the parts of one record
        self,
        node: fx.Node,
        note: Note,
        op: str,
        target: str,
        inputs: tuple[int, ...] = (),
        *,
        attrs: dict[str, Any] | None = None,
        cls: str = "",
        module: str | None = None,
        training: bool | None = None,
    ) -> int:
        attrs = attrs if attrs is not None else {}
        in_shape = self._in_shape(node)
        if note.path in self._fused:
            attrs["fused"] = True
        if op in NORMS:
            self._norm(node, note, op, attrs, in_shape)
            flag = note.training if cls else training
            if flag is not None:
                attrs.setdefault("frozen", self._mode == "train" and not flag)
        index = len(self.nodes)
        self.nodes.append(
            NodeInfo(
                index=index,
                name=node.name,
                op=op,
                module=note.path if module is None else module,
                cls=cls,
                target=target,
                attrs=attrs,
                inputs=inputs,
                shape=note.shape,
                in_shape=in_shape,
                dtype=note.dtype,
                training=note.training if cls else training,
                call_site=note.site,
                symbolic=self._symbolic,
            )
        )
        return index

    def _in_shape(self, node: fx.Node) -> tuple[int, ...] | None:
        for source in node.all_input_nodes:
            value = self._values.get(self._now(source))
            if value is not None and value.index is not None:
                return note_of(source).shape
        return None

    def _norm(self, node: fx.Node, note: Note, op: str, attrs: dict[str, Any], shape: tuple[int, ...] | None) -> None:
        rank = len(shape) if shape is not None else None
        if op == "group_norm" and "num_channels" not in attrs and shape is not None and rank and rank > 1:
            attrs["num_channels"] = shape[1]
        measured = note.leaf.axes.get(rank) if note.leaf is not None and rank is not None else None
        axes = list(measured) if measured is not None else norm_axes(op, attrs, rank)
        if axes is not None:
            attrs.setdefault("axes", axes)
        if op == "batch_norm" and "num_features" not in attrs:
            held = bind("batch_norm", spelling(node.target)[1], node.args, node.kwargs) if node.op == "call_function" else {}
            sized = next((note_of(found).shape for key in _OWNING if isinstance(found := held.get(key), fx.Node)), None)
            if sized:
                attrs["num_features"] = sized[0]


def build_nodes(graph: fx.Graph, model: nn.Module, *, mode: str, symbolic: bool) -> list[NodeInfo]:
    """Neutral nodes of a recorded graph in execution order, with inputs but without users and facts.

    Values that are no tensors, items taken out of a returned collection, and whatever is computed from parameters or constants
    alone leave no node of their own, since the two tracers see them differently.
    """
    builder = _Builder(model, mode, symbolic=symbolic)
    for node in graph.nodes:
        builder.add(node)
    return builder.nodes
