"""Which layers each norm of a model can be folded into: the layers it stands behind, or the layers it stands ahead of."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

from normadvisor.graph.canonical import module_op
from normadvisor.graph.leaves import hooked
from normadvisor.graph.model import NodeInfo
from normadvisor.optimization.folding.affine import affine_of, compound_affine
from normadvisor.optimization.folding.channels import Laid, encode
from normadvisor.optimization.folding.choice import in_its_place
from normadvisor.optimization.folding.compound import compounds
from normadvisor.optimization.folding.flow import Flow
from normadvisor.optimization.folding.layers import LINEAR, Layer, layer_of
from normadvisor.optimization.folding.movement import Moved, backward, forward
from normadvisor.optimization.folding.scaling import Affine
from normadvisor.optimization.folding.unrun import Point

__all__ = ["Fold", "Share", "Unfoldable", "kept", "search"]

_AFFINE = frozenset({"batch_norm", "affine"})


@dataclass(frozen=True, slots=True, kw_only=True)
class Share:
    """What one layer takes of a norm."""

    layer: Layer
    ids: object
    """Which channel of the norm each of its channels belongs to, see :func:`normadvisor.optimization.folding.channels.encode`."""
    shifts: bool = True
    """Whether it takes the offset, too."""
    call: int
    """The run of the layer, by its place in the graph."""
    direct: bool = False
    """Whether nothing stands between the layer and the norm."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Fold:
    """A norm that can be folded, and the layers that take it up."""

    affine: Affine
    kind: str
    """``behind`` or ``ahead``: where the norm stands."""
    shares: tuple[Share, ...]
    """One for each layer."""
    calls: tuple[int, ...]
    """The runs of the norm, by their places in the graph."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Unfoldable:
    """A norm that has to stay."""

    name: str
    what: str
    reason: str
    layers: tuple[str, ...] = ()
    """The layers that it looks as if it could be folded into."""


class _Stop(Exception):  # noqa: N818 -- no error: the search has come to an end
    def __init__(self, reason: str, layers: tuple[str, ...] = ()) -> None:
        super().__init__(reason)
        self.reason, self.layers = reason, layers


@dataclass(slots=True)
class _Search:
    flow: Flow
    runs: dict[int, list[NodeInfo]] = field(default_factory=dict)
    """Runs of each layer or norm, by the identity of its module."""

    compounds: dict[int, NodeInfo] = field(default_factory=dict)
    """Norms written out in a module, by the place of their last operation."""

    def __post_init__(self) -> None:
        for node in compounds(self.flow):
            self.compounds[node.index] = node
            self.runs.setdefault(id(self.flow.modules[node.module]), []).append(node)
        for node in self.flow.graph.nodes:
            if node.op in LINEAR | _AFFINE and node.module in self.flow.modules:
                self.runs.setdefault(id(self.flow.modules[node.module]), []).append(node)

    def all_runs(self, node: NodeInfo, affine: Affine) -> list[NodeInfo]:
        """The runs of a norm; an inline call is one by itself."""
        if affine.inline is not None:
            return [node]
        return [run for run in self.runs[id(self.flow.modules[node.module])] if run.op == node.op]

    # -- behind ------------------------------------------------------------------------------------------------------------

    def behind(self, node: NodeInfo, affine: Affine) -> list[Share]:
        """The layers whose outputs ``node`` normalizes.

        Raises:
            _Stop: there are none, or something else depends on their outputs.

        """
        laid = Laid.of(node.in_shape or (), affine.axis, affine.channels)
        operands = self.flow.operands(node)
        if laid is None or len(operands) != 1:
            raise _Stop("its input is not known")
        start = Moved(operands[0], laid)
        return list(self._back(start, node, direct=True, affine=affine))

    def _back(self, at: Moved, reader: NodeInfo, *, direct: bool, affine: Affine) -> Iterator[Share]:
        """The layers that a value comes from, of which ``reader`` is what uses it."""
        node, laid, shifts = at.node, at.laid, at.shifts
        if node.op in LINEAR:
            yield self._share(node, laid, affine, shifts=shifts, direct=direct)
            return
        if node.op in _AFFINE:
            raise _Stop(f"{node.op.replace('_', ' ')} stands before it, not a layer with weights")
        moved = backward(self.flow, node, laid, reader)
        if isinstance(moved, str):
            raise _Stop(moved)
        if node.op != "split":  # Of a part it is known that nothing else uses it; the others have users of their own.
            self._demand_single(node)
        for source in moved:
            yield from self._back(replace(source, shifts=shifts and source.shifts), node, direct=False, affine=affine)

    def _demand_single(self, node: NodeInfo) -> None:
        users = self.flow.users(node)
        if len(users) != 1:
            what = node.op.replace("_", " ")
            layers = (node.module,) if node.op in LINEAR else ()
            raise _Stop(f"what the {what} before it gives is used elsewhere, too", layers)

    def _share(self, node: NodeInfo, laid: Laid, affine: Affine, *, shifts: bool, direct: bool) -> Share:
        layer = layer_of(self.flow, node)
        if isinstance(layer, str):
            raise _Stop(layer, (node.module,))
        self._demand_single(node)
        axis = layer.axis(len(laid.shape))
        if laid.axis != axis or laid.shape[axis] != layer.channels_out:
            raise _Stop("its channels are not those of the layer before it", (layer.name,))
        watched = self.flow.watched(layer.name, affine.name)
        if watched:
            raise _Stop(f"{watched} has hooks, which would see other values", (layer.name,))
        return Share(layer=layer, ids=encode(laid.ids, affine.channels), shifts=shifts and affine.shifts, call=node.index, direct=direct)

    # -- ahead -------------------------------------------------------------------------------------------------------------

    def ahead(self, node: NodeInfo, affine: Affine) -> list[Share]:
        """The layers that everything ``node`` gives goes into.

        Raises:
            _Stop: something else uses it.

        """
        if affine.rest or node.shape is None:
            raise _Stop("an activation stands behind it")
        laid = Laid.of(node.shape, affine.axis, affine.channels)
        if laid is None:
            raise _Stop("its output is not known")
        found = list(self._front(node, laid, affine, direct=True))
        if not found:
            raise _Stop("nothing uses what it gives")
        return found

    def _front(self, node: NodeInfo, laid: Laid, affine: Affine, *, direct: bool) -> Iterator[Share]:
        for user in self.flow.users(node):
            if user.op in LINEAR:
                yield self._taken(node, user, laid, affine, direct=direct)
                continue
            moved = forward(self.flow, node, user, laid)
            if moved is None:
                raise _Stop(f"{user.op.replace('_', ' ')} stands behind it, not a layer with weights")
            yield from self._front(user, moved, affine, direct=False)

    def _taken(self, node: NodeInfo, user: NodeInfo, laid: Laid, affine: Affine, *, direct: bool) -> Share:
        layer = layer_of(self.flow, user)
        if isinstance(layer, str):
            raise _Stop(layer.replace("before", "behind"), (user.module,))
        if self.flow.operands(user) != [node]:
            raise _Stop("what it gives is a weight of the layer behind it", (layer.name,))
        axis = layer.axis(len(laid.shape))
        if laid.axis != axis or laid.shape[axis] != layer.channels_in:
            raise _Stop("its channels are not those of the layer behind it", (layer.name,))
        if layer.padded and affine.shifts:
            raise _Stop("the layer behind it pads with zeros, to which the norm adds nothing", (layer.name,))
        watched = self.flow.watched(affine.name, layer.name)
        if watched:
            raise _Stop(f"{watched} has hooks, which would see other values", (layer.name,))
        return Share(layer=layer, ids=encode(laid.ids, affine.channels), shifts=affine.shifts, call=user.index, direct=direct)

    # -- whole norms -------------------------------------------------------------------------------------------------------

    def fold(self, node: NodeInfo, affine: Affine) -> Fold:
        """The fold of the norm whose first run is ``node``.

        Raises:
            _Stop: there is none.

        """
        calls = self.all_runs(node, affine)
        reason = kept(self.flow, affine)
        if reason:
            raise _Stop(reason)
        reasons: list[_Stop] = []
        for kind, walk in (("behind", self.behind), ("ahead", self.ahead)):
            try:
                shares = [share for call in calls for share in walk(call, affine)]
                once = self._once(shares)
                self._demand_unread(once, affine, kind)
                return Fold(affine=affine, kind=kind, shares=once, calls=tuple(call.index for call in calls))
            except _Stop as stop:
                reasons.append(stop)
        # What it stands behind is what most people would look at; what it stands ahead of counts where that is a layer.
        raise next((stop for stop in reasons if stop.layers), reasons[0])

    def _demand_unread(self, shares: Sequence[Share], affine: Affine, kind: str) -> None:
        """Look at the code that did not run."""
        norm = Point(affine.name, affine.inline)
        for share in shares:
            layer = Point(share.layer.name, share.layer.inline)
            reader = in_its_place(self.flow, layer.name, norm.name)
            reader = reader or self.flow.unrun.reader(*((layer, norm) if kind == "behind" else (norm, layer)))
            if reader:
                raise _Stop(reader, (share.layer.name,))

    def _once(self, shares: list[Share]) -> tuple[Share, ...]:
        """One share for each layer.

        Raises:
            _Stop: a layer also runs elsewhere, or takes the norm up in different ways.

        """
        found: dict[Any, Share] = {}
        counted: dict[Any, set[int]] = {}
        for share in shares:
            key = _identity(self.flow, share.layer)
            counted.setdefault(key, set()).add(share.call)
            held = found.setdefault(key, share)
            if (held.ids, held.shifts) != (share.ids, share.shifts):
                raise _Stop(f"{share.layer.name} runs several times, and would take it up differently", (share.layer.name,))
        for key, share in found.items():
            if share.layer.inline is not None or key not in self.runs:
                continue  # What an inline call reads is known to be read by nothing else.
            runs = [run for run in self.runs[key] if run.op in LINEAR]
            if {run.index for run in runs} != counted[key]:
                raise _Stop(f"the layer beside it runs {len(runs)} times, not always with this norm", (share.layer.name,))
            for key_of in (f"{share.layer.name}.{share.layer.weight}", f"{share.layer.name}.{share.layer.bias}"):
                held_tensor = self.flow.tensor(key_of)
                reader = self.flow.read_elsewhere(held_tensor, share.layer.name) if held_tensor is not None else ""
                if reader:
                    raise _Stop(f"the {key_of.rpartition('.')[2]} of the layer beside it is read in {reader}", (share.layer.name,))
        return tuple(found.values())


def _identity(flow: Flow, layer: Layer) -> Any:
    """Equal for runs of one layer; a call whose weight stands in a module beside others is told apart by the weight."""
    module = flow.modules[layer.name]
    known = module_op(type(module))
    return id(module) if known is not None and known[0] == layer.kind else (id(module), layer.weight)


def kept(flow: Flow, affine: Affine) -> str:
    """Why the norm cannot be taken out, wherever it stands; empty if it can."""
    if affine.inline is not None:
        return ""
    if hooked(flow.modules[affine.name]):
        return "it has hooks"
    for key in affine.roles.values():
        held = flow.tensor(key)
        reader = flow.read_elsewhere(held, affine.name) if held is not None else ""
        if reader:
            return f"its {key.rpartition('.')[2].replace('_', ' ')} is read in {reader}"
    return ""


def search(flow: Flow) -> Iterator[Fold | Unfoldable]:
    """Every norm and constant factor of the model, once, in the order in which they run."""
    looked = _Search(flow)
    seen: set[int] = set()
    for plain in flow.graph.nodes:
        node = looked.compounds.get(plain.index, plain)
        affine = affine_of(flow, node) if node is plain else compound_affine(flow, node, looked.runs[id(flow.modules[node.module])])
        if affine is None:
            continue
        if isinstance(affine, str) or affine.inline is None:
            key = id(flow.modules.get(node.module))
            if key in seen:
                continue
            seen.add(key)
        if isinstance(affine, str):
            yield Unfoldable(name=node.module, what=node.op, reason=affine)
            continue
        try:
            yield looked.fold(node, affine)
        except _Stop as stop:
            yield Unfoldable(name=affine.told, what=affine.what, reason=stop.reason, layers=stop.layers)
