"""Parallel branches merged into one convolution: the change of a live model."""

from __future__ import annotations

import copy
from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import torch
from torch import fx, nn

from normadvisor.optimization.candidate import Candidate, Kernel, Setting, StateStep
from normadvisor.optimization.folding.branches import Branch, Geometry, Sum
from normadvisor.optimization.folding.flow import Flow
from normadvisor.optimization.folding.fold import RULE, fold_into
from normadvisor.optimization.folding.layers import Layer
from normadvisor.optimization.folding.live import Held, Live, gone_of
from normadvisor.optimization.folding.search import Fold, Share
from normadvisor.optimization.forward import drop_unused, find, install
from normadvisor.rewrite.model.journal import Journal

__all__ = ["Merged", "merge_candidate", "merge_into"]


class Merged(nn.Module):
    """Stands where a branch stood that another layer has taken up; nothing calls it."""

    def __init__(self, into: str) -> None:
        super().__init__()
        self.into = into

    def extra_repr(self) -> str:
        """Where it went."""
        return f"into={self.into!r}"

    def forward(self, *_args: Any, **_kwargs: Any) -> torch.Tensor:
        """Refuse.

        Raises:
            RuntimeError: the model runs in another way than it did when it was optimized.

        """
        message = f"this branch was merged into {self.into} for inference with arguments of another kind; use the model as it was before"
        raise RuntimeError(message)


def merge_candidate(flow: Flow, found: Sum, setting: Setting) -> Candidate:
    """The merge as something that can be measured and kept."""
    dims = len(found.geometry.kernel)
    kinds = {{"conv": f"conv{dims}d", "norm": "batch_norm", "identity": "the input"}[branch.kind]: None for branch in found.branches}
    node = flow.graph.nodes[found.call]
    main: Any = flow.modules[found.branches[0].name]
    settings = f"{found.geometry} {main.in_channels}->{main.out_channels} {node.in_shape} {setting.dtype}"
    behind = (found.norm.name,) if found.norm is not None else ()
    behind_told = f" + {found.norm.what.replace('affine', 'scale')}" if found.norm is not None else ""
    return Candidate(
        rule=RULE,
        pattern=f"sum of parallel {' and '.join(sorted(kinds))}{behind_told}",
        replacement=f"conv{dims}d",
        modules=(*(branch.name for branch in found.branches if branch.name), *behind),
        shape_key=f"{settings} of {[_kind(branch) for branch in found.branches]}",
        apply=lambda model, journal: merge_into(model, journal, found),
        kernel=_kernel(flow, found, setting),
    )


def _kind(branch: Branch) -> str:
    return f"{branch.kind}{list(branch.geometry.kernel) if branch.geometry is not None else ''}"


def merge_into(model: nn.Module, journal: Journal, found: Sum) -> tuple[StateStep, ...]:
    """Change a model; modules are found by their names.

    Raises:
        CannotChange: a layer is no longer there, or the numbers cannot be merged; nothing has been changed.

    """
    own = Journal()
    try:
        steps = _merged(model, own, found)
    except BaseException:
        own.undo()
        raise
    journal.did(own.undo)
    return steps


def _merged(model: nn.Module, journal: Journal, found: Sum) -> tuple[StateStep, ...]:
    live = Live(model, journal)
    main = found.branches[0]
    step = sum_step(live, found)
    made = live.ready([step])[0]
    told = gone_of(found.local.name)
    install(model, found.local.name, lambda graph, _module: _edit(graph, found), found.local, journal, gone=told)
    if found.geometry != main.geometry:
        live.put(main.name, _convolution(live.module(main.name), found.geometry))
        live = Live(model, journal)
    live.write(made)
    dropped: list[str] = []
    for branch in found.branches[1:]:
        if branch.child:
            path = f"{found.local.name}.{branch.child}" if found.local.name else branch.child
            gone = live.module(path)
            dropped += [f"{name}.{key}" for name in live.names(gone) for key in gone.state_dict()]
            live.put(path, Merged(main.name))
    steps = (step, StateStep(kind="drop", into=(), sources=(), dropped=tuple(dropped)))
    if found.norm is None:
        return steps
    module: Any = Live(model, journal).module(main.name)
    layer = Layer(
        name=main.name, kind="conv", groups=found.geometry.groups, channels_in=module.in_channels, channels_out=module.out_channels,
        has_bias=True, padded=True,
    )  # fmt: skip
    share = Share(layer=layer, ids=None, shifts=found.norm.shifts, call=found.call)
    return (*steps, *fold_into(model, journal, Fold(affine=found.norm, kind="behind", shares=(share,), calls=())))


def _edit(graph: fx.Graph, found: Sum) -> None:
    """Use the call of the first branch where the sum was used."""
    root = find(graph, found.root)
    total = find(graph, found.branches[0].node)
    others = [(find(graph, name), sign) for name, sign in found.others]
    kept = [total, *(node for node, _ in others)]
    gone = [find(graph, branch.node) for branch in found.branches[1:] if branch.kind != "identity"]
    with graph.inserting_before(root):
        for other, sign in others:
            total = graph.call_function(torch.add if sign > 0 else torch.sub, (total, other))
            total.meta = dict(root.meta)
    root.replace_all_uses_with(total)
    waiting = [root]
    while waiting:  # What worked in place goes, too, since all that read it is gone.
        node = waiting.pop()
        if node.users or node in kept or node.op == "placeholder" or node._erased:  # noqa: SLF001 -- fx has no public word for it
            continue
        if node is not root and node not in gone and not _of_sum(node):
            drop_unused(graph, node)
            continue
        sources = node.all_input_nodes
        graph.erase_node(node)
        waiting += sources


