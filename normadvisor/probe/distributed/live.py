"""Find the ranks that a live model is trained on. Costs nothing where there is but one process."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING

from normadvisor.probe.distributed.ranks import ALONE, Ranks

if TYPE_CHECKING:
    from torch import nn

__all__ = ["live_ranks"]

_PATIENCE = 60.0


@contextmanager
def live_ranks(model: nn.Module, *, patience: float = _PATIENCE) -> Iterator[Ranks]:
    """Ranks of the default process group where ``DistributedDataParallel`` or FSDP wraps the model; else this process alone.

    All ranks have to probe such a model: its passes are exchanges between them. Meanwhile exchanges of the process group time out after
    ``patience`` seconds. A model that is not wrapped is this process's own matter, and may be probed on one rank only.

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
    with live_group(patience=patience) as ranks:
        yield ranks
