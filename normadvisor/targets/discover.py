"""The models of a file, found by reading it: nothing is imported, and a file without models needs no torch.

A model is a ``torch.nn.Module`` subclass that builds without arguments, a function without required arguments that returns a
module, or a module bound at the top level. Building blocks of another model found here are not models of their own.
"""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator
from functools import cached_property
from typing import TYPE_CHECKING

from normadvisor.files.source import read_source
from normadvisor.targets.candidate import Candidate, CandidateKind
from normadvisor.targets.names import FileNames, is_library_builder, is_library_module
from normadvisor.types import Location

if TYPE_CHECKING:
    from pathlib import Path

    from normadvisor.files.source import Source

__all__ = ["discover", "discover_in", "needing_arguments"]

_WORD = re.compile(r"\w+")
_HINTS = ("Module", "torch", "timm", "transformers", "nn.", "lightning")
_WRAPPERS = {"to", "cuda", "cpu", "eval", "train", "half", "float", "double", "bfloat16", "requires_grad_", "apply"}
_SCRIPT_NAMES = (
    "main", "train", "test", "eval", "fit", "run", "demo", "load_data", "predict", "infer", "export", "convert", "benchmark", "parse",
)  # fmt: skip
_BARE = ("torch.nn.Module", "torch.nn.modules.module.Module", "object", "abc.ABC")
_WORK = {"backward", "step", "DataLoader", "load_dataset", "save", "add_argument", "parse_args"}


def discover(path: Path) -> list[Candidate]:
    """Models of a file in the order of their definition.

    Raises:
        TargetError: the file cannot be read or parsed.

    """
    return discover_in(read_source(path))


def discover_in(source: Source) -> list[Candidate]:
    """As :func:`discover`, for a file that was read already."""
    if not any(hint in source.text for hint in _HINTS):
        return []
    try:
        return _Discovery(FileNames(source)).run()
    except RecursionError:
        # Expressions nested almost as deeply as the parser allows: generated tables, not models.
        return []


def needing_arguments(source: Source) -> dict[str, list[str]]:
    """Classes that would be models of a file if they could be built without arguments, and the arguments they need."""
    if not any(hint in source.text for hint in _HINTS):
        return {}
    try:
        return _Discovery(FileNames(source)).needing_arguments()
    except RecursionError:
        return {}