def _of_sum(node: fx.Node) -> bool:
    """Whether a node without users is left over from the sum: an addition, or a call that handed a value on."""
    return node.op == "call_module" or getattr(node.target, "__name__", str(node.target)).strip("_") in {"add", "iadd", "sub", "isub"}


def sum_step(live: Live, found: Sum, prefix: str = "") -> StateStep:
    """How the weight of the merged convolution comes from those of the branches."""
    roles: dict[str, str] = {}
    told: list[dict[str, Any]] = []
    for place, branch in enumerate(found.branches):
        name = prefix + branch.name
        if branch.geometry is not None:
            roles[f"{place}.weight"] = f"{name}.weight"
            if isinstance(getattr(live.module(name), "bias", None), torch.Tensor):
                roles[f"{place}.bias"] = f"{name}.bias"
            told.append({"kind": "conv", "sign": branch.sign, "offset": _offset(branch.geometry, found.geometry)})
        elif branch.affine is not None:
            roles |= {f"{place}.{role}": f"{name}.{key.rpartition('.')[2]}" for role, key in branch.affine.roles.items()}
            told.append({"kind": "norm", "sign": branch.sign, "channels": branch.affine.channels, "eps": branch.affine.eps})
        else:
            told.append({"kind": "identity", "sign": branch.sign})
    main = prefix + found.branches[0].name
    writes = {"layer.weight": live.keys(main, "weight")}
    if any(role.endswith(("bias", "mean")) for role in roles):
        writes["layer.bias"] = live.keys(main, "bias")
    options = {
        "branches": told,
        "kernel": list(found.geometry.kernel),
        "middle": [padding // dilation for padding, dilation in zip(found.geometry.padding, found.geometry.dilation, strict=True)],
        "groups": found.geometry.groups,
        "roles": roles,
        "writes": writes,
    }
    return StateStep(
        kind="sum", into=tuple(key for keys in writes.values() for key in keys), sources=tuple(roles.values()), options=options
    )


def _offset(inner: Geometry, outer: Geometry) -> list[int]:
    axes = zip(inner.padding, outer.padding, outer.dilation, strict=True)
    return [(most - padding) // dilation for padding, most, dilation in axes]


def _convolution(old: Any, geometry: Geometry) -> nn.Module:
    """Another convolution of the class of torch that ``old`` is, with an empty weight of the new size."""
    cls: Any = {1: nn.Conv1d, 2: nn.Conv2d, 3: nn.Conv3d}[len(geometry.kernel)]
    made: Any = cls(
        old.in_channels, old.out_channels, geometry.kernel, geometry.stride, geometry.padding, geometry.dilation, geometry.groups,
        bias=False, device="meta", dtype=old.weight.dtype,
    )  # fmt: skip
    made.weight.requires_grad_(old.weight.requires_grad)
    return made  # type: ignore[no-any-return]


class _Side(nn.Module):
    """The branches alone."""

    def __init__(self, branches: Sequence[nn.Module], signs: Sequence[int], plain: int) -> None:
        super().__init__()
        self.branches, self._signs, self._plain = nn.ModuleList(branches), tuple(signs), plain

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Their sum."""
        total: torch.Tensor = self.branches[0](x) * self._signs[0]
        for branch, sign in list(zip(self.branches, self._signs, strict=True))[1:]:
            total = total + branch(x) if sign > 0 else total - branch(x)
        for _ in range(abs(self._plain)):
            total = total + x if self._plain > 0 else total - x
        return total


def _kernel(flow: Flow, found: Sum, setting: Setting) -> Any:
    given = flow.graph.nodes[found.call].in_shape
    named = [branch for branch in found.branches if branch.name]
    modules = [Held(flow.modules[branch.name]) for branch in named]
    plain = sum(branch.sign for branch in found.branches if not branch.name)
    if given is None:
        return None

    def build() -> Kernel:
        before = _Side([module.copied() for module in modules], [branch.sign for branch in named], plain).eval()
        alone = replace(
            found,
            branches=tuple(replace(branch, name=f"branches.{named.index(branch)}") if branch.name else branch for branch in found.branches),
        )
        live = Live(before, Journal())
        values = live.ready([sum_step(live, alone)])[0]
        main = before.branches[named.index(found.branches[0])]
        after: Any = _convolution(main, found.geometry).eval()
        for key, value in values.items():
            setattr(after, key.rpartition(".")[2], nn.Parameter(value, requires_grad=False))
        x = torch.randn(given, device=setting.device, dtype=setting.dtype)
        if x.dim() == 4 and after.weight.is_contiguous(memory_format=torch.channels_last):
            x = x.to(memory_format=torch.channels_last)
        return Kernel(before=before, after=after, arguments=(x,), exact=copy.deepcopy(before).double())

    return build
