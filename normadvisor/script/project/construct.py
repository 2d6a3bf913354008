"""Follows the statements of constructors and factories, with branches kept apart until they meet."""

from __future__ import annotations

import ast
import re
from typing import TYPE_CHECKING

from normadvisor.script.project.abstract import (
    PLAIN,
    SELF,
    UNKNOWN,
    Abstract,
    Built,
    Call,
    Code,
    Items,
    Table,
    either,
    frozen,
    settle,
    truth,
)
from normadvisor.script.project.calls import Caller
from normadvisor.script.project.evaluate import Frame
from normadvisor.script.project.facts import facts_of
from normadvisor.script.project.gather import Gather
from normadvisor.script.project.layers import CONTAINERS, LAYERS
from normadvisor.script.project.nodes import walk
from normadvisor.script.project.own import own_layers, relocated
from normadvisor.script.values import Const

if TYPE_CHECKING:
    from normadvisor.script.project.classes import ClassInfo
    from normadvisor.script.project.contents import Contents
    from normadvisor.script.project.modules import Project
    from normadvisor.types.location import Location

__all__ = ["Builder"]

_MOST_DEPTH = 22
_NO_LAYERS = re.compile(r"loss|criter|metric|tokeniz|logger|optim|schedul|transform(s|_fn)?$|augment")
"""Attributes that are called but are no part of the network, whatever was put into them."""
_MOST_ROUNDS = 12


