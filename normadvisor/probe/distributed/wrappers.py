"""What wraps a model for training on several devices, and how many ranks hold the same part of its parameters."""

from __future__ import annotations

from math import prod
from typing import Any

import torch
import torch.distributed as dist
from torch import nn
from torch.distributed.fsdp import FSDPModule, FullyShardedDataParallel, ShardingStrategy
from torch.distributed.tensor import DTensor
from torch.nn.parallel import DistributedDataParallel
from torch.nn.utils import parametrize

from normadvisor.probe.recording.layers import find_layers, unwrapped, walk

__all__ = ["bare", "copies", "exchanges", "flat_sizes", "has_nameless_parameters"]

_HYBRID = (ShardingStrategy.HYBRID_SHARD, ShardingStrategy._HYBRID_SHARD_ZERO2)  # noqa: SLF001 - the name that users write too


def exchanges(model: nn.Module) -> bool:
    """Whether passes through the model exchange gradients or parameters with other ranks by themselves."""
    return any(isinstance(module, DistributedDataParallel | FullyShardedDataParallel | FSDPModule) for module in model.modules())


def bare(model: nn.Module) -> nn.Module:
    """The model below ``DistributedDataParallel``; one that is sharded as it is."""
    while isinstance(model, DistributedDataParallel):
        model = model.module
    return model


def copies(model: nn.Module, world_size: int) -> dict[str, int | None]:
    """By name of each module that holds parameters itself: how many ranks hold the same elements of them.

    ``world_size`` where every rank holds all of them, 1 where each rank has its own part (FSDP), in between where groups of ranks have the
    same part (HSDP), ``None`` where that differs between the parameters of one module.
    """
    flat = _flat(model, world_size)
    found: dict[str, set[int]] = {}
    # Of every layer that holds a parameter: which of them it is counted with shows when they run.
    for module, layer in find_layers(unwrapped(model)).items():
        own = [*module.parameters(recurse=False)]
        if parametrize.is_parametrized(module):
            own += module.parametrizations.parameters()  # type: ignore[union-attr]
        if own:
            found[layer.name] = flat.get(id(module)) or {_of(parameter, world_size) for parameter in own}
    return {name: numbers.pop() if len(numbers) == 1 else None for name, numbers in found.items()}


def _of(tensor: torch.Tensor, world_size: int) -> int:
    if not isinstance(tensor, DTensor):
        return world_size
    mesh = tensor.device_mesh
    return prod(mesh.size(dim) for dim, place in enumerate(tensor.placements) if place.is_replicate()) * (world_size // mesh.size())


def _flat(model: nn.Module, world_size: int) -> dict[int, set[int]]:
    """The same for modules whose parameters the first version of FSDP has made one flat one, by identity."""
    found: dict[int, set[int]] = {}
    for wrapper in FullyShardedDataParallel.fsdp_modules(model):
        handle = wrapper._handle  # noqa: SLF001 - there is no public way from a flat parameter to the modules
        if handle is None:
            continue
        if wrapper.sharding_strategy is ShardingStrategy.NO_SHARD:
            number = world_size
        elif wrapper.sharding_strategy in _HYBRID:
            number = world_size // dist.get_world_size(wrapper.process_group)
        else:
            number = 1
        flat = handle.flat_param
        infos: list[Any] = [*flat._param_infos, *flat._shared_param_infos]  # noqa: SLF001
        for info in infos:
            found.setdefault(id(info.module), set()).add(number)
    return found


def flat_sizes(model: nn.Module) -> dict[str, tuple[int, int]]:
    """By name of each layer whose parameters FSDP's first version has cut into parts: how many values all of them have, and trainable ones.

    Elsewhere the parameters themselves tell: a ``DTensor`` knows the size of the whole.
    """
    names = {id(module): name for name, module in walk(unwrapped(model))}
    found: dict[str, tuple[int, int]] = {}
    for wrapper in FullyShardedDataParallel.fsdp_modules(model):
        if wrapper._handle is None:  # noqa: SLF001
            continue
        flat: Any = wrapper._handle.flat_param  # noqa: SLF001
        parameters = flat._params or [flat] * len(flat._shapes)  # noqa: SLF001 - there are none without use_orig_params
        for info, shape, parameter in zip(flat._param_infos, flat._shapes, parameters, strict=True):  # noqa: SLF001
            number, name = shape.numel(), names.get(id(info.module), "")
            all_values, trainable = found.get(name, (0, 0))
            found[name] = all_values + number, trainable + (number if parameter.requires_grad else 0)
    return found


def has_nameless_parameters(model: nn.Module) -> bool:
    """Whether FSDP's first version has made parameters one without leaving them to their layers (``use_orig_params=False``)."""
    return any(
        wrapper._handle is not None and not wrapper._use_orig_params  # noqa: SLF001
        for wrapper in FullyShardedDataParallel.fsdp_modules(model)
    )
