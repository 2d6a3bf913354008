"""Layers whose weight is computed at each call: weight norm, spectral norm, weight standardization, parametrizations of the user's.

In eval mode the result is always the same, so a plain layer with that weight does the same work.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import torch
import torch.nn.functional as F
from torch import nn
from torch.func import functional_call
from torch.nn.parameter import is_lazy
from torch.overrides import TorchFunctionMode

from normadvisor.graph.canonical import module_op
from normadvisor.graph.leaves import hooked
from normadvisor.graph.model import NodeInfo
from normadvisor.graph.signatures import bind
from normadvisor.optimization.candidate import Candidate, Kernel, Setting, StateStep
from normadvisor.optimization.folding.flow import Flow
from normadvisor.optimization.folding.fold import RULE
from normadvisor.optimization.folding.layers import CALLED, LINEAR
from normadvisor.optimization.folding.live import Held, Live, shell_of
from normadvisor.optimization.folding.program import NotWritten, run, written
from normadvisor.rewrite.model.journal import Journal

__all__ = ["Bake", "SameConv2d", "Unbakable", "bake_candidate", "bake_into", "bakes"]

_CLASSES: dict[tuple[str, int], Any] = {
    ("conv", 1): nn.Conv1d, ("conv", 2): nn.Conv2d, ("conv", 3): nn.Conv3d, ("conv_transpose", 1): nn.ConvTranspose1d,
    ("conv_transpose", 2): nn.ConvTranspose2d, ("conv_transpose", 3): nn.ConvTranspose3d, ("linear", 0): nn.Linear,
}  # fmt: skip
_CLOSE = 1e-5
"""Relative difference in float64 from which on a plain layer does something else; room for layers that compute in float32 at all times."""


class SameConv2d(nn.Conv2d):
    """A convolution that pads as TensorFlow's ``SAME`` does: the output is ``ceil(size / stride)``, an odd zero goes to the end."""

    def forward(self, input: torch.Tensor) -> torch.Tensor:  # noqa: A002 -- the name that torch.nn.Conv2d gives it
        """Pad, then convolve."""
        sizes: list[int] = []
        for axis in (1, 0):
            size, stride, reach = input.shape[axis - 2], self.stride[axis], self.dilation[axis] * (self.kernel_size[axis] - 1) + 1
            total = max((-(-size // stride) - 1) * stride + reach - size, 0)
            sizes += [total // 2, total - total // 2]
        return F.conv2d(F.pad(input, sizes), self.weight, self.bias, self.stride, 0, self.dilation, self.groups)


@dataclass(frozen=True, slots=True, kw_only=True)
class Bake:
    """A layer whose weight can be computed once."""

    name: str
    kind: str
    made: type[nn.Module]
    """Class of the plain layer."""
    settings: tuple[tuple[str, Any], ...]
    """Arguments of its constructor."""
    program: tuple[Any, ...]
    """The operations that compute the weight, see :mod:`normadvisor.optimization.folding.program`."""
    bias: tuple[Any, ...] | None
    sources: tuple[str, ...]
    """Parameters and buffers of the layer that they read."""
    call: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Unbakable:
    """One that stays."""

    name: str
    reason: str


class _Caught(Exception):  # noqa: N818 -- carries what was looked for
    def __init__(self, call: tuple[str, Any, dict[str, Any]]) -> None:
        super().__init__()
        self.call = call


class _Stop(TorchFunctionMode):
    """Ends the forward at the convolution or matrix product, and tells its arguments."""

    def __torch_function__(self, func: Any, types: Any, args: tuple[Any, ...] = (), kwargs: Any = None) -> Any:
        name, given = getattr(func, "__name__", ""), kwargs or {}
        if name in CALLED:
            raise _Caught((name, args[0] if args else given.get("input"), bind(name, name, args, given)))
        return func(*args, **given)


def _call(module: nn.Module, values: dict[str, torch.Tensor], x: torch.Tensor) -> tuple[str, Any, dict[str, Any]]:
    try:
        with _Stop():
            functional_call(module, values, (x,))
    except _Caught as caught:
        return caught.call
    raise NotWritten("it calls no convolution or matrix product")


def bakes(flow: Flow) -> Iterator[Bake | Unbakable]:
    """Every layer of the model that computes its weight at each call, once."""
    seen: set[int] = set()
    for node in flow.graph.nodes:
        module = flow.modules.get(node.module)
        known = module_op(type(module)) if module is not None else None
        if node.op not in LINEAR or module is None or known is None or known[0] != node.op or id(module) in seen:
            continue
        seen.add(id(module))
        if any(is_lazy(value) for value in (*module.parameters(), *module.buffers())) or not _is_computed(flow, node, module):
            continue
        try:
            yield _bake(flow, node, module)
        except NotWritten as stopped:
            yield Unbakable(name=node.module, reason=str(stopped))


def _is_computed(flow: Flow, node: NodeInfo, module: nn.Module) -> bool:
    if node.attrs.get("parametrizations"):
        return True
    if node.cls or not isinstance(getattr(module, "weight", None), torch.Tensor) or flow.path(node) != node.module:
        return False
    weight = flow.arguments(node).get("weight")
    return getattr(weight, "op", "get_attr") != "get_attr"


def _bake(flow: Flow, node: NodeInfo, module: nn.Module) -> Bake:
    trouble = flow.trouble(node.module)
    if trouble or hooked(module):
        raise NotWritten(trouble or "it has hooks")
    given_shape = flow.given(node)
    if given_shape is None:
        raise NotWritten("its shape is not known")
    shell = shell_of(module)
    values: dict[str, torch.Tensor] = {**dict(shell.named_parameters()), **dict(shell.named_buffers())}
    values = {name: value for name, value in values.items() if value.is_floating_point()}
    dtype = next(iter(values.values())).dtype
    x = torch.empty(given_shape, device="meta", dtype=dtype)
    program = written(lambda given: _weight(_call(shell, given, x)), values)
    name, given, arguments = _call(shell, {key: value.to("meta") for key, value in values.items()}, x)
    if module_kind(name) != node.op:
        raise NotWritten(f"it calls {name}")
    bias = None if arguments.get("bias") is None else tuple(written(lambda held: _call(shell, held, x)[2]["bias"], values))
    made, settings = _plain(node.op, module, given, arguments, x)
    found = Bake(
        name=node.module,
        kind=node.op,
        made=made,
        settings=settings,
        program=tuple(program),
        bias=bias,
        sources=tuple(values),
        call=node.index,
    )
    _demand_equal(found, module)
    return found


def module_kind(name: str) -> str:
    """``conv2d`` -> ``conv``."""
    return name.rstrip("123d") if name != "linear" else name


def _weight(call: tuple[str, Any, dict[str, Any]]) -> torch.Tensor:
    weight: torch.Tensor = call[2]["weight"]
    return weight.clone()


def _plain(
    kind: str, module: Any, given: Any, arguments: dict[str, Any], x: torch.Tensor
) -> tuple[type[nn.Module], tuple[tuple[str, Any], ...]]:
    """Class and settings of a plain layer that makes the same call."""
    weight = arguments["weight"]
    if kind == "linear":
        if given is not x:
            raise NotWritten("its input is changed before it is used")
        return nn.Linear, (("in_features", weight.shape[1]), ("out_features", weight.shape[0]))
    dims, groups = weight.dim() - 2, arguments["groups"]
    first, second = weight.shape[0], weight.shape[1] * groups
    wide, narrow = (first, second) if kind == "conv_transpose" else (second, first)
    settings = {"in_channels": wide, "out_channels": narrow, "kernel_size": tuple(weight.shape[2:]), "groups": groups}
    for name in ("stride", "padding", "dilation", *(("output_padding",) if kind == "conv_transpose" else ())):
        value = arguments[name]
        settings[name] = value if isinstance(value, str) else tuple(value) if isinstance(value, list | tuple) else (value,) * dims
    cls = _CLASSES[kind, dims]
    if given is not x:
        mode = getattr(module, "padding_mode", "zeros")
        if mode != "zeros":  # The layer pads by itself, in the way that a plain one of the same settings does.
            settings |= {"padding_mode": mode, "padding": module.padding}
        elif kind == "conv" and dims == 2 and all(size == 0 for size in settings["padding"]):
            cls = SameConv2d
        else:
            raise NotWritten("its input is changed before it is used")
    return cls, tuple(settings.items())


def _demand_equal(found: Bake, module: nn.Module) -> None:
    """Run both in float64 on small inputs of odd and even size, where the layer has numbers."""
    held = [*module.parameters(), *module.buffers()]
    if any(value.is_meta for value in held):
        return
    exact = Held(module).copied().to("cpu", torch.float64)
    values: dict[str, torch.Tensor] = {**dict(exact.named_parameters()), **dict(exact.named_buffers())}
    plain = _made(found, {name: values[name] for name in found.sources}).train(module.training)
    settings = dict(found.settings)
    width = settings["in_features"] if found.kind == "linear" else settings["in_channels"]
    for size in (0, 1) if found.kind != "linear" else (0,):
        reach = zip(settings.get("kernel_size", ()), settings.get("dilation", ()), strict=True)
        sides = [dilation * (kernel - 1) + 4 + size for kernel, dilation in reach]
        x = torch.randn([2, width, *sides], generator=torch.Generator().manual_seed(size), dtype=torch.float64)
        with torch.no_grad():
            before, after = exact(x), plain(x)
        if before.shape != after.shape or bool((before - after).abs().max() > _CLOSE * before.abs().max()):
            raise NotWritten("it does more than a plain layer with the same weight")


def _computed(program: tuple[Any, ...], values: dict[str, torch.Tensor]) -> torch.Tensor:
    wide = {
        name: value.detach().to(torch.float64) if value.device.type != "mps" else value.detach().cpu().double()
        for name, value in values.items()
    }
    return run(program, wide)


def _made(found: Bake, values: dict[str, torch.Tensor]) -> Any:
    """The plain layer, with its numbers."""
    some = next(iter(values.values()))
    made = found.made(**dict(found.settings), bias=found.bias is not None, device="meta", dtype=some.dtype)
    for name, program in (("weight", found.program), ("bias", found.bias)):
        if program is not None:
            setattr(made, name, nn.Parameter(_computed(program, values).to(some.device, some.dtype)))
    return made


def bake_candidate(flow: Flow, found: Bake, setting: Setting) -> Candidate:
    """The change as something that can be measured and kept."""
    module, node = flow.modules[found.name], flow.graph.nodes[found.call]
    dims = len(dict(found.settings).get("kernel_size", ()))
    told = f"{found.kind}{dims}d" if dims else found.kind
    ways = ", ".join(str(each) for each in node.attrs.get("parametrizations") or ()) or type(module).__name__  # type: ignore[union-attr]
    return Candidate(
        rule=RULE,
        pattern=f"{told} whose weight is computed at each call ({ways})",
        replacement=told,
        modules=(found.name,),
        shape_key=f"{told} {node.in_shape} {found.settings} {setting.dtype} {ways}",
        apply=lambda model, journal: bake_into(model, journal, found),
        kernel=_kernel(module, found, flow.given(node), setting),
    )


def _kernel(module: nn.Module, found: Bake, shape: tuple[int, ...] | None, setting: Setting) -> Any:
    if shape is None:
        return None
    held = Held(module)

    def build() -> Kernel:
        before = held.copied().eval()
        values: dict[str, torch.Tensor] = {**dict(before.named_parameters()), **dict(before.named_buffers())}
        after = _made(found, {name: values[name] for name in found.sources}).eval()
        x = torch.randn(shape, device=setting.device, dtype=setting.dtype)
        return Kernel(before=before, after=after, arguments=(x,), exact=held.copied().eval().double())

    return build


def bake_into(model: nn.Module, journal: Journal, found: Bake) -> tuple[StateStep, ...]:
    """Change a model.

    Raises:
        CannotChange: the layer is no longer there; nothing has been changed.

    """
    live = Live(model, journal)
    old = live.module(found.name)
    writes = {"weight": live.keys(found.name, "weight")} | ({"bias": live.keys(found.name, "bias")} if found.bias is not None else {})
    roles = {name: f"{found.name}.{name}" for name in found.sources}
    step = StateStep(
        kind="program",
        into=tuple(key for keys in writes.values() for key in keys),
        sources=tuple(roles.values()),
        dropped=tuple(f"{name}.{key}" for name in live.names(old) for key in old.state_dict()),
        options={
            "programs": {"weight": list(found.program)} | ({"bias": list(found.bias)} if found.bias is not None else {}),
            "dtype": str(next(iter(old.parameters())).dtype).removeprefix("torch."),
            "roles": roles,
            "writes": writes,
        },
    )
    values = live.ready([step])[0]
    near: Any = next(iter(old.parameters()))
    made = found.made(**dict(found.settings), bias=found.bias is not None, device="meta", dtype=near.dtype)
    for name in writes:
        setattr(made, name, nn.Parameter(values[writes[name][0]], requires_grad=near.requires_grad))
    live.put(found.name, made)
    return (step,)
