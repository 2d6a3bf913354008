"""Where this process stands among several that run together, as ``torchrun`` tells it in the environment. Imports no torch."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Self

from normadvisor.errors import UsageError

__all__ = ["RankEnvironment"]

_HIGHEST_PORT = 65535


@dataclass(frozen=True, slots=True, kw_only=True)
class RankEnvironment:
    """One of several processes, and where they meet."""

    rank: int
    world_size: int
    local_rank: int
    """Position among the processes of this machine: the number of its GPU."""
    local_world_size: int
    address: str
    """Host where the processes meet."""
    port: int
    agent_store: bool
    """Whether ``torchrun`` itself serves the meeting point; else rank 0 does."""
    attempt: int = 0
    """How often ``torchrun`` has started anew."""

    @classmethod
    def read(cls, environ: Mapping[str, str]) -> Self | None:
        """Read the variables that ``torchrun`` sets, and that others set likewise for ``init_method="env://"``.

        Returns:
            ``None`` where there is only this process.

        Raises:
            UsageError: some of them are missing or make no sense.

        """
        if "RANK" not in environ and "WORLD_SIZE" not in environ:
            return None
        world_size = _number(environ, "WORLD_SIZE", low=1)
        rank = _number(environ, "RANK", low=0)
        if rank >= world_size:
            raise UsageError(f"RANK is {rank}, but WORLD_SIZE is {world_size}", hint="ranks count from 0; start the command with torchrun")
        if world_size == 1:
            return None
        address = environ.get("MASTER_ADDR", "")
        if not address:
            raise UsageError("MASTER_ADDR is not set, so the processes cannot meet", hint="start the command with torchrun")
        local_rank = _number(environ, "LOCAL_RANK", low=0, default=rank)
        return cls(
            rank=rank, world_size=world_size, local_rank=local_rank,
            local_world_size=_number(environ, "LOCAL_WORLD_SIZE", low=1, default=max(world_size, local_rank + 1)), address=address,
            port=_number(environ, "MASTER_PORT", low=1, high=_HIGHEST_PORT),
            agent_store=environ.get("TORCHELASTIC_USE_AGENT_STORE") == "True",
            attempt=_number(environ, "TORCHELASTIC_RESTART_COUNT", low=0, default=0),
        )  # fmt: skip


def _number(environ: Mapping[str, str], name: str, *, low: int, high: int | None = None, default: int | None = None) -> int:
    text = environ.get(name)
    if text is None and default is not None:
        return default
    hint = "start the command with torchrun"
    if text is None:
        raise UsageError(f"{name} is not set, but other variables say that several processes run together", hint=hint)
    try:
        number = int(text)
    except ValueError:
        number = low - 1
    if number < low or (high is not None and number > high):
        raise UsageError(f"{name} is '{text}', which is no number in its range", hint=hint)
    return number
