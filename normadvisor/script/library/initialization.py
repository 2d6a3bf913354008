"""Initialization of weights: with which value, of which layers, and whether a constant is meant."""

from __future__ import annotations

import ast
import operator
import re
from collections.abc import Callable, Iterator
from itertools import pairwise
from typing import TYPE_CHECKING

from normadvisor.script.library.flow import number
from normadvisor.script.library.registry import method, prefix
from normadvisor.script.library.syntax import called_as, enclosing_statements, module_of, written_call
from normadvisor.script.values import NOTHING, Arguments, Const, Place, Value

if TYPE_CHECKING:
    from normadvisor.script.project.modules import SourceModule
    from normadvisor.script.protocol import Machine
    from normadvisor.script.state import State

__all__ = ["filled", "initialized"]

_VALUES = {"zeros_": 0.0, "ones_": 1.0, "zero_": 0.0, "zeros": 0.0, "ones": 1.0}
_FUNCTIONS = ast.FunctionDef | ast.AsyncFunctionDef
_INIT_NAME = re.compile(r"^_*(init|reset|weights?)_?(weights?|params?|parameters|init|module|layers?)?_*\w*$", re.IGNORECASE)
_NORM = re.compile(r"norm|(^|[._])(bn|ln|gn|layernorm|gamma|scale)\d*([._]|$)|BatchNorm", re.IGNORECASE)
_HEAD = re.compile(r"head|classif|(^|[._])(fc|out|output|last|final|logits?|pred)\w*([._]|$)|cls_score|bbox|_out\b", re.IGNORECASE)
_ADAPTER = re.compile(r"lora|adapter|zero_conv|controlnet|prompt|gate|alpha|_B([._]|$)|modulation|ada", re.IGNORECASE)
_RESIDUAL = re.compile(r"(^|[._])(conv[23]|fc2|proj|out_proj|c_proj|to_out|w2|linear2)([._]|$)|residual|zero_|offset|mask", re.IGNORECASE)
_LOOPED = frozenset({"modules", "named_modules", "parameters", "named_parameters", "children", "named_children"})
_DRAWS = frozenset({"normal_", "uniform_", "trunc_normal_"})
_LATER = frozenset({"add_", "copy_", "normal_", "uniform_", "lerp_", "data"})


@prefix("torch.nn.init.")
def initialized(machine: Machine, state: State, name: str, arguments: Arguments, place: Place) -> Value:
    """``nn.init.zeros_(m.weight)``."""
    del state
    short = name.rpartition(".")[2]
    value: float | None = _VALUES.get(short)
    if short in {"constant_", "constant"}:
        value = number(arguments.get(1, "val"))[0]
    call = written_call(place)
    if call is not None and (call.args or call.keywords):
        target = call.args[0] if call.args else call.keywords[0].value
        _record(machine, target, value, place)
    return arguments.get(0, "tensor") or NOTHING


@method("fill_", "zero_", "normal_", "uniform_")
def filled(machine: Machine, state: State, receiver: Value, name: str, arguments: Arguments, place: Place) -> Value | None:
    """``m.weight.data.zero_()``."""
    del state, receiver
    call = written_call(place)
    if call is None or not isinstance(call.func, ast.Attribute):
        return None
    given = arguments.get(0, "value")
    value = 0.0 if name == "zero_" else number(given)[0] if name == "fill_" and isinstance(given, Const) else None
    _record(machine, call.func.value, value, place)
    return None


def _record(machine: Machine, target: ast.expr, value: float | None, place: Place) -> None:
    module = module_of(machine, place)
    target = _bare(target)
    if module is None or any(isinstance(node, ast.Attribute) and node.attr == "grad" for node in ast.walk(target)):
        return
    around = enclosing_statements(module, place.location)
    kind = _kind(target, around)
    if kind is None:
        return
    layers = _layers(around)
    scope = _scope(target, around, module)
    machine.record(
        "initialization",
        place,
        call=called_as(place),
        value=value,
        target=kind,
        layers=layers,
        scope=scope,
        deliberate=_why(target, layers, scope, around, place.function) if value is not None else None,
        function=place.function,
    )