class Builder(Caller):
    """Statements, functions and classes."""

    def __init__(self, project: Project) -> None:
        super().__init__(project)
        self.running: set[ast.AST] = set()

    def construct(self, info: ClassInfo, call: Call | None, location: Location | None, depth: int) -> Abstract:
        """Build an object of a project class: what it holds is gathered."""
        if info.is_module is False:
            return UNKNOWN
        key = (info, None if call is None else (frozen(Items(list(call.positional))), frozen(Table(dict(call.named))), call.open))
        known = self.project.contents.get(key, ...)
        if known is None or depth > _MOST_DEPTH:  # it holds itself, or parts of parts without end
            if depth > _MOST_DEPTH:
                self.gather.unknown()
            return PLAIN
        if known is ...:
            known = self._read_class(info, call or Call(), depth, key)
        known = relocated(known, info, location)
        return Built(info.name, known, location=location, call=call, share=self.gather.share(known))

    def _read_class(self, info: ClassInfo, call: Call, depth: int, key: tuple[object, ...]) -> Contents:
        from normadvisor.script.project.endings import with_ending  # noqa: PLC0415 - it follows calls with this class

        outer, self.gather = self.gather, Gather()
        self.project.contents[key] = None
        try:
            frame = self.object_frame(info, depth)
            self._initialise(info, frame, call)
            own_layers(self, info, frame)
            contents = with_ending(self, info, frame, self.gather.contents())
        except BaseException:
            del self.project.contents[key]
            raise
        finally:
            self.gather = outer
        self.project.contents[key] = contents
        return contents

    def object_frame(self, info: ClassInfo, depth: int) -> Frame:
        """Where the methods of a new object run."""
        used: set[str] = set()
        for parent in info.mro():
            used |= facts_of(parent).used
        return Frame(info.module, info=info, owner=info, used=frozenset(used), depth=depth + 1)

    def _initialise(self, info: ClassInfo, frame: Frame, call: Call) -> None:
        found = info.method("__init__")
        if found is not None:
            owner, node = found
            frame.entered.add(node)
            self._run(frame, Code(owner.module, node, owner, bound=True), call)
        else:
            for name in sorted(info.externals):
                self._initialise_external(frame, name, call, info.location)
        for parent in info.mro():
            for name, node in parent.methods.items():
                if node not in frame.entered and name not in {"__init__", "forward", "__call__"} and self._sets(node, frame.used):
                    self._perhaps(frame, Code(parent.module, node, parent, bound=True))

    def _sets(self, node: ast.FunctionDef | ast.AsyncFunctionDef, used: frozenset[str]) -> bool:
        """Whether a method may build a part that the class uses."""
        known = self.project.memory.setdefault("set attributes", {})
        if node not in known:
            known[node] = _set_attributes(node)
        found = known[node]
        return isinstance(found, frozenset) and not found.isdisjoint(used)

    def _perhaps(self, frame: Frame, code: Code) -> None:
        """Follow a method that the constructor does not call: what it builds may come later."""
        outer, self.gather = self.gather, Gather()
        attributes = dict(frame.attributes)
        try:
            frame.entered.add(code.node)
            self._run(frame, code, Call(open=True))
        finally:
            inner, self.gather = self.gather, outer
            frame.attributes.clear()
            frame.attributes.update(attributes)
        outer.alternatives([inner, Gather()])

    def _initialise_external(self, frame: Frame, name: str, call: Call, location: Location) -> None:
        if name in CONTAINERS:
            self.extern_layer(name, call, location, name)
            frame.attributes["*"] = Items([item for value in call.positional for item in self._parts(value)])
        elif name in LAYERS:
            frame.attributes["()"] = Items(list(call.positional))
            frame.attributes["(named)"] = Table(dict(call.named))

    def call_super(self, frame: Frame, name: str, call: Call, location: Location) -> Abstract:
        """``super().name(...)``: the next class of the project that has it, or an external base."""
        if frame.info is None or frame.owner is None:
            return PLAIN
        order = frame.info.mro()
        start = order.index(frame.owner) + 1 if frame.owner in order else 1
        for parent in order[start:]:
            node = parent.methods.get(name)
            if node is not None:
                frame.entered.add(node)
                return self._run(frame, Code(parent.module, node, parent, bound=True), call)
        if name == "__init__":
            for base in sorted(frame.info.externals):
                self._initialise_external(frame, base, call, location)
        return PLAIN

    def call_code(self, frame: Frame, callee: Code, call: Call) -> Abstract:
        """Follow a function of the project and give what it returns."""
        if frame.depth > _MOST_DEPTH or callee.node in self.running:
            return UNKNOWN
        if callee.bound and frame.info is not None:
            frame.entered.add(callee.node)
        return self._run(frame, callee, call)

    def _run(self, frame: Frame, callee: Code, call: Call) -> Abstract:
        if callee.node in self.running:
            return UNKNOWN
        own = callee.bound and frame.info is not None
        inner = Frame(
            callee.module,
            info=frame.info if own else None,
            owner=callee.owner,
            attributes=frame.attributes if own else {},
            used=frame.used if own else frozenset(),
            entered=frame.entered,
            depth=frame.depth + 1,
        )
        if callee.closure is not None:
            inner.names.update(callee.closure.names)
            inner.info, inner.attributes, inner.used = callee.closure.info, callee.closure.attributes, callee.closure.used
        self.bind_parameters(inner, callee, call, with_self=callee.bound)
        self.running.add(callee.node)
        try:
            if isinstance(callee.node, ast.Lambda):
                return self.value(inner, callee.node.body)
            self.block(inner, callee.node.body)
        finally:
            self.running.discard(callee.node)
        return either(inner.returns) if inner.returns else Const(None)

    def bind_parameters(self, frame: Frame, callee: Code, call: Call, *, with_self: bool) -> None:
        """Give a function's parameters their values: arguments, then defaults, else unknown."""
        spec = callee.node.args
        names = [argument.arg for argument in (*spec.posonlyargs, *spec.args)]
        defaults = dict(zip(reversed(names), reversed(spec.defaults), strict=False))
        defaults.update({item.arg: value for item, value in zip(spec.kwonlyargs, spec.kw_defaults, strict=True) if value is not None})
        if with_self and names:
            frame.names[names.pop(0)] = SELF
        named = dict(call.named)
        home = Frame(callee.module, dict(callee.closure.names) if callee.closure else {}, depth=frame.depth)
        for index, name in enumerate([*names, *(item.arg for item in spec.kwonlyargs)]):
            if name in named:
                frame.names[name] = named.pop(name)
            elif index < min(len(call.positional), len(names)):
                frame.names[name] = call.positional[index]
            elif name in defaults and not call.open:
                frame.names[name] = self.value(home, defaults[name])
            else:
                frame.names[name] = UNKNOWN
        if spec.vararg is not None:
            frame.names[spec.vararg.arg] = Items(list(call.positional[len(names) :]), call.open)
        if spec.kwarg is not None:
            frame.names[spec.kwarg.arg] = Table(dict(named), call.open)

    def block(self, frame: Frame, body: list[ast.stmt]) -> None:
        """Follow statements in order."""
        for index, node in enumerate(body):
            if isinstance(node, ast.If):
                if self._branch(frame, node, body[index + 1 :]):
                    return
            elif isinstance(node, ast.Return):
                returned = self.value(frame, node.value) if node.value is not None else Const(None)
                settle(returned)
                frame.returns.append(returned)
                return
            elif isinstance(node, ast.Raise | ast.Continue | ast.Break):
                return
            else:
                self.statement(frame, node)

    def _branch(self, frame: Frame, node: ast.If, rest: list[ast.stmt]) -> bool:
        """An ``if``; whether the rest of the block was followed too."""
        decided = truth(self.value(frame, node.test))
        if decided is not None:
            taken = node.body if decided else node.orelse
            self.block(frame, taken)
            return _leaves(taken)
        left, right = _leaves(node.body), _leaves(node.orelse)
        paths = [[*node.body, *(rest if right and not left else [])], [*node.orelse, *(rest if left and not right else [])]]
        kept = [path for path in paths if not (path and isinstance(path[-1], ast.Raise) and len(path) < 3)] or paths
        outer, names, attributes = self.gather, dict(frame.names), dict(frame.attributes)
        gathers: list[Gather] = []
        ends: list[tuple[dict[str, Abstract], dict[str, Abstract]]] = []
        self.undecided += 1
        try:
            for path in kept:
                self.gather = Gather()
                frame.names = dict(names)
                frame.attributes.clear()
                frame.attributes.update(attributes)
                self.block(frame, path)
                gathers.append(self.gather)
                ends.append((frame.names, dict(frame.attributes)))
        finally:
            self.undecided -= 1
            self.gather = outer
        outer.alternatives(gathers)
        frame.names = _met([names for names, _ in ends], names)
        met = _met([found for _, found in ends], attributes)
        frame.attributes.clear()
        frame.attributes.update(met)
        return left or right

    def statement(self, frame: Frame, node: ast.stmt) -> None:
        """Follow any other statement."""
        if isinstance(node, ast.Expr):
            self.value(frame, node.value)
        elif isinstance(node, ast.Assign):
            value = self.value(frame, node.value)
            for target in node.targets:
                self.assign(frame, target, value)
        elif isinstance(node, ast.AnnAssign):
            if node.value is not None:
                self.assign(frame, node.target, self.value(frame, node.value))
        elif isinstance(node, ast.AugAssign):
            load = ast.copy_location(ast.BinOp(_loaded(node.target), node.op, node.value), node)
            self.assign(frame, node.target, self.value(frame, load))
        elif isinstance(node, ast.For | ast.AsyncFor):
            self._loop(frame, node)
        elif isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
            frame.names[node.name] = Code(frame.module, node, frame.owner, closure=frame)
        elif isinstance(node, ast.With | ast.AsyncWith | ast.While):
            self.block(frame, node.body)
        elif isinstance(node, ast.Try | ast.TryStar):
            self.block(frame, [*node.body, *node.orelse])
            self.block(frame, node.finalbody)
        elif isinstance(node, ast.Match):
            for case in node.cases:
                outer, self.gather = self.gather, Gather()
                try:
                    self.block(frame, case.body)
                finally:
                    inner, self.gather = self.gather, outer
                outer.alternatives([inner, Gather()])

    def _loop(self, frame: Frame, node: ast.For | ast.AsyncFor) -> None:
        values, _ = self.elements(self.value(frame, node.iter))
        for value in values[:_MOST_ROUNDS]:
            self.bind(frame, node.target, value)
            self.block(frame, node.body)
        for value in values[_MOST_ROUNDS:]:
            self.attach(value if value is UNKNOWN else PLAIN)
        self.block(frame, node.orelse)

    def assign(self, frame: Frame, target: ast.expr, value: Abstract) -> None:
        """Assign; what becomes an attribute that is called belongs to the model."""
        settle(value)
        if isinstance(target, ast.Attribute):
            owner = self.value(frame, target.value)
            if owner is SELF:
                frame.attributes[target.attr] = value
                if target.attr in frame.used and not _NO_LAYERS.search(target.attr.lower()):
                    self.attach(value)
            elif isinstance(owner, Built):
                self.attach(value)
                if owner.share is not None:
                    owner.share.partial = True  # the head may be what is replaced
        elif isinstance(target, ast.Tuple | ast.List):
            known = value.values if isinstance(value, Items) and not value.open and len(value.values) == len(target.elts) else None
            for index, item in enumerate(target.elts):
                self.assign(frame, item, known[index] if known is not None else UNKNOWN if value is not PLAIN else PLAIN)
        elif isinstance(target, ast.Subscript):
            owner, key = self.value(frame, target.value), self.value(frame, target.slice)
            if isinstance(owner, Table) and isinstance(key, Const):
                owner.values[key.value] = value
            elif isinstance(owner, Table | Items):
                owner.open = True
            elif isinstance(owner, Built):
                self.attach(value)
                owner.items.append(value)
        else:
            self.bind(frame, target, value)


