"""Exchanges between ranks that end in bounded time: with a result, or with an error that names the rank it failed for."""

from __future__ import annotations

import re
import time
from typing import TYPE_CHECKING, Any

import torch
import torch.distributed as dist

from normadvisor.errors import RankError
from normadvisor.probe.distributed.lookout import BEAT, Lookout

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

__all__ = ["PATIENCE", "Link"]

PATIENCE = 60.0
"""Seconds to wait for a rank that shows no progress."""
_SETTLE = 4 * BEAT
"""Seconds in which the cause of a lost connection comes to be known."""
_CONTACT = re.compile(r"gloo|nccl|connection (closed|reset|refused)|timed out|broken pipe|socket|store", re.IGNORECASE)
_ON_DEVICE = frozenset({"nccl", "xccl", "hccl"})
"""Backends that exchange nothing but tensors of an accelerator."""


class Link:
    """What connects the ranks.

    Args:
        group: the process group of all ranks.
        lookout: tells who lives and where they stand.
        patience: seconds to wait for a rank that shows no progress.

    """

    def __init__(self, group: dist.ProcessGroup, lookout: Lookout, patience: float = PATIENCE) -> None:
        self._group = group
        self.lookout = lookout
        self.patience = patience
        self.rank = dist.get_rank(group)
        self.world_size = dist.get_world_size(group)
        accelerator = dist.get_backend(group) in _ON_DEVICE
        self.device = torch.device("cuda", torch.cuda.current_device()) if accelerator else torch.device("cpu")
        """Where tensors must be to be exchanged."""

    def sum(self, tensor: torch.Tensor) -> torch.Tensor:
        """Sum over the ranks, in place; ``tensor`` is on :attr:`device` (any device for gloo) and of the same shape everywhere.

        Raises:
            RankError: a rank is gone, or does not answer in time.

        """
        return self._reduce(tensor, dist.ReduceOp.SUM)

    def max(self, tensor: torch.Tensor) -> torch.Tensor:
        """Largest values over the ranks, otherwise as :meth:`sum`; NaN only where it wins by chance: mask it before."""
        return self._reduce(tensor, dist.ReduceOp.MAX)

    def broadcast(self, tensor: torch.Tensor, source: int = 0) -> torch.Tensor:
        """Values of the rank ``source``, in place, otherwise as :meth:`sum`."""
        self._finish(lambda: dist.broadcast(tensor, source, group=self._group, async_op=True))
        return tensor

    def gather(self, data: bytes) -> list[bytes]:
        """What every rank gave, by rank, otherwise as :meth:`sum`."""
        sizes = torch.zeros(self.world_size, dtype=torch.int64, device=self.device)
        sizes[self.rank] = len(data)
        counts: list[int] = self.sum(sizes).tolist()
        mine = torch.zeros(max(*counts, 1), dtype=torch.uint8, device=self.device)
        if data:
            mine[: len(data)] = torch.frombuffer(bytearray(data), dtype=torch.uint8).to(self.device)
        parts = [torch.empty_like(mine) for _ in counts]
        self._finish(lambda: dist.all_gather(parts, mine, group=self._group, async_op=True))
        return [part[:count].cpu().numpy().tobytes() for part, count in zip(parts, counts, strict=True)]

    def share(self, data: bytes) -> bytes:
        """What rank 0 gave, otherwise as :meth:`sum`."""
        size = int(self.broadcast(torch.tensor([len(data)], device=self.device)).item())
        values = torch.zeros(size, dtype=torch.uint8, device=self.device)
        if data and self.rank == 0:
            values.copy_(torch.frombuffer(bytearray(data), dtype=torch.uint8))
        return self.broadcast(values).cpu().numpy().tobytes()

    def together(self, problem: str | None) -> None:
        """Go on where no rank has a problem, or all have one, each its own; else stop on every rank.

        Raises:
            RankError: ``problem`` of the first rank that has one.

        """
        flags = torch.zeros(self.world_size, dtype=torch.int8, device=self.device)
        flags[self.rank] = problem is not None
        having: list[int] = self.sum(flags).nonzero().flatten().tolist()
        if len(having) in {0, self.world_size}:
            return
        text = self.gather((problem or "").encode())[having[0]].decode()
        self.lookout.tell(text, rank=having[0])
        raise RankError(text)

    def explained(self, error: BaseException) -> RankError | None:
        """The error of another rank that ``error`` is a mere consequence of; ``None`` where this rank itself failed."""
        if isinstance(error, RankError):
            return error
        if not _is_contact_lost(error):
            # It may have been caused by another rank's all the same, and been put into other words on its way.
            causes = _causes(error)
            known = next((cause for cause in causes if isinstance(cause, RankError)), None)
            if known is not None or not any(map(_is_contact_lost, causes)):
                return known
        self.lookout.meetings += 1
        self.lookout.waits = True
        before = self._beats()
        end = time.monotonic() + _SETTLE
        while time.monotonic() < end:
            if (found := self.lookout.heard()) is not None:
                return found.error()
            time.sleep(BEAT / 5)
        after = self._beats()
        if after is None:
            return self.lookout.unreachable().error()
        gone = [rank for rank, beats in after.items() if rank != self.rank and (before or {}).get(rank) == beats]
        if gone:
            who = f"rank {gone[0]} is" if len(gone) == 1 else f"ranks {_listed(gone)} are"
            return self._give_up(f"{who} gone: the connection is closed, while others are at {self.lookout.where}", gone[0])
        return self._late() or RankError(
            f"rank {self.rank} lost contact to the other ranks at {self.lookout.where}: {' '.join(str(error).split())[:300]}"
        )

    def _beats(self) -> dict[int, int] | None:
        try:
            return {rank: int(said["beats"]) for rank, said in self.lookout.standing().items()}
        except RuntimeError:
            return None

    def _reduce(self, tensor: torch.Tensor, op: Any) -> torch.Tensor:
        self._finish(lambda: dist.all_reduce(tensor, op=op, group=self._group, async_op=True))
        return tensor

    def _finish(self, start: Any) -> None:
        """Start an exchange and wait for it, looking after the others meanwhile.

        Raises:
            RankError: a rank is gone, or does not answer in time.

        """
        lookout = self.lookout
        if lookout.trouble is not None:
            raise lookout.trouble.error()
        lookout.meetings += 1
        try:
            work = start()
            if work is not None:
                self._wait(work)
        except RuntimeError as error:
            raise self.explained(error) or error from error
        finally:
            lookout.waits = False

    def _wait(self, work: dist.Work) -> None:
        pause, begin = 5e-5, time.monotonic()
        look, deadline, progress = begin + 4 * BEAT, begin + self.patience, None
        while not work.is_completed():
            time.sleep(pause)
            pause = min(2 * pause, 0.02)
            now = time.monotonic()
            if now < look:
                continue
            self.lookout.waits = True
            look = now + BEAT
            if (found := self.lookout.heard()) is not None:
                raise found.error()
            if (gone := self.lookout.silent()):
                raise self._give_up(_gone_words(gone, self.lookout.where), min(gone))
            shown = self._progress()
            if shown != progress:
                progress, deadline = shown, now + self.patience
            elif now > deadline:
                raise self._late() or self._give_up(f"the ranks do not come together at {self.lookout.where}", self.rank)
        work.wait()

    def _progress(self) -> Sequence[tuple[int, int]] | None:
        try:
            return [(said["turn"], said["meetings"]) for _, said in sorted(self.lookout.standing().items())]
        except RuntimeError:
            return None

    def _late(self) -> RankError | None:
        """Name the ranks that others wait for; ``None`` where all wait, or nobody can tell."""
        if (gone := self.lookout.silent()):
            return self._give_up(_gone_words(gone, self.lookout.where), min(gone))
        try:
            standing = self.lookout.standing()
        except RuntimeError:
            return None
        late = {
            rank: said
            for rank, said in standing.items()
            if rank != self.rank and (not said["waits"] or said["meetings"] < self.lookout.meetings)
        }
        if not late:
            return None
        first = min(late)
        who = f"rank {first} does" if len(late) == 1 else f"ranks {_listed(late)} do"
        place = late[first]["frame"]
        at = f"{late[first]['where']}, in {place}" if place else late[first]["where"]
        of = "it is" if len(late) == 1 else f"rank {first} is"
        return self._give_up(f"{who} not go on: {of} at {at}, while others have waited {self.patience:g} s at {self.lookout.where}", first)

    def _give_up(self, text: str, rank: int) -> RankError:
        return self.lookout.tell(text, rank=rank, fatal=True).error()


def _causes(error: BaseException) -> list[BaseException]:
    found: list[BaseException] = []
    cause = error.__cause__
    while cause is not None and cause not in found:
        found.append(cause)
        cause = cause.__cause__
    return found


def _is_contact_lost(error: BaseException) -> bool:
    return isinstance(error, RuntimeError) and (isinstance(error, dist.DistError) or _CONTACT.search(str(error)) is not None)


def _gone_words(gone: dict[int, float], where: str) -> str:
    first = min(gone)
    who = f"rank {first} is gone" if len(gone) == 1 else f"ranks {_listed(gone)} are gone"
    return f"{who}: no sign of life for {gone[first]:.0f} s, while others wait at {where}"


def _listed(ranks: Iterable[int], most: int = 8) -> str:
    names = [str(rank) for rank in sorted(ranks)]
    return ", ".join(names[:most]) + (f" and {len(names) - most} more" if len(names) > most else "")
