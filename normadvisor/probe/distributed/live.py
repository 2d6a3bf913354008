"""Find the ranks that a live model is trained on. Costs nothing where there is but one process."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING

from normadvisor.errors import TraceError
from normadvisor.probe.distributed.ranks import ALONE, Ranks

if TYPE_CHECKING:
    from torch import nn

__all__ = ["flat_dims", "is_sharded", "live_ranks", "refuse_sharded", "replica", "reshard"]

_PATIENCE = 60.0


def is_sharded(model: nn.Module) -> bool:
    """Whether FSDP, of either version, has cut the parameters of the model or of a part of it into shards."""
    fsdp = sys.modules.get("torch.distributed.fsdp")
    if fsdp is None:  # then nothing was wrapped
        return False
    kinds = tuple(kind for name in ("FullyShardedDataParallel", "FSDPModule") if isinstance(kind := getattr(fsdp, name, None), type))
    return any(isinstance(module, kinds) for module in model.modules())


def refuse_sharded(model: nn.Module) -> None:
    """Raise an error for a model that no single process can trace.

    Raises:
        TraceError: its parameters are cut into shards.

    """
    if is_sharded(model):
        hint = "check it before it is wrapped; it can be measured with batches of yours"
        raise TraceError("the model is sharded by FSDP, which runs it on all ranks at once only, so it cannot be traced", hint=hint)


def reshard(model: nn.Module) -> None:
    """Give up the whole parameters that FSDP's second version keeps after a forward pass, in expectation of a backward pass.

    What the model holds are shards then, as FSDP itself believes: to be called before they are looked at or put back.
    """
    fsdp = sys.modules.get("torch.distributed.fsdp")
    kind = getattr(fsdp, "FSDPModule", None)
    if isinstance(kind, type):
        for module in model.modules():
            if isinstance(module, kind):
                module.reshard()  # type: ignore[operator]


def flat_dims(model: nn.Module) -> dict[int, int]:
    """By identity of each parameter of which FSDP's first version has left a flat part: how many axes the whole has."""
    kind = getattr(sys.modules.get("torch.distributed.fsdp"), "FullyShardedDataParallel", None)
    if not isinstance(kind, type):
        return {}
    found: dict[int, int] = {}
    for module in model.modules():
        handle = getattr(module, "_handle", None) if isinstance(module, kind) else None
        if handle is not None and handle.flat_param._params is not None:  # noqa: SLF001 - nothing public tells the shapes
            found |= {id(each): len(shape) for each, shape in zip(handle.flat_param._params, handle.flat_param._shapes, strict=True)}  # noqa: SLF001
    return found


def replica(model: nn.Module) -> nn.Module:
    """The model below ``DistributedDataParallel``; any other as it is."""
    from torch.nn.parallel import DistributedDataParallel  # noqa: PLC0415 - as below

    while isinstance(model, DistributedDataParallel):
        model = model.module
    return model


@contextmanager
def live_ranks(model: nn.Module, *, patience: float | None = None) -> Iterator[Ranks]:
    """Ranks of the default process group where ``DistributedDataParallel`` or FSDP wraps the model; else this process alone.

    All ranks have to probe such a model: its passes are exchanges between them, which meanwhile time out after ``patience`` seconds, a
    minute when ``None``. A model that is not wrapped is this process's own matter, and may be probed on one rank only.

    Raises:
        RankError: a rank has failed, hangs, or does not probe the model.

    """
    import torch.distributed as dist  # noqa: PLC0415 - builds of torch without it exist

    if not dist.is_available() or not dist.is_initialized() or dist.get_world_size() == 1:
        yield ALONE
        return
    from normadvisor.probe.distributed.meeting import live_group  # noqa: PLC0415 - FSDP takes a second to import
    from normadvisor.probe.distributed.wrappers import exchanges  # noqa: PLC0415

    if not exchanges(model):
        yield ALONE
        return
    with live_group(patience=_PATIENCE if patience is None else patience) as ranks:
        yield ranks
