"""What names of a file stand for, by its imports: read, never run."""

from __future__ import annotations

import ast
import builtins
import stat
from collections import deque
from dataclasses import dataclass, field
from functools import lru_cache
from pathlib import Path
from typing import TYPE_CHECKING

from normadvisor.errors import TargetError
from normadvisor.files.overlay import overlay_number
from normadvisor.files.source import Source, read_source

if TYPE_CHECKING:
    from collections.abc import Iterator

__all__ = ["FileNames", "top_level"]

_MODULE_BASES = (
    "lightning.LightningModule", "lightning.pytorch.LightningModule", "pytorch_lightning.LightningModule", "torch.jit.ScriptModule",
    "torch.fx.GraphModule", "torch_geometric.nn.MessagePassing",
)  # fmt: skip
_MODEL_LIBRARIES = (
    "torchvision.models.", "torchvision.ops.", "timm.", "transformers.", "segmentation_models_pytorch.", "diffusers.", "monai.networks.",
)  # fmt: skip
_NOT_MODELS = (
    "Config", "Tokenizer", "TokenizerFast", "Processor", "Weights", "Output", "Trainer", "Arguments", "Dataset", "Mixin", "Callback",
)  # fmt: skip
_BUILDERS = ("timm.create_model", "timm.models.create_model", "torchvision.models.get_model")
MAX_IMPORT_DEPTH = 4
"""How many files a base class is followed through."""


def top_level(tree: ast.Module) -> Iterator[ast.stmt]:
    """Statements that run on import, those under top-level ``if``, ``try`` and ``with`` included, ``__main__`` blocks not."""
    waiting = list(reversed(tree.body))
    while waiting:
        node = waiting.pop()
        if isinstance(node, ast.If):
            if not any(isinstance(part, ast.Name) and part.id in {"__name__", "TYPE_CHECKING"} for part in ast.walk(node.test)):
                waiting += reversed([*node.body, *node.orelse])
        elif isinstance(node, ast.Try):
            handlers = [statement for handler in node.handlers for statement in handler.body]
            waiting += reversed([*node.body, *handlers, *node.orelse, *node.finalbody])
        elif isinstance(node, ast.With):
            waiting += reversed(node.body)
        else:
            yield node


