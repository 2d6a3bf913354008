"""Numbers that compare the layers of one model with one another, so that neither the scale of the loss nor the depth decides.

The influence of a layer is the norm of its weights times the norm of their gradient: to first order the change of the loss when its weights
change by their own size. In a network of positively homogeneous layers the product of weight and gradient is the same for every layer
(Euler's theorem; Du et al., 2018, https://arxiv.org/abs/1806.00900), however the weights are scaled, so that influences can be compared
between layers of any width, initialisation and loss. Gradients themselves cannot: those of a healthy ResNet-50 v2 differ by 120.
"""

from __future__ import annotations

import re
from collections import Counter, defaultdict
from collections.abc import Mapping, Sequence
from itertools import accumulate, pairwise
from math import ceil, inf, isfinite, prod
from typing import Any, TypeAlias

from normadvisor.types import LayerMeasurements, Measurements, Series, expand

__all__ = ["Profile"]

_NUMBER = re.compile(r"\d+")
_WEIGHTED = expand(("linear_map", "recurrent", "attention"))
"""Operations whose weights stand in the way of the gradient; a table of an embedding is used in few rows, so that its norm says nothing."""
_FEWEST = 3
"""Weight layers below which there is no depth to speak of."""
_DEEP = 10
"""Weight layers from which on two sharp steps between neighbours are no fading, and one below."""
_STEPS = 2
"""With none left out the smallest fade of 90 architectures of torchvision and timm with fresh weights is 1e-4, with one .011, with two
.054, while ten layers without normalization that fade by a third each have .03."""
_EARLY = 3
"""Steps with a gradient, from the first on, that layers are compared in: what a network starts with is judged, and not what some steps of a
large learning rate make of it. Of twenty tanh layers (examples/deep_tanh.py) with Adam at a rate of .01 the fade is 9e-4, .004 and .014
in these, and 1 in the ninth."""
Row: TypeAlias = list[float]
"""Influence of every weight layer in one step."""


class Profile:
    """What follows from all layers together."""

    def __init__(self, measurements: Measurements) -> None:
        self._measurements = measurements
        layers = [layer for layer in sorted(measurements.layers, key=lambda layer: layer.order) if _has_weights(layer)]
        self._layers = layers
        self._rows = [row for step in range(measurements.steps) if (row := _row(layers, step)) is not None and max(row, default=0.0) > 0]
        self._early = self._rows[:_EARLY]
        self._position = {layer.name: position for position, layer in enumerate(layers)} if self._rows else {}
        self._inner = Counter(around for layer in measurements.layers for around in _around(layer.name))
        self._alike: defaultdict[tuple[str, int], set[str]] = defaultdict(set)
        for layer in measurements.layers:
            if any(value for value in layer.series.get("grad_norm", ())):
                self._alike[_pattern(layer)].add(layer.name)
        ran = [layer.order for layer in measurements.layers if layer.calls > 0]
        self._last = max(ran, default=None)
        self._first_std = layers[0].series.get("act_std", ()) if layers else ()
        self._numbers = {name: self._of_position(position) for name, position in self._position.items()}

    def of_layer(self, layer: LayerMeasurements) -> dict[str, Any]:
        """Derived numbers of one layer, by key of :data:`normadvisor.rulebook.vocabulary.LAYER_DERIVED`."""
        alike = self._alike[_pattern(layer)] - {layer.name}
        found: dict[str, Any] = {"inner": self._inner[layer.name], "last": layer.order == self._last, "twin_gradient": bool(alike)}
        found |= self._numbers.get(layer.name, {})
        own, front = _at(layer.series.get("act_std", ()), 0), _at(self._first_std, 0)
        if own is not None and front:
            found["act_growth"] = own / front
        return found

    def of_run(self) -> dict[str, Any]:
        """Derived numbers of the run, by key of :data:`normadvisor.rulebook.vocabulary.RUN_DERIVED`."""
        found: dict[str, Any] = {"weight_layers": len(self._position)}
        losses = [value for value in self._measurements.series.get("loss", ()) if value is not None]
        if losses and all(isfinite(value) for value in losses):
            found["loss_change"] = losses[-1] - losses[0]
        first, expected = self._measurements.facts.get("initial_loss"), self._measurements.facts.get("expected_initial_loss")
        if isinstance(first, int | float) and isinstance(expected, int | float) and expected > 0:
            found["initial_loss_ratio"] = first / expected
        found["learned"] = _learned(self._measurements.facts)
        strongest = [value for value in (self._strength(step) for step in range(self._measurements.steps)) if value is not None]
        if strongest:
            found["strongest_influence"] = max(strongest)
        if len(self._position) >= _FEWEST:
            third = ceil(len(self._position) / 3)
            found["fade"] = max(_gradual(row) for row in self._early)
            found["growth"] = max(_gradual(row[::-1]) for row in self._early)
            found["front_influence"] = max(max(row[:third]) / max(row) for row in self._early)
            found["twin_fade"] = self._twin_fade()
            found["back_influence"] = max(max(row[-third:]) / max(row) for row in self._early)
        return found

    def _twin_fade(self) -> float | None:
        """What layers that repeat, such as the same projection of every block, show of fading over the whole depth.

        The influence of the first of them over the largest of the others is carried on to the whole depth at the same rate; the median of
        all kinds of layers counts. ``None`` where no layer repeats.
        """
        kinds: defaultdict[tuple[str, int], list[int]] = defaultdict(list)
        for layer in self._layers:
            if layer.name in self._position:
                kinds[_pattern(layer)].append(self._position[layer.name])
        found = []
        for first, *others in (positions for positions in kinds.values() if len(positions) > 1):
            ratios = [row[first] / largest for row in self._early if (largest := max(row[other] for other in others)) > 0]
            if ratios:
                found.append(max(ratios) ** ((len(self._position) - 1) / (others[-1] - first)))
        return _median(found) if found else None

    def _strength(self, step: int) -> float | None:
        """Largest influence in one step over the loss, every layer's weights taken as at least as large as fresh ones are: sqrt(units)."""
        loss = _at(self._measurements.series.get("loss", ()), step)
        found = []
        for layer in self._layers:
            gradient, weight = _at(layer.series["weight_grad_norm"], step), _at(layer.series.get("weight_norm", ()), step)
            if gradient is not None and weight is not None:
                found.append(gradient * max(weight, (layer.units or 0) ** 0.5))
        return max(found) / abs(loss) if found and loss and isfinite(loss) and all(map(isfinite, found)) else None

    def _of_position(self, position: int) -> dict[str, Any]:
        count = len(self._position)
        found: dict[str, Any] = {"influence": _median([row[position] for row in self._rows])}
        if count < _FEWEST:
            return found
        found["depth"] = position / (count - 1)
        # Of several steps the best counts: a head that starts at zero lets no gradient through in the first one.
        found["relative_influence"] = max(row[position] / max(row) for row in self._early)
        found["upstream_influence"] = max(max(row[: position + 1]) / max(row) for row in self._early)
        found["downstream_influence"] = max(max(row[position:]) / max(row) for row in self._early)
        return found


