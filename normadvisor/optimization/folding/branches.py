"""Parallel convolutions of one input whose outputs are added up: found in the forward that adds them, merged into one convolution."""

from __future__ import annotations

import operator
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import torch
from torch import fx, nn

from normadvisor.graph.canonical import module_op
from normadvisor.graph.leaves import hooked
from normadvisor.graph.model import NodeInfo
from normadvisor.optimization.folding.affine import affine_of
from normadvisor.optimization.folding.flow import Flow
from normadvisor.optimization.folding.layers import Layer, layer_of
from normadvisor.optimization.folding.scaling import Affine
from normadvisor.optimization.folding.search import kept
from normadvisor.optimization.folding.sound import unsound
from normadvisor.optimization.forward import LocalGraph
from normadvisor.types import GROUPS

__all__ = ["Branch", "Geometry", "Sum", "Unmergeable", "parallel", "sums"]

_QUIET = frozenset({*GROUPS["identity_like"], *GROUPS["dropout_like"], "drop_path"})
_SIGNS: dict[Any, int] = {
    operator.add: 1, operator.iadd: 1, torch.add: 1, "add": 1, "add_": 1,
    operator.sub: -1, operator.isub: -1, torch.sub: -1, "sub": -1, "sub_": -1,
}  # fmt: skip
"""Sign of the second operand."""
_IN_PLACE = frozenset({operator.iadd, operator.isub, "add_", "sub_"})


@dataclass(frozen=True, slots=True, kw_only=True)
class Geometry:
    """What a convolution reads around each place, for each spatial axis."""

    kernel: tuple[int, ...]
    stride: tuple[int, ...]
    padding: tuple[int, ...]
    dilation: tuple[int, ...]
    groups: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Branch:
    """One addend."""

    kind: str
    """``conv``, ``norm``, or ``identity`` for the input itself."""
    child: str = ""
    """Name of the child of the adding module that is called, relative to it."""
    name: str = ""
    """Qualified name of the convolution or norm, which may stand deeper inside of that child."""
    node: str = ""
    """The call in the local graph."""
    geometry: Geometry | None = None
    affine: Affine | None = None
    has_bias: bool = False
    sign: int = 1
    """-1 where it is subtracted."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Sum:
    """Branches that can be one convolution."""

    local: LocalGraph
    root: str
    """The node of the local graph that is the whole sum."""
    branches: tuple[Branch, ...]
    """The first is the convolution that takes the others up."""
    others: tuple[tuple[str, int], ...]
    """Nodes of the addends that stay, and their signs."""
    geometry: Geometry
    """Of the merged convolution."""
    norm: Affine | None
    """A norm behind the sum that nothing else comes between, which is folded, too."""
    call: int
    """The run of the first convolution in the whole graph."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Unmergeable:
    """A sum of parallel branches that stays."""

    names: tuple[str, ...]
    reason: str


def parallel(flow: Flow) -> bool:
    """Whether the model adds up the results of two convolutions, or of one and a value that the other addend comes from, anywhere.

    A quick look at the whole graph, before the forward of each module is followed.
    """
    for node in flow.graph.nodes:
        operands = flow.operands(node)
        if node.op not in {"add", "sub"} or len(operands) != 2:
            continue
        ends = [_end(flow, operand) for operand in operands]
        sources = [{_end(flow, source).index for source in flow.operands(end)} | {end.index} for end in ends]
        if (any(end.op == "conv" for end in ends) and sources[0] & sources[1]) or any(end.op in {"add", "sub"} for end in ends):
            return True
    return False


def _end(flow: Flow, node: NodeInfo) -> NodeInfo:
    """What a value is before it was handed on."""
    while node.op in _QUIET and len(flow.operands(node)) == 1:
        node = flow.operands(node)[0]
    return node


