"""What multiplies and moves each channel by numbers that do not depend on the input: norms in eval mode, frozen norms, layer scales."""

from __future__ import annotations

import copy
from collections.abc import Iterator
from dataclasses import replace
from itertools import product
from typing import Any

import torch
from torch import fx, nn
from torch.nn.parameter import is_lazy

from normadvisor.graph.attributes import parametrizations
from normadvisor.graph.canonical import module_op
from normadvisor.graph.model import NodeInfo
from normadvisor.optimization.folding.calls import inline_norm, inline_scale
from normadvisor.optimization.folding.flow import Flow
from normadvisor.optimization.folding.scaling import BATCH_STATISTICS, ROLES, Affine
from normadvisor.types import GROUPS

__all__ = ["affine_of", "compound_affine"]

_ARITHMETIC = frozenset({"mul", "add", "sub", "div"})
_EPS = (1e-5, 1e-3, 1e-6, 1e-4, 1e-8, 1e-12, 0.0)
_CLOSE = 1e-9
"""Relative difference up to which two results in float64 are the same; the operations are few."""
_MOST_CHANNELS = 1 << 16
_UNMOVED = frozenset(GROUPS["identity_like"])
_QUIET = _UNMOVED | {*GROUPS["dropout_like"], "drop_path"}


def affine_of(flow: Flow, node: NodeInfo) -> Affine | str | None:
    """What ``node`` multiplies and moves each channel by; why that is not known; ``None`` if it is nothing of the kind."""
    if node.in_shape is None or node.module not in flow.modules:
        return None if node.op != "batch_norm" else "its shape is not known"
    if node.op in _ARITHMETIC and not node.cls:
        return inline_scale(flow, node)
    if node.op not in {"batch_norm", "affine"}:
        return None
    module = flow.modules[node.module]
    if not node.module and node.cls:
        return "there is no layer before or behind it"
    trouble = flow.trouble(node.module)
    if trouble:
        return trouble
    if any(is_lazy(value) for value in (*module.parameters(), *module.buffers())):
        return "it is lazy and has no shapes yet"
    known = module_op(type(module))
    if not node.cls and (known is None or known[0] != "batch_norm" or flow.path(node) != node.module):
        return inline_norm(flow, node)
    if known is not None and known[0] == "batch_norm" and not node.attrs.get("handwritten"):
        return _of_torch(flow, node, module)
    return _fitted(module, node)


def _of_torch(flow: Flow, node: NodeInfo, module: nn.Module) -> Affine | str:
    held: Any = module
    if held.running_mean is None or held.running_var is None:
        return BATCH_STATISTICS
    if node.training:
        return "it normalizes with the statistics of the batch"
    if parametrizations(module):
        return "its numbers are computed at each call"
    rest: tuple[str, ...] = ()
    if not node.cls:
        calls = [each for each in flow.inside(node.module) if each.op == "batch_norm" and each.module == node.module]
        reason, found = _plain_call(flow, node), _rest(flow, node, calls, {each.index for each in calls})
        if reason or isinstance(found, str):
            return reason or str(found)
        rest = found
    roles = {role: f"{node.module}.{name}" for name, role in ROLES.items() if isinstance(getattr(module, name, None), torch.Tensor)}
    if len(node.in_shape or ()) < 2:
        return "its input has no batch dimension"
    return Affine(
        name=node.module, what="batch_norm", roles=roles, eps=float(held.eps), channels=int(held.running_var.numel()), axis=1, rest=rest
    )


def _plain_call(flow: Flow, node: NodeInfo) -> str:
    """Why a call of ``F.batch_norm`` does not take the numbers of its module as they are; empty if it does."""
    module, arguments = flow.modules[node.module], flow.arguments(node)
    for name in ROLES:
        given, stored = arguments.get(name), getattr(module, name, None)
        if given is None and stored is None:
            continue
        if not isinstance(given, fx.Node) or given.op != "get_attr" or stored is None or str(given.target) not in flow.keys(stored):
            return f"its {name.replace('_', ' ')} is computed at each call"
    if arguments.get("eps") != module.eps:
        return "its eps is another one at each call"
    return ""


def _rest(flow: Flow, call: NodeInfo, calls: list[NodeInfo], own: set[int]) -> tuple[str, ...] | str:
    """The layers that run behind a norm inside of its module, or why that is not all that the module does.

    Args:
        flow: of the model.
        call: one run of the norm.
        calls: all of them.
        own: the operations that they consist of.

    """
    prefix = f"{call.module}."
    inside = {node.index for node in flow.inside(call.module)}
    found: tuple[str, ...] | None = None
    seen = set(own)
    for start in calls:
        chain: list[str] = []
        node = start
        while len(users := flow.users(node)) == 1 and users[0].index in inside - seen:
            node = users[0]
            if not node.cls or len(flow.operands(node)) != 1:
                return "its module does more than to normalize"
            if node.op not in _QUIET or (node.op not in _UNMOVED and node.training is not False):
                chain.append(node.module.removeprefix(prefix))
            seen.add(node.index)
        if found is not None and found != tuple(chain):
            return "its module does other things at each call"
        found = tuple(chain)
    if seen != inside or found is None or len(set(found)) != len(found):
        return "its module does more than to normalize"
    return found