@dataclass(slots=True)
class FileNames:
    """Names bound at the top level of a file."""

    source: Source
    imported: dict[str, str] = field(default_factory=dict)
    """Local name to dotted name; relative imports keep their dots."""
    stars: list[str] = field(default_factory=list)
    """Modules whose names are all imported, each with a dot behind it; the last one counts first."""
    classes: dict[str, ast.ClassDef] = field(default_factory=dict)
    functions: dict[str, ast.FunctionDef] = field(default_factory=dict)
    assigned: dict[str, ast.Assign | ast.AnnAssign] = field(default_factory=dict)
    depth: int = 0
    _known: dict[str, bool] = field(default_factory=dict)
    _given: dict[str, str] = field(default_factory=dict)

    def __post_init__(self) -> None:
        for node in _statements(self.source.tree):
            if isinstance(node, ast.Import):
                for alias in node.names:
                    first = alias.name.partition(".")[0]
                    self.imported[alias.asname or first] = alias.name if alias.asname else first
            elif isinstance(node, ast.ImportFrom):
                prefix = "." * node.level + (f"{node.module}." if node.module else "")
                if node.names[0].name == "*":
                    self.stars.insert(0, prefix)
                else:
                    self.imported.update({alias.asname or alias.name: prefix + alias.name for alias in node.names})
        for statement in top_level(self.source.tree):
            if isinstance(statement, ast.ClassDef):
                self.classes[statement.name] = statement
            elif isinstance(statement, ast.FunctionDef):
                self.functions[statement.name] = statement
            elif isinstance(statement, ast.Assign) and len(statement.targets) == 1 and isinstance(statement.targets[0], ast.Name):
                self.assigned[statement.targets[0].id] = statement
            elif isinstance(statement, ast.AnnAssign) and isinstance(statement.target, ast.Name) and statement.value:
                self.assigned[statement.target.id] = statement

    def dotted(self, node: ast.expr | None) -> str:
        """Dotted name an expression stands for, imports resolved; empty for what is not a name."""
        parts: list[str] = []
        if isinstance(node, ast.Subscript):  # Generic[T]
            node = node.value
        while isinstance(node, ast.Attribute):
            parts.append(node.attr)
            node = node.value
        if not isinstance(node, ast.Name):
            return ""
        name = node.id
        held = self.assigned[name].value if name in self.assigned and name not in self.imported else None
        first = self._through(held) if isinstance(held, ast.Attribute | ast.Name) else ""
        return ".".join([first or self._behind(name), *reversed(parts)])

    def _through(self, node: ast.expr) -> str:
        """Dotted name behind one assignment: ``Base = nn.Module``."""
        parts: list[str] = []
        while isinstance(node, ast.Attribute):
            parts.append(node.attr)
            node = node.value
        first = self._behind(node.id) if isinstance(node, ast.Name) else ""
        return ".".join([first, *reversed(parts)])

    def _behind(self, name: str) -> str:
        """Dotted name that a single name was imported as, or the name itself."""
        if name in self.imported or not self.stars:
            return self.imported.get(name, name)
        own = name in self.classes or name in self.functions or name in self.assigned
        return name if own or name.startswith("_") or hasattr(builtins, name) else self._starred(name)

    def _starred(self, name: str) -> str:
        """Dotted name of what ``from module import *`` gives, as far as files nearby and the spelling tell; else the name itself."""
        if name not in self._given:
            self._given[name] = name  # files that import all of each other
            # What files nearby give is known, and what a library gives is judged by its spelling.
            found = (give(star, name) for give in (self._nearby, self._of_library) for star in self.stars)
            self._given[name] = next(filter(None, found), name)
        return self._given[name]

    def _nearby(self, star: str, name: str) -> str:
        """A name of a file nearby, or what that file imports by it."""
        other = self.elsewhere(star + name)
        if other is None:
            return ""
        held = other.dotted(ast.Name(name))
        if held != name and not held.startswith("."):
            return held
        return star + name if held != name or name in other.classes or name in other.functions or name in other.assigned else ""

    @staticmethod
    def _of_library(star: str, name: str) -> str:
        # torch.nn has no __all__: its star gives classes, and modules such as `functional`.
        of_torch = star in {"torch.nn.", "torch.nn.modules."} and (name[:1].isupper() or name in {"functional", "init"})
        return star + name if of_torch or star + name in _MODULE_BASES else ""

    def is_module_class(self, name: str) -> bool:
        """Whether a dotted name is a subclass of ``torch.nn.Module``, as far as names tell."""
        if name in self._known:
            return self._known[name]
        self._known[name] = False  # a class that inherits from itself is none
        if name in self.classes:
            found = any(self.is_module_class(self.dotted(base)) for base in self.classes[name].bases)
        else:
            found = is_library_module(name) or self._is_local_module(name)
        self._known[name] = found
        return found

    def _is_local_module(self, name: str) -> bool:
        """Whether a name imported from a file nearby is a module class there."""
        other = self.elsewhere(name)
        return other is not None and other.is_module_class(other.dotted(ast.Name(name.rpartition(".")[2])))

    def elsewhere(self, name: str) -> FileNames | None:
        """Names of the file nearby that a dotted name is imported from; ``None`` if there is no such file."""
        module, _, attribute = name.rpartition(".")
        if not attribute or not module or self.depth >= MAX_IMPORT_DEPTH:
            return None
        level = len(module) - len(module.lstrip("."))
        here = self.source.path.resolve().parent
        parts = [part for part in module.lstrip(".").split(".") if part]
        upwards = [here, *here.parents]
        roots = upwards[level - 1 : level] if level else upwards[:4]
        for root in roots:
            path = root.joinpath(*parts) if parts else root / "__init__.py"
            for file in (path.with_suffix(".py"), path / "__init__.py") if parts else (path,):
                if file != self.source.path and (state := _state(file)) is not None:
                    return _names_of(file, self.depth + 1, state)
        return None


def _state(file: Path) -> tuple[int, int, int] | None:
    """What changes when a file or the overlay does; ``None`` where there is no such file."""
    try:
        status = file.stat()
    except (OSError, ValueError):
        return None
    return (status.st_mtime_ns, status.st_size, overlay_number()) if stat.S_ISREG(status.st_mode) else None


@lru_cache(maxsize=48)
def _names_of(file: Path, depth: int, state: tuple[int, int, int]) -> FileNames | None:
    """Names of a neighbour; the files of a folder have neighbours in common, so some are kept."""
    del state  # tells one content of the file from another
    try:
        return FileNames(read_source(file), depth=depth)
    except TargetError:
        return None  # a neighbour that cannot be read tells nothing; it has its own error when it is a target itself


def _statements(tree: ast.Module) -> Iterator[ast.AST]:
    """Every statement, those of a block after the one that holds it."""
    waiting: deque[ast.AST] = deque([tree])
    while waiting:
        node = waiting.popleft()
        yield node
        for block in ("body", "handlers", "cases", "orelse", "finalbody"):
            if isinstance(held := getattr(node, block, None), list):
                waiting.extend(held)


def is_library_module(name: str) -> bool:
    """Whether a dotted name is a module class of torch or of a model library, by its spelling."""
    last = name.rpartition(".")[2]
    if name.startswith("torch.nn."):
        return last[:1].isupper() and not last.endswith("Parameter") and last not in {"Buffer", "ParameterList", "ParameterDict"}
    if name in _MODULE_BASES:
        return True
    return name.startswith(_MODEL_LIBRARIES) and last[:1].isupper() and not last.endswith(_NOT_MODELS) and not last.isupper()


def is_library_builder(name: str) -> bool:
    """Whether a dotted name is a function of a model library that returns a module."""
    last = name.rpartition(".")[2]
    if name in _BUILDERS or (name.startswith("transformers.") and last in {"from_pretrained", "from_config"}):
        return True
    if not name.startswith(("torchvision.models.", "timm.models.")):
        return False
    return last.islower() and not last.startswith(("get_", "list_", "is_", "load_", "register_", "feature_extraction", "utils", "_"))