def sums(flow: Flow, local: LocalGraph) -> Iterator[Sum | Unmergeable]:
    """The sums in the forward of one module."""
    inner: set[fx.Node] = set()
    for root in reversed(list(local.graph.nodes)):
        if root in inner or not _adds(root):
            continue
        leaves = _leaves(flow, local, root, inner)
        if leaves is None or len(leaves) < 2 or any(leaf.meta.get("shape") != root.meta.get("shape") for leaf, _ in leaves):
            continue
        yield from _Tree(flow, local, root, leaves).found()


def _adds(node: fx.Node) -> bool:
    return node.op in {"call_function", "call_method"} and node.target in _SIGNS and len(node.args) == 2 and not node.kwargs


def _leaves(flow: Flow, local: LocalGraph, root: fx.Node, inner: set[fx.Node]) -> list[tuple[fx.Node, int]] | None:
    """The addends and their signs; ``None`` if a number is added."""
    found: list[tuple[fx.Node, int]] = []
    waiting: list[tuple[Any, int]] = [(root.args[1], _SIGNS[root.target]), (root.args[0], 1)]
    while waiting:
        node, sign = waiting.pop()
        if isinstance(node, int | float) and node == 0:
            continue
        if not isinstance(node, fx.Node):
            return None
        if len(node.users) == 1 and _adds(node):
            inner.add(node)
            waiting += [(node.args[1], sign * _SIGNS[node.target]), (node.args[0], sign)]
        elif len(node.users) == 1 and len(node.all_input_nodes) == 1 and _is_quiet(flow, local, node):
            waiting.append((node.args[0], sign))
        else:
            found.append((node, sign))
    return found


def _is_quiet(flow: Flow, local: LocalGraph, node: fx.Node) -> bool:
    """Whether a call of a child hands on what it was given."""
    if node.op != "call_module" or len(node.args) != 1 or node.kwargs:
        return False
    return isinstance(flow.modules.get(_joined(local.name, str(node.target))), nn.Identity) or not _work(flow, local, node)


def _joined(name: str, child: str) -> str:
    return f"{name}.{child}" if name else child


def _work(flow: Flow, local: LocalGraph, node: fx.Node) -> list[NodeInfo]:
    """What a child does, but for handing values on."""
    inside = flow.inside(_joined(local.name, str(node.target)))
    return [n for n in inside if not (n.op in _QUIET and _is_still(n)) and not _adds_nothing(flow, n)]


def _adds_nothing(flow: Flow, node: NodeInfo) -> bool:
    """``out = 0`` followed by ``out += layer(x)``."""
    call = flow.fx(node)
    if node.op != "add" or call is None or len(call.args) != 2 or call.kwargs:
        return False
    return any(isinstance(arg, int | float) and not isinstance(arg, bool) and arg == 0 for arg in call.args)


def _is_still(node: NodeInfo) -> bool:
    return node.op in GROUPS["identity_like"] or node.training is False or node.attrs.get("training") is False


