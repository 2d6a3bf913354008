"""From what was seen of the layers to what is reported of them."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence

from normadvisor.graph.leaves import class_name
from normadvisor.probe.recording.layers import Held, Layer
from normadvisor.probe.recording.parameters import ParameterNumbers
from normadvisor.probe.recording.step import Seen
from normadvisor.types import JSONValue, LayerMeasurements

__all__ = ["measurements", "note"]


def note(layer: Layer, seen: Seen | None, passes: int, numbers: Sequence[ParameterNumbers]) -> None:
    """Remember of a step what is no series: runs per pass, units dead in every step, whether gradients arrive."""
    if seen is not None and seen.calls and not layer.calls:
        layer.calls = seen.calls / max(passes, 1)
    for key, mask in (seen.dead if seen is not None else {}).items():
        layer.dead[key] = layer.dead[key] & mask if key in layer.dead else mask
    if seen is not None and seen.alike_counts:
        share = sum(seen.alike_counts) / sum(units for _, units in seen.alike)
        layer.alike = share if layer.alike is None else min(share, layer.alike)
    layer.gradient_given = layer.gradient_given or any(each.gradient_size for each in numbers)
    trainable = [each for each in numbers if each.trainable]
    if trainable:
        layer.gradient_read = True
        # A gradient that is not a number is no zero.
        layer.gradient_seen = layer.gradient_seen or any(each.gradient_size and float(each.gradient) != 0 for each in trainable)
    ratio = _bias_ratio(trainable)
    if ratio is not None:
        layer.bias_ratio = max(ratio, layer.bias_ratio or 0.0)


def _bias_ratio(numbers: Sequence[ParameterNumbers]) -> float | None:
    """Norm of the bias' gradient over that of the weight's, where a layer has one of each."""
    found = {each.held.name: float(each.gradient) for each in numbers if each.gradient_size}
    if found.keys() != {"weight", "bias"} or not found["weight"] > 0 or not all(map(math.isfinite, found.values())):
        return None
    return math.sqrt(found["bias"] / found["weight"])


def measurements(layers: Sequence[Layer], held: Iterable[Held], tied: Mapping[str, str]) -> tuple[LayerMeasurements, ...]:
    """All layers in order of first execution, with the numbers of every step."""
    own: dict[Layer, list[Held]] = {}
    for each in held:
        own.setdefault(each.layer, []).append(each)
    ordered = _ordered(layers)
    return tuple(_measurement(layer, order, own.get(layer, []), tied, ordered) for order, layer in enumerate(ordered))


def _ordered(layers: Sequence[Layer]) -> list[Layer]:
    """Layers as they ran; the others last, but those whose parameters another layer's code uses behind that one."""
    ran = sorted((layer for layer in layers if layer.order is not None), key=lambda layer: layer.order or 0)
    users: dict[str, list[Layer]] = {}
    idle: list[Layer] = []
    for layer in layers:
        if layer.order is None:
            user = _user(layer, ran)
            (idle if user is None else users.setdefault(user.name, [])).append(layer)
    return [each for layer in ran for each in (layer, *users.get(layer.name, ()))] + idle


def _user(layer: Layer, ran: Sequence[Layer]) -> Layer | None:
    """The nearest layer around one that never ran itself though gradients reach its parameters.

    ``nn.MultiheadAttention`` uses those of its output projection that way.
    """
    if not layer.gradient_given:
        return None
    around = [each for each in ran if each.module is not None and layer.name.startswith(f"{each.name}." if each.name else "")]
    return max(around, key=lambda each: len(each.name), default=None)


def _measurement(
    layer: Layer, order: int, held: Sequence[Held], tied: Mapping[str, str], layers: Sequence[Layer]
) -> LayerMeasurements:
    user = None if layer.order is not None else _user(layer, [each for each in layers if each.order is not None])
    calls = user.calls if user is not None else layer.calls
    trainable = [each for each in held if each.parameter.requires_grad]
    facts: dict[str, JSONValue] = {}
    if layer.dead:
        facts["dead_share"] = sum(int(mask.sum()) for mask in layer.dead.values()) / sum(mask.numel() for mask in layer.dead.values())
    if layer.gradient_read:
        facts["no_gradient"] = not layer.gradient_seen
    if held:
        facts["frozen"] = not trainable
    if layer.applied is not None:
        facts["activation"] = layer.applied
    if layer.name in tied:
        facts["tied"] = tied[layer.name]
    if layer.alike is not None:
        facts["alike_share"] = layer.alike
    if layer.bias_ratio is not None:
        facts["bias_grad_ratio"] = layer.bias_ratio
    return LayerMeasurements(
        name=layer.name,
        # A lazy module has become another since.
        cls=layer.cls if layer.module is None else class_name(layer.module),
        op=layer.op,
        order=order,
        calls=math.ceil(calls),
        parameters=sum(each.parameter.numel() for each in held),
        trainable=sum(each.parameter.numel() for each in trainable),
        units=layer.units,
        series={key: tuple(values) for key, values in layer.series.items() if any(value is not None for value in values)},
        facts=facts,
    )
