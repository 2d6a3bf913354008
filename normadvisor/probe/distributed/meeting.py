"""How ranks come together and part: in a process of our own, or in the user's, where they have met already."""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from datetime import timedelta
from itertools import count
from typing import Any

import torch
import torch.distributed as dist
from torch._C._distributed_c10d import PrefixStore, Store, TCPStore

from normadvisor.config.ranks import RankEnvironment
from normadvisor.errors import RankError
from normadvisor.probe.distributed.group import GroupRanks
from normadvisor.probe.distributed.link import PATIENCE, Link
from normadvisor.probe.distributed.lookout import BEAT, Lookout, Trouble, note_trouble
from normadvisor.probe.distributed.ranks import Ranks

__all__ = ["announce", "join", "live_group", "rank_device"]

_LEAVING = 5.0
"""Seconds rank 0 waits for others to leave where it serves the meeting point."""
_ANNOUNCING = 5.0
_NEVER = 86_400.0
_LIVE = count(1)
"""Probes of live models in this process: all ranks count alike."""


def rank_device(environment: RankEnvironment, wanted: str = "auto") -> str:
    """The device of this rank: a GPU of its own where there are any and they are wanted.

    Args:
        environment: where this process stands.
        wanted: as ``--device``: ``auto``, ``cpu``, ``cuda``, or a device with a number, which is taken as it is.

    """
    if wanted == "cpu" or ":" in wanted or not torch.cuda.is_available():
        return "cpu" if wanted == "auto" else wanted
    return f"cuda:{environment.local_rank % torch.cuda.device_count()}"


@contextmanager
def join(
    environment: RankEnvironment, *, run: str, device: str = "cpu", patience: float = PATIENCE,
    arrival: float | None = None, on_trouble: Callable[[Trouble], None] | None = None,
) -> Iterator[Ranks]:  # fmt: skip
    """Make the process group of all ranks, for the length of the block.

    Whatever fails on one rank ends the block on all of them: there with the exception itself, elsewhere with an error that names the rank.

    Args:
        environment: where this process stands.
        run: what the ranks meet for; the same on all of them, and another one each time.
        device: of the model: CUDA is spoken to through NCCL where each rank of a machine has a GPU of its own, else through gloo.
        patience: seconds to wait for a rank that shows no progress.
        arrival: seconds to wait for all to come; as long as ``patience`` when ``None``.
        on_trouble: called in a thread when a rank has failed. Code that hangs cannot be interrupted: a process that belongs to the probe
            alone had better report the error and end itself.

    Raises:
        RankError: a rank has failed, hangs, does not come, or cannot be reached.

    """
    store, beats = _connect(environment, patience), _connect(environment, patience, server=False)
    lasting = _prefix(environment)
    prefix = f"{lasting}/{run}"
    lookout = Lookout(
        PrefixStore(prefix, beats), environment.rank, environment.world_size, lasting=PrefixStore(lasting, beats),
        served=not environment.agent_store, on_trouble=on_trouble,
    )  # fmt: skip
    lookout.start()
    try:
        _wait_for_all(lookout, patience if arrival is None else arrival)
        _make_group(environment, PrefixStore(f"{prefix}/group", store), device, patience)
        with _linked(lookout, patience) as ranks:
            yield ranks
        _leave(environment, PrefixStore(prefix, store))
    finally:
        lookout.stop()


def announce(environment: RankEnvironment, text: str) -> None:
    """Tell the other ranks that this one cannot go on: for a process that stands in for one that has crashed or was killed.

    This and all further meetings end with it.
    """
    with suppress(RuntimeError):  # they notice that it is gone, only later
        store = TCPStore(
            environment.address, environment.port, environment.world_size, is_master=False, timeout=timedelta(seconds=_ANNOUNCING)
        )
        trouble = Trouble(environment.rank, f"rank {environment.rank}: {text}", fatal=True)
        note_trouble(PrefixStore(_prefix(environment), store), trouble)


def _prefix(environment: RankEnvironment) -> str:
    return f"normadvisor/{environment.attempt}"


@contextmanager
def live_group(*, patience: float) -> Iterator[Ranks]:
    """Ranks over the default process group, which exists; see :func:`normadvisor.probe.distributed.live.live_ranks`.

    Raises:
        RankError: a rank has failed, hangs, or does not probe the model.

    """
    group = dist.distributed_c10d._get_default_group()  # noqa: SLF001 - dist.group.WORLD is typed as possibly None
    store = dist.distributed_c10d._get_default_store()  # noqa: SLF001 - torch's own subpackages meet through it likewise
    beats = PrefixStore(f"normadvisor/live/{next(_LIVE)}", store.clone() if hasattr(store, "clone") else store)
    served = os.environ.get("TORCHELASTIC_USE_AGENT_STORE") != "True"
    lookout = Lookout(beats, dist.get_rank(), dist.get_world_size(), served=served)
    lookout.start()
    try:
        _wait_for_all(lookout, patience, hint="probe the model on every rank, as its own forward passes are run")
        with _patient(group, patience), _linked(lookout, patience) as ranks:
            yield ranks
    finally:
        lookout.stop()


