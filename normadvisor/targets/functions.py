"""The user's own functions for a probe: what makes its batches, and its loss. Runs the user's code: only in a worker process."""

from __future__ import annotations

import inspect
import itertools
from collections.abc import Callable, Iterator, Mapping
from contextlib import AbstractContextManager
from typing import Any

from normadvisor.errors import NormAdvisorError, TargetError
from normadvisor.targets.load import find_object, is_module, is_module_class, translate_errors
from normadvisor.targets.offline import offline
from normadvisor.targets.parse import Target
from normadvisor.types import Location

__all__ = ["UserBatches", "load_batches", "load_loss"]

_MAKES = "it is called without arguments and returns a DataLoader or another iterable of batches: tensors, (inputs, targets) or dicts"
_IS_LOSS = "a loss is called as loss(output, target) or loss(output, batch) and returns a tensor"


def load_batches(target: Target) -> UserBatches:
    """The batches that a function of the user's returns.

    Args:
        target: a function, called with the literals of the target if there are any; or a DataLoader or another iterable itself.

    Raises:
        TargetError: the function cannot be imported or called, failed, or returned no batches.

    """
    found = find_object(target)
    if inspect.isroutine(found) or inspect.isclass(found) or target.called:
        with translate_errors(target, "calling"), offline():
            _check_call(found, target)
            found = found(*target.args, **target.kwargs)
            if inspect.iscoroutine(found):
                found.close()
                raise _wrong(target, "is a coroutine", "make it a plain function")
        what = "returned"
    else:
        what = "is"
    _check_batches(found, target, what)
    return UserBatches(found, target)


def _check_call(found: Any, target: Target) -> None:
    if not callable(found):
        raise _wrong(target, f"is a value of type {type(found).__name__}, which cannot be called", _MAKES)
    try:
        signature = inspect.signature(found)
    except (TypeError, ValueError):
        return
    try:
        signature.bind(*target.args, **target.kwargs)
    except TypeError as error:
        hint = f"it takes {target.name}{signature}; say its arguments as literals, or give them defaults"
        raise _wrong(target, f"cannot be called like this: {error}", hint, _line_of(found)) from error


def _check_batches(found: Any, target: Target, what: str) -> None:
    import torch

    if found is None:
        raise _wrong(target, f"{what} nothing (None)", _MAKES)
    if isinstance(found, torch.Tensor | Mapping | str | bytes):
        kind = "one tensor" if isinstance(found, torch.Tensor) else f"a {type(found).__name__}"
        raise _wrong(target, f"{what} {kind} rather than several batches", f"put it into a list: [batch]; {_MAKES}")
    if isinstance(found, torch.utils.data.Dataset) and not isinstance(found, torch.utils.data.IterableDataset):
        hint = "wrap it: torch.utils.data.DataLoader(dataset, batch_size=...)"
        raise _wrong(target, f"{what} a dataset, which holds samples rather than batches", hint)
    if not (hasattr(found, "__iter__") or hasattr(found, "__getitem__")):
        raise _wrong(target, f"{what} a value of type {type(found).__name__}, which cannot be iterated", _MAKES)
    if hasattr(found, "__len__"):
        with translate_errors(target, "counting the batches of"):
            try:
                length = len(found)
            except TypeError:  # an iterable dataset behind a loader does not know
                return
        if length == 0:
            raise _wrong(target, f"{what} no batches: it is empty", _MAKES)


_NONE = object()


class UserBatches:
    """Batches of a user's function; what reading them raises is a :class:`TargetError` that points at the user's line.

    Iterated again they are the same only if what the function returned is.
    """

    def __init__(self, found: Any, target: Target) -> None:
        self._found = found
        self._target = target
        self._turn, self._turns = 0, 1
        self._ahead: Iterator[Any] | None = None
        self._first: Any = _NONE

    def share(self, rank: int, ranks: int) -> None:
        """Take every so many batches only, so that ranks that each read all of them have different ones.

        A loader with a ``DistributedSampler`` shares them out itself. Where there are fewer batches than ranks, some get the last.
        """
        from torch.utils.data.distributed import DistributedSampler

        samplers = [getattr(self._found, "sampler", None), getattr(getattr(self._found, "batch_sampler", None), "sampler", None)]
        if not any(isinstance(sampler, DistributedSampler) for sampler in samplers):
            self._turn, self._turns = rank, ranks

    def first(self) -> Any:
        """The first batch; it is not lost to who iterates next.

        Raises:
            TargetError: there is none, or it cannot be read.

        """
        if self._first is _NONE:
            self._ahead = self._read()
            self._first = next(self._ahead)
        return self._first

    def __iter__(self) -> Iterator[Any]:
        """Every batch."""
        if self._ahead is None:
            return self._read()
        rest, self._ahead = self._ahead, None
        first, self._first = self._first, _NONE
        return itertools.chain((first,), rest)

    def _read(self) -> Iterator[Any]:
        with self._told(), offline():
            iterator = iter(self._found)
        count, last = 0, None
        while True:
            with self._told(), offline():
                try:
                    batch = next(iterator)
                except StopIteration:
                    break
            count += 1
            if (count - 1) % self._turns == self._turn:
                yield batch
            elif count <= self._turn:
                last = batch
        if 0 < count <= self._turn:
            yield last
        if count == 0:
            raise _wrong(self._target, "gives no batches: it is empty", f"a generator can be iterated once only; {_MAKES}")

    def _told(self) -> AbstractContextManager[None]:
        return translate_errors(self._target, "reading a batch of")


def load_loss(target: Target) -> Callable[..., Any]:
    """The loss that a target names: a function, a module, a class of modules, or a call that returns one of them.

    Raises:
        TargetError: it cannot be imported or built, or is nothing that can be called.

    """
    found = find_object(target)
    if target.called or is_module_class(found):
        with translate_errors(target, "building"), offline():
            if not callable(found):
                raise _wrong(target, f"is a value of type {type(found).__name__}, which cannot be called", _IS_LOSS)
            found = found(*target.args, **target.kwargs)
    if is_module(found) or callable(found):
        loss: Callable[..., Any] = found
        return loss
    raise _wrong(target, f"is a value of type {type(found).__name__}, which cannot be called", _IS_LOSS)


def _wrong(target: Target, words: str, hint: str, location: Location | None = None) -> NormAdvisorError:
    place = location or (Location(str(target.path), 1) if target.path else None)
    return TargetError(f"{target} {words}", location=place, hint=hint)


def _line_of(found: Any) -> Location | None:
    code = getattr(inspect.unwrap(found), "__code__", None)
    return None if code is None else Location(code.co_filename, code.co_firstlineno)
