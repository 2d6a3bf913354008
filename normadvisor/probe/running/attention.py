"""Attention that looks at a single entry: how many rows of its weights are one-hot, in one pass of its own.

A softmax counts as attention where what it is given comes from a product of two tensors that are no parameters, and what it gives is
multiplied with a third: scores of queries and keys, and values. Its backward pass is zero where one weight is 1, so that queries and keys
get no gradient.
"""

from __future__ import annotations

import math
import weakref
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F
from torch.overrides import TorchFunctionMode

from normadvisor.probe.recording.layers import walk
from normadvisor.probe.running.lines import calling_line
from normadvisor.probe.running.session import Session
from normadvisor.probe.running.trees import named_tensors

__all__ = ["measure_attention"]

_PRODUCTS = frozenset({"matmul", "bmm", "einsum", "baddbmm", "rmatmul"})
_LEARNED = frozenset({"linear", "conv1d", "conv2d", "conv3d", "layer_norm", "batch_norm", "group_norm", "rms_norm", "embedding"})
"""Functions whose results are no scores any more."""
_SOFTMAX = frozenset({"softmax", "special_softmax"})
_ENTRIES = 8
"""Fewest entries of a row that is looked at."""
_ROWS = 4096
"""Rows that are looked at, of each softmax."""
_QUERIES = 64
_SAMPLES = 4
_ONE = 0.999
"""Weight from which on a row is one-hot; its softmax passes less than a thousandth of a gradient on."""
_MASK = 5000.0
"""Scores this far below the largest of their row are masked."""
_PEAKED = 0.5
"""Share of one-hot rows above which a module is named."""
_SHARE = 0.8
"""Share of the budget after which this is left out."""


@dataclass(slots=True)
class _Rows:
    """One softmax: where it is, rows that were looked at and those that are one-hot."""

    module: str
    line: str | None
    rows: int
    peaked: int


def measure_attention(session: Session) -> None:
    """Measure how many rows of attention are one-hot; writes ``attention_peak``, and where many are, their names and line.

    One forward pass in train mode without gradients.

    Args:
        session: as it was found, seeded.

    """
    found = session.found
    if not session.budget.allows(3 * session.budget.forward, _SHARE):
        found.missing["attention_peak"] = f"no time was left of {session.budget.seconds:g} s"
        return
    stack: list[str] = []
    watch = _Attention(stack)
    try:
        with _inside(session.model, stack), torch.no_grad(), watch:
            session.forward(session.source.batch(0))
    except Exception as error:  # noqa: BLE001 - what was measured before must not be lost
        found.missing["attention_peak"] = f"the forward pass failed: {error}"
        return
    shares: dict[str, list[_Rows]] = {}
    for each in watch.seen:
        shares.setdefault(each.module, []).append(each)
    by_module = {name: sum(each.peaked for each in all_of) / sum(each.rows for each in all_of) for name, all_of in shares.items()}
    if not by_module:
        return
    found.facts["attention_peak"] = max(by_module.values())
    named = [name for name, share in by_module.items() if share > _PEAKED]
    if named:
        found.facts["peaked_attention"] = [*named]
        found.fact("peaked_line", shares[named[0]][0].line, "a layer of torch computes it")


class _Attention(TorchFunctionMode):
    """Follows scores from the product of queries and keys to the product with values."""

    def __init__(self, stack: list[str]) -> None:
        super().__init__()
        self._stack = stack
        self._scores: dict[int, weakref.ref[Tensor]] = {}
        self._weights: dict[int, tuple[weakref.ref[Tensor], _Rows | None]] = {}
        self.seen: list[_Rows] = []

    def __torch_function__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        del types
        kwargs = kwargs or {}
        output = func(*args, **kwargs)
        name = getattr(func, "__name__", "").strip("_")
        with torch._C.DisableTorchFunction():  # noqa: SLF001 - what is computed here is no part of the model
            if name == "scaled_dot_product_attention":
                self._note(_weights_of(*args, **kwargs))
            elif name == "multi_head_attention_forward":
                self._note(_weights_of_module(func, args, kwargs))
            elif isinstance(output, Tensor) and output.is_floating_point():
                self._follow(name, args, kwargs, output)
        return output

    def _follow(self, name: str, args: Any, kwargs: Any, output: Tensor) -> None:
        given = [tensor for _, tensor in named_tensors((args, kwargs))]
        if name in _PRODUCTS:
            rows = [known for tensor in given if (known := self._weights_known(tensor)) is not None]
            if rows:
                self.seen += [each for each in rows if each.rows and not any(each is other for other in self.seen)]
            elif len(given) > 1 and not any(isinstance(tensor, nn.Parameter) for tensor in given):
                self._scores[id(output)] = weakref.ref(output)
        elif name in _SOFTMAX and given and self._are_scores(given[0]):
            dim = kwargs.get("dim", args[1] if len(args) > 1 else -1)
            rows_of = _peaked(given[0], output, dim if isinstance(dim, int) else -1)
            self._weights[id(output)] = (weakref.ref(output), _Rows(self._module, calling_line(), *rows_of))
        elif name not in _LEARNED:
            self._pass_on(given, output)

    def _pass_on(self, given: list[Tensor], output: Tensor) -> None:
        """What is made of scores are scores, and what is made of weights are weights, such as those after dropout."""
        for tensor in given:
            if output.numel() < tensor.numel():
                continue
            known = self._weights_known(tensor)
            if known is not None:
                self._weights[id(output)] = (weakref.ref(output), known)
                return
            if self._are_scores(tensor):
                self._scores[id(output)] = weakref.ref(output)

    @property
    def _module(self) -> str:
        return self._stack[-1] if self._stack else ""

    def _are_scores(self, tensor: Tensor) -> bool:
        known = self._scores.get(id(tensor))
        return known is not None and known() is tensor

    def _weights_known(self, tensor: Tensor) -> _Rows | None:
        known = self._weights.get(id(tensor))
        return known[1] if known is not None and known[0]() is tensor else None

    def _note(self, rows: tuple[int, int] | None) -> None:
        if rows is not None and rows[0]:
            self.seen.append(_Rows(self._module, calling_line(), *rows))