def _why(target: ast.expr, layers: list[str], scope: str, around: list[ast.stmt], within: str) -> str | None:
    """Why a constant is meant, if anything shows that it is."""
    owner = next((item for item in reversed(around) if isinstance(item, ast.ClassDef)), None)
    function = next((item for item in reversed(around) if isinstance(item, _FUNCTIONS)), None)
    if owner is not None and scope == "every_layer":
        if function is not None and _is_left_out(function.name, owner):
            return "unused"
        if _is_last_of_class(layers, owner):
            return "head"
    return _reason(target, layers, scope, around, within)


def _is_left_out(name: str, owner: ast.ClassDef) -> bool:
    """Whether a method is used nowhere in a class that has no base but ``nn.Module``, which calls no such method."""
    if name.startswith("__") or not name.startswith("_") or any(ast.unparse(base).rpartition(".")[2] != "Module" for base in owner.bases):
        return False
    named = (getattr(node, "attr", getattr(node, "id", None)) for node in ast.walk(owner) if isinstance(node, ast.Attribute | ast.Name))
    return name not in named


def _is_last_of_class(layers: list[str], owner: ast.ClassDef) -> bool:
    """Whether a class builds one linear layer only, its last by the name, and that is the kind of layer asked for."""
    if layers != ["Linear"]:
        return False
    built = [
        node for node in ast.walk(owner)
        if isinstance(node, ast.Call) and ast.unparse(node.func).rpartition(".")[2] == "Linear"
    ]  # fmt: skip
    kept = [
        target.attr for node in ast.walk(owner) if isinstance(node, ast.Assign) and len(built) == 1 and node.value is built[0]
        for target in node.targets if isinstance(target, ast.Attribute)
    ]  # fmt: skip
    return any(_HEAD.search(name) or name == "linear" for name in kept)


def _bare(node: ast.expr) -> ast.expr:
    """``m.weight`` of ``m.weight.data`` and ``p`` of ``p.detach()``."""
    while True:
        if isinstance(node, ast.Attribute) and node.attr == "data":
            node = node.value
        elif isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute) and node.func.attr in {"detach", "view", "requires_grad_"}:
            node = node.func.value
        else:
            return node


def _kind(target: ast.expr, around: list[ast.stmt]) -> str | None:
    """``weight``, ``bias`` or ``parameters`` (elements of a loop over these); ``None`` for anything else."""
    if isinstance(target, ast.Attribute):
        return "bias" if target.attr.endswith("bias") else "weight" if target.attr.endswith("weight") else None
    if not isinstance(target, ast.Name):
        return None
    loop = next((item for item in reversed(around) if isinstance(item, ast.For) and target.id in _bound(item)), None)
    if loop is None or _iterated(loop) not in {"parameters", "named_parameters"}:
        return None
    asked = [_asks_for(test, target.id, truth=truth) for test, truth in _known(around)]
    return "bias" if "bias" in asked else "weight" if "weight" in asked else "parameters"


def _asks_for(test: ast.expr, name: str, *, truth: bool) -> str | None:
    """Which parameters are left where a condition is true, or is not: ``bias``, ``weight`` or ``None``, by their names or dimensions."""
    if isinstance(test, ast.UnaryOp) and isinstance(test.op, ast.Not):
        return _asks_for(test.operand, name, truth=not truth)
    if isinstance(test, ast.BoolOp):
        if isinstance(test.op, ast.And) is not truth:
            return None  # any of the operands may have decided
        found = [_asks_for(operand, name, truth=truth) for operand in test.values]
        return "bias" if "bias" in found else "weight" if "weight" in found else None
    if not isinstance(test, ast.Compare) or len(test.ops) != 1:
        text = ast.unparse(test)
        return None if not truth else "bias" if "bias" in text else "weight" if "weight" in text else None
    dimensions = _dimensions(test, name)
    if dimensions is not None:
        left = [number for number in range(1, 6) if dimensions(number) is truth]
        return "bias" if left == [1] else "weight" if left == [2, 3, 4, 5] else None
    text = ast.unparse(test)
    inside = truth is not isinstance(test.ops[0], ast.NotIn | ast.NotEq)
    if "bias" in text:
        return "bias" if inside else None
    return None if "weight" not in text else "weight" if inside else "bias"


