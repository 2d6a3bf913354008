"""Why a model is in train mode on purpose, where nothing is learnt: sampling, Monte Carlo dropout, an option, a test ..."""

from __future__ import annotations

import ast
import re
from typing import TYPE_CHECKING

from normadvisor.script.judge.choices import chosen, put_back, switched_around
from normadvisor.script.judge.surroundings import Surroundings, holds
from normadvisor.script.judge.testing import in_test
from normadvisor.script.project.nodes import walk

if TYPE_CHECKING:
    from normadvisor.script.events import Event
    from normadvisor.script.judge.history import History
    from normadvisor.types import Location

__all__ = ["deliberate_call", "in_training_step"]

_ENVIRONMENT = re.compile(r"\benvs?\w*\.(step|reset)\(|\bgym(nasium)?\.|\.select_action\(|replay_?(buffer|memory)", re.IGNORECASE)
_TIMING = re.compile(
    r"time\.(time|perf_counter|monotonic)\(|cuda\.Event\(|torch\.profiler|autograd\.profiler|timeit|Timer\(|FlopCount|get_model_complexity"
)
_GENERATOR = re.compile(r"generator|(^|[._])(net_?)?g(en)?\d*($|_)|^netG", re.IGNORECASE)
_EPOCHS = re.compile(r"epoch|step|iter|batch", re.IGNORECASE)


def deliberate_call(event: Event, history: History, around: Surroundings) -> str | None:
    """Why train mode is meant at a call without a backward pass; ``None`` if nothing shows that it is."""
    attributes = event.attributes
    if attributes.get("_averaged"):
        return "momentum_encoder"
    if attributes.get("_recalibrates"):
        return "statistics_recalibration"
    if attributes["dropout"] == "yes" and attributes["batchnorm"] == "no" and _monte_carlo(event, history, around):
        return "monte_carlo_dropout"
    if attributes["input"] == "random":
        found = _random_input(event, history, around)
        if found is not None:
            return found
    if chosen(event, around):
        return "option"
    if in_test(event, around):
        return "smoke_test"
    if _recalibrates(event, around.statements(event.location)):
        return "statistics_recalibration"
    if _monte_carlo(event, history, around):
        return "monte_carlo_dropout"
    if put_back(event, history, around):
        return "explicit"
    if _samples_in_training(event, history, around):
        return "sampling"
    if history.of(event).trained and around.function(event.location) is not None and around.mentions(event.location, _ENVIRONMENT):
        return "sampling"
    return None


def in_training_step(event: Event, history: History, around: Surroundings) -> bool:
    """Whether a call without gradients stands in a loop that trains the same model, and nobody looks at what it returns.

    So features are kept before the pass that computes their gradients, or the state of a recurrent net is brought up to date.
    """
    attributes = event.attributes
    if any(attributes.get(f"_{use}") for use in ("predicted", "measured", "output", "judged")):
        return False
    return _is_trained_around(event, event.location, history, around)


def _is_trained_around(event: Event, place: Location, history: History, around: Surroundings) -> bool:
    """Whether the innermost loop around a place trains the model of an event."""
    loop = around.loop(place)
    return loop is not None and _is_trained_in(event, loop, place, history, around)


def _is_trained_in(event: Event, loop: ast.AST, place: Location, history: History, around: Surroundings) -> bool:
    """Whether a loop around a place trains the model of an event."""
    span = around.span(loop, place)
    if span is None:
        return False
    return around.known(loop, f"trains {event.attributes.get('_root')}", lambda: history.trained_within(event, span))


def _random_input(event: Event, history: History, around: Surroundings) -> str | None:
    """A sample from noise during training, a timing, or a trial run with no data."""
    attributes = event.attributes
    if history.of(event).trained:
        # A model that was trained and now predicts is used, whatever its data were made of.
        return None if attributes.get("_predicted") or attributes.get("_measured") else "sampling"
    if around.mentions(event.location, _TIMING):
        return "benchmark"
    return "smoke_test" if attributes["weights"] != "loaded" else None


def _samples_in_training(event: Event, history: History, around: Surroundings) -> bool:
    """Whether a generator, by its name, draws pictures that nobody measures inside of the loop that trains it."""
    attributes = event.attributes
    if attributes.get("_predicted") or attributes.get("_measured") or not attributes.get("_output"):
        return False
    if not (_GENERATOR.search(str(attributes["model"])) or _GENERATOR.search(str(attributes["class_name"]))):
        return False
    return any(_is_trained_around(event, place, history, around) for place in (event.location, *attributes["_place"].callers))


def _recalibrates(event: Event, statements: list[ast.stmt]) -> bool:
    """A forward pass whose output nobody takes, in a mode that was switched on purpose: only the statistics are wanted."""
    last = statements[-1] if statements else None
    return (
        isinstance(last, ast.Expr)
        and _spans_exactly(last.value, event)
        and bool(event.attributes["updates_statistics"] or event.attributes["batchnorm"] == "unknown")
        and event.attributes.get("_switched") is not None
        and not event.attributes.get("_input_calls")
    )


def _spans_exactly(node: ast.expr, event: Event) -> bool:
    """Whether an expression is the call itself."""
    return (node.lineno, node.end_lineno) == (event.location.line, event.location.end_line) and isinstance(node, ast.Call) and (
        node.end_col_offset == (event.location.end_column or 0) - 1 or not event.text.isascii()
    )


def _monte_carlo(event: Event, history: History, around: Surroundings) -> bool:
    """Several passes over the same input with dropout switched on: the call stands in a loop whose variable it does not use."""
    attributes = event.attributes
    if attributes["dropout"] == "no":
        return False
    partial = attributes["dropout_mode"] == "train" and attributes["batchnorm_mode"] != "train" and attributes.get("_switched") is not None
    if partial and attributes.get("_frozen") is None:
        return True
    return (partial or switched_around(event, around)) and _repeats_same_input(event, history, around)


def _repeats_same_input(event: Event, history: History, around: Surroundings) -> bool:
    """Whether the call stands in a loop over a range that has nothing to do with its input, and that does not train the model."""
    statements = around.statements(event.location)
    within: list[tuple[ast.AST, ast.expr, ast.expr]] = [(node, node.target, node.iter) for node in statements if isinstance(node, ast.For)]
    for node in around.known(statements[-1], "comprehensions", lambda: _comprehensions(statements[-1])) if statements else ():
        span = around.span(node, event.location)
        if span is not None and holds(span, event.location):
            within += [(node, part.target, part.iter) for part in node.generators]
    return any(
        isinstance(iterable, ast.Call) and "range" in ast.unparse(iterable.func)
        # A range that counts epochs or steps of a training does not count passes.
        and not _EPOCHS.search(f"{ast.unparse(target)} {ast.unparse(iterable)}")
        and not any(re.search(rf"\b{re.escape(node.id)}\b", event.text) for node in walk(target) if isinstance(node, ast.Name))
        and not _is_trained_in(event, loop, event.location, history, around)
        for loop, target, iterable in within
    )  # fmt: skip


def _comprehensions(statement: ast.stmt) -> list[ast.ListComp | ast.GeneratorExp]:
    return [node for node in walk(statement) if isinstance(node, ast.ListComp | ast.GeneratorExp)]
