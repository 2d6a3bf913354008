"""Classes of the project: bases, methods, and whether they are modules."""

from __future__ import annotations

import ast
import builtins
from typing import TYPE_CHECKING, TypeAlias

from normadvisor.script.project.bases import framework_of, module_kind

if TYPE_CHECKING:
    from normadvisor.script.project.modules import FunctionNode, Project, Resolved, SourceModule
    from normadvisor.types.location import Location

__all__ = ["Base", "ClassInfo"]

Base: TypeAlias = "ClassInfo | str"
"""A base class: of the project, or an external dotted name; one that cannot be told begins with ``?``."""
_MOST_CLASSES = 60
"""Classes looked at in one chain of inheritance."""


class ClassInfo:
    """A class of the project. Compared by identity; :meth:`Project.class_info` gives the same object for the same class."""

    __slots__ = ("_bases", "_externals", "_kind", "_members", "_methods", "_mro", "_project", "module", "name", "node", "qualname")

    def __init__(self, name: str, qualname: str, module: SourceModule, node: ast.ClassDef, project: Project) -> None:
        self.name = name
        self.qualname = qualname
        self.module = module
        self.node = node
        self._project = project
        self._bases: tuple[Base, ...] | None = None
        self._mro: tuple[ClassInfo, ...] | None = None
        self._externals: frozenset[str] | None = None
        self._methods: dict[str, FunctionNode] | None = None
        self._members: dict[str, Resolved | None] = {}
        self._kind: tuple[bool | None] | None = None

    def forget(self) -> None:
        """Let go of what was found out: classes point at themselves and at one another."""
        self._bases = self._mro = self._methods = None
        self._members.clear()

    def __repr__(self) -> str:
        return f"ClassInfo({self.module.name}.{self.qualname})"

    @property
    def location(self) -> Location:
        """Where its definition stands."""
        return self.module.location(self.node)

    @property
    def bases(self) -> tuple[Base, ...]:
        """Its direct bases, in order."""
        if self._bases is None:
            self._bases = ()  # a class that inherits from itself has none while they are looked up
            self._bases = tuple(base for node in self.node.bases if (base := self._base(node)) is not None)
        return self._bases

    def mro(self) -> tuple[ClassInfo, ...]:
        """The class and its ancestors in the project, in the order in which attributes are looked up."""
        if self._mro is None:
            order: list[ClassInfo] = []
            pending: list[ClassInfo] = [self]
            steps = 0
            while pending and steps < _MOST_CLASSES * 4:
                steps += 1
                info = pending.pop()
                if order.count(info) > 2 or (info is self and order):
                    continue
                order.append(info)
                pending.extend(base for base in reversed(info.bases) if isinstance(base, ClassInfo))
            # Depth first, each at its last place: an ancestor that two bases share stands behind both, as Python has it.
            last = dict.fromkeys(reversed(order))
            self._mro = (self, *(info for info in reversed(last) if info is not self))
        return self._mro

    @property
    def externals(self) -> frozenset[str]:
        """External bases of the class and of its ancestors; one that cannot be told begins with ``?``."""
        if self._externals is None:
            self._externals = frozenset(base for info in self.mro() for base in info.bases if isinstance(base, str))
        return self._externals

    def method(self, name: str) -> tuple[ClassInfo, FunctionNode] | None:
        """A method with the class that defines it; inherited ones too, as far as they stand in the project."""
        for info in self.mro():
            if (node := info.methods.get(name)) is not None:
                return info, node
        return None

    @property
    def methods(self) -> dict[str, FunctionNode]:
        """The methods its own body defines, also those under a condition; of several with one name the last that is not a setter."""
        if self._methods is None:
            self._methods = {}
            pending = [*reversed(self.node.body)]
            while pending:
                node = pending.pop()
                if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
                    if not any(isinstance(item, ast.Attribute) and item.attr in {"setter", "deleter"} for item in node.decorator_list):
                        self._methods[node.name] = node
                elif isinstance(node, ast.If | ast.Try):
                    pending.extend(reversed([*node.body, *node.orelse]))
        return self._methods

    def member(self, name: str) -> Resolved | None:
        """A method, nested class or class attribute."""
        if name not in self._members:
            self._members[name] = self._member(name)
        return self._members[name]

    def _member(self, name: str) -> Resolved | None:
        found = self.method(name)
        if found is not None:
            return found[0].module, found[1]
        for info in self.mro():
            for node in info.node.body:
                if isinstance(node, ast.ClassDef) and node.name == name:
                    return self._project.class_info(info.module, node, f"{info.qualname}.{name}")
                if isinstance(node, ast.Assign) and any(isinstance(target, ast.Name) and target.id == name for target in node.targets):
                    return info.module, node
                if isinstance(node, ast.AnnAssign) and isinstance(node.target, ast.Name) and node.target.id == name:
                    return info.module, node
        return None

    @property
    def is_module(self) -> bool | None:
        """Whether it is an ``nn.Module``; ``None`` if a base that cannot be told may be one."""
        if self._kind is None:
            kinds = {module_kind(name) for name in self.externals}
            self._kind = (True if True in kinds else None if None in kinds else False,)
        return self._kind[0]

    @property
    def framework(self) -> str | None:
        """The framework that handles modes for it (``lightning``, ``transformers`` ...), if one of its bases belongs to one."""
        return next((name for base in sorted(self.externals) if (name := framework_of(base))), None)

    def _base(self, node: ast.expr) -> Base | None:
        while isinstance(node, ast.Subscript):  # Generic[T]
            node = node.value
        if isinstance(node, ast.Call):  # metaclass helpers: with_metaclass(Meta, Base)
            return "?" + self.module.segment(node)
        parts: list[str] = []
        while isinstance(node, ast.Attribute):
            parts.insert(0, node.attr)
            node = node.value
        if not isinstance(node, ast.Name):
            return "?" + self.module.segment(node)
        found = self._resolved(node.id, parts)
        if isinstance(found, ClassInfo):
            return None if found is self else found
        if isinstance(found, str):
            return found
        return "?" + ".".join([node.id, *parts])

    def _resolved(self, name: str, parts: list[str]) -> Resolved | None:
        project, module = self._project, self.module
        local = not parts and name != self.name and name not in module.definitions and name not in module.imports
        if local and name in module.nested_classes:
            node = module.nested_classes[name]
            return project.class_info(module, node, f"{self.qualname.rpartition('.')[0]}.{name}".lstrip("."))
        first = project.lookup(name, module)
        if first is self and name in module.imports:  # class Net(Net) after an import of Net
            first = project.resolve(module.imports[name], module)
        if first is None:
            return None if parts or name not in _BUILTINS else name
        if not parts:
            return first
        return project.attribute(first, parts)


_BUILTINS = frozenset(dir(builtins))
