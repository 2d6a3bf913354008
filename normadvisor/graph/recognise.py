"""Recognise custom modules by what they compute.

A childless module of the user's or a library's is run on small random inputs, as a float64 copy on the CPU with random affine
parameters, and its output is compared with reference normalizations and activations. So every hand-written RMSNorm is
``rms_norm``, a channels-first LayerNorm is ``layer_norm`` over axis 1, and what a hand-written batch norm does with its running
statistics is measured rather than read from its source.
"""

from __future__ import annotations

import inspect
import io
import math
import warnings
from collections import OrderedDict
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, redirect_stderr, redirect_stdout
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import torch
import torch.nn.functional as F
from torch import nn

from normadvisor.graph.canonical import NORMS, module_op
from normadvisor.graph.references import (
    ACTIVATIONS,
    SAME_FUNCTION,
    close,
    eps_from_ratio,
    fit_affine,
    groups_normalized,
    normalized,
    statistic_axes,
)

if TYPE_CHECKING:
    from normadvisor.types import JSONValue

__all__ = ["Recognised", "Recogniser"]

_MOST_TENSORS, _MOST_ELEMENTS = 4, 1 << 17
_BATCH, _LOOSE_CHANNELS = 16, 6
_LARGE = 1e3
"""Scale of inputs whose variance makes any eps vanish."""
_EPS_NAMES = ("eps", "epsilon", "variance_epsilon", "norm_eps", "layer_norm_eps")
_FAMILIES = NORMS | {op for op, _ in ACTIVATIONS} | {"prelu", "identity", "other"}


@dataclass(frozen=True, slots=True)
class Recognised:
    """What a custom module turned out to be."""

    op: str
    attrs: Mapping[str, JSONValue] = field(default_factory=dict)
    axes: Mapping[int, tuple[int, ...]] = field(default_factory=dict)
    """Measured statistic axes by rank of the input, where they are not what :func:`norm_axes` says."""


class Recogniser:
    """Answers once per class and configuration."""

    def __init__(self) -> None:
        self._known: dict[Any, Recognised | None] = {}

    def recognise(self, module: nn.Module) -> Recognised | None:
        """The operation that ``module`` is, ``None`` if it is none of those known or cannot be run alone."""
        if module._modules or not _takes_one_argument(module):  # noqa: SLF001
            return None
        known = module_op(type(module))
        if known is not None and known[0] not in _FAMILIES:
            return None
        tensors = _tensors(module)
        if len(tensors) > _MOST_TENSORS or any(nn.parameter.is_lazy(held) or held.numel() > _MOST_ELEMENTS for held in tensors.values()):
            return None
        key = (type(module), _configuration(module, tensors))
        if key not in self._known:
            with _undisturbed():
                self._known[key] = _Trial(module, tensors).identify()
        return self._known[key]


def _takes_one_argument(module: nn.Module) -> bool:
    if type(module).forward is nn.Module.forward:
        return False
    try:
        parameters = list(inspect.signature(module.forward).parameters.values())
    except (TypeError, ValueError):
        return False
    required = [p for p in parameters if p.default is p.empty and p.kind in {p.POSITIONAL_ONLY, p.POSITIONAL_OR_KEYWORD, p.KEYWORD_ONLY}]
    return len(required) == 1 and required[0].kind is not inspect.Parameter.KEYWORD_ONLY


def _tensors(module: nn.Module) -> dict[str, torch.Tensor]:
    """Parameters, buffers and plain tensor attributes."""
    held = {**module._parameters, **module._buffers, **vars(module)}  # noqa: SLF001
    return {name: value for name, value in held.items() if isinstance(value, torch.Tensor)}


def _configuration(module: nn.Module, tensors: Mapping[str, torch.Tensor]) -> tuple[Any, ...]:
    plain = (int, float, str, bool, tuple, type(None), torch.Size)
    settings = tuple((key, repr(value)) for key, value in vars(module).items() if key != "training" and isinstance(value, plain))
    return settings, tuple((name, tuple(value.shape), value.dtype) for name, value in tensors.items())


@contextmanager
def _undisturbed() -> Iterator[None]:
    """Random state restored, output of the user's code thrown away, real tensors on the CPU."""
    state = torch.get_rng_state()
    sink = io.StringIO()
    try:
        with warnings.catch_warnings(), redirect_stdout(sink), redirect_stderr(sink), torch.device("cpu"):
            warnings.simplefilter("ignore")
            yield
    finally:
        torch.set_rng_state(state)