@dataclass(slots=True)
class _Tree:
    flow: Flow
    local: LocalGraph
    root: fx.Node
    leaves: list[tuple[fx.Node, int]]

    def found(self) -> Iterator[Sum | Unmergeable]:
        """For the input that most branches share, what they make together."""
        named = {leaf: self._branch(leaf, sign) for leaf, sign in self.leaves}
        inputs = {leaf: self._given(leaf.args[0]) for leaf, branch in named.items() if isinstance(branch, Branch)}
        for source in dict.fromkeys(inputs.values()):
            if not isinstance(source, fx.Node):
                continue
            branches = [branch for leaf, branch in named.items() if isinstance(branch, Branch) and inputs[leaf] is source]
            if not any(branch.kind == "conv" for branch in branches):
                continue
            branches += [Branch(kind="identity", node=source.name, sign=sign) for leaf, sign in self.leaves if leaf is source]
            if len(branches) < 2:
                continue
            others = [(leaf.name, sign) for leaf, sign in self.leaves if leaf is not source and inputs.get(leaf) is not source]
            made = self._made(branches, others)
            names = tuple(branch.name for branch in branches if branch.name)
            yield Unmergeable(names=names, reason=made) if isinstance(made, str) else made
            return  # What is left of the sum is looked at again once this is done.

    def _given(self, value: Any) -> Any:
        """A value as it was before it was handed on."""
        while isinstance(value, fx.Node) and _is_quiet(self.flow, self.local, value):
            value = value.args[0]
        return value

    def _branch(self, leaf: fx.Node, sign: int) -> Branch | str:
        if leaf.op != "call_module" or len(leaf.args) != 1 or leaf.kwargs or len(leaf.users) != 1 or not isinstance(leaf.args[0], fx.Node):
            return "it is no call of a layer on one value"
        work = _work(self.flow, self.local, leaf)
        if len(work) != 1:
            return "it does more than one thing"
        node, child = work[0], str(leaf.target)
        watched = self.flow.watched(node.module, _joined(self.local.name, "").rstrip("."))
        if watched:
            return f"{watched} has hooks"
        if node.op == "conv":
            layer = layer_of(self.flow, node)
            geometry = _geometry(self.flow.modules[node.module], layer) if isinstance(layer, Layer) else None
            if not isinstance(layer, Layer) or layer.inline is not None or geometry is None:
                return "its weight or padding is not known"
            return Branch(kind="conv", child=child, name=node.module, node=leaf.name, geometry=geometry, has_bias=layer.has_bias, sign=sign)
        affine = affine_of(self.flow, node)
        if not isinstance(affine, Affine) or affine.inline is not None or affine.rest or affine.axis != 1 or kept(self.flow, affine):
            return "it is no norm that can be taken out"
        return Branch(kind="norm", child=child, name=node.module, node=leaf.name, affine=affine, sign=sign)

    def _made(self, branches: list[Branch], others: list[tuple[str, int]]) -> Sum | str:
        convolutions = sorted((b for b in branches if b.geometry is not None), key=lambda b: -sum(_kernel(b)))
        main = convolutions[0]
        modules: dict[str, Any] = self.flow.modules
        merged = _common([branch.geometry for branch in convolutions if branch.geometry is not None])
        if merged is None:
            return "the parallel convolutions look at places that no common kernel has"
        whole: Any = modules[main.name]
        widths = {(modules[b.name].in_channels, modules[b.name].out_channels) for b in convolutions}
        if len(widths) != 1:
            return "the parallel convolutions have different numbers of channels"
        around = [branch for branch in branches if branch.geometry is None]
        if around and (whole.in_channels != whole.out_channels or set(merged.stride) != {1} or not _centred(merged)):
            return "the convolution beside the plain value has no place in its middle"
        for branch in around:
            if branch.affine is not None and (reason := unsound(self.flow, branch.affine)):
                return reason
        if len({id(modules[b.name]) for b in branches if b.name}) != sum(bool(b.name) for b in branches):
            return "a layer runs in several branches"
        if any(len(self._runs(branch.name)) != 1 for branch in branches if branch.name):
            return "a layer of the sum runs more than once"
        if main.geometry != merged and not _is_plain(whole):
            return "the convolution that would take the others up has a forward of its own"
        call = self._runs(main.name)[0]
        if self._overwritten(branches):
            return "a value that is used elsewhere is written over"
        ordered = (main, *(branch for branch in branches if branch is not main))
        return Sum(
            local=self.local, root=self.root.name, branches=ordered, others=tuple(others), geometry=merged,
            norm=None if others else self._norm_behind(), call=call.index,
        )  # fmt: skip

    def _runs(self, name: str) -> list[NodeInfo]:
        runs = [node for each in self.flow.same(name) for node in self.flow.inside(each) if node.module == each]
        return [node for node in runs if node.op not in _QUIET]

    def _overwritten(self, branches: list[Branch]) -> bool:
        """Whether the sum is written into the input of the branches, which others may read."""
        plain = {branch.node for branch in branches if branch.kind == "identity"}
        node: Any = self.root
        while isinstance(node, fx.Node) and _adds(node):
            if node.target in _IN_PLACE and isinstance(node.args[0], fx.Node) and node.args[0].name in plain:
                return True
            node = node.args[0]
        return False

    def _norm_behind(self) -> Affine | None:
        """A norm that is all that uses the sum, and runs only here."""
        users = list(self.root.users)
        if len(users) != 1 or users[0].op != "call_module" or len(users[0].args) != 1 or users[0].kwargs:
            return None
        path = _joined(self.local.name, str(users[0].target))
        runs = [n for each in self.flow.same(path) for n in self.flow.inside(each) if n.op in {"batch_norm", "affine"}]
        if (
            len(runs) != 1
            or path not in self.flow.modules
            or runs[0].module not in self.flow.same(path)
            or hooked(self.flow.modules[path])
        ):
            return None
        affine = affine_of(self.flow, runs[0])
        if (
            not isinstance(affine, Affine)
            or affine.inline is not None
            or affine.axis != 1
            or kept(self.flow, affine)
            or unsound(self.flow, affine)
        ):
            return None
        return affine


