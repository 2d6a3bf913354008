"""Puts another forward into one live module, by giving it a class derived from its own."""

from __future__ import annotations

import copy
import linecache
import pickle
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any
from weakref import WeakValueDictionary

from normadvisor.optimization.forward.guards import BASE, Guards, Reference, of_layer
from normadvisor.optimization.forward.local import LocalGraph
from normadvisor.optimization.forward.source import Text, globals_of, text_of
from normadvisor.rewrite.model.refusal import CannotChange

if TYPE_CHECKING:
    from torch import fx, nn

    from normadvisor.rewrite.model.journal import Journal

__all__ = ["as_written", "install"]

_made: WeakValueDictionary[tuple[type, str, tuple[tuple[str, int], ...]], type[nn.Module]] = WeakValueDictionary()
"""Classes by what they are derived from and what their forward says, so that equal modules share one."""


def install(
    model: nn.Module,
    name: str,
    edit: Callable[[fx.Graph, nn.Module], None],
    local: LocalGraph,
    journal: Journal,
    *,
    demands: Sequence[str] = (),
    gone: str = "",
    watched: bool = False,
) -> None:
    """Change what the forward of a module does.

    The module stays the same object with the same children, keys and hooks; its class becomes one derived from its own, which can be
    copied, pickled, compiled and exported. Where a guard does not hold (another mode, another kind of argument), the module does what it
    did before.

    Args:
        model: the model that ``local`` was traced in, or a copy of it in any dtype.
        name: qualified name of the module.
        edit: gets a copy of the graph, with the names of the nodes kept, and the module; changes the graph. Several edits of one module
            build upon one another.
        local: what the module does.
        journal: takes the change back.
        demands: expressions over the arguments of the forward and ``self`` that have to be true beside the guards of ``local``.
        gone: why the forward as it was cannot run any more, if weights are changed along with it: where a guard does not hold, a
            ``RuntimeError`` says so instead.
        watched: whether layers that are not called any more have to stay what they are: of their class, with their settings, without hooks.

    Raises:
        CannotChange: the module is not what was traced; nothing has been done.

    """
    told = name or "the model"
    try:
        module = model.get_submodule(name)
    except AttributeError:
        raise CannotChange(f"the model has no layer {told}") from None
    cls = type(module)
    earlier: tuple[fx.Graph, Guards] | None = vars(cls).get("_normadvisor_graphs", {}).get(local.key)
    if earlier is None and cls is not local.cls:
        raise CannotChange(f"{told} is a {cls.__name__}, and its forward is not the one that was traced")
    if "forward" in vars(module):
        raise CannotChange(f"{told} has a forward of its own beside that of its class")
    if module._compiled_call_impl is not None:  # noqa: SLF001 -- nn.Module has no public word for it
        raise CannotChange(f"{told} is compiled; change the model before it is compiled")
    before, guards = earlier if earlier is not None else (local.graph, local.guards)
    graph = copy.deepcopy(before)
    for old, new in zip(before.nodes, graph.nodes, strict=True):
        new.meta = dict(old.meta)
    edit(graph, module)
    guards = guards.with_more([*demands, *(_of_passed_by(before, graph, module) if watched else ())])
    guards.gone = gone or guards.gone
    made: Any = _class(local.cls, text_of(graph, guards, local.cls.forward))
    made._normadvisor_graphs = {**vars(made).get("_normadvisor_graphs", {}), local.key: (graph, guards)}  # noqa: SLF001 -- ours
    journal.did(lambda: _set_class(module, cls))
    _set_class(module, made)


@contextmanager
def as_written(model: nn.Module) -> Iterator[None]:
    """Inside, every module does what it does where the guards of its changed forward do not hold."""
    changed = [(module, type(module)) for module in model.modules() if "_normadvisor_text" in vars(type(module))]
    try:
        for module, cls in changed:
            _set_class(module, _behind(cls))
        yield
    finally:
        for module, cls in changed:
            _set_class(module, cls)


def _behind(cls: Any) -> type[nn.Module]:
    """The class whose forward runs where the guards of one do not hold; itself where that raises."""
    while "_normadvisor_text" in vars(cls) and not any(guards.gone for _, guards in vars(cls).get("_normadvisor_graphs", {}).values()):
        cls = vars(cls)[BASE]
    found: type[nn.Module] = cls
    return found


