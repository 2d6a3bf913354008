"""Measures candidates and whole models on one machine, within one budget of time."""

from __future__ import annotations

import json
import platform
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any, TypeVar
from weakref import WeakKeyDictionary

import psutil
import torch

from normadvisor import __version__
from normadvisor.optimization.measuring.busy import Watch, busy_gpu
from normadvisor.optimization.measuring.cache import RatioCache
from normadvisor.optimization.measuring.clock import clock_for
from normadvisor.optimization.measuring.memory import peak_bytes
from normadvisor.optimization.measuring.paired import PASSES, Effort, paired
from normadvisor.optimization.measuring.refusal import Busy, NotMeasured
from normadvisor.optimization.measuring.running import kernel_runs, model_run
from normadvisor.rewrite.proof.words import told

if TYPE_CHECKING:
    from torch import nn

    from normadvisor.optimization.candidate import Candidate, Kernel, Setting
    from normadvisor.types.optimization import Ratio

__all__ = ["Measurer", "device_name"]

T = TypeVar("T")

_KERNEL = 1.5
"""Seconds for the operations of one place, at most."""
_MODEL = 20.0
"""Seconds for one comparison of whole models, at most."""
_SHARE = 0.25
"""Of the time that is left: what one comparison of whole models may take, or all places of one pattern."""
_PATIENCE = 10.0
"""Seconds that a busy machine is waited for, in all."""
_NAP = 0.5
"""Seconds over which it is seen what others compute."""
_FEWEST = 0.3
"""Seconds that a comparison gets where little of the budget is left: enough for some pairs of a small model."""
_BEYOND = 1.1
"""Times of the budget from which on it is told that it was not kept."""
_SAMPLE = 0.005
"""Seconds that a sample of the operations of one place lasts at least."""


