"""What a class of the project is itself: a norm or dropout layer by inheritance or by what its code does."""

from __future__ import annotations

import ast
from dataclasses import replace
from typing import TYPE_CHECKING

from normadvisor.script.project.abstract import SELF, Call, Items, Table, either
from normadvisor.script.project.bases import module_kind
from normadvisor.script.project.contents import Layer
from normadvisor.script.project.deciding import decided_layer, decided_rate
from normadvisor.script.project.evaluate import Frame
from normadvisor.script.project.facts import facts_of
from normadvisor.script.project.known import contents_of_extern_call, is_plain_base
from normadvisor.script.project.layers import CONTAINERS, LAYERS

if TYPE_CHECKING:
    from normadvisor.script.project.classes import ClassInfo
    from normadvisor.script.project.contents import Contents
    from normadvisor.script.project.evaluate import Evaluator
    from normadvisor.types.location import Location

__all__ = ["own_layers", "relocated"]

_RATE_POSITIONS = {"drop_path": (1, "drop_prob", 0.0), "stochastic_depth": (1, "p", None), "rrelu": (None, "", 1.0)}


def own_layers(evaluator: Evaluator, info: ClassInfo, frame: Frame) -> None:
    """Gather what a class is and what its methods do by functions, once its constructor was followed."""
    for name in sorted(info.externals):
        _external_base(evaluator, info, frame, name)
    reads, found = False, False
    for parent in info.mro():
        facts = facts_of(parent)
        reads = reads or facts.reads_training
        for node, name in facts.functional:
            found = _functional(evaluator, frame, parent, node, name) or found
    evaluator.gather.reads_training = evaluator.gather.reads_training or reads
    if not reads:
        return
    if any("running_mean" in facts_of(parent).buffers for parent in info.mro()) and not _is_torch_norm(info):
        evaluator.gather.add(Layer(info.name, info.location, "batchnorm"), "yes")
    elif not found and "drop" in info.name.lower() and not any(name in LAYERS for name in info.externals) and not evaluator.gather.held:
        rates = [value for name, value in frame.attributes.items() if name in {"p", "prob", "rate"} or "drop" in name or "keep" in name]
        held = decided_rate(either(rates)) if rates else "unknown"
        if held != "no":
            evaluator.gather.add(Layer(info.name, info.location, "dropout"), held)


def _is_torch_norm(info: ClassInfo) -> bool:
    return any(name in LAYERS and LAYERS[name].kind in {"batchnorm", "other"} for name in info.externals)


def _external_base(evaluator: Evaluator, info: ClassInfo, frame: Frame, name: str) -> None:
    spec = LAYERS.get(name)
    if spec is not None:
        positional, named = frame.attributes.get("()"), frame.attributes.get("(named)")
        call = Call(
            tuple(positional.values) if isinstance(positional, Items) else (),
            tuple((str(key), value) for key, value in named.values.items()) if isinstance(named, Table) else (),
            isinstance(named, Table) and named.open,
        )
        held = decided_layer(spec, call)
        if held != "no" or spec.kind != "dropout":
            evaluator.gather.add(Layer(info.name, info.location, spec.kind if held != "no" else "norm"), held)  # type: ignore[arg-type]
    elif name in CONTAINERS or is_plain_base(name) or module_kind(name) is False:
        return
    elif (contents := contents_of_extern_call(name, Call())) is not None:
        evaluator.gather.add_contents(contents)
    else:
        evaluator.gather.unknown()


def _functional(evaluator: Evaluator, frame: Frame, parent: ClassInfo, node: ast.Call, name: str) -> bool:
    """A call such as ``F.dropout(x, p, training=self.training)``; whether it follows the mode."""
    rate = _followed_rate(node, name)
    if rate is None:
        return False
    if name in {"batch_norm", "instance_norm"}:
        kind, held = ("batchnorm" if name == "batch_norm" else "other"), "yes"
        if _is_torch_norm(parent):
            return True  # said by its base
    else:
        inner = Frame(parent.module, {"self": SELF}, parent, parent, frame.attributes, depth=frame.depth)
        kind, held = "dropout", decided_rate(evaluator.value(inner, rate))
    if held != "no" and not (name == "scaled_dot_product_attention" and evaluator.gather.held.get("dropout")):
        evaluator.gather.add(Layer(name, parent.module.location(node), kind), held)  # type: ignore[arg-type, unused-ignore]
    return True


def _followed_rate(node: ast.Call, name: str) -> ast.expr | None:
    """The probability in a call whose effect follows ``self.training``; ``None`` if it does not."""
    named = {keyword.arg: keyword.value for keyword in node.keywords}
    if name == "scaled_dot_product_attention":
        rate = named.get("dropout_p") or (node.args[4] if len(node.args) > 4 else None)
        return rate.body if isinstance(rate, ast.IfExp) and _is_training(rate.test) else None
    if not any(_is_training(value) for value in (*node.args, *named.values())):
        return None
    position, word, default = _RATE_POSITIONS.get(name, (1, "p", 0.5))
    if word in named:
        return named[word]
    if position is not None and position < len(node.args) and not _is_training(node.args[position]):
        return node.args[position]
    return ast.copy_location(ast.Constant(default), node)


def _is_training(node: ast.expr) -> bool:
    return isinstance(node, ast.Attribute) and node.attr == "training" and isinstance(node.value, ast.Name)


def relocated(contents: Contents, info: ClassInfo, location: Location | None) -> Contents:
    """Contents of a class that is itself a layer: that layer stands where it is built."""
    own = info.location
    if location is None or not any(layer.location == own for layer in (*contents.layers, *contents.norms)):
        return contents
    return replace(
        contents,
        layers=tuple(replace(layer, location=location) if layer.location == own else layer for layer in contents.layers),
        norms=tuple(replace(layer, location=location) if layer.location == own else layer for layer in contents.norms),
    )