def _kernel(branch: Branch) -> tuple[int, ...]:
    return branch.geometry.kernel if branch.geometry is not None else ()


def _is_plain(module: nn.Module) -> bool:
    known = module_op(type(module))
    return known is not None and type(module).forward is known[1].forward


def _geometry(module: Any, layer: Layer) -> Geometry | None:
    """Of a convolution that pads with zeros by itself."""
    if not _is_plain(module) or module.padding_mode != "zeros":
        return None
    padding = module.padding
    if isinstance(padding, str):
        reach = [dilation * (kernel - 1) for dilation, kernel in zip(module.dilation, module.kernel_size, strict=True)]
        if padding == "same" and any(each % 2 for each in reach):
            return None
        padding = tuple(each // 2 if padding == "same" else 0 for each in reach)
    return Geometry(
        kernel=tuple(module.kernel_size), stride=tuple(module.stride), padding=tuple(padding), dilation=tuple(module.dilation),
        groups=layer.groups,
    )  # fmt: skip


def _common(geometries: list[Geometry]) -> Geometry | None:
    """Of one convolution that can be all of them: kernels are laid over one another where they meet the same places.

    With kernel size ``k``, dilation ``d`` and padding ``p`` the outputs of two convolutions have the same size for every input if
    ``d * (k - 1) - 2 * p`` is the same, and tap ``j`` reads the place ``j * d - p``.
    """
    first = geometries[0]
    if any(each.groups != first.groups or each.stride != first.stride for each in geometries):
        return None
    kernel, padding, dilations = [], [], []
    for axis in range(len(first.kernel)):
        wide = {each.dilation[axis] for each in geometries if each.kernel[axis] > 1}
        reaches = {each.dilation[axis] * (each.kernel[axis] - 1) - 2 * each.padding[axis] for each in geometries}
        if len(wide) > 1 or len(reaches) > 1:
            return None
        dilation = next(iter(wide), 1)
        most = max(each.padding[axis] for each in geometries)
        taps = {each.kernel[axis] + 2 * (most - each.padding[axis]) // dilation for each in geometries}
        if any((most - each.padding[axis]) % dilation for each in geometries) or len(taps) != 1:
            return None
        kernel.append(taps.pop())
        padding.append(most)
        dilations.append(dilation)
    return Geometry(kernel=tuple(kernel), stride=first.stride, padding=tuple(padding), dilation=tuple(dilations), groups=first.groups)


def _centred(geometry: Geometry) -> bool:
    """Whether a tap reads the very place that the output stands at, and outputs are as many as inputs."""
    return all(
        padding % dilation == 0 and dilation * (kernel - 1) == 2 * padding
        for kernel, padding, dilation in zip(geometry.kernel, geometry.padding, geometry.dilation, strict=True)
    )
