"""Text that builds a layer or calls a function, from the name of a class and its arguments."""

from __future__ import annotations

import ast
import inspect
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import torch

from normadvisor.rewrite.source.imports import name_for
from normadvisor.rewrite.source.place import Refused, SourceTree
from normadvisor.types import Edit

if TYPE_CHECKING:
    from normadvisor.graph.model import NodeInfo
    from normadvisor.types import JSONValue

__all__ = ["FUNCTIONS", "constructor_text", "function_text", "like_layer", "settings_of"]

FUNCTIONS = {
    "CELU": "celu", "Dropout": "dropout", "Dropout1d": "dropout1d", "Dropout2d": "dropout2d", "Dropout3d": "dropout3d", "ELU": "elu",
    "GELU": "gelu", "GLU": "glu", "Hardsigmoid": "hardsigmoid", "Hardswish": "hardswish", "Hardtanh": "hardtanh",
    "LeakyReLU": "leaky_relu", "LogSigmoid": "logsigmoid", "LogSoftmax": "log_softmax", "Mish": "mish", "ReLU": "relu", "ReLU6": "relu6",
    "SELU": "selu", "SiLU": "silu", "Sigmoid": "sigmoid", "Softmax": "softmax", "Softplus": "softplus", "Softsign": "softsign",
    "Tanh": "tanh", "Tanhshrink": "tanhshrink",
}  # fmt: skip
"""Layers without parameters, and the functions of ``torch.nn.functional`` that compute the same."""
_IN_TORCH = frozenset({"sigmoid", "tanh"})
"""Those that ``torch.nn.functional`` advises against."""
_TRAINING = frozenset({"dropout", "dropout1d", "dropout2d", "dropout3d"})


def _arguments(arguments: Mapping[str, JSONValue]) -> str:
    return ", ".join(f"{name}={value!r}" for name, value in arguments.items())


def constructor_text(layer: str, arguments: Mapping[str, JSONValue], tree: SourceTree, at: ast.AST) -> tuple[str, list[Edit]]:
    """Text that builds a layer, and the edits that import its class.

    Args:
        layer: dotted name of the class.
        arguments: what it is built with.
        tree: the file.
        at: where it is going to stand.

    Raises:
        Refused: the name cannot be written there.

    """
    like = at.func if isinstance(at, ast.Call) else None
    name, edits = name_for(layer, tree, at, like)
    return f"{name}({_arguments(arguments)})", edits


def function_text(layer: str, arguments: Mapping[str, JSONValue], tree: SourceTree, at: ast.AST) -> tuple[str, str, list[Edit]] | None:
    """Text before and behind the input of the function that computes what a layer does; ``None`` if there is none.

    Raises:
        Refused: the name cannot be written there.

    """
    package, _, cls = layer.rpartition(".")
    if not package.startswith("torch.nn") or cls not in FUNCTIONS:
        return None
    function = FUNCTIONS[cls]
    dotted = f"torch.{function}" if function in _IN_TORCH else f"torch.nn.functional.{function}"
    if function == "relu" and not arguments and not _is_known("torch.nn.functional", tree) and "torch" in tree.module.imports:
        dotted = "torch.relu"
    name, edits = name_for(dotted, tree, at)
    given = _arguments(arguments)
    training = "training=self.training" if function in _TRAINING else ""
    rest = ", ".join(item for item in (given, training) if item)
    return f"{name}(", f", {rest})" if rest else ")", edits


def _is_known(dotted: str, tree: SourceTree) -> bool:
    targets = tree.module.imports.values()
    return any(target in {dotted, dotted.rpartition(".")[0]} or target.startswith(f"{dotted}.") for target in targets)


def like_layer(node: NodeInfo, module: Any) -> tuple[str, dict[str, JSONValue]]:
    """Class and arguments of a layer that does what a node does.

    Args:
        node: of a layer or a function.
        module: the layer itself; not looked at for a function.

    Raises:
        Refused: it has parameters, or is no layer of torch.

    """
    if node.cls:
        cls = type(module)
        if not cls.__module__.startswith("torch.nn.") or any(True for _ in module.parameters()) or any(True for _ in module.buffers()):
            raise Refused(f"`{node.module}` cannot be moved to another place")
        return f"torch.nn.{cls.__name__}", settings_of(cls, module)
    found = next((name for name, function in FUNCTIONS.items() if function == node.target.rpartition(".")[2].strip("_")), None)
    if found is None:
        raise Refused(f"{node.op} in `{node.module}` cannot be moved to another place")
    names = inspect.signature(getattr(torch.nn, found)).parameters
    known = {name: value for name, value in node.attrs.items() if name in names and isinstance(value, bool | int | float | str)}
    return f"torch.nn.{found}", {name: value for name, value in known.items() if value != names[name].default}


def settings_of(cls: type, module: Any) -> dict[str, JSONValue]:
    """Arguments of a layer that are not those it has anyway."""
    settings: dict[str, JSONValue] = {}
    for name, parameter in inspect.signature(cls).parameters.items():
        value = getattr(module, name, parameter.default)
        if value != parameter.default and isinstance(value, bool | int | float | str):
            settings[name] = value
    return settings