_SIGNS: dict[type[ast.cmpop], Callable[[int, int], bool]] = {
    ast.Eq: operator.eq, ast.NotEq: operator.ne, ast.Lt: operator.lt, ast.LtE: operator.le, ast.Gt: operator.gt, ast.GtE: operator.ge,
}  # fmt: skip


def _dimensions(test: ast.Compare, name: str) -> Callable[[int], bool] | None:
    """What a condition says of the number of dimensions of a parameter: ``p.dim() > 1``, ``len(p.shape) == 1``; ``None``: nothing."""
    left, right, sign = test.left, test.comparators[0], _SIGNS.get(type(test.ops[0]))
    written = {f"{name}{path}" for base in ("", ".data") for path in (f"{base}.dim()", f"{base}.ndim", f"{base}.ndimension()")}
    written |= {f"len({name}{base}{size})" for base in ("", ".data") for size in (".shape", ".size()")}
    if sign is None or ast.unparse(left) not in written or not (isinstance(right, ast.Constant) and isinstance(right.value, int)):
        return None
    limit = right.value
    return lambda number: sign(number, limit)


def _bound(loop: ast.For) -> set[str]:
    return {node.id for node in ast.walk(loop.target) if isinstance(node, ast.Name)}


def _iterated(loop: ast.For) -> str:
    """The method whose elements a loop goes through."""
    return next(
        (node.func.attr for node in ast.walk(loop.iter) if isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute)
         and node.func.attr in _LOOPED),
        "",
    )  # fmt: skip


def _conditions(around: list[ast.stmt]) -> Iterator[ast.If]:
    """Conditions that hold at the innermost statement."""
    for outer, inner in pairwise(around):
        if isinstance(outer, ast.If) and any(inner is item for item in outer.body):
            yield outer


def _known(around: list[ast.stmt]) -> Iterator[tuple[ast.expr, bool]]:
    """What is known to be true or false at the innermost statement: branches around it, and those before that went on to the next turn."""
    for outer, inner in pairwise(around):
        if isinstance(outer, ast.If):
            yield outer.test, any(inner is item for item in outer.body)
        for before in getattr(outer, "body", ()):
            if before is inner:
                break
            if isinstance(before, ast.If) and isinstance(before.body[-1], ast.Continue | ast.Return) and not before.orelse:
                yield before.test, False


def _layers(around: list[ast.stmt]) -> list[str]:
    """Layer types that the conditions around ask for: ``isinstance(m, (nn.Linear, nn.Conv2d))``, ``classname.find('Conv') != -1``."""
    found: dict[str, None] = {}
    for condition in _conditions(around):
        for node in ast.walk(condition.test):
            if isinstance(node, ast.Call) and isinstance(node.func, ast.Name) and node.func.id == "isinstance" and len(node.args) == 2:
                classes = node.args[1].elts if isinstance(node.args[1], ast.Tuple | ast.List) else [node.args[1]]
                found.update(dict.fromkeys(ast.unparse(item).rpartition(".")[2] for item in classes))
            elif isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute) and node.func.attr in {"find", "startswith"}:
                given = (item.value for item in node.args if isinstance(item, ast.Constant))
                found.update(dict.fromkeys(name for name in given if isinstance(name, str)))
            elif isinstance(node, ast.Compare) and "type(" in ast.unparse(node.left):
                classes = node.comparators[0].elts if isinstance(node.comparators[0], ast.Tuple | ast.List) else node.comparators[:1]
                found.update(dict.fromkeys(ast.unparse(item).rpartition(".")[2] for item in classes))
    return list(found)


def _root(target: ast.expr) -> str:
    while isinstance(target, ast.Attribute | ast.Subscript):
        target = target.value
    return target.id if isinstance(target, ast.Name) else ""


def _scope(target: ast.expr, around: list[ast.stmt], module: SourceModule) -> str:
    """``every_layer`` in a loop over a model's parts and in a function that ``apply`` gives each part."""
    root = _root(target)
    for statement in reversed(around):
        if isinstance(statement, ast.For) and root in _bound(statement):
            # A loop over anything else that asks each element for its type goes over the layers of a container.
            every = (_iterated(statement) and not _is_handed_back(statement, around)) or _layers(around)
            return "every_layer" if every else "one_layer"
        if isinstance(statement, _FUNCTIONS):
            parameters = [item.arg for item in statement.args.args if item.arg not in {"self", "cls"}]
            given = root in parameters[:1] and (_applied(statement.name, module) or bool(_INIT_NAME.match(statement.name)))
            return "every_layer" if given and _direct(target) else "one_layer"
    return "one_layer"