def _of_passed_by(before: fx.Graph, after: fx.Graph, module: nn.Module) -> list[str]:
    """Conditions on the layers that were called, and are not any more: no hooks, the same class, the same settings."""
    called, left = ([str(node.target) for node in graph.nodes if node.op == "call_module"] for graph in (before, after))
    missed = [target for target in called if called.count(target) > left.count(target)]
    held, handed = ([str(node.target) for node in graph.nodes if node.op == "get_attr"] for graph in (before, after))
    layers = dict(module.named_modules())
    missed += [target for target in handed if target not in held and target in layers]  # layers that functions are given now
    return [condition for target in dict.fromkeys(missed) for condition in of_layer(module.get_submodule(target), target)]


def _set_class(module: nn.Module, cls: type[nn.Module]) -> None:
    module.__class__ = cls


def _class(base: type[nn.Module], text: Text) -> type[nn.Module]:
    key = (base, text.source, tuple(sorted((name, id(value)) for name, value in text.names.items() if not isinstance(value, float))))
    found = _made.get(key)
    if found is not None:
        return found
    file = f"<forward of {base.__module__}.{base.__qualname__} {hash(text.source):x}>"
    linecache.cache[file] = (len(text.source), None, text.source.splitlines(keepends=True), file)
    space = globals_of(text.names, base.forward)
    exec(compile(text.source, file, "exec"), space)  # noqa: S102 -- the text was written by this package
    forward = space["forward"]
    forward.__qualname__ = f"{base.__qualname__}.forward"
    forward.__module__ = base.__module__
    members = {
        "forward": forward,
        **({"__reduce_ex__": _reduced} if _is_plain(base) else {}),
        "__module__": base.__module__,
        "__qualname__": base.__qualname__,
        "__doc__": base.__doc__,
        "_normadvisor_text": text,
        BASE: base,
    }
    made: type[nn.Module] = type(base).__new__(type(base), base.__name__, (base,), members)
    _made[key] = made
    return made


def _is_plain(base: type[nn.Module]) -> bool:
    """Whether objects of a class are pickled in the usual way, or in ours."""
    usual = base.__reduce_ex__ is object.__reduce_ex__ and base.__reduce__ is object.__reduce__
    return usual or base.__reduce_ex__ is _reduced


def _reduced(module: nn.Module, _: Any) -> tuple[Any, ...]:
    """How such a module is pickled: as the class it is derived from, with the texts of what was put in its place, one upon another."""
    cls: Any = type(module)
    texts: list[tuple[str, dict[str, _Held]]] = []
    while "_normadvisor_text" in vars(cls):
        text: Text = cls._normadvisor_text
        texts.append((text.source, {name: _Held(value) for name, value in text.names.items()}))
        cls = vars(cls)[BASE]
    state: Any = module.__getstate__()  # type: ignore[no-untyped-call] # of object, which torch hides
    return _restored, (cls, texts[::-1]), state


class _Held:
    """An object that a text names: the same one in copies, and found again by where it is imported from after pickling."""

    __slots__ = ("value",)

    def __init__(self, value: Any) -> None:
        self.value = value

    def __deepcopy__(self, _: Any) -> _Held:
        return self

    def __reduce__(self) -> tuple[Any, ...]:
        stored: Any = Reference.of(self.value) or self.value
        try:
            pickle.dumps(stored)
        except Exception:  # noqa: BLE001 -- objects raise what they like
            stored = _Gone()
        return _loaded, (stored,)


def _loaded(stored: Any) -> _Held:
    return _Held(stored.get() if isinstance(stored, Reference) else stored)


class _Gone:
    """Stands for an object that could not be pickled: a guard that names it does not hold."""

    __hash__ = None  # type: ignore[assignment] # equal to nothing, itself included

    def __eq__(self, other: object) -> bool:
        return False


def _restored(base: type[nn.Module], texts: list[tuple[str, dict[str, _Held]]]) -> nn.Module:
    cls = base
    for source, names in texts:
        cls = _class(cls, Text(source, {name: held.value for name, held in names.items()}))
    return cls.__new__(cls)
