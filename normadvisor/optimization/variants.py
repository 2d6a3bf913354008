"""Other ways to run the optimized model, measured beside it: the compiler, with what its first call costs."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, ExitStack, contextmanager, nullcontext
from typing import TYPE_CHECKING, Any

import torch

from normadvisor.optimization.measuring.refusal import NotMeasured
from normadvisor.optimization.measuring.running import model_run
from normadvisor.optimization.prepared import copied
from normadvisor.optimization.proving.rounding import errors_of_run
from normadvisor.rewrite.proof.words import told
from normadvisor.types.optimization import Variant

if TYPE_CHECKING:
    from torch import nn

    from normadvisor.optimization.measuring.measurer import Measurer

__all__ = ["variants"]

_COMPILE = "torch.compile"
_FREEZE = "torch.compile + freezing"


def variants(original: nn.Module, optimized: nn.Module, measurer: Measurer, report: Callable[[str], object]) -> tuple[Variant, ...]:
    """Measure the optimized model compiled, and in inference with its weights frozen in, too.

    Freezing is a setting of the whole process (``torch._inductor.config.freezing``): given as an option of ``torch.compile`` it does
    nothing. It is set while this runs, and put back.

    Args:
        original: what each is compared with, in eager mode.
        optimized: never changed; each is a copy of it.
        measurer: of this machine.
        report: told what is being done.

    """
    names = (_COMPILE, _FREEZE) if measurer.setting.mode == "inference" else (_COMPILE,)
    report("starting the compiler")
    try:
        start = _start()
    except Exception as error:  # noqa: BLE001 -- a compiler that is not there, or does not work here
        return tuple(Variant(name=name, reason=f"the compiler does not work here: {told(error)}") for name in names)
    found = []
    for name in names:
        report(f"measuring {name}")
        found.append(_variant(name, original, optimized, measurer, start))
    return tuple(found)


def _start() -> float:
    """Seconds until the compiler is imported and has compiled next to nothing: part of each first call in a process of its own."""
    begin = time.perf_counter()
    with _fresh(freezing=False):
        torch.compile(torch.relu)(torch.zeros(8))
    return time.perf_counter() - begin


def _variant(name: str, original: nn.Module, optimized: nn.Module, measurer: Measurer, start: float) -> Variant:
    setting = measurer.setting
    try:
        with _fresh(freezing=name == _FREEZE):
            model = copied(optimized)
            run = model_run(torch.compile(model), setting.inputs, setting.mode)
            begin = time.perf_counter()
            run()
            if setting.device.type == "cuda":
                torch.cuda.synchronize(setting.device)
            cold = start + time.perf_counter() - begin
            ratio = measurer.calls(model_run(original, setting.inputs, setting.mode), run)
            errors = errors_of_run(original, run, setting) if setting.mode == "inference" else None
    except NotMeasured as refusal:
        return Variant(name=name, reason=refusal.reason)
    except Exception as error:  # noqa: BLE001 -- a compiler that is not there, code that it cannot follow
        return Variant(name=name, reason=f"it cannot be compiled: {told(error)}")
    return Variant(name=name, end_to_end=ratio, cold_start=cold, error=errors)


@contextmanager
def _fresh(*, freezing: bool) -> Iterator[None]:
    """A compiler that knows nothing from before, neither in this process nor on the disk."""
    from torch._inductor import config, utils  # noqa: PLC0415 -- takes seconds to import

    old_name = getattr(utils, "fresh_inductor_cache", nullcontext)
    cache: Callable[[], AbstractContextManager[Any]] = getattr(utils, "fresh_cache", old_name)
    with ExitStack() as stack:
        stack.callback(torch.compiler.reset)
        torch.compiler.reset()
        stack.enter_context(cache())
        stack.enter_context(config.patch(freezing=freezing))
        yield
