"""Which of several implementations is the fastest for one shape: asked of the machine."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING

import torch

from normadvisor.optimization.measuring.busy import Watch
from normadvisor.optimization.measuring.clock import clock_for
from normadvisor.optimization.measuring.paired import Effort, paired
from normadvisor.optimization.measuring.running import kernel_runs

if TYPE_CHECKING:
    from normadvisor.fused.common.implementations import Implementation
    from normadvisor.optimization.candidate import Kernel, Setting

__all__ = ["fastest"]

_OWN = "fused"
_PLAIN = "torch"
_EFFORT = Effort(seconds=0.4, pairs=9, least=3, tolerant=True)
"""Enough to tell implementations apart; whether the one that is chosen is kept is measured with more."""
_CLEARLY = 1.03
"""How many times as fast another package has to be to be taken instead of the kernels of this one."""


def fastest(
    known: Sequence[Implementation], kernel: Callable[[Implementation], Kernel], refused: Callable[[Implementation], str], setting: Setting
) -> Implementation:
    """The one that computes a kernel in the shortest time, this package's own unless another is clearly faster.

    Args:
        known: all that are installed, this package's own and torch's operations among them; the latter are what all are measured against
            afterwards, and are not chosen.
        kernel: the operations of a place, with an implementation as what they become.
        refused: why an implementation would leave the place to torch's operations; empty if it would not.
        setting: where they run.

    """
    best = next(one for one in known if one.name == _OWN)
    others = [one for one in known if one.name not in {_OWN, _PLAIN} and not one.caution]
    if not others:
        return best
    clock, watch = clock_for(setting.device, alone=True), Watch(torch.get_num_threads())
    for other in others:
        try:
            if refused(other):
                continue
            (_, mine), (_, theirs) = (kernel_runs(kernel(one), setting.mode) for one in (best, other))
            faster = paired(mine, theirs, clock, watch, _EFFORT).median >= _CLEARLY
        except Exception:  # noqa: BLE001 -- a package that fails on this shape, or cannot be timed, is none to choose
            faster = False
        best = other if faster else best
    return best
