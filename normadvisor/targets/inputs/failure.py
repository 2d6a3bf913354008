"""What an exception of a trial says: its text through the chain of causes, and the layer and shape at which it was raised."""

from __future__ import annotations

import itertools
import linecache
import re
from dataclasses import dataclass
from types import TracebackType
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from torch import nn

__all__ = ["Failure", "chain_of", "read_failure"]

MAX_LINES = 40
"""Longest expression that is read, in lines."""
_WORD = re.compile(r"[^\W\d]\w+")


@dataclass(frozen=True, slots=True)
class Failure:
    """A failed trial.

    ``layer`` is the innermost layer of torch.nn whose forward was running and ``shape`` what it was given (``None``: the
    failure is outside such a layer); ``owner`` is the innermost module of any kind.
    """

    text: str
    kind: str
    message: str = ""
    """What the innermost of its exceptions says."""
    layer: nn.Module | None = None
    shape: tuple[int, ...] | None = None
    dtype: str = "float32"
    """Of what the layer was given."""
    owner: nn.Module | None = None
    ids: tuple[int, int] | None = None
    """Smallest and largest of the integers that the layer was given, where they have values."""
    absent: tuple[str, ...] = ()
    """Names that the message or the failing line mentions and that are ``None`` there, or were called for."""


def read_failure(error: BaseException) -> Failure:
    """Read an exception: the first cause in its chain that has a traceback through a module wins."""
    chain = chain_of(error)
    text = "\n".join(dict.fromkeys(str(link) for link in reversed(chain)))
    absent = tuple(dict.fromkeys(name for link in reversed(chain) for name in _absent(link)))
    for link in reversed(chain):
        layer, given, owner = _modules(link)
        if owner is not None:
            shape = None if given is None else tuple(given.shape)
            dtype = "float32" if given is None else str(given.dtype).removeprefix("torch.")
            return Failure(text, type(link).__name__, str(link), layer, shape, dtype, owner, _range(given), absent)
    return Failure(text, type(chain[-1]).__name__, str(chain[-1]), absent=absent)


def _range(given: Any) -> tuple[int, int] | None:
    if given is None or given.is_floating_point() or given.is_complex() or given.is_meta or not given.numel():
        return None
    try:
        return int(given.min()), int(given.max())
    except (RuntimeError, NotImplementedError):  # values of a traced tensor, or on a device that has failed
        return None


def _absent(error: BaseException) -> list[str]:
    """Names the error may be missing: words of its message, and what is ``None`` on the lines it passed through."""
    names = _WORD.findall(str(error))
    step, steps = error.__traceback__, list[TracebackType]()
    while step is not None:
        steps.append(step)
        step = step.tb_next
    for step in reversed(steps):
        values = step.tb_frame.f_locals
        names += [word for word in _WORD.findall(_expression(step)) if word in values and values[word] is None]
    return names


def _expression(step: TracebackType) -> str:
    """Source lines of the expression that was being evaluated: a call's arguments may stand on lines after its first."""
    code = step.tb_frame.f_code
    start, end, _, _ = next(itertools.islice(code.co_positions(), step.tb_lasti // 2, None), (None,) * 4)
    first = start or step.tb_lineno
    last = min(end or first, first + MAX_LINES)
    return " ".join(linecache.getline(code.co_filename, line) for line in range(first, last + 1))


def chain_of(error: BaseException) -> list[BaseException]:
    """The exception and its causes, the innermost last."""
    chain: list[BaseException] = []
    link: BaseException | None = error
    while link is not None and link not in chain and len(chain) < 8:
        chain.append(link)
        link = link.__cause__ or (None if link.__suppress_context__ else link.__context__)
    return chain


def _modules(error: BaseException) -> tuple[Any, Any, Any]:
    """The innermost layer of torch.nn, the tensor it was given, and the innermost module of any kind."""
    from torch import Tensor, nn

    layer, tensor, owner = None, None, None
    step = error.__traceback__
    while step is not None:
        frame = step.tb_frame
        step = step.tb_next
        if frame.f_code.co_name not in {"forward", "_conv_forward", "forward_impl"} and not frame.f_code.co_name.startswith("forward"):
            continue
        values = frame.f_locals
        module = values.get("self")
        if not isinstance(module, nn.Module):
            continue
        owner = module
        if not type(module).forward.__module__.startswith("torch.nn.modules"):
            layer, tensor = None, None
            continue
        tensor = next((values[name] for name in ("input", "x", "query", "src", "input1") if isinstance(values.get(name), Tensor)), None)
        layer = module
    return layer, tensor, owner