def _connect(environment: RankEnvironment, patience: float, *, server: bool = True) -> TCPStore:
    """Connect to where the ranks meet.

    Raises:
        RankError: nothing answers there.

    """
    serves = server and environment.rank == 0 and not environment.agent_store
    try:
        return TCPStore(
            environment.address, environment.port, environment.world_size, is_master=serves, timeout=timedelta(seconds=patience),
            wait_for_workers=False, multi_tenant=serves,
        )  # fmt: skip
    except RuntimeError as error:
        place = f"{environment.address}:{environment.port}"
        message = f"rank {environment.rank} cannot reach the place where the ranks meet, {place}, within {patience:g} s"
        raise RankError(message, hint="MASTER_ADDR and MASTER_PORT say where; rank 0 or torchrun must serve it") from error


def _wait_for_all(lookout: Lookout, patience: float, hint: str | None = None) -> None:
    """Wait until every rank has given a sign of life.

    Raises:
        RankError: one has not, or has failed.

    """
    deadline = time.monotonic() + patience
    while True:
        if (found := lookout.heard()) is not None:
            raise found.error()
        present = lookout.standing()
        if len(present) == lookout.world_size:
            return
        if time.monotonic() > deadline:
            missing = [rank for rank in range(lookout.world_size) if rank not in present]
            who = f"rank {missing[0]} has" if len(missing) == 1 else f"ranks {', '.join(map(str, missing[:8]))} have"
            text = f"{who} not come to probe within {patience:g} s"
            raise RankError(lookout.tell(text, rank=missing[0], fatal=True).text, hint=hint)
        time.sleep(BEAT / 10)


def _make_group(environment: RankEnvironment, store: Store, device: str, patience: float) -> None:
    """Make the default process group, if the target's file did not when it was imported."""
    if dist.is_initialized():
        return
    backend = "gloo"
    if device.startswith("cuda"):
        torch.cuda.set_device(device)
        if dist.is_nccl_available() and environment.local_world_size <= torch.cuda.device_count():
            backend = "nccl"
    dist.init_process_group(
        backend, store=store, rank=environment.rank, world_size=environment.world_size, timeout=timedelta(seconds=patience)
    )


@contextmanager
def _linked(lookout: Lookout, patience: float) -> Iterator[Ranks]:
    """A group for exchanges of our own; exceptions are told to the others, or found to come from one of them.

    Raises:
        RankError: another rank has failed.

    """
    group: Any = dist.new_group(timeout=timedelta(seconds=patience))
    # The link looks after its exchanges itself: it waits longer for ranks that show progress.
    _set_timeout(timedelta(seconds=_NEVER), group)
    link = Link(group, lookout, patience)
    ranks = GroupRanks(link)
    with ranks.telling():
        yield ranks
        link.together(None)
    dist.destroy_process_group(group)


def _leave(environment: RankEnvironment, store: Store) -> None:
    """End the process group; the rank that serves the meeting point is the last to go."""
    dist.destroy_process_group()
    with suppress(RuntimeError):
        gone = store.add("gone", 1)
        deadline = time.monotonic() + _LEAVING
        while environment.rank == 0 and not environment.agent_store and gone < environment.world_size and time.monotonic() < deadline:
            time.sleep(BEAT / 50)
            gone = store.add("gone", 0)


@contextmanager
def _patient(group: dist.ProcessGroup, patience: float) -> Iterator[None]:
    """Bound the waiting of exchanges that the model's wrapper makes by itself."""
    backends = [group._get_backend(device) for device in group._device_types]  # noqa: SLF001 - no public way to the time limit in force
    limits = [timeout for backend in backends if (timeout := getattr(getattr(backend, "options", None), "_timeout", None)) is not None]
    if not limits:
        yield
        return
    _set_timeout(timedelta(seconds=patience), group)
    try:
        yield
    finally:
        _set_timeout(limits[0], group)


def _set_timeout(timeout: timedelta, group: dist.ProcessGroup) -> None:
    if hasattr(dist, "set_timeout"):
        dist.set_timeout(timeout, group)
    else:
        dist.distributed_c10d._set_pg_timeout(timeout, group)  # noqa: SLF001 - its name before
