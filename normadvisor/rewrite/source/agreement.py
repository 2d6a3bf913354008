"""Where an argument of some layers can be changed so that no other layer changes: at their own call, or at one further out.

A call in a helper, a loop or a block that is used many times builds many layers. Where all of them are to change, the argument is
written there. Where not all are, and it is a parameter of the function around the call, the calls of that function are looked at in
the same way, and so on outward along the frames; a parameter that no call gives is changed at its default.
"""

from __future__ import annotations

import ast
from collections.abc import Collection, Iterable, Iterator
from dataclasses import replace

from torch import nn

from normadvisor.rewrite.source.arguments import Addition, Change, Text
from normadvisor.rewrite.source.callee import Given, Slot, default_of, given, is_bound, parameter_names, slot_in, slot_of
from normadvisor.rewrite.source.group import Group
from normadvisor.rewrite.source.guard import builds_norm, without_norm
from normadvisor.rewrite.source.place import FunctionNode, Refused, SourceTree, WriteContext, place_of
from normadvisor.rewrite.source.steps import Step, Steps
from normadvisor.rewrite.source.unpacked import concerns_others, entry_of_file, unpacked
from normadvisor.rewrite.source.uses import (
    assigned_for,
    calls,
    fills_in_none,
    has_fallback,
    is_asked_for,
    is_name,
    is_true,
    last_name,
    left_out_elsewhere,
    title,
)

__all__ = ["Agreement"]