def _met(ends: list[dict[str, Abstract]], before: dict[str, Abstract]) -> dict[str, Abstract]:
    """Names after branches meet; a branch that does not bind a name leaves what was there."""
    if len(ends) == 1:
        return dict(ends[0])
    names = dict.fromkeys(name for end in ends for name in end)
    result: dict[str, Abstract] = {}
    for name in names:
        values = [end.get(name, before.get(name)) for end in ends]
        known = [value for value in values if value is not None]
        result[name] = known[0] if all(value is known[0] for value in known) else either(known)
    return result


def _leaves(body: list[ast.stmt]) -> bool:
    return bool(body) and isinstance(body[-1], ast.Return | ast.Raise | ast.Continue | ast.Break)


def _loaded(target: ast.expr) -> ast.expr:
    if isinstance(target, ast.Name):
        return ast.copy_location(ast.Name(target.id, ast.Load()), target)
    if isinstance(target, ast.Attribute):
        return ast.copy_location(ast.Attribute(target.value, target.attr, ast.Load()), target)
    return target


def _set_attributes(node: ast.FunctionDef | ast.AsyncFunctionDef) -> frozenset[str]:
    """Attributes of ``self`` that a method puts the result of a call into."""
    return frozenset(
        target.attr
        for item in walk(node)
        if isinstance(item, ast.Assign) and isinstance(item.value, ast.Call)
        for target in item.targets
        if isinstance(target, ast.Attribute) and isinstance(target.value, ast.Name) and target.value.id == "self"
    )
