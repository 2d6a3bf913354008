"""What wraps a model for training on several devices, and how many ranks hold the same part of its parameters."""

from __future__ import annotations

from collections.abc import Iterator
from math import prod
from typing import Any

import torch
import torch.distributed as dist
from torch import nn
from torch.distributed.fsdp import FSDPModule, FullyShardedDataParallel, ShardingStrategy
from torch.distributed.tensor import DTensor
from torch.nn.parallel import DistributedDataParallel

__all__ = ["bare", "copies", "exchanges", "named_modules"]

_HYBRID = (ShardingStrategy.HYBRID_SHARD, ShardingStrategy._HYBRID_SHARD_ZERO2)  # noqa: SLF001 - the name that users write too


def exchanges(model: nn.Module) -> bool:
    """Whether passes through the model exchange gradients or parameters with other ranks by themselves."""
    return any(isinstance(module, DistributedDataParallel | FullyShardedDataParallel | FSDPModule) for module in model.modules())


def bare(model: nn.Module) -> nn.Module:
    """The model below ``DistributedDataParallel``; one that is sharded as it is."""
    while isinstance(model, DistributedDataParallel):
        model = model.module
    return model


def named_modules(model: nn.Module) -> Iterator[tuple[str, nn.Module]]:
    """All modules by their names without wrappers, each once, the wrappers themselves left out."""
    seen: set[int] = set()
    waiting = [("", model)]
    while waiting:
        name, module = waiting.pop()
        if id(module) in seen:
            continue
        seen.add(id(module))
        inner = _wrapped(module)
        if inner is not None:
            waiting.append((name, inner))
            continue
        yield name, module
        children = [(f"{name}.{key}" if name else key, child) for key, child in module.named_children()]
        waiting.extend(reversed(children))


def _wrapped(module: nn.Module) -> nn.Module | None:
    """What a wrapper wraps; ``None`` where ``module`` is none."""
    if isinstance(module, nn.DataParallel | DistributedDataParallel | FullyShardedDataParallel):
        return module.module  # type: ignore[no-any-return, unused-ignore]
    for key in ("_orig_mod", "_checkpoint_wrapped_module"):  # torch.compile, activation checkpointing
        inner = module._modules.get(key)  # noqa: SLF001 - the attribute itself would be looked up in the wrapped module
        if inner is not None:
            return inner
    return None


def copies(model: nn.Module, world_size: int) -> dict[str, int | None]:
    """By name of each module that holds parameters itself: how many ranks hold the same elements of them.

    ``world_size`` where every rank holds all of them, 1 where each rank has its own part (FSDP), in between where groups of ranks have the
    same part (HSDP), ``None`` where that differs between the parameters of one module.
    """
    flat = _flat(model, world_size)
    found: dict[str, int | None] = {}
    for name, module in named_modules(model):
        own = [parameter for parameter in module._parameters.values() if parameter is not None]  # noqa: SLF001 - also those that are shared
        numbers = flat.get(id(module)) or {_of(parameter, world_size) for parameter in own}
        if numbers:
            found[name] = numbers.pop() if len(numbers) == 1 else None
    return found


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
        infos: list[Any] = [*handle.flat_param._param_infos, *handle.flat_param._shared_param_infos]  # noqa: SLF001
        for info in infos:
            found.setdefault(id(info.module), set()).add(number)
    return found