class _Trial:
    """One module under examination."""

    def __init__(self, module: nn.Module, tensors: Mapping[str, torch.Tensor]) -> None:
        self._module = module
        self._tensors = tensors
        self._generator = torch.Generator().manual_seed(0)
        self._state = {name: self._value(tensor) for name, tensor in tensors.items()}
        self._wide = [tensor for tensor in tensors.values() if tensor.numel() > 1]
        self._affine = any(tensor.numel() > 1 for tensor in module.parameters())

    def _value(self, tensor: torch.Tensor) -> torch.Tensor:
        """A value in place of a tensor of the module: single numbers are kept, the others are random and positive."""
        if not tensor.is_floating_point():
            return torch.zeros(tensor.shape, dtype=tensor.dtype)
        if tensor.numel() == 1 and tensor.device.type != "meta":
            return tensor.detach().to("cpu", torch.float64)
        return torch.rand(tensor.shape, generator=self._generator, dtype=torch.float64) + 0.5

    def copy(self, *, training: bool) -> nn.Module:
        """A module of the same class and settings with tensors of its own."""
        made = type(self._module).__new__(type(self._module))
        attributes = dict(vars(self._module))
        fresh = {name: value.clone() for name, value in self._state.items()}
        for key in ("_forward_hooks", "_forward_pre_hooks", "_backward_hooks", "_backward_pre_hooks"):
            attributes[key] = OrderedDict()
        attributes["_parameters"] = {
            name: value if value is None else nn.Parameter(fresh[name], requires_grad=value.is_floating_point())
            for name, value in self._module._parameters.items()  # noqa: SLF001
        }
        attributes["_buffers"] = {name: fresh.get(name) for name in self._module._buffers}  # noqa: SLF001
        attributes.update({name: fresh[name] for name, value in attributes.items() if isinstance(value, torch.Tensor)})
        attributes["training"] = training
        vars(made).update(attributes)
        return made

    def run(self, x: torch.Tensor, *, training: bool) -> torch.Tensor | None:
        """Output for ``x``; None if the module refuses it. Gradients are on in training, as some layers tell the modes apart by that."""
        return self._run(self.copy(training=training), x, training=training)

    @staticmethod
    def _run(module: nn.Module, x: torch.Tensor, *, training: bool) -> torch.Tensor | None:
        try:
            with torch.set_grad_enabled(training):
                result = module.forward(x.clone())
        except Exception:  # noqa: BLE001 -- the user's code on inputs it may not be meant for
            return None
        return result.detach() if isinstance(result, torch.Tensor) else None

    def _input(self, shape: tuple[int, ...]) -> torch.Tensor:
        return torch.randn(shape, generator=self._generator, dtype=torch.float64) * 2 + 0.5

    # -- layouts -----------------------------------------------------------------------------------------------------------

    def _layouts(self) -> list[tuple[tuple[int, ...], int | None]]:
        """Input shapes to try and the axis that holds features in each (None: parameters are per element of a sample)."""
        shapes = [tuple(tensor.shape) for tensor in self._wide]
        channels = max((math.prod(shape) for shape in shapes), default=_LOOSE_CHANNELS)
        tall, wide = (3, 2) if channels not in {1, 2, 3} else (5, 4)
        for shape in shapes:
            if sum(size > 1 for size in shape) > 1:
                inner = shape[1:] if shape[0] == 1 else shape
                return [((_BATCH, *inner), None)]
        layouts: list[tuple[tuple[int, ...], int | None]] = [
            ((_BATCH, channels, tall, wide), 1),
            ((_BATCH, channels), 1),
            ((_BATCH, channels, tall), 1),
            ((_BATCH, tall, channels), 2),
            ((_BATCH, tall, wide, channels), 3),
            ((_BATCH, channels, tall, wide, tall), 1),
        ]
        rank = max((len(shape) for shape in shapes), default=0)
        if rank > 1:
            layouts.sort(key=lambda layout: len(layout[0]) != rank)
        return layouts

    # -- verdicts ----------------------------------------------------------------------------------------------------------

    def identify(self) -> Recognised | None:
        for shape, axis in self._layouts():
            x = self._input(shape)
            trained, evaluated = self.run(x, training=True), self.run(x, training=False)
            if trained is None or evaluated is None:
                continue
            if trained.shape != x.shape or not trained.is_floating_point():
                if self._affine:
                    continue  # parameters broadcast against a layout that they are not made for
                return None
            found = self._activation(x, trained, evaluated) or self._affine_map(x, trained, evaluated, axis)
            found = found or self._norm(shape, axis)
            if found is not None:
                return found
            if self._affine or not self._wide:
                return self._other_norm(x, trained)
        return None

    def _other_norm(self, x: torch.Tensor, trained: torch.Tensor) -> Recognised | None:
        """A class that calls itself a norm, keeps the shape and lets elements depend on each other, like EvoNorm."""
        if "norm" not in type(self._module).__name__.lower():
            return None
        corner = (0,) * x.dim()
        changed = x.clone()
        changed[corner] += 1
        y = self.run(changed, training=True)
        if y is None:
            return None
        moved = (y - trained).abs()
        moved[corner] = 0
        return Recognised("custom_norm", {"affine": self._affine}) if bool(moved.max() > 0) else None

    def _activation(self, x: torch.Tensor, trained: torch.Tensor, evaluated: torch.Tensor) -> Recognised | None:
        if not torch.equal(trained, evaluated) or len(self._wide) > 1:
            return None
        for (op, variant), function in ACTIVATIONS.items():
            if close(trained, function(x), SAME_FUNCTION):
                if op == "gelu":
                    return Recognised(op, {"approximate": variant})
                return Recognised(op, {"negative_slope": float(variant)} if op == "leaky_relu" else {})
        weights = list(self.copy(training=True).parameters())
        if len(weights) == 1 and weights[0].dim() <= 1 and weights[0].numel() in {1, x.shape[1]}:
            return Recognised("prelu") if close(trained, F.prelu(x, weights[0].detach().reshape(-1))) else None
        return None

    def _affine_map(self, x: torch.Tensor, trained: torch.Tensor, evaluated: torch.Tensor, axis: int | None) -> Recognised | None:
        """Identity, random dropping of whole samples, or one factor and offset per channel, the same in both modes."""
        still = close(evaluated, x)
        if still and close(trained, x):
            return Recognised("identity")
        if not self._tensors and still:
            return self._drop_path(x, trained)
        fitted = fit_affine(trained, x, axis)
        if fitted is not None and close(trained, evaluated) and self._fixed(fitted, x, axis):
            return Recognised("affine", {"affine": self._affine, "num_features": x.shape[axis] if axis is not None else None})
        return None

    def _fixed(self, fitted: tuple[torch.Tensor, torch.Tensor], x: torch.Tensor, axis: int | None) -> bool:
        """Whether slopes and offsets stay the same for another input."""
        again = self._input(tuple(x.shape)) + 3
        y = self.run(again, training=True)
        shape = [1, *x.shape[1:]] if axis is None else [size if place == axis else 1 for place, size in enumerate(x.shape)]
        slope, offset = (part.reshape(shape) for part in fitted)
        return y is not None and close(y, slope * again + offset)

    def _drop_path(self, x: torch.Tensor, trained: torch.Tensor) -> Recognised | None:
        factors = (trained.reshape(_BATCH, -1) * x.reshape(_BATCH, -1)).sum(1) / x.reshape(_BATCH, -1).square().sum(1)
        if not close(trained, x * factors.reshape(-1, *[1] * (x.dim() - 1))):
            return None
        kept = factors[factors.abs() > 1e-9]
        if len(kept) and not bool((kept - kept[0]).abs().max() < 1e-6):
            return None
        return Recognised("drop_path", {"p": round(1 - 1 / float(kept[0]), 6)} if len(kept) else {})

    def _norm(self, shape: tuple[int, ...], axis: int | None) -> Recognised | None:
        x = self._input(shape) * _LARGE
        y = self.run(x, training=True)
        again = self.run(x * 2, training=True)
        if y is None or again is None or not close(again, y):
            return None  # a normalization does not see the scale of its input
        found = self._statistics(x, y, axis)
        if found is None:
            return None
        op, axes, feature, centred = found
        rank = x.dim()
        attrs: dict[str, Any] = {"affine": self._affine, "handwritten": True}
        eps = self._eps(x, axes, feature, centred=centred) if op != "group_norm" else self._eps_attribute()
        if eps is not None:
            attrs["eps"] = eps
        measured: dict[int, tuple[int, ...]] = {}
        if op in {"batch_norm", "instance_norm"}:
            attrs["num_features"] = x.shape[axis if axis is not None else 1] if self._wide else None
        if op == "batch_norm":
            attrs.update(self._batch_norm(x))
            measured = self._axes_by_rank(axis)
        elif op == "group_norm":
            attrs.update(num_groups=axes[0], num_channels=x.shape[1])
        elif op in {"layer_norm", "rms_norm"}:
            sizes = [x.shape[a] for a in axes]
            attrs["normalized_shape"] = sizes
            if axes != tuple(range(rank - len(axes), rank)) or (axes == (1,) and axis == 1 and rank > 2):
                attrs["axes"] = list(axes)
        return Recognised(op, {key: value for key, value in attrs.items() if value is not None}, measured)

    def _statistics(self, x: torch.Tensor, y: torch.Tensor, axis: int | None) -> tuple[str, tuple[int, ...], int | None, bool] | None:
        """Operation, statistic axes (the number of groups for group norm), feature axis, and whether the mean is removed."""
        rank = x.dim()
        features = [axis] if self._wide else [1, rank - 1]
        for axes in statistic_axes(rank):
            for feature in dict.fromkeys(features):
                for centred in (True, False):
                    if fit_affine(y, normalized(x, axes, centred=centred), feature) is not None:
                        op = _operation(axes, rank, feature, centred=centred)
                        if op == "group_norm":
                            return op, (1,), feature, centred
                        return (op, axes, feature, centred) if op else None
        channels = x.shape[1]
        if rank > 2:
            for groups in (2, 4, 8, 16, 32, 3, 6, 12, 24, 64, channels // 2):
                if 1 < groups < channels and channels % groups == 0 and fit_affine(y, groups_normalized(x, groups), axis) is not None:
                    return "group_norm", (groups,), axis, True
        return None

    # -- details -----------------------------------------------------------------------------------------------------------

    def _eps_attribute(self) -> float | None:
        for name in _EPS_NAMES:
            value = getattr(self._module, name, None)
            if isinstance(value, (int, float)) and not isinstance(value, bool):
                return float(value)
        return None

    def _eps(self, x: torch.Tensor, axes: tuple[int, ...], feature: int | None, *, centred: bool) -> float | None:
        """``eps`` by name, else from how much an input of small variance is amplified."""
        named = self._eps_attribute()
        if named is not None:
            return named
        unit = normalized(x, axes, centred=centred)
        slopes: list[torch.Tensor] = []
        small = 1e-3
        for scale in (1e3, small):
            y = self.run(unit * scale, training=True)
            fitted = None if y is None else fit_affine(y, unit, feature)
            if fitted is None:
                return None
            slopes.append(fitted[0])
        ratio = float((slopes[1] / slopes[0]).median())
        return eps_from_ratio(ratio, small**2)

    def _batch_norm(self, x: torch.Tensor) -> dict[str, Any]:
        """What a hand-written batch norm does with running statistics."""
        module = self.copy(training=True)
        before = {name: value.clone() for name, value in _state(module).items()}
        self._run(module, x, training=True)
        after = _state(module)
        moved = any(
            name in after and not torch.equal(after[name].to(value.dtype), value) for name, value in before.items() if value.numel() > 1
        )
        peers = x.clone()
        peers[1:] = self._input(tuple(x.shape))[1:] * 3 + 1
        alone, among = self.run(x, training=False), self.run(peers, training=False)
        dependence = None
        if alone is not None and among is not None:
            dependence = float((alone[0] - among[0]).abs().max())
        return {
            "has_buffers": any(value.numel() > 1 for value in before.values()),
            "updates_running_stats": moved,
            "uses_running_stats": dependence is not None and dependence < 1e-6,
            "track_running_stats": moved,
            "peer_dependence": dependence,
        }

    def _axes_by_rank(self, axis: int | None) -> dict[int, tuple[int, ...]]:
        found: dict[int, tuple[int, ...]] = {}
        for shape, feature in self._layouts():
            if feature != axis:
                continue
            x = self._input(shape) * _LARGE
            y = self.run(x, training=True)
            known = None if y is None or y.shape != x.shape else self._statistics(x, y, feature)
            if known is not None and known[0] == "batch_norm":
                found[x.dim()] = known[1]
        return found


def _state(module: nn.Module) -> dict[str, torch.Tensor]:
    """Buffers and plain tensor attributes: what a layer may keep statistics in."""
    held = {**module._buffers, **vars(module)}  # noqa: SLF001
    return {name: value for name, value in held.items() if isinstance(value, torch.Tensor) and not isinstance(value, nn.Parameter)}


def _operation(axes: tuple[int, ...], rank: int, feature: int | None, *, centred: bool) -> str | None:
    """Name of a normalization whose statistics are over ``axes`` of an input of ``rank`` axes."""
    if 0 in axes:
        return "batch_norm" if centred else None
    if not centred:
        return "rms_norm"
    if rank > 2 and axes == tuple(range(2, rank)) and feature == 1:
        return "instance_norm"
    if rank > 2 and axes == tuple(range(1, rank)):
        return "group_norm"
    return "layer_norm"
