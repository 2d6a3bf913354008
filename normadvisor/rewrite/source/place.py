"""What every edit of source needs to know: the files, the syntax tree around a place, and which layers one place builds or runs."""

from __future__ import annotations

import ast
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from normadvisor.errors import TargetError
from normadvisor.match.places import Places
from normadvisor.script.project.modules import Project, SourceModule
from normadvisor.script.project.reading import Cells
from normadvisor.types import Edit, Frame, Location, Site

if TYPE_CHECKING:
    import torch

    from normadvisor.graph.model import ModelGraph, ModuleInfo, NodeInfo
    from normadvisor.types.operation import Operation, OperationKind, Part

__all__ = ["FunctionNode", "Refused", "SourceFiles", "SourceTree", "WriteContext", "place_of"]

FunctionNode = ast.FunctionDef | ast.AsyncFunctionDef | ast.Lambda


class Refused(Exception):  # noqa: N818 - an answer rather than an error
    """The source cannot be edited as asked.

    Args:
        reason: one sentence saying why, and where if that is not obvious.

    """

    def __init__(self, reason: str) -> None:
        super().__init__(reason)
        self.reason = reason


def place_of(location: Location) -> str:
    """A place in words: ``model.py:12``."""
    return f"{Path(location.path).name}:{location.line}"


@dataclass(slots=True, eq=False)
class SourceTree:
    """A parsed file, with ways from a node to what stands around it. Compared by identity."""

    module: SourceModule
    parents: dict[ast.AST, ast.AST] = field(default_factory=dict)
    _ends: dict[int, list[ast.expr]] = field(default_factory=dict)
    """Expressions by the line they end on, outer ones first."""

    def __post_init__(self) -> None:
        for node in ast.walk(self.module.tree):
            for child in ast.iter_child_nodes(node):
                self.parents[child] = node
            if isinstance(node, ast.expr):
                self._ends.setdefault(node.end_lineno or node.lineno, []).append(node)

    def around(self, node: ast.AST) -> Iterator[ast.AST]:
        """The nodes that hold a node, innermost first."""
        parent = self.parents.get(node)
        while parent is not None:
            yield parent
            parent = self.parents.get(parent)

    def statement(self, node: ast.AST) -> ast.stmt:
        """The innermost statement that a node is part of, or the node itself."""
        return next(item for item in (node, *self.around(node)) if isinstance(item, ast.stmt))

    def function(self, node: ast.AST) -> FunctionNode | None:
        """The function that runs a node; ``None`` at the top level and in the body of a class.

        Defaults, decorators and annotations of a function belong to what is around it.
        """
        child = node
        for item in self.around(node):
            if isinstance(item, ast.ClassDef) and child in item.body:
                return None
            if isinstance(item, ast.Lambda) and child is item.body:
                return item
            if isinstance(item, ast.FunctionDef | ast.AsyncFunctionDef) and child in item.body:
                return item
            child = item
        return None

    def owner(self, function: ast.AST) -> ast.ClassDef | None:
        """The class whose body a function stands in directly, branches included."""
        for item in self.around(function):
            if isinstance(item, ast.ClassDef):
                return item
            if isinstance(item, FunctionNode):
                return None
        return None

    def call_at(self, location: Location) -> ast.Call | None:
        """The call that a frame was evaluating; ``None`` if it was evaluating something else."""
        for node in self._ends.get(location.end_line or 0, ()):
            if not isinstance(node, ast.Call):
                continue
            place = self.module.location(node)
            if (place.end_line, place.end_column) != (location.end_line, location.end_column):
                continue
            if (place.line, place.column) == (location.line, location.column):
                return node
            # Python 3.11 lets the call of a method begin at the method's name where that stands on a line of its own.
            func = node.func
            if isinstance(func, ast.Attribute) and func.value.end_lineno != func.end_lineno and func.end_lineno == location.line:
                return node
        return None

    def expression_at(self, location: Location) -> ast.expr | None:
        """The outermost expression that spans exactly a place."""
        for node in self._ends.get(location.end_line or 0, ()):
            if self.module.location(node) == location:
                return node
        return None

    def edit(self, node: ast.AST, text: str) -> Edit:
        """Other text in the place of a node."""
        place = self.module.location(node)
        line, column = place.end_line or place.line, place.end_column or place.column
        return Edit(place.path, place.line, place.column, line, column, text, place.cell)

    def insertion(self, node: ast.AST, text: str, *, after: bool = False) -> Edit:
        """Text put directly before a node, or directly after it."""
        place = self.module.location(node)
        line, column = (place.end_line or place.line, place.end_column or place.column) if after else (place.line, place.column)
        return Edit(place.path, line, column, line, column, text, place.cell)

    def reads(self, edit: Edit) -> bool:
        """Whether the text of an edit stands there already."""
        if edit.cell is not None:
            return False
        lines = list(self.module.lines[edit.line - 1 : edit.end_line])
        lines[-1] = lines[-1][: edit.end_column - 1]
        lines[0] = lines[0][edit.column - 1 :]
        return "\n".join(lines) == edit.text

    def point(self, line: int, column: int, text: str) -> Edit:
        """Text put at a point of the text, given by line and column in code points, both 1-based."""
        place = (self.module.cells or Cells(self.module.path)).location(line, column, line, column)
        return Edit(place.path, place.line, place.column, place.line, place.column, text, place.cell)

    def within(self, node: ast.AST, start: int, end: int, text: str) -> Edit:
        """Other text in the place of a part of a node, given by positions in the text of the node."""
        segment = self.module.segment(node)
        place = self.module.location(node)
        first_line, first_column = self._moved(segment[:start], place)
        last_line, last_column = self._moved(segment[:end], place)
        return Edit(place.path, first_line, first_column, last_line, last_column, text, place.cell)

    @staticmethod
    def _moved(text: str, place: Location) -> tuple[int, int]:
        lines = text.split("\n")
        return place.line + len(lines) - 1, len(lines[-1]) + (place.column if len(lines) == 1 else 1)


