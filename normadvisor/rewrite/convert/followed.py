"""Norms that hold what runs behind them, as ``BatchNormAct2d`` of timm does: shown on random numbers, not told from names."""

from __future__ import annotations

import copy
from collections.abc import Callable, Hashable, Iterator, Mapping, Sequence, Sized
from itertools import permutations

import torch
from torch import Tensor, nn
from torch.nn.modules.batchnorm import _BatchNorm

from normadvisor.rewrite.convert.frozen import FrozenBatchNorm

__all__ = ["NormAct", "children_behind", "followed_by", "with_activation"]

_MOST_CHILDREN = 4
_SEED = 20
_SIDES = (3, 2, 2)
_BATCH = 3
_RANKS = (4, 3, 2, 5)
"""Numbers of axes that are tried until the layer takes one."""
_HOOKS = (
    "_forward_hooks", "_forward_pre_hooks", "_backward_hooks", "_backward_pre_hooks", "_forward_hooks_with_kwargs",
    "_forward_pre_hooks_with_kwargs", "_forward_hooks_always_called",
)  # fmt: skip
_NUMBERS = ("_parameters", "_buffers", "_modules", "num_features", "training")
_PLAIN = (bool, int, float, str, type(None))


class NormAct(nn.Module):
    """A norm that runs its children on what it gives, one after another.

    The norm's parameters stand in this module itself and the children under the names that they had, so the keys of the state are those of
    the layer that it takes the place of.
    """

    behind: tuple[str, ...] = ()
    """Names of the children in the order in which they run."""

    def forward(self, input: Tensor) -> Tensor:  # noqa: A002 - as torch calls it
        """Normalize, and run the children."""
        result: Tensor = super().forward(input)
        for name in self.behind:
            result = self._modules[name](result)  # type: ignore[misc]  # none of them is None
        return result


class GroupNormAct(NormAct, nn.GroupNorm):
    """``GroupNorm`` and what runs behind it."""


class LayerNormAct(NormAct, nn.LayerNorm):
    """``LayerNorm`` and what runs behind it."""


class SyncBatchNormAct(NormAct, nn.SyncBatchNorm):
    """``SyncBatchNorm`` and what runs behind it."""


class BatchNorm1dAct(NormAct, nn.BatchNorm1d):
    """``BatchNorm1d`` and what runs behind it."""


class BatchNorm2dAct(NormAct, nn.BatchNorm2d):
    """``BatchNorm2d`` and what runs behind it."""


class BatchNorm3dAct(NormAct, nn.BatchNorm3d):
    """``BatchNorm3d`` and what runs behind it."""


class FrozenBatchNormAct(NormAct, FrozenBatchNorm):
    """``FrozenBatchNorm`` and what runs behind it."""


class InstanceNorm1dAct(NormAct, nn.InstanceNorm1d):
    """``InstanceNorm1d`` and what runs behind it."""


class InstanceNorm2dAct(NormAct, nn.InstanceNorm2d):
    """``InstanceNorm2d`` and what runs behind it."""


class InstanceNorm3dAct(NormAct, nn.InstanceNorm3d):
    """``InstanceNorm3d`` and what runs behind it."""


_WITH: Mapping[type[nn.Module], type[NormAct]] = {cls.__bases__[1]: cls for cls in NormAct.__subclasses__()}


def with_activation(old: nn.Module, norm: nn.Module) -> nn.Module | None:
    """A norm for the place of a BatchNorm whose class may do more than normalize.

    Args:
        old: the layer that leaves; it is run on random numbers in a copy, and stays as it is.
        norm: what normalizes in its place; changed.

    Returns:
        ``norm`` where ``old`` only normalizes; a :class:`NormAct` with the very children of ``old`` where those run behind it; ``None``
        where ``old`` is not its norm followed by its children.

    """
    behind = children_behind(old)
    return None if behind is None else followed_by(norm, old, behind)


def followed_by(norm: nn.Module, old: nn.Module, behind: Sequence[str]) -> nn.Module | None:
    """``norm`` with children of ``old`` behind it; ``None`` if there is no class for that."""
    if not behind and not any(True for _ in old.children()):
        return norm
    cls = _WITH.get(type(norm))
    if cls is None:
        return None
    # Its state stays where it is: only what its forward does becomes more.
    norm.__class__ = cls
    norm.behind = tuple(behind)  # type: ignore[assignment]
    for name, child in old.named_children():
        norm._modules[name] = child  # noqa: SLF001 - as it stood there, whatever its name
    return norm


def children_behind(layer: nn.Module, known: dict[Hashable, tuple[str, ...] | None] | None = None) -> tuple[str, ...] | None:
    """Children of a BatchNorm that run behind it, in their order; ``None`` if its own ``forward`` does anything else.

    Outputs and running statistics in train and in eval mode are compared in float64, with random parameters, statistics and inputs, with
    those of torch's BatchNorm followed by the children. A ``SyncBatchNorm`` runs on accelerators only while it trains, so one that is
    derived from is compared in eval mode.

    Args:
        layer: stays as it is; a copy is run.
        known: answers for layers that are alive. Those that differ in their numbers and their width alone are compared once.

    """
    if not isinstance(layer, _BatchNorm):
        return None
    if type(layer).forward in {_BatchNorm.forward, nn.SyncBatchNorm.forward}:
        return ()
    if known is None:
        return _compared(layer)
    likeness = _likeness(layer)
    if likeness not in known:
        known[likeness] = _compared(layer)
    return known[likeness]


