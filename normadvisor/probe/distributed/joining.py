"""Make the measurements of all ranks one: numbers are joined in exchanges whose size does not grow with the ranks."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import replace
from hashlib import sha256
from math import sqrt
from typing import TYPE_CHECKING, Any, TypeVar

from normadvisor.probe.distributed.tables import Joined, Table, exchange
from normadvisor.probe.distributed.vocabulary import LAYER_FACT_WAYS, LAYER_WAYS, RUN_FACT_WAYS, RUN_WAYS, Way
from normadvisor.types import LayerMeasurements, Measurements

if TYPE_CHECKING:
    from normadvisor.probe.distributed.link import Link
    from normadvisor.types import JSONValue, Series

__all__ = ["join_measurements"]

_EQUAL = 1e-5
"""Relative difference of norms of equal tensors: devices of different kinds may add in different orders."""
_SAID = 5
"""Notes of other ranks that are repeated."""
_SPOKEN = frozenset({Way.ALL, Way.ANY})

_T = TypeVar("_T")


def join_measurements(
    mine: Measurements, link: Link, *, copies: Mapping[str, int | None], samples: Sequence[int] = ()
) -> Measurements:
    """Join what the ranks measured; the same on every rank.

    Args:
        mine: measured by this rank.
        link: to the others.
        copies: how many ranks hold the same part of a layer's parameters, by name, as :func:`~.wrappers.copies` tells.
        samples: of this rank's batch in each step; ranks count the same where nothing is told.

    Raises:
        RankError: a rank is gone, or does not answer in time.

    """
    layers, steps, lengths = _common(mine, link)
    counts = [copies.get(layer.name, link.world_size) for layer in layers]
    tables = _tables(mine, layers, steps, lengths, samples, counts, link.world_size)
    said = _gathered({"missing": dict(mine.missing), "notes": list(mine.notes), "facts": _words(mine.facts)}, link)
    joined = dict(zip(("layers", "facts", "run", "run_facts", "curves"), exchange(tables, link), strict=True))
    found = _Assembled(mine, layers, joined, said, counts).measurements() if link.rank == 0 else None
    data = b"" if found is None else json.dumps(found.to_dict()).encode()
    return Measurements.from_dict(json.loads(link.share(data)))


def _common(mine: Measurements, link: Link) -> tuple[list[LayerMeasurements], int, dict[str, int]]:
    """Layers of any rank in one order, with this rank's numbers; steps; and lengths of the curves."""
    names = [layer.name for layer in mine.layers]
    digest = sha256("\n".join(sorted(names)).encode()).hexdigest()
    curves = {key: len(values) for key, values in mine.curves.items()}
    all_said = _gathered({"layers": digest, "steps": mine.steps, "curves": curves}, link)
    steps = max(said["steps"] for said in all_said)
    lengths = {key: max(said["curves"].get(key, 0) for said in all_said) for said in all_said for key in said["curves"]}
    known = {layer.name: layer for layer in mine.layers}
    if any(said["layers"] != digest for said in all_said):
        # A layer that exists where it is run, as a function of torch does, may be missing on other ranks.
        plain = [replace(layer, series={}, facts={}) for layer in mine.layers]
        for others in _gathered(Measurements(target="", layers=tuple(plain)).to_dict(), link):
            for layer in Measurements.from_dict(others).layers:
                known.setdefault(layer.name, layer)
    return [known[name] for name in sorted(known)], steps, dict(sorted(lengths.items()))


def _gathered(data: Any, link: Link) -> list[Any]:
    return [json.loads(part) for part in link.gather(json.dumps(data).encode())]


def _tables(  # noqa: PLR0917 - what the five tables are made of
    mine: Measurements, layers: Sequence[LayerMeasurements], steps: int, lengths: Mapping[str, int], samples: Sequence[int],
    counts: Sequence[int | None], ranks: int,
) -> list[Table]:  # fmt: skip
    facts = [_numbers(layer.facts, LAYER_FACT_WAYS) | {"calls": [float(layer.calls)]} for layer in layers]
    longest = max(lengths.values(), default=0)
    return [
        Table(ways=LAYER_WAYS, rows=[layer.series for layer in layers], steps=steps, world_size=ranks, copies=counts, samples=samples),
        Table(ways=LAYER_FACT_WAYS | {"calls": Way.MAX}, rows=facts, steps=1, world_size=ranks),
        Table(ways=_RUN_ALONE, rows=[mine.series], steps=steps, world_size=ranks),
        Table(ways=RUN_FACT_WAYS, rows=[_numbers(mine.facts, RUN_FACT_WAYS)], steps=1, world_size=ranks),
        Table(ways=dict.fromkeys(lengths, Way.MEAN), rows=[mine.curves], steps=longest, world_size=ranks),
    ]  # fmt: skip