class SourceFiles:
    """The files that may be edited, read and parsed when first asked for.

    Args:
        root: folder or file of the target. Files outside it, and packages installed inside it, are read but never edited.

    """

    def __init__(self, root: Path) -> None:
        self.root = root
        self.project = Project([root])
        self._trees: dict[str, SourceTree] = {}

    def tree(self, path: str) -> SourceTree:
        """A parsed file.

        Raises:
            Refused: it cannot be read or parsed.

        """
        found = self._trees.get(path)
        if found is None:
            try:
                found = self._trees[path] = SourceTree(self.project.load(Path(path)))
            except TargetError as error:
                raise Refused(f"{path} cannot be read: {error.message}") from error
        return found


class WriteContext:
    """One model, and where its layers are built and run.

    Args:
        graph: the traced model.
        model: the model itself.
        root: folder or file of the target.
        files: its files; may be shared by all models of a run.
        allied: operations of fixes of the same kind for other layers, which may be made at the same time where one text serves all.

    """

    def __init__(
        self, graph: ModelGraph, model: torch.nn.Module, root: Path, files: SourceFiles, allied: Iterable[Operation] = ()
    ) -> None:
        self.graph = graph
        self.model = model
        self.root = root
        self.files = files
        self.is_safe = False
        """Whether the fix is to keep the function that is computed, whatever arguments the model is built with."""
        self.joined: list[Operation] = []
        """Those of the allied operations that the edits make as well."""
        self.doubts: dict[str, None] = {}
        """Why the edits may change the function for other inputs or arguments than those of this model, each in half a sentence."""
        self._allied: dict[tuple[OperationKind, str], list[Operation]] = {}
        for operation in allied:
            self._allied.setdefault((operation.kind, operation.part.module), []).append(operation)
        self.places = Places(graph, root)
        self._nodes = {node.name: node for node in graph.nodes}
        self._passing: dict[Location, list[tuple[str, int]]] = {}
        self._built: dict[Location, list[str]] = {}
        self._made: dict[Location, list[str]] = {}
        for name, module in graph.modules.items():
            if module.site is not None and module.site.frames:
                self._made.setdefault(module.site.frames[0].location, []).append(name)
            if (frame := self._chosen(module.site)) is not None:
                self._built.setdefault(frame.location, []).append(name)

    def ally(self, model: Operation, name: str) -> Operation | None:
        """The operation that does to another layer what ``model`` does to its own, if that is wanted too."""
        for other in self._allied.get((model.kind, name), ()):
            if (other.argument, other.value, other.layer) == (model.argument, model.value, model.layer):
                return other
        return None

    def allies(self, kind: OperationKind) -> list[Operation]:
        """All allied operations of one kind."""
        return [operation for (other, _), found in self._allied.items() if other is kind for operation in found]

    def join(self, operations: Iterable[Operation]) -> None:
        """Note that the edits make some of the allied operations, too."""
        self.joined += [operation for operation in operations if operation not in self.joined]

    def doubt(self, reason: str) -> None:
        """Note why the edits are no safe ones."""
        self.doubts[reason] = None

    def is_own(self, path: str) -> bool:
        """Whether a file may be edited: it lies under the root and in no package installed there."""
        return self.places.is_own(path)

    def info(self, name: str) -> ModuleInfo:
        """A module by its qualified name.

        Raises:
            Refused: the model has none of that name.

        """
        found = self.graph.modules.get(name)
        if found is None:
            raise Refused(f"the model has no module `{name}`")
        return found

    def module(self, name: str) -> Any:
        """The live module of a qualified name.

        Raises:
            Refused: the model has none of that name.

        """
        try:
            return self.model.get_submodule(name)
        except AttributeError as error:
            raise Refused(f"the model has no module `{name}`") from error

    def node(self, part: Part) -> NodeInfo:
        """The node of a layer or call that ran.

        Raises:
            Refused: it never ran.

        """
        found = self._nodes.get(part.node)
        if found is None:
            raise Refused(f"`{part.module}` never runs")
        return found

    def frames(self, name: str) -> tuple[Frame, ...]:
        """The frames that led to the construction of a module, innermost first, those outside the root included.

        Raises:
            Refused: nobody saw it being built.

        """
        site = self.info(name).site
        if site is None or not site.frames:
            raise Refused(f"it is not known where `{name}` is built")
        return site.frames

    def construction(self, name: str) -> Frame:
        """The innermost frame of a module's construction in a file that may be edited.

        Raises:
            Refused: there is none.

        """
        frames = self.frames(name)
        found = self._chosen(self.info(name).site)
        if found is None:
            raise Refused(f"`{name}` is built in {frames[0].location.path}, outside the files that may be edited")
        return found

    def built_at(self, location: Location) -> tuple[str, ...]:
        """All modules whose :meth:`construction` is at a place, in the model's order."""
        return tuple(self._built.get(location, ()))

    def made_at(self, location: Location) -> tuple[str, ...]:
        """All modules whose innermost frame of construction is at a place, in whatever file."""
        return tuple(self._made.get(location, ()))

    def passing(self, location: Location) -> Sequence[tuple[str, int]]:
        """Modules whose construction comes through a place, each with the position of the place among its frames."""
        if not self._passing:
            for name, module in self.graph.modules.items():
                for position, frame in enumerate(module.site.frames if module.site is not None else ()):
                    self._passing.setdefault(frame.location, []).append((name, position))
        return self._passing.get(location, ())

    def call_site(self, node: NodeInfo) -> Frame:
        """The innermost frame of the call that made a node, in a file that may be edited.

        Raises:
            Refused: there is none.

        """
        found = self._chosen(node.call_site)
        if found is None:
            where = f"in {node.call_site.location.path}, outside the files that may be edited" if node.call_site else "nobody knows where"
            raise Refused(f"`{node.name}` is called {where}")
        return found

    def called_at(self, location: Location) -> tuple[NodeInfo, ...]:
        """All nodes whose :meth:`call_site` is at a place, in the order they ran."""
        return tuple(node for node in self.graph.nodes if (frame := self._chosen(node.call_site)) and frame.location == location)

    def tree(self, location: Location) -> SourceTree:
        """The parsed file of a place.

        Raises:
            Refused: it cannot be read.

        """
        return self.files.tree(location.path)

    def call_at(self, location: Location) -> tuple[SourceTree, ast.Call]:
        """The call at a place.

        Raises:
            Refused: what stands there is no call.

        """
        tree = self.tree(location)
        call = tree.call_at(location)
        if call is None:
            raise Refused(f"what is evaluated at {place_of(location)} is not a plain call")
        return tree, call

    def covered(self, location: Location, names: Iterable[str], what: Callable[[str], bool] = lambda _name: True) -> None:
        """Check that a place builds nothing but the layers that a fix changes.

        Args:
            location: where they are built.
            names: the layers that the fix changes.
            what: which modules count.

        Raises:
            Refused: it builds others, too.

        """
        changed = set(names)
        others = [name for name in self.built_at(location) if name not in changed and what(name)]
        if others:
            more = f" and {len(others) - 1} more" if len(others) > 1 else ""
            raise Refused(f"{place_of(location)} also builds `{others[0]}`{more}, to which the fix does not apply")

    def own_frame(self, site: Site | None) -> Frame | None:
        """The innermost frame of a site in a file that may be edited; ``None`` if there is none."""
        return self._chosen(site)

    def _chosen(self, site: Any) -> Frame | None:
        place = self.places.of_site(site, built=True)
        return place.frame if place is not None and place.own else None
