"""The files of a project and what a dotted name means in them. A file is read when it is first asked for, and once."""

from __future__ import annotations

import ast
import builtins
import os
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, TypeAlias

from normadvisor.errors import TargetError
from normadvisor.script.project.classes import ClassInfo
from normadvisor.script.project.externals import external_name
from normadvisor.script.project.paths import ModulePaths
from normadvisor.script.project.reading import Cells, read_tree
from normadvisor.script.project.statements import Imported, scan

if TYPE_CHECKING:
    from normadvisor.script.project.contents import Contents
    from normadvisor.types.location import Location

__all__ = ["FunctionNode", "Project", "Resolved", "SourceModule"]

FunctionNode: TypeAlias = ast.FunctionDef | ast.AsyncFunctionDef
_MOST_HOPS = 40
"""Re-exports followed for one name."""
_MOST_FILES = 4000
"""Files read on behalf of imports; beyond that a name counts as external."""


@dataclass(slots=True, eq=False)
class SourceModule:
    """A file of the project that parsed. Compared by identity."""

    path: str
    name: str
    text: str
    tree: ast.Module
    lines: list[str]
    imports: dict[str, str]
    """Every import in the file, also inside functions: local name to absolute dotted name."""
    definitions: dict[str, ast.stmt]
    """Functions, classes and assignments at the top level and in its branches."""
    is_notebook: bool = False
    is_package: bool = False
    stars: tuple[str, ...] = ()
    """Modules imported with ``*``, absolute dotted names."""
    exported: tuple[str, ...] | None = None
    """What ``__all__`` lists, if it is a literal."""
    nested_classes: dict[str, ast.ClassDef] = field(default_factory=dict)
    """Classes defined inside functions and classes, by name."""
    cells: Cells | None = None
    class_facts: dict[ast.ClassDef, object] = field(default_factory=dict)
    """What was found out about the text of its classes."""
    file: str = ""
    """Its absolute path."""
    mentions: Counter[str] | None = None
    """In how many of its statements outside functions and classes each name is mentioned, once somebody asked."""
    read: set[str] = field(default_factory=set)
    """Paths of the files read directly on behalf of this one."""

    def location(self, node: ast.AST) -> Location:
        """Where a node stands."""
        line, column = getattr(node, "lineno", 1), getattr(node, "col_offset", 0)
        end_line, end_column = getattr(node, "end_lineno", None) or line, getattr(node, "end_col_offset", None) or column
        cells = self.cells or Cells(self.path)
        if self.text.isascii():
            return cells.location(line, column + 1, end_line, end_column + 1)
        return cells.location(line, self._points(line, column) + 1, end_line, self._points(end_line, end_column) + 1)

    def segment(self, node: ast.AST) -> str:
        """The text of a node."""
        line: int | None = getattr(node, "lineno", None)
        end_line: int | None = getattr(node, "end_lineno", None)
        if line is None or end_line is None or end_line > len(self.lines):
            return ""
        start: int = self._points(line, getattr(node, "col_offset", 0))
        end: int = self._points(end_line, getattr(node, "end_col_offset", None) or 0)
        if line == end_line:
            return self.lines[line - 1][start:end]
        return "\n".join([self.lines[line - 1][start:], *self.lines[line : end_line - 1], self.lines[end_line - 1][:end]])

    def _points(self, line: int, offset: int) -> int:
        """Code points before a byte offset of a line."""
        text = self.lines[line - 1] if 0 < line <= len(self.lines) else ""
        return offset if text.isascii() else len(text.encode()[:offset].decode(errors="ignore"))


Resolved: TypeAlias = SourceModule | ClassInfo | tuple[SourceModule, FunctionNode] | tuple[SourceModule, ast.stmt] | str
"""What a dotted name may mean: a module, class, function or assigned name of the project, or an external dotted name."""


