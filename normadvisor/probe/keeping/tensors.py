"""Tensors put back bit by bit: the same objects over the same memory."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import torch
from torch import nn
from torch.autograd.grad_mode import _unsafe_preserve_version_counter

__all__ = ["Tensors"]

_SHARE = 0.5
"""Of an accelerator's free memory that copies may take; if they need more they go to the CPU."""


@dataclass(frozen=True, slots=True)
class _Place:
    """Where in which memory the values of a tensor are."""

    storage: torch.UntypedStorage
    identity: int
    """Of the storage itself: Python's wrapper of it may be another one each time."""
    size: tuple[int, ...]
    stride: tuple[int, ...]
    offset: int
    dtype: torch.dtype

    @classmethod
    def of(cls, tensor: torch.Tensor) -> _Place:
        storage = tensor.untyped_storage()
        return cls(storage, storage._cdata, tuple(tensor.size()), tensor.stride(), int(tensor.storage_offset()), tensor.dtype)  # noqa: SLF001

    def same(self, other: _Place) -> bool:
        mine = (self.identity, self.size, self.stride, self.offset, self.dtype)
        return mine == (other.identity, other.size, other.stride, other.offset, other.dtype)

    def tensor(self) -> torch.Tensor:
        return torch.empty(0, dtype=self.dtype, device=self.storage.device).set_(self.storage, self.offset, self.size, self.stride)


@dataclass(slots=True)
class _Memory:
    """A storage and what it held."""

    storage: torch.UntypedStorage
    copy: torch.Tensor

    def bytes(self) -> torch.Tensor:
        view = torch.empty(0, dtype=torch.uint8, device=self.storage.device)
        return view.set_(self.storage, 0, (self.copy.numel(),), (1,))

    def changed(self) -> bool:
        if self.storage.nbytes() != self.copy.numel():
            return True
        return not torch.equal(self.bytes(), self.copy.to(self.storage.device))

    def restore(self) -> None:
        # Nothing is written where nothing changed: memory that is mapped from a file stays unshared, or may be read-only.
        if self.storage.nbytes() != self.copy.numel():
            self.storage.resize_(self.copy.numel())
        if self.changed():
            self.bytes().copy_(self.copy)


@dataclass(slots=True)
class _State:
    """One tensor as it was."""

    name: str
    tensor: torch.Tensor
    cls: type
    lazy: tuple[torch.dtype, torch.device] | None
    """What a tensor without a shape is of, ``None`` for others."""
    requires_grad: bool
    leaf: bool
    grad: torch.Tensor | None
    attributes: dict[str, Any]
    hooks: tuple[dict[int, Any] | None, ...]
    place: _Place | None
    """``None`` where the values are not in one storage."""
    copy: torch.Tensor | None
    """Values of a tensor without a place; ``None`` where there are none (lazy, meta)."""
    version: Any
    """Sets the count of in-place operations; ``None`` where there is none."""


_HOOKS = ("_backward_hooks", "_post_accumulate_grad_hooks")


class Tensors:
    """Tensors by identity. Copies are made by storage, so that tensors that share memory share its copy."""

    def __init__(self) -> None:
        self._states: dict[int, _State] = {}
        self._memory: dict[int, _Memory] = {}
        self._homes: dict[torch.device, torch.device] = {}
        self.size = 0
        """Bytes of all copies."""

    def add(self, tensor: torch.Tensor, name: str) -> None:
        """Remember a tensor, and its gradient; one that is known already is left alone."""
        if id(tensor) in self._states:
            return
        lazy = (tensor.dtype, tensor.device) if nn.parameter.is_lazy(tensor) else None
        leaf = tensor.is_leaf
        grad = tensor.grad if leaf and not lazy else None
        place, copy = (None, None) if lazy or tensor.is_meta else self._copied(tensor)
        hooks = tuple(None if (found := getattr(tensor, each, None)) is None else dict(found) for each in _HOOKS)
        # A graph that the user holds asks by this count whether what it saved is unchanged, and after restoring it is.
        version = None if place is None or tensor.is_inference() else _unsafe_preserve_version_counter(tensor)
        self._states[id(tensor)] = _State(
            name, tensor, type(tensor), lazy, tensor.requires_grad, leaf, grad, dict(vars(tensor)), hooks, place, copy, version
        )
        if grad is not None:
            self.add(grad, f"{name}.grad")

    def _copied(self, tensor: torch.Tensor) -> tuple[_Place | None, torch.Tensor | None]:
        try:
            plain = tensor.layout is torch.strided and not tensor.is_quantized and not _is_wrapper(tensor)
            place = _Place.of(tensor.detach()) if plain else None
        except (RuntimeError, NotImplementedError):  # tensors without a storage say so in either way
            place = None
        if place is None:
            copy = tensor.detach().clone()
            self.size += copy.numel() * copy.element_size() if copy.layout is torch.strided else 0
            return None, copy
        if place.identity not in self._memory:
            memory = _Memory(place.storage, torch.empty(place.storage.nbytes(), dtype=torch.uint8, device=self._home(place.storage)))
            memory.copy.copy_(memory.bytes())
            self._memory[place.identity] = memory
            self.size += memory.copy.numel()
        return place, None

    def _home(self, storage: torch.UntypedStorage) -> torch.device:
        """The device of a copy: where the storage is, unless it is an accelerator that is short of memory."""
        device = storage.device
        if device.type != "cuda":
            return torch.device("cpu") if device.type != "cpu" else device
        if self._homes.get(device) != torch.device("cpu"):
            free, _ = torch.cuda.mem_get_info(device)
            self._homes[device] = device if storage.nbytes() < _SHARE * free else torch.device("cpu")
        return self._homes[device]

    def restore(self) -> None:
        """Put every tensor back."""
        with torch.no_grad():
            for memory in self._memory.values():
                memory.restore()
            for state in self._states.values():
                _restore(state)
            for state in self._states.values():
                # Only now all gradients have their shapes again.
                if state.leaf and not nn.parameter.is_lazy(state.tensor) and state.tensor.grad is not state.grad:
                    state.tensor.grad = state.grad
            for state in self._states.values():
                if state.version is not None:
                    state.version.__exit__(None, None, None)

    def differences(self) -> list[str]:
        """What is not as it was, one sentence each."""
        changed = {key for key, memory in self._memory.items() if memory.changed()}
        return [f"{state.name}: {told}" for state in self._states.values() for told in _told(state, changed)]


