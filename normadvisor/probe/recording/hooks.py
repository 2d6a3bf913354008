"""Hooks of modules and tensors: what calls the recorder while a model runs."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import fields, is_dataclass
from functools import partial
from typing import Any

import torch
from torch import nn

from normadvisor.probe.recording.batch_statistics import running_statistics
from normadvisor.probe.recording.functional import FunctionalActivations, calling_module
from normadvisor.probe.recording.layers import Layer, walk
from normadvisor.probe.recording.norms import local
from normadvisor.probe.recording.own_hook import OwnHook
from normadvisor.probe.recording.step import Step
from normadvisor.probe.recording.units import function_flat_parts

__all__ = ["Hooks", "first_tensor"]

_RELUS = frozenset({"relu", "relu6"})
_DEPTH = 6


def first_tensor(value: Any, depth: int = _DEPTH) -> torch.Tensor | None:
    """The first floating-point or complex tensor in an output, however it is nested; a loss among other things is passed over."""
    if isinstance(value, torch.Tensor):
        return value if value.is_floating_point() or value.is_complex() else None
    if depth == 0 or value is None or isinstance(value, (str, bytes, int, float)):
        return None
    if isinstance(value, Mapping):
        parts = list(value.values())
    elif is_dataclass(value) and not isinstance(value, type):
        parts = [getattr(value, each.name, None) for each in fields(value)]
    elif isinstance(value, (tuple, list)):
        parts = list(value)
    else:
        return None
    found = [tensor for part in parts if (tensor := first_tensor(part, depth - 1)) is not None]
    return next((tensor for tensor in found if tensor.dim()), found[0] if found else None)


class Hooks:
    """The hooks of one recorder.

    Args:
        model: without its wrappers.
        layers: by module.
        step: the step that is being recorded, if any.
        failed: told of a layer whose output could not be measured, which must not end the user's forward pass.

    """

    def __init__(
        self, model: nn.Module, layers: dict[nn.Module, Layer], step: Callable[[], Step | None], failed: Callable[[Layer, Exception], None]
    ) -> None:
        self._model = model
        self._layers = layers
        self._step = step
        self._failed = failed
        self._handles: list[Any] = []
        self._tensor_handles: list[Any] = []
        self._functions = FunctionalActivations(self._function)
        self._entered: list[FunctionalActivations] = []
        self._inside: list[nn.Module] = []
        self._running: dict[int, list[Any]] = {}
        self._ordered = 0
        self._names: dict[nn.Module, str] = {}
        self.functional: dict[str, Layer] = {}
        """Functions that are applied to what no layer made, by name."""

    def attach(self) -> None:
        """Add the hooks, behind those that are there."""
        self._names = {module: name for name, module in walk(self._model)}
        for module, layer in self._layers.items():
            if _scripted(module):
                continue
            # Functions are bound to the layer: replicas of nn.DataParallel run the hooks of the module that they are made from.
            if layer.inside or layer.op == "batch_norm" or module._modules:  # noqa: SLF001
                self._handles.append(module.register_forward_pre_hook(OwnHook(partial(self._before, layer))))
            self._handles.append(module.register_forward_hook(OwnHook(partial(self._after, layer))))
        if not _scripted(self._model):
            self._handles.append(self._model.register_forward_pre_hook(OwnHook(self._enter), with_kwargs=True))
            self._handles.append(self._model.register_forward_hook(OwnHook(self._leave), always_call=True))

    def detach(self) -> None:
        """Remove every hook of ours, those of tensors included."""
        for handle in self._handles:
            handle.remove()
        self._handles.clear()
        self.forget()

    def forget(self) -> None:
        """End the step: remove hooks of tensors that still live, and whatever an error left behind."""
        for handle in self._tensor_handles:
            handle.remove()
        self._tensor_handles.clear()
        self._inside.clear()
        self._running.clear()
        while self._entered:
            self._entered.pop().__exit__(None, None, None)  # type: ignore[no-untyped-call]

    def _live(self) -> Step | None:
        """The step, unless a backward pass computes a checkpointed part a second time, which must not count twice."""
        return None if _in_backward() else self._step()

    def _enter(self, _: nn.Module, args: tuple[Any, ...], kwargs: dict[str, Any]) -> None:
        step = self._live()
        if step is None:
            return
        if not self._entered:
            step.passes += 1
            first = next((each for each in (*args, *kwargs.values()) if isinstance(each, torch.Tensor) and each.dim()), None)
            step.batch = None if first is None else first.shape[0]
        self._functions.__enter__()  # type: ignore[no-untyped-call]
        self._entered.append(self._functions)

    def _leave(self, _: nn.Module, __: Any, ___: Any) -> None:
        if self._entered and not _in_backward():
            self._entered.pop().__exit__(None, None, None)  # type: ignore[no-untyped-call]

    def _before(self, layer: Layer, module: nn.Module, inputs: tuple[Any, ...]) -> None:
        if self._live() is None:
            return
        self._order(layer)
        with torch._C.DisableTorchFunction():  # noqa: SLF001 - what is measured here is no part of the model
            if layer.inside:
                self._inside.append(module)
            elif layer.op == "batch_norm" and inputs:
                self._running.setdefault(id(module), []).append(running_statistics(module))

    def _after(self, layer: Layer, module: nn.Module, inputs: tuple[Any, ...], output: Any) -> None:
        step = self._step()
        if step is None:
            return
        if self._inside and self._inside[-1] is module:
            self._inside.pop()
        with torch._C.DisableTorchFunction():  # noqa: SLF001
            try:
                tensor = first_tensor(output)
                if not _in_backward():
                    self._order(layer)
                    step.of(layer).calls += 1
                    if tensor is not None:
                        step.output(layer, inputs[0] if inputs else None, tensor)
                    self._batch_norm(step, layer, module, inputs)
                self._watch(layer, tensor)
            except Exception as error:  # noqa: BLE001 - measuring must not end a forward pass
                self._failed(layer, error)

    def _order(self, layer: Layer) -> None:
        if layer.order is None:
            layer.order = self._ordered
            self._ordered += 1

    def every(self) -> list[Layer]:
        """All layers, functions included."""
        return [*self._layers.values(), *self.functional.values()]

    def _watch(self, layer: Layer, tensor: torch.Tensor | None) -> None:
        if tensor is None or not tensor.requires_grad:
            return
        own = self._step()

        def take(gradient: torch.Tensor) -> None:
            # A graph may outlive its step; what arrives later belongs to none.
            if own is not None and self._step() is own:
                with torch._C.DisableTorchFunction():  # noqa: SLF001
                    try:
                        own.gradient(layer, gradient)
                    except Exception as error:  # noqa: BLE001 - as above
                        self._failed(layer, error)

        self._tensor_handles.append(tensor.register_hook(take))  # type: ignore[no-untyped-call]

    def _batch_norm(self, step: Step, layer: Layer, module: nn.Module, inputs: tuple[Any, ...]) -> None:
        waiting = self._running.get(id(module))
        if not waiting:
            return
        before = waiting.pop()
        if before is None or not isinstance(inputs[0], torch.Tensor) or not inputs[0].numel():
            return
        step.statistics.add(module, before, local(inputs[0]), step.of(layer).gaps.append)

    def _function(self, op: str, given: torch.Tensor, args: tuple[Any, ...], kwargs: dict[str, Any], output: torch.Tensor) -> None:
        step = self._live()
        if step is None or self._inside:
            return
        with torch._C.DisableTorchFunction():  # noqa: SLF001
            layer = step.maker(given)
            own = layer is None
            if layer is None:
                layer = self._own(op) if op in _RELUS else None
            if layer is None:
                return
            try:
                if own:
                    self._order(layer)
                    self._watch(layer, output)
                else:
                    layer.applied = op
                step.applied(layer, function_flat_parts(op, args, kwargs), output, own=own)
            except Exception as error:  # noqa: BLE001 - as above
                self._failed(layer, error)

    def _own(self, op: str) -> Layer | None:
        """The layer that stands for a function on something that no layer made: named after the module that calls it."""
        module = calling_module(self._names.__contains__)
        if module is None or getattr(self._layers.get(module), "inside", False):
            return None
        stem = f"{self._names[module]}.{op}".lstrip(".")
        name = stem if stem not in self._names.values() else f"{stem}()"
        if name not in self.functional:
            self.functional[name] = Layer(name=name, module=None, cls=op, op=op)
        return self.functional[name]


def _in_backward() -> bool:
    """Whether this thread is inside a backward pass."""
    return torch._C._current_graph_task_id() != -1  # noqa: SLF001 - there is no public way to ask


def _scripted(model: nn.Module) -> bool:
    """Whether a module takes no hooks."""
    return isinstance(model, torch.jit.ScriptModule)
