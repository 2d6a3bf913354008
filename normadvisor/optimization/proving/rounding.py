"""How far a model is from the same computed in float64: before and after, in the dtype and on the device it runs in."""

from __future__ import annotations

import copy
import math
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import torch

from normadvisor.graph.values import map_tensors, tensors_in
from normadvisor.optimization.proving.settled import without_chance
from normadvisor.rewrite.proof.copies import double_copy
from normadvisor.rewrite.proof.double import double
from normadvisor.rewrite.proof.inputs import Shape, draw
from normadvisor.rewrite.proof.passes import as_plain_cpu
from normadvisor.rewrite.proof.state import parameters, randomise
from normadvisor.types.optimization import Errors

if TYPE_CHECKING:
    from torch import nn

    from normadvisor.optimization.candidate import Kernel, Setting
    from normadvisor.optimization.proving.function import Change

__all__ = ["Rounding", "acceptable", "errors_of_run", "kernel_errors"]

_MORE = 6
"""Draws where two do not settle it: a model that amplifies rounding makes the ratio of two errors a matter of luck."""
_TIMES = 2.0
"""How much larger the error of a replacement may be than that of what it replaces."""
_ULPS = 8.0
"""Units in the last place of the largest entry that are always allowed: below, which error is larger is a matter of luck."""
_BATCH = 4
"""Samples of a batch that are looked at, since the reference in float64 is slow; as many as there are where the model wants that."""
_DRAWS = 2
"""With the weights as they are, and with random weights and running statistics: fresh ones (mean 0, variance 1) say little."""
_FLOOR = 1e-2
"""Smallest scale of a gradient, as a share of the largest entry of all gradients: one that is zero in exact arithmetic, such as that of a
bias in front of a norm, is noise throughout, and would be the only error that is seen."""

Tensors = list[torch.Tensor]


@dataclass(frozen=True, slots=True)
class _Observed:
    """What a pass gave, in float64 on the CPU."""

    outputs: Tensors
    gradients: Tensors = field(default_factory=list)
    """By the order of parameters."""


def acceptable(errors: Errors, dtype: torch.dtype) -> bool:
    """Whether a replacement rounds about as well as what it replaces: at most twice the error, beyond a few units in the last place."""
    if math.isinf(errors.before) or math.isnan(errors.before):
        return True  # nothing could be worse
    return errors.after <= _TIMES * max(errors.before, _ULPS / 2 * torch.finfo(dtype).eps)


@dataclass(slots=True)
class _Draw:
    """One set of weights and inputs."""

    model: nn.Module
    """In the dtype and on the device of the model."""
    args: tuple[Any, ...]
    kwargs: dict[str, Any]
    exact: _Observed
    """What float64 gives."""
    before: _Observed


@dataclass(slots=True, kw_only=True)
class Rounding:
    """Rounding errors of a model and of what becomes of it, end to end.

    Args:
        model: the original, in its dtype on its device; never changed.
        setting: inputs, and what the model is run for.
        seed: of everything random.

    """

    model: nn.Module
    setting: Setting
    seed: int = 0
    _draws: list[_Draw] = field(default_factory=list, init=False)
    _batch: Shape | None = field(default=None, init=False)

    def errors(self, change: Change) -> Errors:
        """Of the original, and of a copy that was changed: the geometric mean over draws, and the largest difference between the two.

        Raises:
            CannotChange: from ``change``.
            Exception: whatever ``forward`` raises.

        """
        found: list[Errors] = []
        for wanted in (_DRAWS, _MORE):
            found += [self._of(self._get(index), change) for index in range(len(found), wanted)]
            joint = _joint(found, torch.finfo(self.setting.dtype).eps)
            if acceptable(joint, self.setting.dtype):
                return joint
        return joint

    def _of(self, one: _Draw, change: Change) -> Errors:
        changed = copy.deepcopy(one.model)
        held = list(_unique(changed))
        with torch.no_grad():
            change(changed)
        after = self._observed(changed, one.args, one.kwargs, held)
        return Errors(before=_error(one.before, one.exact), after=_error(after, one.exact), between=_error(after, one.before))

    def _get(self, index: int) -> _Draw:
        """A draw; each is made once, and only the first few are kept."""
        if index < len(self._draws):
            return self._draws[index]
        if self._batch is None:
            self._batch = self._fewer()
        made = self._draw(index, self._batch)
        if index < _DRAWS:
            self._draws.append(made)
        return made

    def _fewer(self) -> Shape:
        """The shape of a batch with fewer samples, where the model runs on one."""
        given = self.setting.inputs
        sizes = {tensor.shape[0] for tensor in tensors_in((given.args, dict(given.kwargs))) if tensor.dim() > 1}
        if len(sizes) != 1 or max(sizes) <= _BATCH:
            return Shape()
        shape = Shape((max(sizes), _BATCH))
        try:
            args, kwargs = self._inputs(0, shape)
            self._observed(copy.deepcopy(self.model), args, kwargs, [])
        except Exception:  # noqa: BLE001 -- forward is the user's code, which may ask for a certain number of samples
            return Shape()
        return shape

    def _inputs(self, index: int, shape: Shape) -> tuple[tuple[Any, ...], dict[str, Any]]:
        """On the device and in the dtype of the model."""

        def placed(tensor: torch.Tensor) -> torch.Tensor:
            return tensor.to(self.setting.device, self.setting.dtype if tensor.is_floating_point() else tensor.dtype)

        args, kwargs = draw(self.setting.inputs, shape, self.seed + index)
        return map_tensors(args, placed), map_tensors(kwargs, placed)

    def _draw(self, index: int, shape: Shape) -> _Draw:
        model = copy.deepcopy(self.model)
        if index:
            reference = double_copy(self.model)
            randomise(reference, self.seed + index)
            with torch.no_grad():
                for own, other in zip(_state(model), _state(reference), strict=True):
                    own.copy_(other)
        args, kwargs = self._inputs(index, shape)
        # From the rounded weights: theirs is no error of a pass.
        reference = double_copy(model)
        with as_plain_cpu():
            exact = self._observed(
                reference, map_tensors(args, double), map_tensors(kwargs, double), list(_unique(reference)), torch.device("cpu")
            )
        before = self._observed(copied := copy.deepcopy(model), args, kwargs, list(_unique(copied)))
        return _Draw(model, args, kwargs, exact, before)

    def _observed(
        self, model: nn.Module, args: tuple[Any, ...], kwargs: dict[str, Any], held: Sequence[nn.Parameter],
        device: torch.device | None = None,
    ) -> _Observed:  # fmt: skip
        """Outputs of a pass, and in training the gradients of parameters."""
        training = self.setting.mode == "training"
        args, kwargs = map_tensors(args, torch.clone), map_tensors(kwargs, torch.clone)
        with without_chance(self.seed, device or self.setting.device), torch.set_grad_enabled(training):
            outputs = [tensor for tensor in tensors_in(model(*args, **kwargs)) if tensor.is_floating_point()]
            if not training:
                return _Observed(_plain(outputs))
            wanted = [output for output in outputs if output.requires_grad]
            torch.autograd.backward(wanted, [_factors(output, self.seed + number) for number, output in enumerate(wanted)])
        return _Observed(_plain(outputs), _plain(torch.zeros_like(each) if each.grad is None else each.grad for each in held))


