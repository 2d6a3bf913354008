"""What a model's own code does with its mode: dropout by hand that keeps no mean, and parts that one mode passes over.

``torch``'s own layers are known to be right in both modes. Code that reads ``self.training`` by itself is compared with itself: the same
modules on the same input, with nothing but that flag changed.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from types import CodeType
from typing import Any

import torch
from torch import Tensor, nn

from normadvisor.probe.recording.layers import walk
from normadvisor.probe.running.capture import capturing, layer_gaps, paired, snapshot
from normadvisor.probe.running.comparison import NEGLIGIBLE, REPEATS, Modes, why_no_gap
from normadvisor.probe.running.outputs import difference
from normadvisor.probe.running.samples import Batch
from normadvisor.probe.running.trees import float_tensors

__all__ = ["kept_mean", "measure_own_code", "reads_mode"]

_PASSES = 20
"""Forward passes that it takes at most where modules that read their mode stand three deep inside one another."""
_SHARE = 0.8
"""Share of the budget after which this is left out."""
_MOST = 1 << 14
"""Values that are looked at."""
_FEWEST = 64
"""Values that dropout is told by."""
_ALIKE = 1e-3
"""Relative difference up to which two factors are one: half precision rounds by as much."""
_WHOLE = 0.98
"""Share of the values that are zero or multiplied by one factor, from which on the difference of two modes is dropout."""


def measure_own_code(modes: Modes, first: Batch, random: frozenset[str]) -> None:
    """Measure what the model's own code makes of ``self.training``; writes ``code_gap``, ``drop_scale`` and ``drop_modules``.

    Args:
        modes: statistics settled in train mode.
        first: the batch to compare on.
        random: names of ``torch``'s modules, and of others known by name, that are random in train mode.

    """
    session = modes.session
    reason = None
    if session.ranks.world_size > 1:
        reason = "modules cannot be run again by themselves where several processes share their weights"
    elif not session.budget.allows(_PASSES * session.budget.forward, _SHARE):
        reason = f"no time was left of {session.budget.seconds:g} s"
    if reason is not None:
        session.found.missing |= dict.fromkeys(("code_gap", "drop_scale"), reason)
        return
    _gap(modes, first, random)
    _dropout(modes, first)


def _gap(modes: Modes, first: Batch, random: frozenset[str]) -> None:
    """Train against eval mode with norms and known dropout layers in eval mode both times."""
    session, found = modes.session, modes.session.found
    flags = dict(session.train_flags)
    for name, module in walk(session.model):
        if name in random or name in modes.layers:
            flags.update({part: session.eval_flags[part] for part in module.modules()})
    with capturing(modes.modules) as mine:
        trained = snapshot(modes.run(first, flags))
    again = snapshot(modes.run(first, flags))
    repeat = difference(*paired(again, trained)) if trained else None
    if repeat is None or repeat > NEGLIGIBLE:
        found.missing["code_gap"] = "the model's own code is random in train mode"
        return
    with capturing(modes.modules) as theirs:
        evaluated = snapshot(modes.run(first, session.eval_flags))
    one, other = paired(trained, evaluated)
    found.fact("code_gap", difference(one, other) if one else None, why_no_gap(evaluated) if one else "outputs have no shape in common")
    for name, gap in layer_gaps(mine, theirs).items():
        found.layer(name, "code_gap", gap)


def reads_mode(module: nn.Module) -> bool:
    """Whether the code of a module's class, ``torch``'s own aside, looks at ``training``."""
    for cls in type(module).__mro__:
        if cls.__module__.split(".")[0] == "torch" or cls is object:
            continue
        for member in vars(cls).values():
            code = getattr(getattr(member, "__func__", member), "__code__", None)
            if isinstance(code, CodeType) and member.__name__ not in ("train", "eval", "__init__") and _names_training(code):
                return True
    return False


def _names_training(code: CodeType) -> bool:
    return "training" in code.co_names or any(_names_training(inner) for inner in code.co_consts if isinstance(inner, CodeType))


def _dropout(modes: Modes, first: Batch) -> None:
    """Find modules whose own code drops single values of hidden layers in train mode, and whether it keeps their mean."""
    session, found = modes.session, modes.session.found
    wanted = {name: module for name, module in walk(session.model) if name not in modes.layers and reads_mode(module)}
    weighted = [module for module in modes.modules.values() if any(True for _ in module.parameters(recurse=False))]
    scales: dict[str, float] = {}
    with _watching(wanted, weighted) as calls:
        modes.run(first, session.eval_flags)
    for name, (base, *others) in calls:
        scale = kept_mean(base, others)
        if scale is not None and abs(math.log(scale)) >= abs(math.log(scales.get(name, 1.0))):
            scales[name] = scale
    if not scales:
        return
    worst = max(scales.values(), key=lambda scale: abs(math.log(scale)))
    found.facts["drop_scale"] = worst
    found.facts["drop_modules"] = [name for name, scale in scales.items() if abs(math.log(scale)) * 2 >= abs(math.log(worst))]


_Values = list[tuple[bool, Tensor]]
"""What a module hands to those inside it, in order, and gives itself: whether a layer with weights ran before, and values."""
_Calls = list[tuple[str, list[Tensor]]]


@contextmanager
def _watching(modules: Mapping[str, nn.Module], weighted: list[nn.Module]) -> Iterator[_Calls]:
    """In each eval call of a module, what its own code changes first when its flag alone is that of train mode.

    Each entry holds the name, values in eval mode, and the same ones of :data:`REPEATS` runs in train mode. What nothing with weights
    stands in front of is left out: noise on the inputs is meant to be noise.
    """
    found: _Calls = []
    ran = _Ran()
    handles = [each.register_forward_hook(ran.note) for each in weighted]
    for name, module in modules.items():
        watch = _Watch(name, module, ran, found)
        handles.append(module.register_forward_pre_hook(watch.enter))
        handles.append(module.register_forward_hook(watch.note, with_kwargs=True))
    try:
        yield found
    finally:
        for handle in handles:
            handle.remove()


@dataclass(slots=True)
class _Ran:
    """What happened in the pass so far."""

    weights: bool = False
    """A layer with weights ran."""
    busy: bool = False
    """A module is being run again."""

    def note(self, _module: nn.Module, _args: Any, _output: Any) -> None:
        self.weights = True


class _Watch:
    """Runs one module again after each of its calls."""

    def __init__(self, name: str, module: nn.Module, ran: _Ran, found: _Calls) -> None:
        self._name, self._module, self._ran, self._found = name, module, ran, found
        self._inside = [part for part in module.modules() if part is not module]
        self._entered: list[bool] = []

    def enter(self, _module: nn.Module, _args: Any) -> None:
        if not self._ran.busy:
            self._entered.append(self._ran.weights)

    def note(self, module: nn.Module, args: Any, kwargs: Any, _output: Any) -> None:
        if self._ran.busy:
            return
        before, flag = self._entered.pop(), module.training
        self._ran.busy = True
        try:
            base = self._run(args, kwargs, before)
            module.training = True
            repeats = [self._run(args, kwargs, before) for _ in range(REPEATS)]
        finally:
            module.training = flag
            self._ran.busy = False
            self._ran.weights = before or any(behind for behind, _ in base)
        for index, (behind_weights, values) in enumerate(base):
            others = [repeat[index][1] for repeat in repeats if index < len(repeat) and repeat[index][1].shape == values.shape]
            if len(others) < REPEATS:
                return
            if not all(torch.equal(other, values) for other in others):
                if behind_weights:
                    self._found.append((self._name, [values, *others]))
                return

    def _run(self, args: Any, kwargs: Any, before: bool) -> _Values:  # noqa: FBT001 - a state, not an option
        """Values of one run; what train mode alone raises is nothing to compare."""
        found: _Values = []
        self._ran.weights = before

        def take(_module: nn.Module, given: Any) -> None:
            tensor = next((value for value in given if isinstance(value, Tensor) and value.is_floating_point()), None)
            if tensor is not None:
                found.append((self._ran.weights, _part(tensor)))

        handles = [part.register_forward_pre_hook(take) for part in self._inside]
        try:
            with suppress(Exception):
                output = self._module.forward(*args, **kwargs)
                found.extend((self._ran.weights, _part(tensor)) for _, tensor in float_tensors(output)[:1])
        finally:
            for handle in handles:
                handle.remove()
        return found


def _part(tensor: Tensor) -> Tensor:
    """At most :data:`_MOST` neighbouring values, axes kept, on the CPU."""
    held = tensor.detach()
    while held.numel() > _MOST:
        axis = max(range(held.ndim), key=lambda each: held.shape[each])
        held = held.narrow(axis, 0, (held.shape[axis] + 1) // 2)
    return held.to("cpu", torch.float64, copy=True)


def kept_mean(base: Tensor, others: list[Tensor]) -> float | None:
    """What dropout leaves of the mean: the share of values that it keeps times the factor that it multiplies them with.

    1 for dropout as it is meant to be (Srivastava et al., 2014, https://jmlr.org/papers/v15/srivastava14a.html), and where five standard
    errors of the share explain the difference.

    Args:
        base: values in eval mode, samples first.
        others: the same values in several passes in train mode.

    Returns:
        ``None`` where train mode does something else than to drop single values of a sample (or whole channels), with one factor for
        the rest.

    """
    known = base.abs() > 1e-6 * base.abs().mean()
    if base.ndim < 2 or int(known.sum()) < _FEWEST or not bool(base.isfinite().all()):
        return None
    zeros, factors = [], []
    for other in others:
        zero = known & (other == 0)
        ratios = (other / base)[known & ~zero]
        if not ratios.numel() or not _scattered(zero, known):
            return None
        factor = float(ratios.median())
        if factor <= 0 or float(((ratios - factor).abs() <= _ALIKE * factor).double().mean()) < _WHOLE:
            return None
        zeros.append(zero)
        factors.append(factor)
    if max(factors) > min(factors) * (1 + _ALIKE):
        return None
    count = int(known.sum()) * len(others)
    share = 1 - sum(int(zero.sum()) for zero in zeros) / count
    if base.ndim > 3:  # Whole channels may be dropped: as many decisions as there are of them.
        count //= math.prod(base.shape[2:])
    scale = factors[0] * share
    return 1.0 if abs(scale - 1) < 5 * factors[0] * (share * (1 - share) / count) ** 0.5 else scale


def _scattered(zero: Tensor, known: Tensor) -> bool:
    """Whether single features are dropped, and not whole samples or places, as masks of the input and of steps in time do."""
    axes = [1] if zero.ndim != 3 else [1, 2]
    return all(bool((zero.any(axis) & (known & ~zero).any(axis)).double().mean() > 0.5) for axis in axes)
