"""One model: what a conversion reaches, what it keeps, and how long it takes."""

from __future__ import annotations

import copy
import importlib
import time
from collections import Counter
from collections.abc import Callable, Mapping
from typing import Any

import torch
from torch import nn
from torch.nn.modules.batchnorm import _BatchNorm

from benchmarks.zoo.names import Entry
from normadvisor.rewrite.convert import convert_norms

__all__ = ["build", "compare", "cover"]

_PAIRS = 3
_SEED = 7
_INPUT = 64
"""Height and width of the images that a frozen model is compared on; models that do not take them are run on what they are made for."""

_Row = dict[str, Any]


def build(entry: Entry) -> nn.Module:
    """The model without any weights that would have to be fetched."""
    if entry.family == "timm":
        import timm  # noqa: PLC0415 - only the family asked for is imported

        return _as_module(timm.create_model(entry.name))
    from torchvision import models  # noqa: PLC0415 - as above

    with_backbone = {*models.list_models(module=models.detection), *models.list_models(module=models.segmentation)}
    more = {"weights_backbone": None} if entry.name in with_backbone else {}
    return _as_module(models.get_model(entry.name, weights=None, **more))


def _as_module(value: Any) -> nn.Module:
    assert isinstance(value, nn.Module)
    return value


def _build_light(entry: Entry) -> nn.Module:
    """Without memory where the model can be built so."""
    try:
        with torch.device("meta"):
            return build(entry)
    except Exception:  # noqa: BLE001 - whatever a constructor does with numbers
        return build(entry)


def _norms(model: nn.Module) -> dict[str, _BatchNorm]:
    return {name: module for name, module in model.named_modules() if isinstance(module, _BatchNorm)}


def _others(model: nn.Module) -> Counter[str]:
    """Classes of all layers that hold no others and are no norm, such as activations inside ``BatchNormAct2d``."""
    kinds = (_BatchNorm, nn.GroupNorm)
    return Counter(type(module).__name__ for module in model.modules() if not list(module.children()) and not isinstance(module, kinds))


def cover(entry: Entry) -> _Row:
    """How much of a model is converted, from its structure alone."""
    model = _build_light(entry)
    norms, others = _norms(model), _others(model)
    row: _Row = {"family": entry.family, "name": entry.name, "layers": len(norms)}
    if norms:
        result = convert_norms(model, "group_norm")
        row |= {"left": len(_norms(model)), "skipped": list(result.skipped), "activations": _others(model) == others}
    return row


def compare(entry: Entry) -> _Row:
    """Both tools on one model with numbers in it."""
    torch.manual_seed(_SEED)
    model = build(entry)
    norms = _norms(model)
    row: _Row = {"family": entry.family, "name": entry.name, "layers": len(norms)}
    if not norms:
        return row
    _randomize(norms.values())
    for tool, convert in _TOOLS.items():
        row[tool] = _kept(model, convert)
    row["frozen"] = _frozen_difference(model, entry)
    row["seconds"] = _seconds(model)
    return row


def _randomize(norms: Any) -> None:
    """No value that a new layer would have anyway."""
    with torch.no_grad():
        for norm in norms:
            for value in (norm.weight, norm.bias, norm.running_mean, norm.running_var):
                if value is not None:
                    value.uniform_(0.5, 1.5)


def _ours(model: nn.Module, optimizer: torch.optim.Optimizer | None) -> nn.Module:
    convert_norms(model, "group_norm", optimizer=optimizer)
    return model


def _opacus(model: nn.Module, _optimizer: torch.optim.Optimizer | None) -> nn.Module:
    # Installed beside the project rather than in it.
    return _as_module(importlib.import_module("opacus.validators").ModuleValidator.fix(model))


_Convert = Callable[[nn.Module, torch.optim.Optimizer | None], nn.Module]
_TOOLS: Mapping[str, _Convert] = {"normadvisor": _ours, "opacus": _opacus}


def _kept(model: nn.Module, convert: _Convert) -> _Row:
    """What one tool makes of a copy."""
    subject = copy.deepcopy(model)
    optimizer = torch.optim.SGD(subject.parameters(), lr=0.1, momentum=0.9)
    others = _others(model)
    try:
        after = convert(subject, optimizer)
    except Exception as error:  # noqa: BLE001 - what a tool raises is a result
        return {"error": f"{type(error).__name__}: {error}"[:200]}
    now = dict(after.named_modules())
    converted = {name: (norm, now.get(name)) for name, norm in _norms(model).items() if isinstance(now.get(name), nn.GroupNorm)}
    pairs: list[tuple[_BatchNorm, nn.GroupNorm]] = list(converted.values())  # type: ignore[arg-type]  # as it was asked for
    held = {id(value) for group in optimizer.param_groups for value in group["params"]}
    return {
        "converted": len(converted),
        "left": len(_norms(after)),
        "eps": sum(old.eps == new.eps for old, new in pairs),
        "affine": sum(_equal(old.weight, new.weight) and _equal(old.bias, new.bias) for old, new in pairs),
        "activations": _others(after) == others,
        "optimizer": held == {id(value) for value in after.parameters()},
    }


def _equal(old: torch.Tensor | None, new: torch.Tensor | None) -> bool:
    return (old is None) == (new is None) and (old is None or new is None or torch.equal(old, new))


def _frozen_difference(model: nn.Module, entry: Entry) -> float | None:
    """Largest difference of outputs in eval mode with every norm frozen; ``None`` where the model was not run."""
    original, frozen = model.eval(), copy.deepcopy(model).eval()
    convert_norms(frozen, "frozen_batch_norm")
    sizes = [_INPUT, getattr(model, "default_cfg", {}).get("input_size", (3, 224, 224))[-1]]
    for size in sizes:
        image = torch.rand(1, 3, size, size)
        try:
            with torch.no_grad():
                pairs = zip(*(_tensors(run([image[0]] if _is_detector(entry) else image)) for run in (original, frozen)), strict=True)
                return max((float((first - second).abs().max()) for first, second in pairs if first.numel()), default=0.0)
        except Exception:  # noqa: BLE001 - another size may do
            continue
    return None


def _is_detector(entry: Entry) -> bool:
    return "rcnn" in entry.name or entry.name.startswith(("fcos", "retinanet", "ssd"))


def _tensors(value: Any) -> list[torch.Tensor]:
    if isinstance(value, torch.Tensor):
        return [value]
    items = value.values() if isinstance(value, Mapping) else value if isinstance(value, list | tuple) else []
    return [tensor for item in items for tensor in _tensors(item)]


def _seconds(model: nn.Module) -> list[tuple[float, float]]:
    """Wall seconds of both tools, one after the other, several times; each on a copy that is made before."""
    found = []
    for _ in range(_PAIRS):
        times = []
        for convert in _TOOLS.values():
            subject = copy.deepcopy(model)
            started = time.perf_counter()
            try:
                convert(subject, None)
            except Exception:  # noqa: BLE001 - told by what it kept
                return []
            times.append(time.perf_counter() - started)
        found.append((times[0], times[1]))
    return found