class _Discovery:
    def __init__(self, names: FileNames) -> None:
        self.names = names
        self.found: dict[str, Candidate] = {}

    def run(self) -> list[Candidate]:
        for name, node in self.names.classes.items():
            if not name.startswith("_") and self._is_model_class(name, node):
                self._add(name, CandidateKind.CLASS, node)
        for name, function in self.names.functions.items():
            if self._is_factory(function):
                self._add(name, CandidateKind.FACTORY, function)
        for name, statement in self.names.assigned.items():
            if statement.value is not None and self._is_model(statement.value, {}, whole=True):
                self._add(name, CandidateKind.INSTANCE, statement)
        kept = self._outermost()
        return sorted(kept, key=lambda candidate: (candidate.location.line, candidate.location.column))

    def needing_arguments(self) -> dict[str, list[str]]:
        """Public classes with a forward and layers of their own whose ``__init__`` has arguments without default."""
        found: dict[str, list[str]] = {}
        for name, node in self.names.classes.items():
            init = _method(node, "__init__")
            if init is None or name.startswith("_") or not self.names.is_module_class(name) or self._is_abstract(node):
                continue
            chain = self._chain(node)
            required = _required(init, skip=1)
            if required and any(_method(cls, "forward") for cls in chain) and self._holds_layers(chain, []):
                found[name] = required
        return found

    def _add(self, name: str, kind: CandidateKind, node: ast.stmt) -> None:
        place = Location(str(self.names.source.path), node.lineno, node.col_offset + 1)
        self.found[name] = Candidate(name, kind, place)

    # classes

    def _is_model_class(self, name: str, node: ast.ClassDef) -> bool:
        if not self.names.is_module_class(name) or self._is_abstract(node):
            return False
        chain = self._chain(node)
        outside = [base for cls in chain for base in map(self.names.dotted, cls.bases) if base not in self.names.classes]
        bare = all(base in _BARE or "Lightning" in base for base in outside)
        if bare and not any(_method(cls, "forward") for cls in chain):
            return False
        return self._builds_without_arguments(chain, outside) and self._holds_layers(chain, outside)

    def _chain(self, node: ast.ClassDef) -> list[ast.ClassDef]:
        """The class and its base classes of this file, in about the order Python looks them up."""
        chain, waiting = list[ast.ClassDef](), [node]
        while waiting:
            cls = waiting.pop(0)
            if cls not in chain:
                chain.append(cls)
                waiting += [self.names.classes[base] for base in map(self.names.dotted, cls.bases) if base in self.names.classes]
        return chain

    def _is_abstract(self, node: ast.ClassDef) -> bool:
        return any(
            self.names.dotted(decorator).rpartition(".")[2] in {"abstractmethod", "abstractproperty"}
            for method in node.body
            if isinstance(method, ast.FunctionDef)
            for decorator in method.decorator_list
        )

    def _builds_without_arguments(self, chain: list[ast.ClassDef], outside: list[str]) -> bool:
        for cls in chain:
            init = _method(cls, "__init__")
            if init is not None:
                return not _required(init, skip=1)
            if any(self.names.dotted(d.func if isinstance(d, ast.Call) else d).endswith("dataclass") for d in cls.decorator_list):
                return all(field.value is not None for field in cls.body if isinstance(field, ast.AnnAssign))
        free = (*_BARE, "torch.nn.Sequential", "torch.nn.Identity")
        return all(base in free or "Lightning" in base or self._outside_is_free(base) for base in outside)

    def _outside_is_free(self, base: str) -> bool:
        """Whether a base class of a neighbouring file builds without arguments."""
        other = self.names.elsewhere(base)
        node = other.classes.get(base.rpartition(".")[2]) if other else None
        if other is None or node is None:
            # Mixins and typing's Generic take no part in building; library models need their arguments.
            return not is_library_module(base)
        inner = _Discovery(other)
        chain = inner._chain(node)
        return inner._builds_without_arguments(chain, [b for cls in chain for b in map(other.dotted, cls.bases) if b not in other.classes])

    def _holds_layers(self, chain: list[ast.ClassDef], outside: list[str]) -> bool:
        """Whether building constructs a layer other than a loss: what has none gives the rules nothing to look at."""
        if any(not base.startswith("torch.nn.") and self.names.is_module_class(base) and "Lightning" not in base for base in outside):
            return True
        for call in (node for cls in chain for node in walk(cls) if isinstance(node, ast.Call)):
            name = self.names.dotted(call.func)
            if name.endswith("Loss") or name in {cls.name for cls in chain}:
                continue
            if self.names.is_module_class(name) or is_library_builder(name) or name in self.names.functions:
                return True
            if name.rpartition(".")[2] in {"Parameter", "register_parameter", "register_buffer"} or name.startswith("torch.nn."):
                return True
        return False

    # factories and instances

    def _is_factory(self, node: ast.FunctionDef) -> bool:
        if node.name.startswith(("_", *_SCRIPT_NAMES)) or _required(node, skip=0) or _is_made_of_arguments(node):
            return False
        decorators = [self.names.dotted(d.func if isinstance(d, ast.Call) else d) for d in node.decorator_list]
        if any("fixture" in name or name.startswith("torch.jit") or "contextmanager" in name for name in decorators):
            return False
        returned: list[ast.expr] = []
        local: dict[str, ast.expr] = {}
        for part in _own_nodes(node):
            if isinstance(part, ast.Yield | ast.YieldFrom):
                return False
            if isinstance(part, ast.Call):
                name = part.func.attr if isinstance(part.func, ast.Attribute) else part.func.id if isinstance(part.func, ast.Name) else ""
                if name in _WORK:
                    return False
            if isinstance(part, ast.Assign) and isinstance(part.targets[0], ast.Name):
                local.setdefault(part.targets[0].id, part.value)
            if isinstance(part, ast.Return) and part.value is not None:
                returned.append(part.value)
        if any(self._is_model(value, local, whole=False) for value in returned):
            return True
        return bool(returned) and not any(isinstance(value, ast.Tuple) for value in returned) and self._annotated(node.returns)

    def _annotated(self, returns: ast.expr | None) -> bool:
        if isinstance(returns, ast.Constant) and isinstance(returns.value, str):
            try:
                returns = ast.parse(returns.value, mode="eval").body
            except (SyntaxError, ValueError, RecursionError, MemoryError):
                return False
        name = self.names.dotted(returns) if returns is not None and not isinstance(returns, ast.Subscript) else ""
        return bool(name) and self.names.is_module_class(name) and not name.endswith("Loss")

    def _is_model(self, node: ast.expr, local: dict[str, ast.expr], *, whole: bool, depth: int = 0) -> bool:
        """Whether an expression is a module that holds more than one leaf layer.

        Args:
            node: the expression.
            local: first values of the local names.
            whole: the expression stands at module level, where one leaf layer is no model.
            depth: how many names were followed.

        """
        if depth > 8:
            return False
        if isinstance(node, ast.Name) and node.id in local:
            value = local[node.id]
            return value is not node and self._is_model(value, local, whole=whole, depth=depth + 1)
        if not isinstance(node, ast.Call):
            return False
        if isinstance(node.func, ast.Attribute) and node.func.attr in _WRAPPERS:
            return self._is_model(node.func.value, local, whole=whole, depth=depth + 1)
        name = self.names.dotted(node.func)
        if not name or name.endswith("Loss"):
            return False
        if name.startswith("torch.nn."):
            last = name.rpartition(".")[2]
            if last in {"DataParallel", "DistributedDataParallel"}:
                return bool(node.args) and self._is_model(node.args[0], local, whole=whole, depth=depth + 1)
            return last in {"Sequential", "Transformer", "TransformerEncoder", "TransformerDecoder"} and bool(node.args)
        if name in self.names.functions:
            function = self.names.functions[name]
            return function.name not in local and self._returns_module(function, depth)
        return is_library_builder(name) or self.names.is_module_class(name)

    def _returns_module(self, function: ast.FunctionDef, depth: int) -> bool:
        returned = [part.value for part in _own_nodes(function) if isinstance(part, ast.Return) and part.value is not None]
        assigned = [part for part in _own_nodes(function) if isinstance(part, ast.Assign)]
        local = {part.targets[0].id: part.value for part in assigned if isinstance(part.targets[0], ast.Name)}
        return self._annotated(function.returns) or any(self._is_model(value, local, whole=False, depth=depth + 1) for value in returned)

    # what is part of something else

    def _outermost(self) -> list[Candidate]:
        """Candidates no other candidate is made of; a factory or variable that only calls a class found here gives way to it."""
        kept = {name: candidate for name, candidate in self.found.items() if not self._is_alias(candidate)}
        uses = {name: self._uses(name) for name in [*self.names.classes, *self.names.functions, *self.names.assigned]}
        reached = {name: _reachable(name, uses) for name in kept}
        return [
            candidate
            for name, candidate in kept.items()
            if not any(name in reached[other] and other not in reached[name] for other in kept if other != name)
        ]

    def _is_alias(self, candidate: Candidate) -> bool:
        """Whether a factory or variable is nothing but a class found here, called without arguments."""
        if candidate.kind is CandidateKind.CLASS:
            return False
        if candidate.kind is CandidateKind.INSTANCE:
            value = self.names.assigned[candidate.name].value
        else:
            statements = [s for s in self.names.functions[candidate.name].body if not _is_docstring(s)]
            value = statements[0].value if len(statements) == 1 and isinstance(statements[0], ast.Return) else None
        while isinstance(value, ast.Call) and isinstance(value.func, ast.Attribute) and value.func.attr in _WRAPPERS:
            value = value.func.value
        if not isinstance(value, ast.Call) or value.args or value.keywords:
            return False
        held = self.found.get(self.names.dotted(value.func))
        return held is not None and held.kind is not CandidateKind.INSTANCE and held.name != candidate.name

    @cached_property
    def _defined(self) -> frozenset[str]:
        return frozenset((*self.names.classes, *self.names.functions))

    @cached_property
    def _lines(self) -> list[str]:
        return self.names.source.text.split("\n")

    def _mentions(self, node: ast.stmt) -> frozenset[str]:
        """This file's classes and functions whose names stand somewhere in the text of a definition."""
        first = min([node.lineno, *(decorator.lineno for decorator in getattr(node, "decorator_list", []))])
        text = "\n".join(self._lines[first - 1 : node.end_lineno])
        if not text.isascii():  # Python reads some letters as others
            return self._defined
        return self._defined.intersection(_WORD.findall(text))

    def _uses(self, name: str) -> set[str]:
        """Names of this file's classes and functions that a definition mentions; a base class is no part."""
        node: ast.stmt = self.names.classes.get(name) or self.names.functions.get(name) or self.names.assigned[name]
        if self._mentions(node) <= {name}:
            return set()
        bases = {id(part) for base in getattr(node, "bases", []) for part in walk(base)}
        mentioned = {part.id for part in walk(node) if isinstance(part, ast.Name) and id(part) not in bases}
        inherited = {base.id for base in getattr(node, "bases", []) if isinstance(base, ast.Name) and base.id in self.names.classes}
        inner = set[str]().union(*(self._uses(base) for base in inherited if base != name)) if inherited else set()
        return ((mentioned | inner) & self._defined) - {name}


