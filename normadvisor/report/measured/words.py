"""What was measured of a run, and how, in words: the same in every report."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from statistics import median
from typing import NamedTuple

from normadvisor.report.clean import one_line, short
from normadvisor.report.measured.numbers import amount, duration, loss, number, values
from normadvisor.types import RUN_FACTS, JSONValue, Measurements, Series
from normadvisor.types.measurements import DOES_NOT_APPLY

__all__ = ["RunFact", "missing_words", "other_facts", "run_facts", "setup_pairs", "setup_words"]

_SETUP = (
    "device", "precision", "steps", "batch_size", "world_size", "inputs", "data", "loss", "optimizer", "lr", "seed", "torch",
)  # fmt: skip
"""Keys of a setup in the order in which they are shown; others come after them."""
_SAID = frozenset(
    {
        "nonfinite_step", "nonfinite_layer", "nonfinite_input", "differentiable", "initial_loss", "expected_initial_loss", "classes",
        "overfit_first", "overfit_last", "overfit_floor", "overfit_iterations", "train_eval_similarity", "train_eval_gap",
        "eval_repeat_gap", "eval_batch_gap", "norm_noise", "noise_scale", "peak_memory",
    }
)  # fmt: skip
"""Facts that are said in words of their own."""
_SETUP_WORDS = {"lr": "learning rate", "batch_size": "batch size", "world_size": "ranks"}
_MISSING_WORDS = {
    "noise_scale": "gradient noise scale", "train_eval_gap": "difference of train and eval mode", "overfit": "overfitting one batch",
    "overfit_last": "whether one batch can be learnt", "bn_noise": "noise of batch statistics",
    "eval_repeat_gap": "randomness in eval mode",
    "train_repeat_gap": "randomness in train mode", "train_eval_similarity": "likeness of train and eval mode",
    "train_eval_bias": "systematic difference of train and eval mode", "norm_gap": "what BatchNorm alone changes in eval mode",
    "norm_noise": "how far an output moves with its batch", "code_gap": "what the model's own code changes in eval mode",
    "drop_scale": "scale of dropout by hand", "bn_fresh": "whether running statistics are new",
    "eval_batch_gap": "whether eval outputs depend on the batch", "expected_initial_loss": "expected initial loss",
    "attention_peak": "how peaked attention is", "unregistered": "tensors that training does not reach",
    "update_ratio": "update ratio", "loss": "loss", "grad_norm": "gradient norm", "weight_norm": "weight norm",
    "peak_memory": "peak memory",
    "lr": "learning rate", "classes": "number of classes", "checkpoint_gap": "what the saved running statistics change in eval mode",
    "nonfinite_layer": "the first layer that is not finite", "nonfinite_line": "the line that is not finite",
    "peaked_line": "the line of the peaked attention", "unregistered_line": "the line of tensors that training does not reach",
}  # fmt: skip


class RunFact(NamedTuple):
    """One number about a run, ready to print."""

    label: str
    value: str
    note: str = ""
    """What to compare it with."""
    bad: bool = False
    """Whether the number alone says that something went wrong: not finite, not restored."""


def run_facts(measured: Measurements) -> list[RunFact]:
    """Everything that was measured of the run once, the most telling first; what was not measured is left out."""
    return [fact for make in (_broken, _loss, _gradient, _overfit, _modes, _noise, _cost) for fact in make(measured)]


def _broken(measured: Measurements) -> Iterator[RunFact]:
    step, layer = measured.facts.get("nonfinite_step"), measured.facts.get("nonfinite_layer")
    if step is not None:
        where = f"first in {one_line(str(layer)) or 'the model itself'}" if layer is not None else ""
        # Steps of a training bear the numbers that its loop gives them.
        number_of = step + (measured.setup.get("data") != "training") if isinstance(step, int) else short(step)
        yield RunFact("Not finite", f"in step {number_of}", where, bad=True)
    if measured.facts.get("nonfinite_input") is True:
        yield RunFact("Batch", "not finite", "before anything was computed from it", bad=True)
    if measured.facts.get("differentiable") is False:
        yield RunFact("Loss", "no gradient", "it depends on no trainable parameter", bad=True)
    if measured.facts.get("restored") is False:
        yield RunFact("Model", "not restored", "something differs from how it was found", bad=True)


def _loss(measured: Measurements) -> Iterator[RunFact]:
    facts = measured.facts
    by_step = measured.series.get("loss", ())
    initial = _float(facts.get("initial_loss"))
    if initial is None:
        initial = next((value for value in by_step if value is not None), None)
    expected, classes = _float(facts.get("expected_initial_loss")), facts.get("classes")
    note = ""
    if expected is not None:
        note = f"log {short(classes)} = {loss(expected)}" if isinstance(classes, int) and classes > 0 else f"expected {loss(expected)}"
    if initial is not None:
        yield RunFact("Initial loss", loss(initial), note, bad=not math.isfinite(initial))
    steps = [(step, value) for step, value in enumerate(by_step, 1) if value is not None]
    if len(steps) > 1:
        step, last = steps[-1]
        yield RunFact("Last loss", loss(last), f"in step {step}", bad=not math.isfinite(last))


def _gradient(measured: Measurements) -> Iterator[RunFact]:
    if (gradient := _middle(measured.series.get("grad_norm", ()))) is not None:
        yield RunFact("Gradient norm", number(gradient), "median over the steps")
    if (update := _middle(measured.series.get("update_ratio", ()))) is not None:
        yield RunFact("Update ratio", number(update), "usual: 1e-4 to 1e-1")
    if any(value not in {None, 1.0} for value in measured.series.get("loss_scale", ())):
        yield RunFact("Loss scale", number(_middle(measured.series["loss_scale"])), "undone in all gradients")


def _overfit(measured: Measurements) -> Iterator[RunFact]:
    first, last = _float(measured.facts.get("overfit_first")), _float(measured.facts.get("overfit_last"))
    if first is not None and last is not None:
        iterations = measured.facts.get("overfit_iterations", max(len(measured.curves.get("overfit", ())) - 1, 0))
        after = f"one batch, {iterations} iterations" if iterations else "one batch"
        floor = _float(measured.facts.get("overfit_floor"))
        yield RunFact("Overfitting", f"{loss(first)} \u2192 {loss(last)}", f"{after}, at best {loss(floor)}" if floor else after)


def _modes(measured: Measurements) -> Iterator[RunFact]:
    facts = measured.facts
    similarity, gap = _float(facts.get("train_eval_similarity")), _float(facts.get("train_eval_gap"))
    if similarity is not None:
        yield RunFact("Train and eval", number(similarity), "cosine of the outputs" + (f", gap {number(gap)}" if gap is not None else ""))
    elif gap is not None:
        yield RunFact("Train and eval", number(gap), "relative difference of the outputs")
    if (repeat := _float(facts.get("eval_repeat_gap"))) is not None:
        yield RunFact("Eval, repeated", number(repeat), "relative difference of two passes")
    if (noise := _float(facts.get("norm_noise"))) is not None:
        yield RunFact("Batch noise", number(noise), "how far an output moves with the rest of its batch")
    if (alone := _float(facts.get("eval_batch_gap"))) is not None:
        yield RunFact("Eval, other batch", number(alone), "relative difference beside other samples")


def _noise(measured: Measurements) -> Iterator[RunFact]:
    noise = _float(measured.facts.get("noise_scale"))
    if noise is not None:
        batch = measured.setup.get("batch_size")
        note = f"samples; the batch has {batch}" if isinstance(batch, int) else "samples"
        yield RunFact("Gradient noise scale", number(noise), note)


def _cost(measured: Measurements) -> Iterator[RunFact]:
    if (seconds := _middle(measured.series.get("seconds", ()))) is not None:
        yield RunFact("Step", duration(seconds), "median")
    if (memory := _float(measured.facts.get("peak_memory"))) is not None:
        yield RunFact("Peak memory", f"{memory:,.0f}\u00a0MiB" if math.isfinite(memory) else number(memory))
    parameters = sum(layer.parameters for layer in measured.layers)
    if measured.layers:
        frozen = parameters - sum(layer.trainable for layer in measured.layers)
        yield RunFact("Parameters", amount(parameters), f"{amount(frozen)} frozen" if frozen else f"{len(measured.layers)} layers")


def other_facts(measured: Measurements) -> list[tuple[str, str, str]]:
    """What :func:`run_facts` does not say: name, value and meaning of each."""
    return [
        (one_line(key.replace("_", " ")), _value(value) or "none", RUN_FACTS.get(key, ""))
        for key, value in sorted(measured.facts.items())
        if key not in _SAID and value is not None
    ]


def setup_pairs(setup: Mapping[str, JSONValue]) -> list[tuple[str, str]]:
    """How a run was set up, name and value as they are shown."""
    keys = [key for key in _SETUP if key in setup] + sorted(set(setup) - set(_SETUP))
    return [(_SETUP_WORDS.get(key, one_line(key.replace("_", " "))), _value(setup[key])) for key in keys if setup[key] is not None]


def setup_words(measured: Measurements) -> str:
    """The setup in one line: ``cpu, fp32, 10 steps of 8 samples, sgd with learning rate 0.1, seed 0``."""
    setup = measured.setup
    words = [_value(setup[key]) for key in ("device", "precision") if setup.get(key) is not None]
    steps, batch = setup.get("steps", measured.steps), setup.get("batch_size")
    if isinstance(steps, int) and steps:
        words.append(f"{steps} step{'s' * (steps != 1)}" + (f" of {batch} sample{'s' * (batch != 1)}" if isinstance(batch, int) else ""))
    if setup.get("optimizer") is not None:
        rate = setup.get("lr")
        words.append(_value(setup["optimizer"]) + (f" with learning rate {_value(rate)}" if rate is not None else ""))
    if setup.get("loss") is not None:
        words.append(f"loss {_value(setup['loss'])}")
    if isinstance(ranks := setup.get("world_size"), int) and ranks > 1:
        words.append(f"{ranks} ranks")
    if setup.get("seed") is not None:
        words.append(f"seed {_value(setup['seed'])}")
    return ", ".join(words)


def missing_words(measured: Measurements) -> list[tuple[str, str]]:
    """What was not measured, and why: together what has the same reason, and without what this model cannot have."""
    by_reason: dict[str, list[str]] = {}
    for key, reason in sorted(measured.missing.items()):
        if reason not in DOES_NOT_APPLY:
            by_reason.setdefault(one_line(reason), []).append(_MISSING_WORDS.get(key, one_line(key.replace("_", " "))))
    return [(", ".join(dict.fromkeys(labels)), reason) for reason, labels in by_reason.items()]


def _value(value: JSONValue) -> str:
    return number(value) if isinstance(value, float) else short(value)


def _float(value: JSONValue) -> float | None:
    return float(value) if isinstance(value, int | float) and not isinstance(value, bool) else None


def _middle(series: Series) -> float | None:
    known = values(series)
    return median(known) if known else None