def _likeness(module: nn.Module) -> Hashable:
    """What modules share that run the same code with the same settings."""
    settings = []
    for name, value in vars(module).items():
        if name in _HOOKS or name in _NUMBERS:
            continue
        is_plain = isinstance(value, _PLAIN)
        settings.append((name, type(value), value if is_plain else len(value) if isinstance(value, Sized) and not value else id(value)))
    held = (*module._parameters.items(), *module._buffers.items())  # noqa: SLF001
    children = tuple((name, child and _likeness(child)) for name, child in module._modules.items())  # noqa: SLF001
    return (type(module), tuple(settings), tuple((name, value is None) for name, value in held), children)


def _compared(layer: _BatchNorm) -> tuple[str, ...] | None:
    names = tuple(name for name, _ in layer.named_children())
    if len(names) > _MOST_CHILDREN:
        return None
    try:
        trial = _random_copy(layer)
        value = _input(trial)
        if value is None:
            return None
        modes = (False,) if isinstance(layer, nn.SyncBatchNorm) else (True, False)
        wanted = [_own(trial, value, training=mode) for mode in modes]
        return next((order for order in _orders(names) if _gives(trial, value, order, modes, wanted)), None)
    except Exception:  # noqa: BLE001 - code of the model's own, which may raise anything
        return None


_Outcome = tuple[Tensor, list[Tensor]]


def _orders(names: tuple[str, ...]) -> Iterator[tuple[str, ...]]:
    """All children first, in the order in which they were added; then fewer of them, for those that stand there unused."""
    for count in range(len(names), -1, -1):
        yield from permutations(names, count)


def _random_copy(layer: nn.Module) -> nn.Module:
    """A copy in float64 on the CPU, without hooks, with random numbers in the place of its own."""
    trial = copy.deepcopy(layer)
    is_meta = any(value.is_meta for value in (*trial.parameters(), *trial.buffers()))
    trial = trial.to_empty(device="cpu") if is_meta else trial.cpu()
    trial.double()
    generator = torch.Generator().manual_seed(_SEED)
    with torch.no_grad():
        for value in (*trial.parameters(), *trial.buffers()):
            if value.is_floating_point():
                value.copy_(torch.rand(value.shape, generator=generator, dtype=torch.float64) + 0.5)
            else:
                value.zero_()
    for module in trial.modules():
        for name in _HOOKS:
            if name in vars(module):
                vars(module)[name] = type(vars(module)[name])()
    return trial


def _input(trial: nn.Module) -> Tensor | None:
    """Random numbers in the first shape that the layer takes."""
    generator = torch.Generator().manual_seed(_SEED + 1)
    channels = int(trial.num_features)  # type: ignore[arg-type]
    for rank in _RANKS:
        value = torch.randn((_BATCH, channels, *_SIDES[: rank - 2]), generator=generator, dtype=torch.float64) * 3 + 1
        try:
            _own(trial, value, training=False)
        except Exception:  # noqa: BLE001, S112 - another rank may do
            continue
        return value
    return None


def _own(trial: nn.Module, value: Tensor, *, training: bool) -> _Outcome:
    """What the layer's own ``forward`` gives."""
    layer = copy.deepcopy(trial).train(training)
    return _run(layer, lambda: layer.forward(value.clone()))


def _gives(trial: nn.Module, value: Tensor, order: Sequence[str], modes: Sequence[bool], wanted: Sequence[_Outcome]) -> bool:
    """Whether torch's BatchNorm followed by children in that order is the same as the layer's own ``forward``."""
    for mode, (output, buffers) in zip(modes, wanted, strict=True):
        layer = copy.deepcopy(trial).train(mode)

        def composed(layer: nn.Module = layer) -> Tensor:
            result: Tensor = _BatchNorm.forward(layer, value.clone())  # type: ignore[arg-type]
            for name in order:
                result = getattr(layer, name)(result)
            return result

        try:
            found, moved = _run(layer, composed)
        except Exception:  # noqa: BLE001 - a child that does not take what the norm gives
            return False
        pairs = zip([output, *buffers], [found, *moved], strict=True)
        if not all(first.shape == second.shape and torch.allclose(first, second, rtol=1e-12, atol=1e-12) for first, second in pairs):
            return False
    return True


def _run(layer: nn.Module, forward: Callable[[], Tensor]) -> _Outcome:
    with torch.no_grad(), torch.random.fork_rng(devices=[]):
        # Not torch.manual_seed, which seeds every accelerator as well.
        torch.default_generator.manual_seed(_SEED)
        output = forward()
    return output, list(layer.buffers())