_RUN_ALONE = {key: Way.RMS if way in {Way.PARTS, Way.PARTS_RATIO} else way for key, way in RUN_WAYS.items()}
"""Norms of all parameters, as they are joined where every rank has all of them."""


def _numbers(facts: Mapping[str, JSONValue], ways: Mapping[str, Way]) -> dict[str, list[float | None]]:
    return {key: [float(value)] for key in ways if isinstance(value := facts.get(key), bool | int | float)}


def _words(facts: Mapping[str, JSONValue]) -> dict[str, JSONValue]:
    """What is not joined as a number, and which step was not finite."""
    return {key: value for key, value in facts.items() if RUN_FACT_WAYS.get(key, Way.FIRST) is Way.FIRST or key == "nonfinite_step"}


class _Assembled:
    """What rank 0 makes of its own measurements and the joined numbers."""

    def __init__(
        self, mine: Measurements, layers: Sequence[LayerMeasurements], joined: Mapping[str, Joined], said: Sequence[dict[str, Any]],
        counts: Sequence[int | None],
    ) -> None:  # fmt: skip
        self._mine = mine
        self._joined = joined
        self._said = said
        self._counts = counts
        self._ranks = len(said)
        self._layers = [self._layer(row, layer) for row, layer in enumerate(layers)]

    def measurements(self) -> Measurements:
        mine = self._mine
        order = {layer.name: position for position, layer in enumerate(mine.layers)}
        layers = sorted(self._layers, key=lambda layer: (order.get(layer.name, len(order)), layer.order, layer.name))
        series, facts = self._run(), self._run_facts()
        measured = {*series, *facts, *(key for layer in layers for key in (*layer.series, *layer.facts))}
        missing = {key: reason for key, reason in mine.missing.items() if key not in measured}
        gaps = self._gaps()
        notes = (*mine.notes, *self._notes_of_others(), *gaps.notes(), *self._left_out())
        return replace(
            mine, layers=tuple(layers), series=series, facts=facts | gaps.facts(), missing=missing, notes=notes,
            curves={key: tuple(values) for key, values in self._joined["curves"].series(0).items()},
            setup={**mine.setup, "world_size": self._ranks},
        )  # fmt: skip

    def _layer(self, row: int, layer: LayerMeasurements) -> LayerMeasurements:
        series = self._joined["layers"].series(row)
        if self._counts[row] != self._ranks and "grad_norm" in series and layer.trainable:
            series["grad_rms"] = [None if norm is None else norm / sqrt(layer.trainable) for norm in series["grad_norm"]]
        facts = _first(self._joined["facts"].series(row))
        calls = int(facts.pop("calls"))
        spoken = {key: bool(value) if LAYER_FACT_WAYS[key] in _SPOKEN else value for key, value in facts.items()}
        # A fact that no way is known for is this rank's, as are words.
        own = {key: value for key, value in layer.facts.items() if LAYER_FACT_WAYS.get(key, Way.FIRST) is Way.FIRST}
        if self._counts[row] != self._ranks:
            spoken.pop("bias_grad_ratio", None)  # of a part of either
        return replace(layer, calls=calls, series=_frozen(series), facts=own | spoken)

    def _run(self) -> dict[str, Series]:
        series = self._joined["run"].series(0)
        if any(count != self._ranks for count in self._counts):
            # Each rank knows the norms of its own parts only; those of layers are joined already.
            series.pop("grad_norm", None), series.pop("update_ratio", None)
            series |= self._norms_from_layers()
        own = {key: list(values) for key, values in self._mine.series.items() if key not in RUN_WAYS}
        return _frozen(own | series)

    def _norms_from_layers(self) -> dict[str, list[float | None]]:
        found: dict[str, list[float | None]] = {"grad_norm": [], "update_ratio": []}
        for step in range(self._joined["layers"].table.steps):
            here = [{key: values[step] for key, values in layer.series.items() if step < len(values)} for layer in self._layers]
            squares = [norm**2 for values in here if (norm := values.get("grad_norm")) is not None]
            moved = [
                (norm**2, (norm * ratio) ** 2)
                for values in here
                if (norm := values.get("weight_norm")) is not None and (ratio := values.get("update_ratio")) is not None
            ]
            weights = sum(weight for weight, _ in moved)
            found["grad_norm"].append(sqrt(sum(squares)) if squares else None)
            found["update_ratio"].append(sqrt(sum(change for _, change in moved) / weights) if weights else None)
        return {key: values for key, values in found.items() if any(value is not None for value in values)}

    def _run_facts(self) -> dict[str, JSONValue]:
        numbers = _first(self._joined["run_facts"].series(0))
        facts = {key: value for key, value in self._mine.facts.items() if RUN_FACT_WAYS.get(key, Way.FIRST) is Way.FIRST}
        for key, value in numbers.items():
            whole = isinstance(self._mine.facts.get(key), int) and value == int(value)
            facts[key] = bool(value) if RUN_FACT_WAYS[key] in _SPOKEN else int(value) if whole else value
        if "nonfinite_step" in numbers:
            first = int(numbers["nonfinite_step"])
            facts["nonfinite_step"] = first
            layers = (said["facts"].get("nonfinite_layer") for said in self._said if said["facts"].get("nonfinite_step") == first)
            facts["nonfinite_layer"] = next((layer for layer in layers if layer is not None), None)
        return facts

    def _gaps(self) -> _Gaps:
        whole = [row for row, count in enumerate(self._counts) if count == self._ranks]
        found: dict[str, tuple[float, str]] = {}
        for key in ("grad_norm", "weight_norm"):
            gap = self._joined["layers"].gap(key)
            if whole and gap.numel():
                worst = max(whole, key=lambda row: float(gap[row].max()))
                found[key] = float(gap[worst].max()), self._layers[worst].name
        return _Gaps(found)

    def _notes_of_others(self) -> list[str]:
        known = set(self._mine.notes)
        new: list[str] = []
        for rank, said in enumerate(self._said):
            for note in said["notes"]:
                if note not in known:
                    known.add(note)
                    new.append(f"rank {rank}: {note}")
        return [*new[:_SAID], *([f"{len(new) - _SAID} more notes of other ranks"] if len(new) > _SAID else [])]

    def _left_out(self) -> list[str]:
        """What some ranks did not measure, though rank 0 did."""
        found = []
        for rank, said in enumerate(self._said):
            keys = [key for key in said["missing"] if key not in self._mine.missing]
            if keys:
                found.append(f"rank {rank} did not measure {', '.join(keys)}: {said['missing'][keys[0]]}")
        return found[:_SAID]


class _Gaps:
    """Differences of what should be the same on all ranks."""

    def __init__(self, found: Mapping[str, tuple[float, str]]) -> None:
        self._found = found

    def facts(self) -> dict[str, JSONValue]:
        names = {"grad_norm": "rank_gradient_gap", "weight_norm": "rank_weight_gap"}
        return {names[key]: gap for key, (gap, _) in self._found.items()}

    def notes(self) -> list[str]:
        notes = []
        for key, what, why in (
            ("weight_norm", "weights", "they did not start from the same ones, or something changes them on single ranks"),
            ("grad_norm", "gradients", "steps ran under no_sync(), or a part of the model is not wrapped"),
        ):
            gap, layer = self._found.get(key, (0.0, ""))
            if gap > _EQUAL:
                notes.append(f"ranks have different {what}, by up to {gap:.2g} of their norm (in {layer or 'the model'}): {why}")
        return notes


def _first(series: Mapping[str, Sequence[_T | None]]) -> dict[str, _T]:
    return {key: value for key, values in series.items() if (value := values[0]) is not None}


def _frozen(series: Mapping[str, Sequence[float | None]]) -> dict[str, Series]:
    return {key: tuple(values) for key, values in series.items()}
