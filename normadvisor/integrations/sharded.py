"""Models of which each process holds a part: what the processes measured of their parts is added up."""

from __future__ import annotations

import sys
from collections.abc import Callable

import torch

__all__ = ["adder", "is_sharded", "processes"]


def processes() -> tuple[int, int]:
    """Rank of this process among those that train together, and how many there are; 0 and 1 where it is alone."""
    if not (torch.distributed.is_available() and torch.distributed.is_initialized()):
        return 0, 1
    return torch.distributed.get_rank(), torch.distributed.get_world_size()


def is_sharded(model: torch.nn.Module) -> bool:
    """Whether FSDP, of either version, or a tensor that is distributed holds parameters of the model."""
    if processes()[1] == 1 or not {"torch.distributed.fsdp", "torch.distributed.tensor"} & set(sys.modules):
        return False
    from torch.distributed.fsdp import FSDPModule, FullyShardedDataParallel  # noqa: PLC0415 - known to be loaded
    from torch.distributed.tensor import DTensor  # noqa: PLC0415

    wrapped = any(isinstance(module, FullyShardedDataParallel | FSDPModule) for module in model.modules())
    return wrapped or any(isinstance(parameter, DTensor) for parameter in model.parameters())


def adder(model: torch.nn.Module) -> Callable[[torch.Tensor], None]:
    """What adds up, in place, sums over parameters, one block per parameter, over all processes.

    Parameters that several processes hold alike count once. All processes have to call it for the same steps, which they do because they
    count the same steps.
    """
    from normadvisor.probe.distributed.wrappers import copies  # noqa: PLC0415 - FSDP takes a second to import
    from normadvisor.probe.recording.layers import find_layers, held_parameters, unwrapped  # noqa: PLC0415

    _, world_size = processes()
    numbers = copies(model, world_size)
    held, _ = held_parameters(find_layers(unwrapped(model)))
    # Of a layer whose parameters are spread in different ways nothing is told: a weight of 0 leaves it out.
    shares = torch.tensor([1 / number if (number := numbers[each.layer.name]) else 0.0 for each in held], dtype=torch.float64)
    device = "cuda" if torch.distributed.get_backend() == "nccl" else "cpu"

    def add_up(sums: torch.Tensor) -> None:
        blocks = sums.view(len(shares), -1)
        part = (blocks * shares[:, None]).to(device)
        torch.distributed.all_reduce(part)
        blocks.copy_(part)
        blocks[:, 3:].round_()  # counts

    return add_up
