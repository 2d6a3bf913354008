"""Notices the steps of a training loop that knows nothing of it, and has one of so many recorded.

A step ends where an optimizer that holds parameters of the model has stepped: torch tells of every optimizer's steps, so none has to be
named. Of the backward passes before it the last counts, because gradients add up until then; what is read at its end are the gradients
before they are unscaled or clipped. Where no optimizer is ever seen, because weights are changed by hand, a step ends with the first
forward pass that finds them changed.

Between recorded steps the model has no hook at all, once an optimizer was seen; until then they are there and do nothing.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any
from weakref import WeakKeyDictionary

import torch
from torch.optim.optimizer import Optimizer, register_optimizer_step_post_hook, register_optimizer_step_pre_hook

from normadvisor.integrations.backward import BackwardEnd, in_backward
from normadvisor.integrations.eagerly import eagerly
from normadvisor.integrations.loss_scale import calling_scaler, scale_of
from normadvisor.integrations.marks import Marks
from normadvisor.integrations.schedule import Schedule
from normadvisor.probe.recording.own_hook import OwnHook

if TYPE_CHECKING:
    from normadvisor.probe.recording.recorder import Recorder

__all__ = ["RecordedStep", "Steps"]

_SKIPS = 20
"""Steps in a row that a gradient scaler may skip as its own doing: it starts at 65536 = 2**16 by default and halves at each."""


class _Holder:
    """Optimizers that hold the same parameters, or that took each other's place: their steps are counted together.

    Args:
        parameters: identities; empty for a loop without optimizer.

    """

    def __init__(self, parameters: Iterable[int] = ()) -> None:
        self.parameters = set(parameters)


@dataclass(frozen=True, slots=True)
class RecordedStep:
    """A step that the recorder has just ended."""

    number: int
    """Steps of its optimizer before it."""
    scale: float | None
    """Factor that was on the loss, and so is on all gradients; ``None`` where a gradient scaler may have been at work that is not known."""
    optimizer: Optimizer | None
    """Whose step it was; ``None`` where weights were changed by hand, or not at all."""
    updated: bool
    """Whether weights were changed."""
    seconds: float
    """Its duration, measuring included."""


class Steps:
    """Notice steps and have them recorded, from :meth:`start` to :meth:`stop`.

    Args:
        model: whose parameters tell which optimizers matter.
        recorder: entered for the steps that are recorded.
        every: record one of so many steps.
        optimizers: only these matter; empty: all that hold a parameter of the model.
        sharded: whether each process holds a part of the model: gradients then do not arrive where the backward pass leaves them.
        scaler: of mixed precision; found where it steps an optimizer if it is not given.
        recorded: called after each recorded step.
        dropped: called where what was recorded belongs to no step after all.

    """

    def __init__(
        self,
        model: torch.nn.Module,
        recorder: Recorder,
        *,
        every: int,
        optimizers: Sequence[Optimizer],
        scaler: Any,
        sharded: bool,
        recorded: Callable[[RecordedStep], None],
        dropped: Callable[[], None],
    ) -> None:
        self._model = model
        self._recorder = recorder
        self._schedule = Schedule(every)
        self._given = list(optimizers)
        self._scaler = scaler
        self._sharded = sharded
        self._backward = BackwardEnd(self._backward_ended)
        self._recorded = recorded
        self._dropped = dropped
        self._hooks = ExitStack()
        self._window: ExitStack | None = None
        self._by_hand: _Holder | None = None
        self._holders: list[_Holder] = []
        self._known: WeakKeyDictionary[Optimizer, tuple[int, _Holder | None]] = WeakKeyDictionary()
        self._parameters: set[int] = set()
        self._stepping: list[Optimizer] = []
        self._passes: list[bool] = []
        self._marks: Marks | None = None
        self._scale: float | None = None
        self._skips = 0
        self._pauses = 0
        self._quiet = 0
        self._begun = 0.0
        self._any = False
        self._repeated = False
        self._asleep = False

    @property
    def recording(self) -> bool:
        """Whether what happens now is recorded."""
        return self._window is not None and not self._pauses and not self._asleep

    def start(self) -> None:
        """Notice steps from now on."""
        for handle in (register_optimizer_step_pre_hook(self._before_step), register_optimizer_step_post_hook(self._after_step)):
            self._hooks.callback(handle.remove)
        for optimizer in self._given:
            self._schedule.expect(self._holder(optimizer))
        if not self._holders:
            self._by_hand = _Holder()
        if self._schedule.due or self._by_hand is not None:
            self._open()

    def stop(self, *, finish: bool) -> None:
        """Take off every hook.

        Args:
            finish: keep the record of a backward pass that no step followed, where none was ever seen.

        """
        try:
            if finish and not self._any and not self._asleep and self._window is not None and self._marks is not None:
                self._end(None, updated=self._marks.weights_changed())
        finally:
            self._leave_by_hand()
            self._close()
            self._hooks.close()

    def pause(self) -> None:
        """Pass over what happens until :meth:`resume`, steps included."""
        self._pauses += 1
        self._hush()

    def resume(self) -> None:
        """Notice steps again."""
        self._pauses -= 1
        self._unhush()

    def _hush(self) -> None:
        """One more reason for the recorder to record nothing."""
        self._quiet += 1
        if self._quiet == 1 and self._window is not None:
            self._recorder.pause()

    def _unhush(self) -> None:
        self._quiet -= 1
        if self._quiet == 0 and self._window is not None:
            self._recorder.resume()

    def _open(self) -> None:
        with ExitStack() as stack:
            self._parameters = {id(parameter) for parameter in self._model.parameters()}
            self._known = WeakKeyDictionary({one: known for one, known in self._known.items() if known[1] is not None})
            stack.enter_context(eagerly())
            before = self._model.register_forward_pre_hook(OwnHook(self._pass_begins), prepend=True)
            stack.callback(before.remove)
            stack.enter_context(self._recorder)
            stack.enter_context(self._backward.of(self._model.parameters()))
            after = self._model.register_forward_hook(OwnHook(self._pass_ends), always_call=True)
            stack.callback(after.remove)
            self._window = stack.pop_all()
        if self._quiet:
            self._recorder.pause()
        self._begin()

    def _begin(self) -> None:
        self._marks = None
        self._scale = None
        self._begun = time.monotonic()
        self._recorder.begin_step()

    def _close(self) -> None:
        self._unrepeat()
        if self._window is not None:
            if self._quiet:
                self._recorder.resume()
            window, self._window = self._window, None
            self._quiet -= sum(self._passes)
            self._passes.clear()
            window.close()

    def _next(self) -> None:
        """Go on to the next step."""
        if not self._schedule.due:
            self._close()
        elif self._window is None:
            self._open()
        else:
            self._begin()

    def _end(self, optimizer: Optimizer | None, *, updated: bool) -> None:
        """Count the step that ends here, and keep its record if it is to be kept."""
        key = self._by_hand if optimizer is None else self._holder(optimizer)
        number = self._schedule.stepped(key, recorded=self._marks is not None)
        if number is not None:
            self._keep(number, optimizer, updated=updated)
        elif self._window is not None:
            self._dropped()

    def _keep(self, number: int, optimizer: Optimizer | None, *, updated: bool) -> None:
        self._any = True
        self._recorder.end_step()
        self._recorded(RecordedStep(number, self._scale, optimizer, updated, time.monotonic() - self._begun))

    def _leave_by_hand(self) -> None:
        if self._by_hand is not None:
            self._schedule.forget(self._by_hand)
            self._by_hand = None
            self._wake()

    def _backward_ended(self) -> None:
        if not self._pauses and not self._repeated and not self._asleep:
            self._recorder.after_backward()
            if self._scaler is not None and self._skips + 1 >= _SKIPS:
                self._scale = scale_of(self._scaler)
            self._marks = Marks(self._model.parameters(), values=self._by_hand is not None and not self._sharded)

    def _before_step(self, optimizer: Optimizer, args: Any, kwargs: Any) -> None:  # noqa: ARG002 - the signature of the hook
        if self._pauses or in_backward() or self._holder(optimizer) is None:
            return
        if optimizer in self._stepping:  # its last step ended with an exception
            del self._stepping[self._stepping.index(optimizer) :]
        self._stepping.append(optimizer)
        if self._window is not None:
            self._scaler = self._scaler or calling_scaler()
            self._scale = scale_of(self._scaler)

    def _after_step(self, optimizer: Optimizer, args: Any, kwargs: Any) -> None:  # noqa: ARG002 - the signature of the hook
        if optimizer not in self._stepping:
            return
        del self._stepping[self._stepping.index(optimizer) :]
        if self._stepping:  # an optimizer that another one runs
            return
        self._leave_by_hand()
        self._unrepeat()
        self._skips = 0
        self._end(optimizer, updated=True)
        self._next()

    def _holder(self, optimizer: Optimizer) -> _Holder | None:
        """Whom the steps of an optimizer are counted for; ``None`` where they are none of the model's."""
        if self._given and not any(optimizer is given for given in self._given):
            return None
        count = sum(len(group["params"]) for group in optimizer.param_groups)
        known = self._known.get(optimizer)
        if known is None or known[0] != count:
            held = {id(parameter) for group in optimizer.param_groups for parameter in group["params"]}
            mine = held if self._given else held & self._parameters
            known = self._known[optimizer] = (count, self._counted_with(mine) if mine else None)
        return known[1]

    def _counted_with(self, parameters: set[int]) -> _Holder:
        for holder in self._holders:
            if not holder.parameters.isdisjoint(parameters):
                holder.parameters |= parameters
                return holder
        self._holders.append(_Holder(parameters))
        return self._holders[-1]

    def _count(self) -> None:
        """A forward pass begins a step, of a loop without optimizer, that is recorded if it is due and else counted."""
        if self._schedule.due:
            self._wake()
            self._begin()
        elif self._by_hand is not None:
            self._schedule.stepped(self._by_hand, recorded=False)

    def _sleep(self) -> None:
        """Leave hooks where they are but idle: within the forward pass that tells of a step, none may come or go."""
        self._asleep = True
        self._marks = None
        self._hush()

    def _wake(self) -> None:
        if self._asleep:
            self._asleep = False
            self._unhush()

    def _pass_begins(self, module: torch.nn.Module, args: Any) -> None:  # noqa: ARG002 - the signature of the hook
        without_gradients = not torch.is_grad_enabled()
        self._passes.append(without_gradients)
        if without_gradients:
            self._hush()
        elif self._asleep and not self._pauses:
            self._count()
        elif self._marks is not None and not self._pauses and self._marks.gradients_changed():
            if self._stepping:
                self._repeat()
            else:
                self._without_step(self._marks)

    def _pass_ends(self, module: torch.nn.Module, args: Any, output: Any) -> None:  # noqa: ARG002 - the signature of the hook
        if self._passes and self._passes.pop():
            self._unhush()
        if self._sharded or self._backward.incomplete:
            self._backward.behind(output)

    def _repeat(self) -> None:
        """A step such as that of LBFGS tries further weights: only its first passes tell of the weights that it began with."""
        if not self._repeated:
            self._repeated = True
            self._hush()

    def _unrepeat(self) -> None:
        if self._repeated:
            self._repeated = False
            self._unhush()

    def _without_step(self, marks: Marks) -> None:
        """A forward pass begins, and the gradients of the last backward pass were cleared without an optimizer having stepped."""
        if self._by_hand is not None and marks.weights_changed():
            self._end(None, updated=True)
            self._sleep()
            self._count()
            return
        self._skips += 1
        if self._skips == _SKIPS:
            self._keep(self._schedule.done, None, updated=False)
        else:
            self._dropped()
        self._begin()