def compound_affine(flow: Flow, node: NodeInfo, calls: list[NodeInfo]) -> Affine | str | None:
    """What a node of :func:`normadvisor.optimization.folding.compound.compounds` multiplies and moves each channel by.

    ``None`` where it is no norm at all.
    """
    own = {each.index for each in flow.inside(node.module) if each.module == node.module}
    rest = _rest(flow, node, calls, own)
    if isinstance(rest, str) or flow.trouble(node.module):
        return None
    found = _fitted(flow.modules[node.module], node)
    return replace(found, rest=rest) if isinstance(found, Affine) else None


def _fitted(module: nn.Module, node: NodeInfo) -> Affine | str:
    """Which parameters and buffers of a module written by hand mean what, told by what it computes."""
    if node.op == "batch_norm" and node.attrs.get("uses_running_stats") is not True:
        return BATCH_STATISTICS
    held = {name: value for name, value in (*module._parameters.items(), *module._buffers.items()) if value is not None}  # noqa: SLF001
    vectors = {name: value for name, value in held.items() if value.is_floating_point() and value.numel() > 1}
    sizes = {value.numel() for value in vectors.values()}
    if any(isinstance(value, torch.Tensor) and value.is_floating_point() for value in vars(module).values()):
        return "it holds numbers that are no part of its state"
    if len(sizes) != 1 or (channels := sizes.pop()) > _MOST_CHANNELS:
        return "which of its numbers mean what is not known"
    shape = node.in_shape or ()
    for axis in [place for place in (1, len(shape) - 1, *range(len(shape))) if 0 <= place < len(shape) and shape[place] == channels]:
        found = _assignment(module, list(vectors), channels, axis, len(shape))
        if found is not None:
            roles, eps = {role: f"{node.module}.{name}" for role, name in found[0].items()}, found[1]
            what = "batch_norm" if "norm.var" in roles else "affine"
            return Affine(name=node.module, what=what, roles=roles, eps=eps, channels=channels, axis=axis)
    return "which of its numbers mean what is not known"


def _assignment(module: nn.Module, names: list[str], channels: int, axis: int, rank: int) -> tuple[dict[str, str], float] | None:
    """Meaning of each name and the eps with which ``(x - mean) / sqrt(var + eps) * weight + bias`` is what the module computes."""
    shape = [channels if place == axis else 2 + (channels == 2) for place in range(rank)]
    generator = torch.Generator().manual_seed(0)
    try:
        tried = _random_copy(module, names, generator)
        x = torch.randn(shape, generator=generator, dtype=torch.float64) * 2 + 0.5
        with torch.no_grad():
            y = tried(x.clone())
            values = {name: dict(tried.state_dict(keep_vars=True))[name].detach().reshape(-1) for name in names}
    except Exception:  # noqa: BLE001 -- code of the user's own, on an input that it may not take
        return None
    if not isinstance(y, torch.Tensor) or y.shape != x.shape:
        return None
    along = [-1 if place == axis else 1 for place in range(rank)]
    for roles, eps in _meanings(module, names):
        told = {role: values[name] for role, name in roles.items()}
        scale = told.get("norm.weight", torch.ones(channels, dtype=torch.float64))
        if "norm.var" in told:
            scale = scale / (told["norm.var"] + eps).sqrt()
        shift = told.get("norm.bias", torch.zeros(channels, dtype=torch.float64)) - told.get("norm.mean", 0) * scale
        expected = x * scale.reshape(along) + shift.reshape(along)
        if bool((expected - y).abs().max() <= _CLOSE * y.abs().max()):
            return roles, eps
    return None


def _meanings(module: nn.Module, names: list[str]) -> Iterator[tuple[dict[str, str], float]]:
    """Every way to give the names a meaning, the usual ones first; all names must have one."""
    order = ("norm.weight", "norm.bias", "norm.mean", "norm.var")
    floats = [value for value in vars(module).values() if isinstance(value, float) and 0 <= value < 1]
    for chosen in product((None, *names), repeat=len(order)):
        used = [name for name in chosen if name is not None]
        if len(set(used)) != len(used) or set(used) != set(names):
            continue
        roles = {role: name for role, name in zip(order, chosen, strict=True) if name is not None}
        for eps in dict.fromkeys((*floats, *_EPS)) if "norm.var" in roles else (0.0,):
            yield roles, eps


def _random_copy(module: nn.Module, names: list[str], generator: torch.Generator) -> nn.Module:
    shell = copy.deepcopy(module)
    if any(value.is_meta for value in (*shell.parameters(), *shell.buffers())):
        shell.to_empty(device="cpu")
    for name in shell._modules:  # noqa: SLF001
        shell._modules[name] = nn.Identity()  # noqa: SLF001 -- what runs behind the norm is looked at apart
    shell = shell.to(device="cpu", dtype=torch.float64).eval()
    held = {**shell._parameters, **shell._buffers}  # noqa: SLF001
    with torch.no_grad():
        for name in names:
            value = held[name]
            if value is not None:
                value.copy_(torch.rand(value.shape, generator=generator, dtype=torch.float64) + 0.5)
    return shell