def _is_wrapper(tensor: torch.Tensor) -> bool:
    """Whether a subclass only stands for other tensors, such as a sharded one."""
    return torch.utils._python_dispatch.is_traceable_wrapper_subclass(tensor)  # noqa: SLF001


def _restore(state: _State) -> None:
    tensor = state.tensor
    if state.lazy is not None:
        if type(tensor) is not state.cls:
            tensor.grad = None
        tensor.data = torch.empty(0, dtype=state.lazy[0], device=state.lazy[1])
    elif state.place is not None and not state.place.same(_Place.of(tensor.detach())):
        tensor.grad = None
        tensor.data = state.place.tensor()
    elif state.copy is not None:
        # Not by way of detach(): a sparse tensor that is detached has indices of its own.
        tensor.copy_(state.copy)
    if type(tensor) is not state.cls:
        tensor.__class__ = state.cls
    if state.lazy is not None:
        return
    if state.leaf and not tensor.is_leaf:
        tensor.detach_()
    if tensor.is_leaf and tensor.requires_grad != state.requires_grad:
        tensor.requires_grad_(state.requires_grad)
    for name, hooks in zip(_HOOKS, state.hooks, strict=True):
        _restore_hooks(tensor, name, hooks)
    attributes = vars(tensor)
    if attributes.keys() != state.attributes.keys() or any(attributes[key] is not state.attributes[key] for key in attributes):
        attributes.clear()
        attributes.update(state.attributes)


def _restore_hooks(tensor: torch.Tensor, name: str, hooks: dict[int, Any] | None) -> None:
    found = getattr(tensor, name, None)
    if found is None and hooks:
        setattr(tensor, name, OrderedDict(hooks))
    elif found is not None and dict(found) != (hooks or {}):
        found.clear()
        found.update(hooks or {})


def _told(state: _State, changed: set[int]) -> list[str]:
    """Differences of one tensor in words."""
    tensor, place = state.tensor, state.place
    found: list[str] = []
    if type(tensor) is not state.cls:
        return [f"is a {type(tensor).__name__}, was a {state.cls.__name__}"]
    if state.lazy is not None or tensor.is_meta:
        return found
    if place is not None and not place.same(_Place.of(tensor.detach())):
        found.append("lies elsewhere in memory, or has another shape or dtype")
    elif place.identity in changed if place is not None else state.copy is not None and not _equal(state.copy, tensor.detach()):
        found.append("holds other values")
    checks: list[tuple[str, Callable[[], bool]]] = [
        ("requires_grad differs", lambda: tensor.requires_grad != state.requires_grad),
        ("its gradient is another object", lambda: tensor.is_leaf and tensor.grad is not state.grad),
        ("hooks differ", lambda: any(dict(getattr(tensor, name, None) or {}) != (hooks or {}) for name, hooks in _zipped(state))),
    ]
    return found + [told for told, differs in checks if differs()]


def _zipped(state: _State) -> list[tuple[str, dict[int, Any] | None]]:
    return list(zip(_HOOKS, state.hooks, strict=True))


def _equal(one: torch.Tensor, other: torch.Tensor) -> bool:
    if one.layout is torch.sparse_coo:
        one, other = one.coalesce(), other.coalesce()
        return torch.equal(one.indices(), other.indices()) and torch.equal(one.values(), other.values())
    same = torch.eq(one, other)
    return bool((same | (torch.isnan(one) & torch.isnan(other)) if one.is_floating_point() else same).all())
