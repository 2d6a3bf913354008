"""What a call of a model is for: training, inference, or something for which train mode is meant."""

from __future__ import annotations

import ast
import re
from typing import TYPE_CHECKING

from normadvisor.script.judge.history import History, spot
from normadvisor.script.library.syntax import enclosing_statements

if TYPE_CHECKING:
    from normadvisor.script.events import Event
    from normadvisor.script.project.modules import SourceModule

__all__ = ["judge_call"]

_INFERENCE_NAME = re.compile(
    r"(^|_|\b)(eval|evaluate|evaluation|valid|validate|validation|val|test|testing|predict|prediction|predictions|infer|inference|accuracy|acc"
    r"|score|detect|classify|recognize|segment|demo|submit|submission|serve|extract|embed|embeddings|tta|metrics|generate)(_|\b|$)",
    re.IGNORECASE,
)
_ENVIRONMENT = re.compile(r"\benvs?\w*\.(step|reset)\(|\bgym(nasium)?\.|\.select_action\(|replay_?(buffer|memory)", re.IGNORECASE)
_TIMING = re.compile(r"time\.(time|perf_counter|monotonic)\(|cuda\.Event\(|torch\.profiler|autograd\.profiler|timeit|Timer\(|FlopCount|get_model_complexity")
_REPEATED = re.compile(r"mc|monte|sample|passes|repeat|num_t|times|runs|trials|stochastic|forward|\bT\b|\bn\b|\bN\b|\bk\b", re.IGNORECASE)


def judge_call(event: Event, history: History, module: SourceModule | None) -> None:
    """Fill in ``purpose``, ``purpose_reason`` and ``deliberate`` of a model call."""
    attributes = event.attributes
    if history.trains(event):
        model = history.of(event)
        if attributes["weights"] == "loaded" and not model.stepped and not history.any_optimizer:
            attributes["purpose"], attributes["purpose_reason"] = "inference", "gradients are taken, but no optimizer steps"
        else:
            attributes["purpose"], attributes["purpose_reason"] = "training", "a backward pass reaches its output"
        return
    attributes["deliberate"] = _deliberate(event, history, module)
    if spot(event) in history.feeding:
        attributes["purpose_reason"] = "its output is a target for another model"
        return
    reason = _inference_reason(event, history)
    if reason is not None:
        attributes["purpose"], attributes["purpose_reason"] = "inference", reason


def _inference_reason(event: Event, history: History) -> str | None:
    """What shows that a call is inference; ``None`` if nothing does."""
    attributes = event.attributes
    if attributes["grad"] == "off":
        return _no_grad_reason(event)
    if attributes["_in_module"]:
        return None
    used = attributes.get("_predicted") or attributes.get("_measured") or attributes.get("_output")
    function = str(attributes["function"]).rpartition(".")[2]
    if attributes["weights"] == "loaded" and not history.of(event).trained and not history.of(event).stepped and attributes["input"] != "random":
        return "trained weights are loaded and nothing is trained"
    if used and _INFERENCE_NAME.search(function):
        return f"its output is a prediction, in a function named {function}"
    if used and attributes["weights"] == "trained" and not attributes.get("_loss"):
        return "its output is a prediction after the training"
    return None


def _no_grad_reason(event: Event) -> str:
    place = event.attributes.get("_no_grad")
    text = place.text if place is not None else ""
    name = "inference_mode" if "inference_mode" in text else "set_grad_enabled" if "set_grad_enabled" in text else "no_grad"
    return f"under torch.{name}()"


def _deliberate(event: Event, history: History, module: SourceModule | None) -> str | None:
    """Why train mode is meant; ``None`` if nothing shows that it is."""
    attributes = event.attributes
    if attributes.get("_averaged"):
        return "momentum_encoder"
    if attributes.get("_recalibrates"):
        return "statistics_recalibration"
    statements = enclosing_statements(module, event.location) if module is not None else []
    if attributes["input"] == "random":
        found = _random_input(event, history, module, statements)
        if found is not None:
            return found
    if attributes.get("_declined"):
        return "option"
    if module is None:
        return None
    if _recalibrates(event, statements):
        return "statistics_recalibration"
    if _monte_carlo(event, module, statements):
        return "monte_carlo_dropout"
    if history.of(event).trained and _around(statements) is not None and _ENVIRONMENT.search(_text(module, statements)):
        return "sampling"
    return None


def _random_input(event: Event, history: History, module: SourceModule | None, statements: list[ast.stmt]) -> str | None:
    """A sample from noise during training, a timing, or a trial run with no data."""
    attributes = event.attributes
    if history.of(event).trained:
        # A model that was trained and now predicts is used, whatever its data were made of.
        return None if attributes.get("_predicted") or attributes.get("_measured") else "sampling"
    if module is not None and _TIMING.search(_text(module, statements)):
        return "benchmark"
    if attributes["weights"] != "loaded":
        return "smoke_test"
    return None


def _text(module: SourceModule, statements: list[ast.stmt]) -> str:
    """Text of the function around a place, or of the outermost statement at the top level."""
    function = _around(statements)
    node = function if function is not None else statements[0] if statements else None
    return module.segment(node) if node is not None else ""


def _around(statements: list[ast.stmt]) -> ast.stmt | None:
    return next((item for item in reversed(statements) if isinstance(item, ast.FunctionDef | ast.AsyncFunctionDef)), None)


def _switched_here(event: Event) -> bool:
    """Whether the model was put into train mode in the function that calls it."""
    switched = event.attributes.get("_switched")
    return switched is not None and switched.function == event.attributes["function"]


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


def _monte_carlo(event: Event, module: SourceModule, statements: list[ast.stmt]) -> bool:
    """Several passes over the same input with dropout switched on: the call stands in a loop whose variable it does not use."""
    attributes = event.attributes
    partial = attributes["dropout_mode"] == "train" and attributes["batchnorm_mode"] != "train" and attributes.get("_switched") is not None
    switched = _switched_here(event) or partial
    inner = statements[-1] if statements else None
    if inner is None or not switched:
        return False
    if partial and attributes.get("_frozen") is None:
        return True
    within: list[tuple[ast.expr, ast.expr]] = []
    for node in statements:
        if isinstance(node, ast.For):
            within.append((node.target, node.iter))
    for node in ast.walk(inner):
        if isinstance(node, ast.ListComp | ast.GeneratorExp) and _holds(module, node, event):
            within += [(part.target, part.iter) for part in node.generators]
    for target, iterable in within:
        is_range = isinstance(iterable, ast.Call) and isinstance(iterable.func, ast.Name | ast.Attribute) and "range" in ast.unparse(iterable.func)
        names = {node.id for node in ast.walk(target) if isinstance(node, ast.Name)}
        if is_range and not any(re.search(rf"\b{re.escape(name)}\b", event.text) for name in names):
            return not _counts_epochs(iterable)
    return False


def _counts_epochs(iterable: ast.expr) -> bool:
    """Whether a range counts epochs or steps of a training, not passes."""
    return bool(re.search(r"epoch|step|iter|batch", ast.unparse(iterable), re.IGNORECASE))


def _holds(module: SourceModule, node: ast.AST, event: Event) -> bool:
    own = module.location(node)
    place = event.location
    return (own.line, own.column) <= (place.line, place.column) and (place.end_line or 0, place.end_column or 0) <= (
        own.end_line or 0,
        own.end_column or 0,
    )
