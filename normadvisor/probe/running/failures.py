"""What goes wrong while a probe runs: told in words, and memory told from everything else."""

from __future__ import annotations

import torch
from torch import nn

from normadvisor.errors import NormAdvisorError, ProbeError
from normadvisor.targets.inputs.explained import explain_failure

__all__ = ["failure", "ran_out_of_memory"]

_MEMORY_WORDS = ("can't allocate memory", "not enough memory", "out of memory", "CUBLAS_STATUS_ALLOC_FAILED", "Cannot allocate memory")


def failure(model: nn.Module, what: str, error: BaseException, *, hint: str | None = None) -> NormAdvisorError:
    """An exception of the user's code as an error that says what failed, why, in which module and at which line."""
    if isinstance(error, NormAdvisorError):
        return error
    explained = explain_failure(model, error)
    return ProbeError(f"{what}: {explained.words}", location=explained.location, hint=hint)


def ran_out_of_memory(error: BaseException | None) -> bool:
    """Whether an exception, or one that it was raised from, says that memory ran out."""
    seen: set[int] = set()
    while error is not None and id(error) not in seen:  # an error may have been raised from itself
        seen.add(id(error))
        if isinstance(error, MemoryError | torch.OutOfMemoryError):
            return True
        if isinstance(error, RuntimeError | OSError) and any(words in str(error) for words in _MEMORY_WORDS):
            return True
        error = error.__cause__
    return False
