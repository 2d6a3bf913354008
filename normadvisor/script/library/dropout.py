"""Dropout that does not follow the mode: functions, and modules built where they are called."""

from __future__ import annotations

import ast
import re
from typing import TYPE_CHECKING

from normadvisor.script.library.flow import gathered, number, resized
from normadvisor.script.library.registry import called, extern
from normadvisor.script.library.syntax import argument, called_as, enclosing_statements, module_of, written_call
from normadvisor.script.values import NOTHING, Arguments, Const, Place, Ref, Thing, Value

if TYPE_CHECKING:
    from normadvisor.script.protocol import Machine
    from normadvisor.script.state import State

__all__ = ["FUNCTIONS", "dropout_function", "new_dropout_called"]

_ALWAYS_ON = re.compile(r"prenet", re.IGNORECASE)
_MEANT = re.compile(
    r"\balways\b|\b(even|also|as well)\b.*\b(eval\w*|inference|test|predict\w*)\b"
    r"|\b(at|during|in) (inference|test[ -]?time|testing|eval\w*)\b"
    r"|deliberate|\bintend|on purpose|monte.carlo|\bmc[ -]?dropout|bayesian|uncertainty",
    re.IGNORECASE,
)
_NOT_MEANT = re.compile(r"\b(no|not|never|without|only|off|disabled?|todo|fixme|bug|wrong|should)\b|n't\b", re.IGNORECASE)
_NAMES = ("dropout", "dropout1d", "dropout2d", "dropout3d", "alpha_dropout", "feature_alpha_dropout")
FUNCTIONS = frozenset(f"torch.nn.functional.{name}" for name in _NAMES)
"""Dropout functions; all take ``(input, p, training, inplace)``."""
_POSITIONAL = frozenset({"torch.dropout", "torch.alpha_dropout", "torch.feature_dropout", "torch.feature_alpha_dropout"})
"""Those that demand ``(input, p, train)``."""
_LAYERS = frozenset(
    f"torch.nn.{name}" for name in ("Dropout", "Dropout1d", "Dropout2d", "Dropout3d", "AlphaDropout", "FeatureAlphaDropout")
)  # fmt: skip


@extern(*FUNCTIONS, *_POSITIONAL, "torchvision.ops.stochastic_depth", "timm.layers.drop_path", "timm.models.layers.drop_path")
def dropout_function(machine: Machine, state: State, name: str, arguments: Arguments, place: Place) -> Value:
    """``F.dropout(x, 0.5, training=self.training)``."""
    position = 3 if name.endswith("stochastic_depth") else 2
    _record(machine, _follows(arguments, place, position, name), _probability(arguments, 1), place)
    return resized(gathered(machine, state, [arguments.get(0, "input", "x") or NOTHING]))


def _probability(arguments: Arguments, position: int | None) -> float | None:
    given = arguments.get(position, "p", "drop_prob")
    if given is None and arguments.complete:
        return 0.5
    return number(given)[0] if isinstance(given, Const) else None


def _follows(arguments: Arguments, place: Place, position: int, name: str) -> str:
    """``missing``, ``true``, ``false``, ``mode`` or ``unknown``."""
    given = arguments.get(position, "training", "train")
    if given is None:
        if not arguments.complete:
            return "unknown"
        # timm's drop_path is off unless it is told to train.
        return "false" if name.endswith("drop_path") else "missing"
    written = argument(written_call(place), position, "training")
    if written is not None and "training" in ast.unparse(written):
        return "mode"
    if isinstance(given, Const) and isinstance(given.value, bool) and isinstance(written, ast.Constant):
        return "true" if given.value else "false"
    return "unknown"


def _record(machine: Machine, training: str, p: float | None, place: Place, *, constructed: bool = False) -> None:
    function = machine.enclosing()
    owner = function.owner if function is not None else None
    machine.record(
        "dropout_call",
        place,
        call=called_as(place),
        training=training,
        p=p,
        in_module=owner is not None and owner.is_module is True,
        guarded=_guarded(machine, place),
        constructed=constructed,
        deliberate="documented" if _is_documented(machine, place) else None,
        function=place.function,
    )


def _is_documented(machine: Machine, place: Place) -> bool:
    """Whether a comment beside the call says that dropout stays on, or the class is known for it: the Prenet of Tacotron."""
    if _ALWAYS_ON.search(place.function):
        return True
    module = module_of(machine, place)
    if module is None or place.location.cell is not None:
        return False
    line, above = module.lines[place.location.line - 1], module.lines[place.location.line - 2] if place.location.line > 1 else ""
    comments = [line.partition("#")[2], above.partition("#")[2] if above.lstrip().startswith("#") else ""]
    return any(_MEANT.search(comment) and not _NOT_MEANT.search(comment) for comment in comments)


def _guarded(machine: Machine, place: Place) -> bool:
    """Whether the call is under a condition on the mode, or after ``if not self.training: return``."""
    module = module_of(machine, place)
    if module is None:
        return False
    around = enclosing_statements(module, place.location)
    start = max((index + 1 for index, item in enumerate(around) if isinstance(item, ast.FunctionDef | ast.AsyncFunctionDef)), default=0)
    for outer, inner in zip([around[start - 1] if start else module.tree, *around[start:]], around[start:], strict=False):
        if isinstance(inner, ast.If | ast.While) and _asks(inner.test):
            return True
        for statement in getattr(outer, "body", []):
            if statement is inner:
                break
            leaves = isinstance(statement, ast.If) and isinstance(statement.body[-1], ast.Return | ast.Continue | ast.Raise)
            if leaves and isinstance(statement, ast.If) and _asks(statement.test):
                return True
    return _conditional_expression(around[-1] if around else None, place)


def _conditional_expression(statement: ast.stmt | None, place: Place) -> bool:
    """Whether the call is a branch of ``f(x) if self.training else x``."""
    if statement is None:
        return False
    written = written_call(place)
    text = ast.unparse(written) if written is not None else place.text
    return any(isinstance(node, ast.IfExp) and _asks(node.test) and text in ast.unparse(node) for node in ast.walk(statement))


def _asks(test: ast.expr) -> bool:
    """Whether a condition depends on the mode."""
    return any(
        (isinstance(node, ast.Attribute) and node.attr == "training")
        or (isinstance(node, ast.Name) and node.id in {"training", "train", "is_training", "is_train", "train_mode"})
        for node in ast.walk(test)
    )


@called("module")
def new_dropout_called(machine: Machine, state: State, ref: Ref, arguments: Arguments, place: Place) -> Value | None:
    """``nn.Dropout(0.5)(x)``: a new module is in train mode."""
    thing = machine.things[ref.address]
    if thing.extern not in _LAYERS:
        return None
    written = written_call(place)
    if written is not None and isinstance(written.func, ast.Call):
        _record(machine, "missing", _layer_probability(thing), place, constructed=True)
    return gathered(machine, state, [arguments.get(0, "input") or NOTHING])


def _layer_probability(thing: Thing) -> float | None:
    return _probability(thing.arguments, 0) if thing.arguments is not None else None