class Project:
    """The files below some folders, read on demand.

    Args:
        roots: folders (or single files, which stand for their folder). Imports are followed to files below them and inside the
            package that the importing file belongs to; everything else is external.

    """

    def __init__(self, roots: Sequence[Path]) -> None:
        self._paths = ModulePaths(roots)
        self._modules: dict[str, SourceModule | TargetError] = {}
        self._classes: dict[tuple[int, str, int], ClassInfo] = {}
        self._resolved: dict[tuple[str, int], Resolved] = {}
        self._looked_up: dict[tuple[str, int], Resolved | None] = {}
        self.contents: dict[tuple[object, ...], Contents | None] = {}
        """Layers of classes and functions that were asked for; ``None`` while being found out."""
        self.memory: dict[str, dict[object, object]] = {}
        """Whatever else is found out once per project, by kind."""
        self.size = 0
        """Characters of source that were read."""

    def load(self, path: Path) -> SourceModule:
        """Read a file.

        Raises:
            TargetError: it cannot be read or is not valid Python.

        """
        key = os.path.abspath(path)  # noqa: PTH100 - links stay as they are
        known = self._modules.get(key)
        if known is None:
            try:
                known = self._read(key, path)
            except TargetError as error:
                known = error
            self._modules[key] = known
        if isinstance(known, TargetError):
            raise known
        return known

    def close(self) -> None:
        """Forget everything. Modules, classes and what is known of them point at one another: parted, they are gone at once."""
        for module in self._modules.values():
            if isinstance(module, SourceModule):
                module.class_facts.clear()
                module.definitions.clear()
                module.nested_classes.clear()
                module.tree.body.clear()
        for info in self._classes.values():
            info.forget()
        for known in (self._modules, self._classes, self._resolved, self._looked_up, self.contents, self.memory):
            known.clear()

    def find(self, dotted: str, importer: SourceModule) -> SourceModule | None:
        """The module of the project with a dotted name, as ``importer`` sees it; ``None`` if it is external or cannot be read."""
        found = self._paths.find(dotted, importer.file or os.path.abspath(importer.path))  # noqa: PTH100
        if found is None:
            return None
        known = self._modules.get(found)
        if known is None and len(self._modules) > _MOST_FILES:
            return None
        importer.read.add(found)
        if known is not None:
            return known if isinstance(known, SourceModule) else None
        try:
            return self.load(Path(found))
        except TargetError:
            return None

    def resolve(self, dotted: str, importer: SourceModule) -> Resolved:
        """What an absolute dotted name means in ``importer``, re-exports followed; a str is the public spelling of an external name."""
        key = (dotted, id(importer))
        if key not in self._resolved:
            self._resolved[key] = self._resolve(dotted, importer, set())
        return self._resolved[key]

    def lookup(self, name: str, module: SourceModule) -> Resolved | None:
        """What a simple name means at the top level of a module; ``None`` if the module does not bind it (a builtin, a local)."""
        key = (name, id(module))
        if key not in self._looked_up:
            self._looked_up[key] = self._member(module, name, set())
        return self._looked_up[key]

    def class_info(self, module: SourceModule, node: ast.ClassDef, qualname: str) -> ClassInfo:
        """The class a node defines; the same object for the same node."""
        key = (id(module), qualname, node.lineno)
        if key not in self._classes:
            self._classes[key] = ClassInfo(node.name, qualname, module, node, self)
        return self._classes[key]

    def read_paths(self, module: SourceModule) -> set[str]:
        """Every file that was read on behalf of a module, also those read on behalf of these."""
        found: set[str] = set()
        pending = [module]
        while pending:
            for path in pending.pop().read:
                if path not in found:
                    found.add(path)
                    if isinstance(known := self._modules.get(path), SourceModule):
                        pending.append(known)
        return found - {os.path.abspath(module.path)}  # noqa: PTH100

    def _read(self, key: str, path: Path) -> SourceModule:
        text, tree, cells = read_tree(path)
        self.size += len(text)
        name, _, is_package = self._paths.name_of(key)
        found = scan(tree)
        package = name if is_package else name.rpartition(".")[0]
        return SourceModule(
            path=str(path),
            name=name,
            text=text,
            tree=tree,
            lines=text.split("\n"),
            imports={local: _absolute(level, dotted, package) for local, (level, dotted) in found.names.items()},
            definitions=found.definitions,
            is_notebook=path.suffix == ".ipynb",
            is_package=is_package,
            stars=_stars(found, package),
            exported=tuple(found.exported) if found.exported is not None else None,
            nested_classes=found.nested_classes,
            cells=cells,
            file=key,
        )

    def _resolve(self, dotted: str, importer: SourceModule, seen: set[tuple[int, str]]) -> Resolved:
        if len(seen) > _MOST_HOPS:
            return external_name(dotted)
        parts = dotted.split(".")
        for length in range(len(parts), 0, -1):
            module = self.find(".".join(parts[:length]), importer)
            if module is None:
                continue
            if length == len(parts):
                return self._shadowed(module, parts, importer, seen) or module
            return self._path_in(module, parts[length:], seen) or external_name(dotted)
        return external_name(dotted)

    def _shadowed(self, module: SourceModule, parts: list[str], importer: SourceModule, seen: set[tuple[int, str]]) -> Resolved | None:
        """What the package's ``__init__`` binds to the name of its own submodule: ``from .attention import attention``."""
        if len(parts) < 2 or (id(module), "") in seen:
            return None
        package = self.find(".".join(parts[:-1]), importer)
        if package is None or not package.is_package or package is module:
            return None
        target = package.imports.get(parts[-1])
        if (target is None or target == module.name) and parts[-1] not in package.definitions:
            return None
        found = self._member(package, parts[-1], {*seen, (id(module), "")})
        return None if isinstance(found, str) else found

    def attribute(self, owner: Resolved, parts: Sequence[str]) -> Resolved | None:
        """What ``owner.a.b`` means; ``None`` if the project does not tell."""
        return self._path_in(owner, parts, set())

    def _path_in(self, owner: Resolved, parts: Sequence[str], seen: set[tuple[int, str]]) -> Resolved | None:
        found: Resolved | None = owner
        for index, part in enumerate(parts):
            if isinstance(found, SourceModule):
                found = self._member(found, part, seen)
            elif isinstance(found, ClassInfo):
                found = found.member(part)
            elif isinstance(found, str):
                return external_name(".".join([found, *parts[index:]]))
            else:
                return None
        return found

    def _member(self, module: SourceModule, name: str, seen: set[tuple[int, str]]) -> Resolved | None:
        if (id(module), name) in seen or len(seen) > _MOST_HOPS:
            return None
        seen.add((id(module), name))
        node = module.definitions.get(name)
        if isinstance(node, ast.ClassDef):
            return self.class_info(module, node, name)
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
            return module, node
        if name in module.imports:
            return self._resolve(module.imports[name], module, seen)
        if node is not None:
            return self._aliased(module, node, seen) or (module, node)
        for star in module.stars:
            source = self._resolve(star, module, seen)
            if isinstance(source, SourceModule):
                allowed = name in source.exported if source.exported is not None else not name.startswith("_")
                if (allowed or source.is_package) and (found := self._member(source, name, seen)) is not None:
                    return found
            elif isinstance(source, str) and _star_holds(source, name):
                return external_name(f"{source}.{name}")
        return self.find(f"{module.name}.{name}", module) if module.is_package else None

    def _aliased(self, module: SourceModule, node: ast.stmt, seen: set[tuple[int, str]]) -> Resolved | None:
        """What a plain alias (``Net = ResNet``, ``relu = F.relu``) stands for."""
        value = getattr(node, "value", None)
        if not isinstance(node, ast.Assign | ast.AnnAssign) or (isinstance(node, ast.Assign) and not isinstance(node.targets[0], ast.Name)):
            return None
        parts: list[str] = []
        while isinstance(value, ast.Attribute) and len(parts) < _MOST_HOPS:
            parts.insert(0, value.attr)
            value = value.value
        if not isinstance(value, ast.Name):
            return None
        first = self._member(module, value.id, seen)
        return first if first is None else self._path_in(first, parts, seen)


def _absolute(level: int, dotted: str, package: str) -> str:
    """The absolute name of what a relative import names; one that climbs too high is kept below the top."""
    if level == 0:
        return dotted
    parts = package.split(".") if package else []
    base = parts[: max(len(parts) - level + 1, 0)]
    return ".".join([*base, dotted]) if dotted else ".".join(base)


def _stars(found: Imported, package: str) -> tuple[str, ...]:
    return tuple(dict.fromkeys(name for level, dotted in found.stars if (name := _absolute(level, dotted, package))))


def _star_holds(source: str, name: str) -> bool:
    """Whether ``from torch.nn import *`` may be where a name comes from: of torch's own modules the spelling tells."""
    if source in {"torch.nn", "torch.optim", "torch.utils.data", "torchvision.models"}:
        return name[:1].isupper() and not hasattr(builtins, name)
    return False
