"""A model folded beside a copy of it in float64: what is rounding, of the original and of the folded, and what is the function itself."""

from __future__ import annotations

import contextlib
import copy
from collections import Counter
from dataclasses import dataclass, field
from typing import Any

from benchmarks.fused.folding_models import arguments_of
from benchmarks.zoo.names import Entry

__all__ = ["Folded", "fold", "outputs"]

_ROUNDS = 4
"""How often a stage is gone through, as the command does it: what was folded may be folded once more."""
_MOST = 1 << 28
"""Parameters above which no copy in float64 is made: it would take more than 2 GB."""


@dataclass(slots=True)
class Folded:
    """What came of one model."""

    ran: list[str] = field(default_factory=list)
    """Norms with running statistics that ran, by name."""
    left: dict[str, str] = field(default_factory=dict)
    """Those that still run afterwards, with the reason that the finders give."""
    kinds: Counter[str] = field(default_factory=Counter)
    """How often each kind of fold was made."""
    errors: dict[str, float] = field(default_factory=dict)
    """Largest differences of an output, relative to its largest entry: ``original`` and ``folded`` in float32 from the original in float64,
    ``function`` of the folded in float64 from the original in float64, ``apart`` of the folded in float32 from the original in float32;
    ``original_rms`` and ``folded_rms`` with the root of the mean square in place of the largest difference."""


def fold(model: Any, entry: Entry, shape: tuple[int, ...]) -> Folded:
    """Fold a model in float32 and a copy of it in float64 by the same candidates."""
    import torch  # noqa: PLC0415

    exact = copy.deepcopy(model).double() if sum(value.numel() for value in model.parameters()) < _MOST else None
    arguments, wide = arguments_of(entry, shape), arguments_of(entry, shape, torch.float64)
    found = Folded()
    before, truth = outputs(model, arguments), None
    if exact is not None:
        with contextlib.suppress(RuntimeError):  # Some compute positions in float32 whatever they are given.
            truth = outputs(exact, wide)
    found.ran = _norms_that_run(model, arguments)
    reasons = _fold_both(model, None if truth is None else exact, entry, arguments, found.kinds)
    left = _norms_that_run(model, arguments)
    found.left = {name: reasons.get(name, "") for name in left}
    after = outputs(model, arguments)
    found.errors["apart"] = _largest(after, before)
    if truth is not None:
        found.errors["original"], found.errors["folded"] = _largest(before, truth), _largest(after, truth)
        found.errors["original_rms"], found.errors["folded_rms"] = _typical(before, truth), _typical(after, truth)
        found.errors["function"] = _largest(outputs(exact, wide), truth)
    return found


def _fold_both(model: Any, exact: Any, entry: Entry, arguments: tuple[Any, ...], kinds: Counter[str]) -> dict[str, str]:
    """Everything that the finders find, stage by stage; why each norm was refused when they looked last."""
    import torch  # noqa: PLC0415

    from normadvisor.graph import trace  # noqa: PLC0415
    from normadvisor.optimization.candidate import Candidate, Setting  # noqa: PLC0415
    from normadvisor.optimization.folding.finders import FINDERS  # noqa: PLC0415
    from normadvisor.rewrite.model.journal import Journal  # noqa: PLC0415
    from normadvisor.targets.inputs import Inputs  # noqa: PLC0415
    from normadvisor.types.optimization import STAGES  # noqa: PLC0415

    inputs = Inputs(args=arguments, given=True)
    setting = Setting(mode="inference", device=torch.device("cpu"), dtype=torch.float32, inputs=inputs)
    graph, reasons = None, {}
    for stage in STAGES:
        finders = [finder for of, finder in FINDERS if of == stage]
        for _ in range(_ROUNDS):
            changed = False
            for finder in finders:
                graph = graph or trace(model, inputs, target=entry.name, sites={}, mode="eval")
                candidates = []
                for item in finder(model, graph, setting):
                    if isinstance(item, Candidate):
                        candidates.append(item)
                    else:
                        reasons[item.modules[0]] = item.reason
                while candidates:  # Each is let go, so that memory holds the old weights of one at a time.
                    candidate = candidates.pop(0)
                    candidate.apply(model, Journal())
                    if exact is not None:
                        candidate.apply(exact, Journal())
                    kinds[candidate.group.partition(" ")[2]] += 1
                    graph, changed = None, True
            if not changed:
                break
    return reasons


def outputs(model: Any, arguments: tuple[Any, ...]) -> list[Any]:
    """What the model gives; of detectors what the backbone and the heads give, since which boxes are chosen hangs on the last digit."""
    import torch  # noqa: PLC0415

    if not (hasattr(model, "backbone") and hasattr(model, "transform")):
        with torch.no_grad():
            return _tensors(model(*arguments))
    found: list[Any] = []
    parts = [
        model.backbone,
        *(part for name in ("head", "rpn") if (part := getattr(getattr(model, name, None), "head", getattr(model, name, None)))),
    ]
    handles = [part.register_forward_hook(lambda _module, _args, result: found.extend(_tensors(result))) for part in parts]
    try:
        with torch.no_grad():
            model(*arguments)
    finally:
        for handle in handles:
            handle.remove()
    return found


def _tensors(value: Any) -> list[Any]:
    from normadvisor.graph.values import tensors_in  # noqa: PLC0415

    return [tensor.detach().clone() for tensor in tensors_in(value) if tensor.is_floating_point()]


def _largest(after: list[Any], before: list[Any]) -> float:
    """The largest difference, relative to the largest entry of each output; of the worst output."""
    return max(_relative(after, before, lambda value: float(value.abs().max())), default=0.0)


def _typical(after: list[Any], before: list[Any]) -> float:
    """The root of the mean square of the differences, relative in the same way."""
    return max(_relative(after, before, lambda value: float(value.square().mean().sqrt())), default=0.0)


def _relative(after: list[Any], before: list[Any], size: Any) -> list[float]:
    import torch  # noqa: PLC0415

    if [value.shape for value in after] != [value.shape for value in before]:
        return [float("inf")]
    found = []
    for one, other in zip(after, before, strict=True):
        if not other.numel():
            continue
        if not bool(torch.isfinite(other).all()):
            return [float("nan")]
        found.append(size(one.to(other.dtype) - other) / (float(other.abs().max()) or 1.0))
    return found


def _norms_that_run(model: Any, arguments: tuple[Any, ...]) -> list[str]:
    """Names of the batch norms with running statistics that run, whoever calls them."""
    import torch  # noqa: PLC0415
    import torch.nn.functional as F  # noqa: PLC0415
    from torch.overrides import TorchFunctionMode  # noqa: PLC0415

    names = {id(value): key.rpartition(".")[0] for key, value in model.named_buffers()}
    found: dict[str, None] = {}

    class Watch(TorchFunctionMode):
        def __torch_function__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
            held = args[2] if len(args) > 2 else (kwargs or {}).get("running_var")
            if func is F.batch_norm and held is not None:
                found[names.get(id(held), "")] = None
            return func(*args, **(kwargs or {}))

    with Watch(), torch.no_grad():
        model(*arguments)
    return list(found)
