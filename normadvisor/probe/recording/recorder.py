"""Measure the layers of a model step by step, without changing what is measured."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack, contextmanager
from types import TracebackType
from typing import TYPE_CHECKING, Self

import torch

from normadvisor.errors import UsageError
from normadvisor.probe.distributed.live import flat_dims
from normadvisor.probe.recording.compiled import eager, is_compiled
from normadvisor.probe.recording.hooks import Hooks
from normadvisor.probe.recording.layers import Layer, find_layers, held_parameters, refuse_quantized, unwrapped
from normadvisor.probe.recording.parameters import Parameters, totals
from normadvisor.probe.recording.sampling import Sampler
from normadvisor.probe.recording.step import Step
from normadvisor.probe.recording.summary import measurements, note
from normadvisor.types import LayerMeasurements, Series

if TYPE_CHECKING:
    from torch import nn

__all__ = ["Recorder"]


class Recorder:
    """Record what :data:`normadvisor.types.LAYER_SERIES` names, for every layer and step.

    A layer is a module that holds parameters itself, a norm, or an activation. Each parameter counts once, with the first layer that
    holds it and runs. Activations that are called as functions count with the layer whose output they are applied to: its ``dead_share``,
    ``zero_share`` and ``saturated_share`` are then those of the function's output, and its fact ``activation`` names the function. A ReLU
    that is applied to what no layer made, such as a sum, is a layer of its own, named after the module that calls it.

    Of large outputs, mean, standard deviation, ``zero_share`` and ``saturated_share`` are those of a sample of about 8192 values at
    positions drawn anew in each step, and of their gradients every fifth piece is squared; extremes, dead units and the gradients of
    parameters always regard every value. The change of a large parameter is that of 2048 of its values. ``exact`` reduces everything.

    Entering adds hooks behind those that are there; leaving removes them, and it may be entered again. Between
    steps, and while a backward pass computes checkpointed parts again, the hooks do nothing. What ``torch.compile`` compiled runs eagerly
    while the recorder is entered.

    Args:
        model: wrappers of data-parallel training and ``torch.compile`` are seen through; names are those of the wrapped model.
        exact: reduce whole outputs instead of samples of large ones.
        ops: canonical operation by module name, ``None`` for those that are none; by default those of ``torch.nn``'s own classes.
        seed: of the sampled positions; the random states of torch, numpy and Python are never touched.
        activations: measure outputs and their gradients too, not only parameters.
        history: steps whose numbers are kept; by default all.
        combine: called once per step with sums over the values of every parameter, a float64 tensor on the CPU that it may change in place:
            ranks that hold shards add theirs up. Its layout is the same on every rank of one model.

    Raises:
        UsageError: the model holds quantized weights.

    """

    def __init__(
        self,
        model: nn.Module,
        *,
        exact: bool = False,
        ops: Mapping[str, str | None] | None = None,
        seed: int = 0,
        activations: bool = True,
        history: int | None = None,
        combine: Callable[[torch.Tensor], None] | None = None,
    ) -> None:
        refuse_quantized(model)
        self._given = model
        self._model = unwrapped(model)
        self._exact = exact
        self._activations = activations
        self._history = history
        self._combine = combine
        self._sampler = Sampler(seed, exact=exact)
        self._layers = find_layers(self._model, ops)
        self._hooks = Hooks(self._model, self._layers, self._current, self._failed)
        self._open = ExitStack()
        self._entered = False
        self._step: Step | None = None
        self._parameters: Parameters | None = None
        self._scale = 1.0
        self._paused = 0
        self._steps = 0
        self._totals: dict[str, list[float | None]] = {"grad_norm": [], "update_ratio": [], "loss_scale": []}
        self._notes: dict[str, str] = {}

    @property
    def steps(self) -> int:
        """Steps recorded so far."""
        return self._steps

    @property
    def notes(self) -> tuple[str, ...]:
        """What the reader of the numbers should know."""
        return tuple(self._notes.values())

    def __enter__(self) -> Self:
        if self._entered:
            raise UsageError("The recorder is entered already")
        if is_compiled(self._given):
            self._open.enter_context(eager())
            self._notes["compiled"] = "The compiled model was run eagerly: compiled code has no layers to look at."
        if self._activations:
            if any(isinstance(module, torch.jit.ScriptModule) for module in self._layers):
                self._notes["scripted"] = "Outputs of scripted modules are not measured: they take no hooks. Their gradients are."
            self._hooks.attach()
            self._open.callback(self._hooks.detach)
        self._entered = True
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        self._step = self._parameters = None
        self._entered = False
        self._open.close()

    def _current(self) -> Step | None:
        return None if self._paused else self._step

    def _failed(self, layer: Layer, error: Exception) -> None:
        name = layer.name or layer.cls
        self._notes.setdefault(f"failed {name}", f"Outputs of {name} could not be measured: {error}")

    def _failed_part(self, what: str, error: Exception) -> None:
        self._notes.setdefault(what, f"Not measured: {what}: {error}")

    def begin_step(self) -> None:
        """Start a step; what was seen of one that never ended is dropped."""
        if not self._entered:
            raise UsageError("Enter the recorder before its first step", hint="with Recorder(model) as recorder: ...")
        self._hooks.forget()
        self._sampler.renew()
        self._parameters = None
        self._scale = 1.0
        self._step = Step(self._sampler, exact=self._exact)

    def after_backward(self, scale: float = 1.0) -> None:
        """Read the gradients as they are now, divided by the loss ``scale``; nothing waits for the device.

        Call it before gradients are unscaled or clipped. Called again in the same step, it reads anew.

        Raises:
            UsageError: no step was begun, or the scale is not positive.

        """
        if self._step is None:
            raise UsageError("after_backward() is called within a step", hint="call begin_step() before the forward pass")
        if not scale > 0:
            raise UsageError(f"The loss scale is a positive number, not {scale}")
        if self._paused:
            return
        # Asked for anew in every step: lazy parameters come to be in the first, and a model may replace some.
        held, _ = held_parameters(self._layers, flat_dims(self._given))
        self._parameters = Parameters(held, self._sampler)
        self._parameters.read()
        self._scale = float(scale)

    def end_step(self) -> None:
        """End the step, after the optimizer's: one transfer from each device brings its numbers.

        Raises:
            UsageError: no step was begun.

        """
        step, parameters = self._step, self._parameters
        if step is None:
            raise UsageError("end_step() ends a step", hint="call begin_step() before the forward pass")
        if parameters is not None:
            parameters.changed()
            parameters.send(step.transfer)
        step.reduce(self._failed_part)
        step.transfer.run()
        if parameters is not None and self._combine is not None:
            parameters.combine(self._combine)
        self._step = self._parameters = None
        self._hooks.forget()
        self._keep(step, parameters)

    def _keep(self, step: Step, parameters: Parameters | None) -> None:
        own = parameters.by_layer() if parameters is not None else {}
        self._steps += 1
        for layer in self._hooks.every():
            numbers: dict[str, float] = totals(own.get(layer, ()), self._scale) | step.numbers(layer, self._scale)
            self._append(layer.series, numbers)
            note(layer, step.seen.get(layer), step.passes, own.get(layer, ()))
        found = totals(parameters.numbers, self._scale) if parameters is not None else {}
        whole: dict[str, float | None] = {key: found.get(key) for key in ("grad_norm", "update_ratio")}
        self._append(self._totals, {**whole, "loss_scale": self._scale if parameters is not None else None})

    def _append(self, series: dict[str, list[float | None]], numbers: Mapping[str, float | None]) -> None:
        length = self._steps - 1
        kept = length if self._history is None else min(length, self._history)
        for key in dict.fromkeys([*series, *numbers]):
            values = series.setdefault(key, [None] * kept)
            values.append(numbers.get(key))
            if self._history is not None:
                del values[: -self._history]

    def pause(self) -> None:
        """Record nothing until :meth:`resume`; pauses may be nested."""
        self._paused += 1

    def resume(self) -> None:
        """Record again."""
        self._paused = max(self._paused - 1, 0)

    @contextmanager
    def paused(self) -> Iterator[None]:
        """:meth:`pause` for a block."""
        self.pause()
        try:
            yield
        finally:
            self.resume()

    def layers(self) -> tuple[LayerMeasurements, ...]:
        """All layers in order of first execution, with the numbers of every recorded step."""
        held, tied = held_parameters(self._layers)
        return measurements(self._hooks.every(), held, tied)

    def series(self) -> dict[str, Series]:
        """``grad_norm``, ``update_ratio`` and ``loss_scale`` of all parameters together, by step."""
        return {key: tuple(values) for key, values in self._totals.items()}

    def last(self) -> dict[str, dict[str, float]]:
        """Numbers of the last recorded step, by layer and key."""
        return {
            layer.name: {key: value for key, values in layer.series.items() if values and (value := values[-1]) is not None}
            for layer in self._hooks.every()
        }