def _peaked(scores: Tensor, weights: Tensor, dim: int) -> tuple[int, int]:
    """Rows with enough entries that are not masked, and those of them that are one-hot."""
    if weights.shape != scores.shape or not weights.dim() or weights.shape[dim] < _ENTRIES:
        return 0, 0
    given, made = (tensor.detach().movedim(dim, -1).reshape(-1, tensor.shape[dim]) for tensor in (scores, weights))
    step = max(1, -(-made.shape[0] // _ROWS))
    while step > 1 and math.gcd(step, scores.movedim(dim, -1).shape[-2] if scores.dim() > 1 else 1) > 1:
        step += 1  # a divisor of the number of queries would see only some of them
    given, made = given[::step].float(), made[::step].float()
    seen = (given > given.amax(-1, keepdim=True) - _MASK).sum(-1) >= _ENTRIES
    return int(seen.sum()), int((seen & (made.amax(-1) > _ONE)).sum())


def _weights_of(  # noqa: PLR0917 - as torch calls it
    query: Tensor,
    key: Tensor,
    value: Tensor,
    attn_mask: Tensor | None = None,
    dropout_p: float = 0.0,
    is_causal: bool = False,  # noqa: FBT001, FBT002
    scale: float | None = None,
    enable_gqa: bool = False,  # noqa: FBT001, FBT002
) -> tuple[int, int] | None:
    """Rows of the scaled dot product attention of the first samples and some queries."""
    del value, dropout_p
    if query.is_nested or key.is_nested or query.dim() < 3 or key.shape[-2] < _ENTRIES:
        return None
    queries, keys = query.detach().float(), key.detach().float()
    if enable_gqa:
        keys = keys.repeat_interleave(queries.shape[-3] // keys.shape[-3], -3)
    count, length = queries.shape[-2], keys.shape[-2]
    picked = torch.linspace(0, count - 1, min(count, _QUERIES), device=query.device).round().long()
    mask = None
    if attn_mask is not None:
        mask = attn_mask.expand(*queries.shape[:-1], length)[:_SAMPLES][..., picked, :]
    elif is_causal:
        mask = torch.ones(count, length, dtype=torch.bool, device=query.device).tril()[picked]
    scores = queries[:_SAMPLES][..., picked, :] @ keys[:_SAMPLES].transpose(-1, -2)
    scores = scores * (scale if scale is not None else query.shape[-1] ** -0.5)
    if mask is not None:
        scores = scores.masked_fill(~mask, -torch.inf) if mask.dtype == torch.bool else scores + mask
    return _peaked(scores, scores.softmax(-1), -1)


def _weights_of_module(func: Any, args: Any, kwargs: Any) -> tuple[int, int] | None:
    """Rows of ``torch``'s own attention module, where nothing is masked."""
    names = F.multi_head_attention_forward.__code__.co_varnames
    called = {**dict(zip(names, args, strict=False)), **kwargs}
    if called.get("attn_mask") is not None or called.get("key_padding_mask") is not None or called["key"].shape[0] < _ENTRIES:
        return None
    weights = func(**{**called, "training": False, "need_weights": True, "average_attn_weights": False, "is_causal": False})[1]
    return _peaked(weights, weights, -1)


@contextmanager
def _inside(model: nn.Module, stack: list[str]) -> Iterator[None]:
    """Keep the names of the modules that run, the innermost last."""

    def enter(name: str) -> Any:
        return lambda _module, _args: stack.append(name)

    def leave(_module: nn.Module, _args: Any, _output: Any) -> None:
        if stack:
            stack.pop()

    handles = []
    for name, module in walk(model):
        if isinstance(module, torch.jit.ScriptModule):
            continue  # takes no hooks
        handles += [module.register_forward_pre_hook(enter(name)), module.register_forward_hook(leave)]
    try:
        yield
    finally:
        for handle in handles:
            handle.remove()