def _around(name: str) -> list[str]:
    """Names of the modules that a layer stands in; the empty one of the model itself included."""
    parts = name.split(".") if name else []
    if "parametrizations" in parts:
        # Those hold what is the layer's own.
        return []
    return [".".join(parts[:length]) for length in range(len(parts))]


def _pattern(layer: LayerMeasurements) -> tuple[str, int]:
    """What twins share, such as experts and blocks: the name but for its numbers, and how many parameters there are."""
    return _NUMBER.sub("*", layer.name), layer.parameters


def _has_weights(layer: LayerMeasurements) -> bool:
    """Whether a layer runs and has weights that are trained."""
    return layer.op in _WEIGHTED and layer.calls > 0 and layer.trainable > 0 and "weight_grad_norm" in layer.series


def _row(layers: Sequence[LayerMeasurements], step: int) -> Row | None:
    """Influences in one step; ``None`` where one of them is unknown or not finite."""
    row: Row = []
    for layer in layers:
        gradient, weight = _at(layer.series["weight_grad_norm"], step), _at(layer.series.get("weight_norm", ()), step)
        # No gradient at all is none that faded: the layer was not in the way of this step's loss.
        product = (gradient or 0.0) * weight if weight is not None else None
        if product is None or not isfinite(product):
            return None
        row.append(product)
    return row


def _at(series: Series, step: int) -> float | None:
    return series[step] if step < len(series) else None


def _learned(facts: Mapping[str, Any]) -> float | None:
    """Share of the loss above its floor that training on one batch took off; below 0 where the loss rose."""
    first, last, floor = (facts.get(f"overfit_{key}") for key in ("first", "last", "floor"))
    if not isinstance(first, int | float) or not isinstance(last, int | float):
        return None
    above = first - (floor if isinstance(floor, int | float) else 0.0)
    if not isfinite(first) or above <= 0:
        return None
    return (first - last) / above if isfinite(last) else -inf


def _gradual(row: Row) -> float:
    """Influence of the first layer over the largest, seen through the running maximum, without its sharpest rises.

    A sharp step is no vanishing gradient: it is where a branch that starts small joins, such as a layer scale, a position in front of all
    others, or a head of zeros. A gradient vanishes by a factor in every layer.
    """
    reach = [value for value in accumulate(row, max) if value > 0]
    rises = sorted((after / before for before, after in pairwise(reach)), reverse=True)
    # Layers in front that got nothing at all are one step.
    left_out = (_STEPS if len(row) >= _DEEP else 1) - (len(reach) < len(row))
    return reach[0] / reach[-1] * prod(rises[:left_out])


def _median(values: list[float]) -> float:
    ordered = sorted(values)
    middle = len(ordered) // 2
    return ordered[middle] if len(ordered) % 2 else (ordered[middle - 1] + ordered[middle]) / 2
