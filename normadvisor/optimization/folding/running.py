"""One run of a model in which every step of its own code is seen: which parts ran, and from where each layer was called."""

from __future__ import annotations

import inspect
import sys
from collections import defaultdict
from collections.abc import Iterator
from dataclasses import dataclass, field
from types import CodeType, FrameType
from typing import Any
from weakref import ref

import torch
from torch import nn

from normadvisor.graph.light import without_compiler
from normadvisor.graph.values import map_tensors, swapped, tensors_in, to_meta
from normadvisor.optimization.forward import as_written
from normadvisor.rewrite.proof.inputs import Arguments

__all__ = ["Record", "Run", "Visit", "observed"]


@dataclass(slots=True, eq=False)
class Record:
    """One call of a function of the model's code."""

    code: CodeType
    module: int
    """Identity of the module whose method it is, or that called it."""
    parent: Visit | None
    steps: list[tuple[int, int]] = field(default_factory=list)
    """Time and place in the bytecode of every instruction."""


@dataclass(frozen=True, slots=True)
class Visit:
    """A moment in a call."""

    record: Record
    count: int
    """How many instructions had been begun."""

    @property
    def time(self) -> int:
        """Larger for what comes later."""
        return self.record.steps[self.count - 1][0]

    def chain(self) -> list[Visit]:
        """The call and those around it, the outermost first."""
        found: list[Visit] = []
        visit: Visit | None = self
        while visit is not None:
            found.append(visit)
            visit = visit.record.parent
        return found[::-1]


@dataclass(slots=True)
class Run:
    """What was seen."""

    ran: dict[tuple[CodeType, int], set[int]] = field(default_factory=lambda: defaultdict(set))
    """Instructions that ran, by function and identity of the module."""
    visits: dict[int, list[Visit]] = field(default_factory=lambda: defaultdict(list))
    """From where each module was called."""
    records: list[Record] = field(default_factory=list)
    kept: dict[int, str] = field(default_factory=dict)
    """Where what a module gave is still held once the run is over, by identity of the module: ``feature of head``."""


def observed(model: nn.Module, inputs: Arguments) -> Run | None:
    """Run a model once; ``None`` where that fails. The model is left as it was, buffers and random states included.

    Forwards that were changed run as they were before, wherever they would do that for other arguments: what these reach is asked for.
    """
    watch = _Watch({path for module in model.modules() for path in _files(type(module))})
    handles: list[Any] = []
    args, kwargs = tuple(inputs.args), dict(inputs.kwargs)
    if any(parameter.is_meta for parameter in model.parameters()):
        args, kwargs = map_tensors((args, kwargs), to_meta)
    devices = list(range(torch.cuda.device_count())) if torch.cuda.is_available() else []
    before = sys.gettrace()
    try:
        with (
            torch.no_grad(), without_compiler(), torch.random.fork_rng(devices=devices), as_written(model),
            swapped(model, lambda held: held if isinstance(held, nn.Parameter) else held.clone()),
        ):  # fmt: skip
            own = [module for module in model.modules() if not isinstance(module, torch.jit.ScriptModule)]
            handles = [module.register_forward_pre_hook(watch.called) for module in own]
            handles += [module.register_forward_hook(watch.gave) for module in own]
            sys._getframe().f_trace_opcodes = True  # noqa: SLF001 -- Python 3.12 has no such events where no frame wants them by now
            held = {id(tensor) for tensor, _ in _attributes(model)}
            sys.settrace(watch.enter)
            model(*args, **kwargs)
            sys.settrace(before)
            watch.run.kept = watch.kept([(tensor, where) for tensor, where in _attributes(model) if id(tensor) not in held])
    except Exception:  # noqa: BLE001 -- forward is the user's code, and nothing hangs on this run
        return None
    finally:
        sys.settrace(before)
        for handle in handles:
            handle.remove()
    return watch.run


def _attributes(model: nn.Module) -> Iterator[tuple[torch.Tensor, str]]:
    """Tensors that are neither parameters nor buffers, in attributes of modules or in lists there, and the name of each."""
    for name, module in model.named_modules():
        for key, value in vars(module).items():
            if key not in _OWN and isinstance(value, (torch.Tensor, list, tuple, dict)):
                yield from ((tensor, f"{key} of {name or 'the model'}") for tensor in tensors_in(value))


_OWN = frozenset(vars(nn.Module()))


def _files(cls: type) -> set[str]:
    """Where the methods of a class stand that are not torch's."""
    found = set()
    for base in cls.__mro__:
        if f"{base.__module__}.".startswith(("torch.", "builtins.")):
            continue
        for value in vars(base).values():
            code = getattr(inspect.unwrap(value), "__code__", None) if inspect.isfunction(value) else None
            if code is not None:
                found.add(code.co_filename)
    return found


class _Watch:
    def __init__(self, files: set[str]) -> None:
        self.run = Run()
        self._files, self._time = files, 0
        self._open: list[tuple[FrameType, Record]] = []
        self._given: list[tuple[int, ref[torch.Tensor]]] = []

    def _here(self) -> Visit | None:
        if not self._open or not self._open[-1][1].steps:
            return None
        record = self._open[-1][1]
        return Visit(record, len(record.steps))

    def called(self, module: nn.Module, _args: Any) -> None:
        here = self._here()
        if here is not None:
            self.run.visits[id(module)].append(here)

    def gave(self, module: nn.Module, _args: Any, result: Any) -> None:
        if isinstance(result, torch.Tensor):
            self._given.append((id(module), ref(result)))

    def kept(self, found: list[tuple[torch.Tensor, str]]) -> dict[int, str]:
        """Where the results of modules are held, of some tensors and the places where they are."""
        places = {tensor.untyped_storage()._cdata: where for tensor, where in found}  # noqa: SLF001 -- the same for views
        alive = [(module, tensor) for module, held in self._given if places and (tensor := held()) is not None]
        return {module: place for module, tensor in alive if (place := places.get(tensor.untyped_storage()._cdata))}  # noqa: SLF001

    def enter(self, frame: FrameType, event: str, _arg: Any) -> Any:
        code = frame.f_code
        if event != "call" or code.co_filename not in self._files:
            return None
        parent = self._here()
        own = frame.f_locals.get(code.co_varnames[0]) if code.co_argcount else None
        around = parent.record.module if parent is not None else 0
        record = Record(code, id(own) if isinstance(own, nn.Module) else around, parent)
        self.run.records.append(record)
        self._open.append((frame, record))
        frame.f_trace = self._step  # Python 3.13 takes the next line only where there is one.
        frame.f_trace_opcodes = True
        return self._step

    def _step(self, frame: FrameType, event: str, _arg: Any) -> Any:
        while self._open and self._open[-1][0] is not frame:
            self._open.pop()  # a generator that was left, or a call that raised
        if not self._open:
            return None
        record = self._open[-1][1]
        if event == "opcode":
            self._time += 1
            record.steps.append((self._time, frame.f_lasti))
            self.run.ran[record.code, record.module].add(frame.f_lasti)
        elif event == "return":
            self._open.pop()
        return self._step