def _is_handed_back(loop: ast.For, around: list[ast.stmt]) -> bool:
    """Whether a loop goes over the parameters of a layer that the function was given and returns: ``zero_module(nn.Conv2d(...))``."""
    function = next((item for item in reversed(around) if isinstance(item, _FUNCTIONS)), None)
    if function is None or _iterated(loop) not in {"parameters", "named_parameters"}:
        return False
    given = {item.arg for item in function.args.args}
    iterated = {node.id for node in ast.walk(loop.iter) if isinstance(node, ast.Name)}
    returned = {node.value.id for node in ast.walk(function) if isinstance(node, ast.Return) and isinstance(node.value, ast.Name)}
    return bool(given & iterated & returned)


def _direct(target: ast.expr) -> bool:
    """Whether a target is the weight of the part itself, not of a part of it."""
    return isinstance(target, ast.Name) or (isinstance(target, ast.Attribute) and isinstance(target.value, ast.Name))


def _applied(name: str, module: SourceModule) -> bool:
    """Whether a function is given to ``apply``."""
    return bool(re.search(rf"\.apply\((\w+\.)*{re.escape(name)}\b", module.text))


def _reason(target: ast.expr, layers: list[str], scope: str, around: list[ast.stmt], within: str) -> str | None:
    """The same, by names and by what stands around."""
    path = ast.unparse(target)
    if (layers and all(_NORM.search(name) for name in layers)) or _NORM.search(path):
        return "norm"
    tests = " ".join(ast.unparse(item.test) for item in _conditions(around))
    function = next((item for item in reversed(around) if isinstance(item, _FUNCTIONS)), None)
    name = function.name if function is not None else ""
    if _NORM.search(tests) and not layers:
        return "norm"
    if _overwritten(target, around):
        return "overwritten"
    if isinstance(target, ast.Attribute) and _draws_bias(target, function):
        return "random_biases"
    if _ADAPTER.search(path) or _ADAPTER.search(f"{tests} {within}"):
        return "adapter"
    if "zero" in name.lower() or "zero" in tests.lower():
        return "residual_branch"
    if scope == "one_layer" or _HEAD.search(tests):
        if _HEAD.search(path) or _HEAD.search(tests):
            return "head"
        if _RESIDUAL.search(path) or _RESIDUAL.search(tests):
            return "residual_branch"
    return None


def _draws_bias(target: ast.Attribute, function: ast.FunctionDef | ast.AsyncFunctionDef | None) -> bool:
    """Whether the same function draws the bias beside a weight at random, so that units differ all the same."""
    bias = f"{ast.unparse(target.value)}.bias"
    for node in ast.walk(function) if function is not None else ():
        if isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute) and node.func.attr in _DRAWS:
            given = node.args[0] if node.args and "init" in ast.unparse(node.func.value) else node.func.value
            if ast.unparse(_bare(given)) == bias:
                return True
    return False


def _overwritten(target: ast.expr, around: list[ast.stmt]) -> bool:
    """Whether a later statement of the same function sets the same target again."""
    function = next((item for item in reversed(around) if isinstance(item, _FUNCTIONS)), None)
    last = around[-1] if around else None
    if last is None:
        return False
    text = ast.unparse(target)
    scope: list[ast.stmt] = function.body if function is not None else around[:1]
    other = {id(node) for branch in _conditions(around) for item in branch.orelse for node in ast.walk(item)}
    for node in (node for statement in scope for node in ast.walk(statement)):
        if not isinstance(node, ast.Call) or id(node) in other or node.lineno <= (last.end_lineno or last.lineno):
            continue
        if not isinstance(node.func, ast.Attribute):
            continue
        initializes = "init" in ast.unparse(node.func.value)
        given = (node.args[0] if node.args else None) if initializes else node.func.value if node.func.attr in _LATER else None
        own = _bare(given) if given is not None else None
        if own is not None and ast.unparse(own) == text:
            return True
    return False