class Agreement:
    """Writes one argument, or the class, of some layers.

    Args:
        context: the model.
        steps: the steps of its layers for that argument.
        argument: its name, for reasons.
        text: what to write in a file at a place, and the imports it needs there.
        bias: whether it is a bias that a norm makes superfluous, so that a condition under which the norm is built may decide.

    """

    def __init__(self, context: WriteContext, steps: Steps, argument: str, text: Text, *, bias: bool = False) -> None:
        self._context = context
        self._steps = steps
        self._argument = argument
        self._text = text
        self._bias = bias
        self._alike: Collection[str] = ()
        self._is_class = False
        self._by_other_default: set[FunctionNode] = set()
        """Functions of which another default is to be written."""
        self.reached: set[str] = set()
        """Layers that the changes reach, those that are built elsewhere included."""

    def write(self, layers: Iterable[str], slot: Slot, alike: Collection[str]) -> list[Change]:
        """Changes that give some layers the value.

        Args:
            layers: their qualified names; all have the same innermost step.
            slot: where that call takes the argument.
            alike: layers, with whatever innermost step, that are to have the value as well.

        Raises:
            Refused: it would change another layer, or nobody can tell.

        """
        self._alike = alike
        return self._settle(self._first(layers, slot))

    def write_class(self, layers: Iterable[str]) -> list[Change]:
        """Changes that give some layers another class, which the function that builds them takes as an argument.

        Raises:
            Refused: as :meth:`write`.

        """
        group = self._first(layers, Slot(None, None))
        called = group.call.func
        self._is_class = True
        if not isinstance(called, ast.Name):
            self._check_alone(group)
            raise Refused(f"what is called at {place_of(group.step.location)} is no parameter of the function around it")
        return self._outward(group, called)

    def _first(self, layers: Iterable[str], slot: Slot) -> Group:
        wanted = dict.fromkeys(layers, 0)
        first = next(iter(wanted))
        others = {name: 0 for name in self._steps.beginning_at(first) if name not in wanted}
        return Group(self._steps.of(first)[0], slot, wanted, others)

    def _replaced(self, tree: SourceTree, node: ast.expr) -> list[Change]:
        text, imports = self._text(tree, node)
        return [tree.edit(node, text), *imports]

    def _settle(self, group: Group) -> list[Change]:
        found = given(group.call, group.slot)
        if found.hidden:
            return self._through_rest(group)
        if found.value is None or is_true(found.value):
            guarded = self._guarded(group, found.value)
            if guarded is not None:
                return guarded
        if found.value is None:
            self._check_alone(group)
            return self._added(group)
        return self._replaced_or_outward(group, found.value)

    def _replaced_or_outward(self, group: Group, value: ast.expr) -> list[Change]:
        """Change an argument that is written at a call, or, if it is a parameter of the function around, what that is given."""
        reached = set(self.reached)
        try:
            if isinstance(value, ast.Name):
                changes = self._outward(group, value)
                # Another default would also serve calls for which no norm is built.
                by_default = group.step.function in self._by_other_default
                return (self._guarded(group, value) if by_default else None) or changes
        except Refused:
            self.reached = reached
            guarded = self._guarded(group, value)
            if guarded is not None:
                return guarded
            if group.others or not self._context.is_own(group.step.location.path):
                raise
        self._check_alone(group)
        only_there = None if self._is_class else assigned_for(group.step.tree, value)
        return self._replaced(group.step.tree, only_there or value)

    def _guarded(self, group: Group, old: ast.expr | None) -> list[Change] | None:
        """Let a condition decide that decides whether there is a norm; ``None`` if there is none, or it is no bias.

        What the call gave so far still holds where there is no norm.
        """
        if not self._bias or group.slot.name is None or not self._context.is_own(group.step.location.path):
            return None
        wanted, others = (
            {name: tuple(step.location for step in self._steps.of(name)[index + 1 :]) for name, index in side.items()}
            for side in (group.wanted, group.others)
        )
        text = without_norm(self._context, group.step.tree, group.call, wanted, others, old)
        if text is None:
            return None
        return [Addition(group.step.tree, group.call, group.slot.name, text)] if old is None else [group.step.tree.edit(old, text)]

    def _check_alone(self, group: Group) -> None:
        """Check that the call may be edited.

        Raises:
            Refused: its file may not, or it builds other layers as well.

        """
        where = place_of(group.step.location)
        if not self._context.is_own(group.step.location.path):
            path = f"{group.step.location.path}:{group.step.location.line}"
            raise Refused(f"the {self._argument} is decided at {path}, outside the files that may be edited")
        inside = next((other for other in group.others for name in group.wanted if name.startswith(f"{other}.")), None)
        if inside is not None:
            raise Refused(f"`{next(iter(group.wanted))}` is built by the constructor of `{inside}`, which {where} only calls")
        if group.others:
            other, *more = group.others
            rest = f" and {len(more)} more" if more else ""
            raise Refused(f"{where} also builds `{other}`{rest}, whose {self._argument} has to stay, and nothing tells them apart there")

    def _added(self, group: Group) -> list[Change]:
        if group.slot.name is None:
            raise Refused(f"the call at {place_of(group.step.location)} takes the {self._argument} by position only")
        text, imports = self._text(group.step.tree, group.call)
        return [Addition(group.step.tree, group.call, group.slot.name, text), *imports]

    def _outward(self, group: Group, name: ast.Name) -> list[Change]:
        """Change a parameter of the function around a call where the function is called."""
        function = group.step.function
        if function is None or name.id not in parameter_names(function):
            raise Refused(f"the {self._argument} comes from `{name.id}` at {place_of(group.step.location)}, which is no parameter there")
        siblings = self._siblings(group.step.tree, function, name)
        group = replace(
            group,
            wanted={**group.wanted, **{layer: 0 for layer in siblings if layer in self._alike}},
            others={**group.others, **{layer: 0 for layer in siblings if layer not in self._alike}},
        )
        self.reached.update(group.wanted)
        inner = slot_in(function, name.id, bound=is_bound(function, group.step.tree))
        if inner is None:
            raise Refused(f"`{name.id}` at {place_of(group.step.location)} is filled in by Python")
        groups, direct = self._callers(group, inner)
        changes: list[Change] = []
        silent: list[Group] = []
        for outer in groups:
            found = given(outer.call, outer.slot)
            if found.value is None and not found.hidden:
                silent.append(outer)
            elif outer.wanted:
                changes += self._settle(outer)
        return [*changes, *self._by_default(group.step.tree, function, name.id, inner, silent, direct)]

    def _callers(self, group: Group, slot: Slot) -> tuple[list[Group], Group | None]:
        """The calls of the function around a call, and the layers for which it is the target itself that is called."""
        parts: dict[Step, tuple[dict[str, int], dict[str, int]]] = {}
        direct: tuple[dict[str, int], dict[str, int]] = ({}, {})
        for side, members in enumerate((group.wanted, group.others)):
            for name, index in members.items():
                steps = self._steps.of(name)
                if index + 1 < len(steps):
                    parts.setdefault(steps[index + 1], ({}, {}))[side][name] = index + 1
                else:
                    direct[side][name] = index
        for step, (wanted, others) in parts.items():
            others.update({name: index for name, index in self._of_others(step, group.step.function) if name not in wanted})
        groups = [Group(step, slot, wanted, others) for step, (wanted, others) in parts.items()]
        return groups, Group(group.step, slot, *direct) if any(direct) else None

    def _of_others(self, step: Step, function: FunctionNode | None) -> Iterator[tuple[str, int]]:
        """Layers that a call builds by another function than one that it calls: ``block(...)`` where ``block`` is one class or another."""
        for name, position in self._context.passing(step.location):
            steps = self._steps.of(name)
            index = position + len(steps) - len(self._context.frames(name))
            if index and steps[index].location == step.location and steps[index - 1].function is not function:
                yield name, index

    def _siblings(self, tree: SourceTree, function: FunctionNode, name: ast.Name) -> list[str]:
        """Layers of other calls in a function that get the same argument from the same parameter.

        What happens only where the parameter is ``None`` does not count: it is going to be something else.

        Raises:
            Refused: the parameter is used for something else or given another value.

        """
        found: list[str] = []
        for node in ast.walk(function):
            if not isinstance(node, ast.Name) or node.id != name.id or node is name:
                continue
            if (self._is_class and is_asked_for(tree, node)) or fills_in_none(tree, node):
                continue
            layers = self._given_to(tree, node)
            if layers is None:
                where = place_of(tree.module.location(node))
                raise Refused(f"`{name.id}`, which decides the {self._argument}, is used at {where} as well")
            found += layers
        return found

    def _given_to(self, tree: SourceTree, name: ast.Name) -> list[str] | None:
        """Layers whose own constructor gets a name as the argument; ``None`` if it is handed to something else."""
        parent = tree.parents[name]
        call = tree.parents[parent] if isinstance(parent, ast.keyword) else parent
        if not isinstance(call, ast.Call):
            return None
        argument = self._argument.strip("`")
        layers = [layer for layer in self._context.made_at(tree.module.location(call)) if self._steps.of(layer)[0].call is call]
        if layers:
            slots = [slot_of(self._steps.base(layer), argument) for layer in layers]
        else:
            # A layer of torch that this model does not build.
            cls = getattr(nn, last_name(call.func), None)
            slots = [slot_of(cls, argument) if isinstance(cls, type) and issubclass(cls, nn.Module) else None]
        return layers if all(slot is not None and given(call, slot).value is name for slot in slots) else None

    def _by_default(
        self, tree: SourceTree, function: FunctionNode, name: str, slot: Slot, silent: list[Group], direct: Group | None
    ) -> list[Change]:
        """Change a parameter for calls that leave it to its default."""
        wanting = [outer for outer in silent if outer.wanted]
        if direct is not None and direct.wanted and "(" in self._context.graph.target.removesuffix("()"):
            raise Refused(f"`{name}` is an argument of the target {self._context.graph.target}")
        if not wanting and (direct is None or not direct.wanted):
            return []
        default = default_of(function, name)
        agree = not any(outer.others for outer in silent) and (direct is None or not direct.others)
        own = self._context.is_own(tree.module.location(function).path)
        plain = all(calls(outer.call, function, tree) for outer in wanting)
        known = {outer.call for outer in silent}
        alone = direct is not None or not left_out_elsewhere(tree, function, slot, known)
        usable = default is not None and agree and own and plain and alone
        if default is not None and usable and (direct is not None or self._may_default(function, wanting)):
            self._by_other_default.add(function)
            return self._replaced(tree, default)
        if direct is not None and direct.wanted:
            raise Refused(f"`{name}` of {title(function)} at {place_of(tree.module.location(function))} is also left out for other layers")
        try:
            for outer in wanting:
                self._check_alone(outer)
            return [change for outer in wanting for change in self._added(outer)]
        except Refused:
            if default is None or not usable:
                raise
            return self._replaced(tree, default)

    def _may_default(self, function: FunctionNode, wanting: list[Group]) -> bool:
        """Whether another default says nothing of calls that nobody has seen: it is no bias, or only there is a norm built as well."""
        private = isinstance(function, ast.Lambda) or (function.name.startswith("_") and not function.name.startswith("__"))
        return not self._bias or private or all(map(self._holds_norm, wanting))

    def _holds_norm(self, outer: Group) -> bool:
        """Whether what a call builds has the norms in it that make a bias superfluous, and not the layer alone."""
        places = {name: tuple(step.location for step in self._steps.of(name)[index:]) for name, index in outer.wanted.items()}
        return all(builds_norm(self._context, name, place) for name, place in places.items())

    def _through_rest(self, group: Group) -> list[Change]:
        """An argument that may come in what the call unpacks: shown by the text, or given where the function around is called."""
        found = given(group.call, group.slot)
        known = [unpacked(group.step.tree, value) for value in found.named_rest]
        holding = next((item for item in known if item is not None and self._slot_name(group) in item.entries), None)
        if holding is not None:
            self._check_alone(group)
            if holding.uses > 1:
                raise Refused(f"the {self._argument} at {place_of(group.step.location)} is in a dictionary that other calls unpack too")
            return self._replaced(group.step.tree, holding.entries[self._slot_name(group)])
        unknown = [value for value, item in zip(found.named_rest, known, strict=True) if item is None]
        if found.rest is None and not unknown:
            self._check_alone(group)
            return self._added(group)
        named = self._named_outside(group, unknown)
        if named is not None:
            return [change for outer in named for change in self._settle(outer)]
        groups, direct = self._callers(group, self._outer_slot(group, found, unknown))
        answers = [given(outer.call, outer.slot) for outer in groups]
        in_hand = has_fallback(group.step.function, self._slot_name(group))
        if not group.others and not in_hand and not any(answer.value is not None or answer.hidden for answer in answers):
            self._check_alone(group)
            return self._added(group)
        if direct is not None and direct.wanted:
            raise Refused(f"nothing tells the target apart from the other callers of {place_of(group.step.location)}")
        return [change for outer in groups if outer.wanted for change in self._settle(outer)]

    def _named_outside(self, group: Group, unknown: list[ast.expr]) -> list[Group] | None:
        """The calls of the function around a call, where each names the argument and it comes in ``**rest``; ``None`` if one does not.

        What is named there is nowhere else: Python takes no argument twice.
        """
        function, name = group.step.function, group.slot.name
        rest = None if function is None else function.args.kwarg
        own = [value for value in unknown if rest is not None and is_name(value, rest.arg)]
        if function is None or rest is None or name is None or name in parameter_names(function) or len(own) != 1:
            return None
        uses = [node for node in ast.walk(function) if isinstance(node, ast.Name) and is_name(node, rest.arg) and node is not own[0]]
        if not all(concerns_others(group.step.tree, node, name) for node in uses):
            return None
        groups, direct = self._callers(group, Slot(None, name))
        wanted = [outer for outer in groups if outer.wanted]
        given_there = all(given(outer.call, outer.slot).value is not None for outer in wanted)
        return wanted if given_there and (direct is None or not direct.wanted) else None

    @staticmethod
    def _slot_name(group: Group) -> str:
        return group.slot.name or ""

    def _outer_slot(self, group: Group, found: Given, unknown: list[ast.expr]) -> Slot:
        """Where the function around a call takes an argument that it hands on by ``*rest`` and ``**rest``.

        Raises:
            Refused: what is unpacked is something else.

        """
        function = group.step.function
        reason = f"the call at {place_of(group.step.location)} may hold the {self._argument} in what it unpacks"
        for value in unknown:
            entry = entry_of_file(group.step.tree, value, self._slot_name(group))
            if entry is not None:
                origin = f"`{entry[0]}` at {place_of(group.step.tree.module.location(entry[1]))}, which other code may read"
                reason = f"the call at {place_of(group.step.location)} gets the {self._argument} from {origin}"
        if function is None:
            raise Refused(reason)
        rest, named_rest = function.args.vararg, function.args.kwarg
        position: int | None = None
        if found.rest is not None:
            if rest is None or group.slot.position is None or not is_name(found.rest, rest.arg):
                raise Refused(reason)
            before = len(function.args.posonlyargs) + len(function.args.args) - int(is_bound(function, group.step.tree))
            position = before + group.slot.position - found.rest_at
        name = None
        if unknown:
            own = group.slot.name in parameter_names(function)
            if own or named_rest is None or len(unknown) > 1 or not is_name(unknown[0], named_rest.arg):
                raise Refused(reason)
            name = group.slot.name
        handed_on = {item.arg for item in (rest, named_rest) if item is not None}
        for node in ast.walk(function):
            if isinstance(node, ast.Name) and node.id in handed_on and node not in {found.rest, *unknown}:
                call = group.step.tree.parents[group.step.tree.parents[node]]
                elsewhere = isinstance(call, ast.Call) and bool(self._context.passing(group.step.tree.module.location(call)))
                if elsewhere or not concerns_others(group.step.tree, node, group.slot.name):
                    raise Refused(reason)
        return Slot(position, name)