@dataclass(slots=True, kw_only=True)
class Measurer:
    """Everything that measuring needs.

    Raises:
        NotMeasured: from each method, where there is no number.

    """

    setting: Setting
    cache: RatioCache
    watch: Watch
    seconds: float
    """For everything that is done to decide; nothing is begun that would probably take longer than what is left."""
    tolerant: bool = False
    """Whether a busy machine is measured on all the same."""
    busy: str = ""
    """Why nothing is measured at the moment; empty where the machine was idle when it was last looked at."""
    gain: float = 1.03
    """Ratio from which on something is faster."""
    _begin: float = field(default_factory=time.monotonic)
    _waited: float = 0.0
    _longest: dict[str, float] = field(default_factory=dict)
    """Seconds of the longest step of each kind."""
    _pass: float = 0.0
    """Seconds of a pass of a whole model."""
    _peaks: WeakKeyDictionary[nn.Module, int] = field(default_factory=WeakKeyDictionary)

    @classmethod
    def of(cls, setting: Setting, cache: RatioCache, *, seconds: float, tolerant: bool = False, gain: float = 1.03) -> Measurer:
        """One for this machine as it is."""
        return cls(setting=setting, cache=cache, watch=Watch(torch.get_num_threads()), seconds=seconds, tolerant=tolerant, gain=gain)

    @property
    def left(self) -> float:
        """Seconds of the budget."""
        return max(0.0, self.seconds - (time.monotonic() - self._begin))

    @contextmanager
    def step(self, kind: str) -> Iterator[None]:
        """Remember how long something takes that comes again, such as a comparison in float64."""
        begin = time.monotonic()
        try:
            yield
        finally:
            self._longest[kind] = max(self._longest.get(kind, 0.0), time.monotonic() - begin)

    def try_pass(self, model: nn.Module) -> None:
        """Run a model once or twice, to know how long a comparison takes at least.

        Raises:
            NotMeasured: it fails.

        """
        run = model_run(model, self.setting.inputs, self.setting.mode)
        clock = clock_for(self.setting.device)
        self._pass = _guarded(lambda: clock.seconds(run, 1))
        if self._comparison > self.left > 4 * self._pass:  # the first call may be slow for many reasons
            self._pass = _guarded(lambda: clock.seconds(run, 1))

    @property
    def _comparison(self) -> float:
        """Seconds of a comparison of whole models with the fewest pairs."""
        return self._pass * PASSES

    def check_time(self, *kinds: str) -> None:
        """Refuse what will probably not fit into what is left of the budget, with a comparison after it and that of all that is kept.

        A step probably takes as long as the longest of its kind so far; the first of a kind is begun.

        Raises:
            NotMeasured: it does not fit.

        """
        needed = sum(self._longest.get(kind, 0.0) for kind in kinds) + 2 * self._comparison
        if self.left <= needed:
            what = f"about {needed:.0f} s would be needed, and {self.left:.0f} s of {self.seconds:.0f} s are left"
            raise NotMeasured(f"the budget of time does not allow it: {what}")

    @property
    def overrun(self) -> str:
        """What took too long, where deciding took longer than it might; else empty."""
        passed = time.monotonic() - self._begin
        if passed <= self.seconds * _BEYOND:
            return ""
        told = f"it took {passed:.0f} s, more than the budget of {self.seconds:.0f} s"
        kind = max(self._longest, key=lambda each: self._longest[each], default="")
        return f"{told}; {kind} took up to {self._longest[kind]:.0f} s" if kind else told

    def look(self) -> None:
        """See whether the machine is idle, and wait a little where it is not; for all measurements together no longer than ten seconds."""
        while not self.tolerant:
            self.busy = busy_gpu(self.setting.device) or self._foreign()
            if not self.busy or self._waited >= _PATIENCE:
                return
            time.sleep(_NAP)
            self._waited += 2 * _NAP

    def is_busy(self) -> bool:
        """Whether the machine was busy when it was last looked at, and still is."""
        if self.busy:
            self.look()
        return bool(self.busy)

    def _foreign(self) -> str:
        """What others compute while this process does nothing, where it is too much."""
        mark = self.watch.mark()
        time.sleep(_NAP)
        foreign = self.watch.foreign(mark)
        return self.watch.words(foreign) if foreign > self.watch.allowed else ""

    def kernel(self, candidate: Candidate, others: int = 1) -> Ratio:
        """The operations of one place alone, before and after; from the cache where they were measured before.

        Args:
            candidate: the place.
            others: how many places are measured in a row, which share the time that there is for it.

        """
        key = self.key(candidate.group, candidate.shape_key)
        known = self.cache.get(key)
        if known is not None:
            return known
        if candidate.kernel is None:
            message = "there are no operations that could be measured alone"
            raise NotMeasured(message)
        kernel = _guarded(candidate.kernel)
        ratio = self.pair(kernel, others)
        self.cache.put(key, ratio)
        return ratio

    def pair(self, kernel: Kernel, others: int = 1) -> Ratio:
        """Two ways to compute the same; never from the cache."""
        before, after = _guarded(lambda: kernel_runs(kernel, self.setting.mode))
        seconds = min(_KERNEL, max(_FEWEST, self.left * _SHARE / others))
        return self._paired(before, after, alone=True, effort=Effort(seconds=seconds, sample=_SAMPLE, lines=(1.0, self.gain)))

    def models(self, before: nn.Module, after: nn.Module, *lines: float) -> Ratio:
        """One pass of either.

        Args:
            before: a model.
            after: the model that it became.
            lines: ratios on which something hangs; that of a gain when there are none.

        """
        runs = [model_run(model, self.setting.inputs, self.setting.mode) for model in (before, after)]
        return self.calls(runs[0], runs[1], *lines)

    def calls(self, before: Callable[[], Any], after: Callable[[], Any], *lines: float) -> Ratio:
        """One pass of either, as calls; as for :meth:`models`."""
        effort = Effort(seconds=min(_MODEL, max(_FEWEST, self.left * _SHARE)), lines=lines or (self.gain,))
        found = self._paired(before, after, alone=False, effort=effort)
        self._pass = max(found.before, found.after)
        return found

    def memory(self, before: nn.Module, after: nn.Module) -> float | None:
        """Peak memory of a pass after, in times of that before; ``None`` where before takes none."""
        old, new = (self.peak(model) for model in (before, after))
        return new / old if old else None

    def peak(self, model: nn.Module) -> int:
        """Bytes that one pass takes at its peak, beyond the model and its inputs; asked once for each model."""
        if model not in self._peaks:
            run = model_run(model, self.setting.inputs, self.setting.mode)
            self._peaks[model] = _guarded(lambda: (run(), peak_bytes(run, self.setting.device))[1])
        return self._peaks[model]

    def key(self, group: str, shape_key: str) -> str:
        """What a ratio of a place is kept under: everything that it depends on."""
        threads = torch.get_num_threads() if self.setting.device.type == "cpu" else 0
        dtype = str(self.setting.dtype).removeprefix("torch.")
        parts = (device_name(self.setting.device), threads, torch.__version__, __version__, self.setting.mode, dtype, group, shape_key)
        return json.dumps(parts)

    def _paired(self, before: Callable[[], Any], after: Callable[[], Any], *, alone: bool, effort: Effort) -> Ratio:
        if self.is_busy():
            raise Busy(self.busy)
        effort = replace(effort, patience=max(0.0, _PATIENCE - self._waited), tolerant=self.tolerant)
        clock, begin = clock_for(self.setting.device, alone=alone), time.monotonic()
        try:
            return _guarded(lambda: paired(before, after, clock, self.watch, effort))
        except Busy as refusal:
            self.busy = refusal.reason
            self._waited += max(0.0, time.monotonic() - begin - effort.seconds)
            raise


def _guarded(run: Callable[[], T]) -> T:
    """Whatever goes wrong in code that is not ours is a reason why there is no number."""
    try:
        return run()
    except NotMeasured:
        raise
    except Exception as error:
        raise NotMeasured(told(error)) from error


def device_name(device: torch.device) -> str:
    """What people call it: ``NVIDIA H100 80GB HBM3``, ``AMD EPYC 7R13 Processor``."""
    if device.type == "cuda":
        return torch.cuda.get_device_name(device)
    if device.type != "cpu":
        return f"{device.type} {platform.machine()}"
    return _cpu_name()


def _cpu_name() -> str:
    try:
        with open("/proc/cpuinfo", encoding="utf-8", errors="replace") as file:  # noqa: PTH123 -- no path of ours
            for line in file:
                if line.startswith("model name"):
                    return " ".join(line.partition(":")[2].split())
    except OSError:
        pass
    return platform.processor() or f"{platform.machine()} with {psutil.cpu_count()} cores"