def _joint(found: Sequence[Errors], eps: float) -> Errors:
    """One for several draws."""
    if len(found) == 1 or any(not math.isfinite(each.before + each.after) for each in found):
        return max(found, key=lambda errors: errors.after)

    def mean(values: Iterator[float]) -> float:
        return math.exp(sum(math.log(max(value, eps / 16)) for value in values) / len(found))

    return Errors(
        before=mean(each.before for each in found), after=mean(each.after for each in found), between=max(each.between for each in found)
    )


def _unique(model: nn.Module) -> Iterator[nn.Parameter]:
    """Parameters in the order of their first keys, tied ones once."""
    yield from dict.fromkeys(value for value in parameters(model).values() if value.requires_grad)


def _state(model: nn.Module) -> Iterator[torch.Tensor]:
    yield from model.parameters()
    yield from model.buffers()


def _factors(output: torch.Tensor, seed: int) -> torch.Tensor:
    """What flows backward into an output: the same numbers in each precision, as single and half precision hold them."""
    generator = torch.Generator().manual_seed(seed)
    drawn = torch.randint(-64, 65, output.shape, generator=generator) / 64
    return drawn.to(output.device, output.dtype)


def _plain(tensors: Iterable[torch.Tensor]) -> Tensors:
    return [tensor.detach().double().cpu() for tensor in tensors]


def _error(found: _Observed, exact: _Observed) -> float:
    """Largest difference of an entry, relative to the largest entry of its tensor; infinite where one side is finite alone."""
    return max(_apart(found.outputs, exact.outputs, 0.0), _apart(found.gradients, exact.gradients, _FLOOR))


def _apart(found: Tensors, exact: Tensors, floor: float) -> float:
    if len(found) != len(exact):
        return math.inf
    least = floor * max((_peak(tensor) for tensor in exact), default=0.0)
    worst = 0.0
    for one, other in zip(found, exact, strict=True):
        if one.shape != other.shape or not torch.equal(one.isfinite(), other.isfinite()):
            return math.inf
        scale, apart = max(_peak(other), least), _peak((one - other)[other.isfinite()])
        worst = max(worst, apart / scale if scale else float(apart > 0))
    return worst


def _peak(tensor: torch.Tensor) -> float:
    finite = tensor[tensor.isfinite()] if tensor.numel() else tensor
    return float(finite.abs().max()) if finite.numel() else 0.0


def errors_of_run(model: nn.Module, run: Callable[[], Any], setting: Setting) -> Errors:
    """Errors of the outputs of a model in inference, and of another way to compute them, on the given inputs.

    Raises:
        Exception: whatever ``forward`` raises.

    """

    def outputs(result: Any) -> _Observed:
        return _Observed(_plain(tensor for tensor in tensors_in(result) if tensor.is_floating_point()))

    args, kwargs = tuple(setting.inputs.args), dict(setting.inputs.kwargs)
    with torch.no_grad():
        before, after = outputs(model(*args, **kwargs)), outputs(run())
        reference = double_copy(model)
        with as_plain_cpu():
            exact = outputs(reference(*map_tensors(args, double), **map_tensors(kwargs, double)))
    return Errors(before=_error(before, exact), after=_error(after, exact), between=_error(after, before))


def kernel_errors(kernel: Kernel) -> Errors | None:
    """Rounding errors of the operations of one place; ``None`` where they have no reference in float64.

    Raises:
        Exception: whatever the operations raise.

    """
    if kernel.exact is None:
        return None

    def results(run: Callable[..., Any], change: Callable[[torch.Tensor], torch.Tensor]) -> _Observed:
        with torch.no_grad():
            found = run(*map_tensors(kernel.arguments, change))
        return _Observed(_plain(tensor for tensor in tensors_in(found) if tensor.is_floating_point()))

    exact = results(kernel.exact, lambda tensor: tensor.detach().double() if tensor.is_floating_point() else tensor.clone())
    before, after = (results(run, torch.clone) for run in (kernel.before, kernel.after))
    return Errors(before=_error(before, exact), after=_error(after, exact), between=_error(after, before))