def walk(node: ast.AST) -> Iterator[ast.AST]:
    """As :func:`ast.walk`, in another order and less than half the time."""
    waiting = [node]
    while waiting:
        current = waiting.pop()
        yield current
        for name in current._fields:
            value = getattr(current, name, None)
            if isinstance(value, ast.AST):
                if value._fields:
                    waiting.append(value)
            elif isinstance(value, list):
                waiting.extend([item for item in value if isinstance(item, ast.AST)])


def _reachable(start: str, uses: dict[str, set[str]]) -> set[str]:
    seen: set[str] = set()
    waiting = [start]
    while waiting:
        for name in uses.get(waiting.pop(), ()):
            if name not in seen:
                seen.add(name)
                waiting.append(name)
    return seen


def _method(node: ast.ClassDef, name: str) -> ast.FunctionDef | None:
    return next((part for part in node.body if isinstance(part, ast.FunctionDef) and part.name == name), None)


def _is_made_of_arguments(node: ast.FunctionDef) -> bool:
    """Whether a function takes any number of things and nothing else, and makes something of each: called with none it gives nothing."""
    given = node.args.vararg
    if given is None or node.args.kwarg or [*node.args.posonlyargs, *node.args.args, *node.args.kwonlyargs]:
        return False
    passed_on = {id(part.value) for part in walk(node) if isinstance(part, ast.Starred)}
    return any(isinstance(part, ast.Name) and part.id == given.arg and id(part) not in passed_on for part in walk(node))


def _required(node: ast.FunctionDef, skip: int) -> list[str]:
    """Arguments without default, after the first ``skip`` positional ones."""
    arguments = [*node.args.posonlyargs, *node.args.args]
    plain = arguments[: len(arguments) - len(node.args.defaults)][skip:]
    keyword = [arg for arg, default in zip(node.args.kwonlyargs, node.args.kw_defaults, strict=True) if default is None]
    return [arg.arg for arg in [*plain, *keyword]]


def _own_nodes(function: ast.FunctionDef) -> list[ast.AST]:
    """Nodes of a function's body without those of functions and classes inside it, in source order."""
    nodes, waiting = list[ast.AST](), list[ast.AST](reversed(function.body))
    while waiting:
        node = waiting.pop()
        nodes.append(node)
        if not isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef | ast.Lambda):
            waiting += reversed(list(ast.iter_child_nodes(node)))
    return nodes


def _is_docstring(node: ast.stmt) -> bool:
    return isinstance(node, ast.Expr) and isinstance(node.value, ast.Constant)
