"""Puts another forward into one live module, by giving it a class derived from its own."""

from __future__ import annotations

import copy
import linecache
from collections.abc import Callable
from typing import Any
from weakref import WeakValueDictionary

from torch import fx, nn

from normadvisor.optimization.forward.guards import Reference, resolved
from normadvisor.optimization.forward.local import LocalGraph
from normadvisor.optimization.forward.source import Text, globals_of, text_of
from normadvisor.rewrite.model.journal import Journal
from normadvisor.rewrite.model.refusal import CannotChange

__all__ = ["install"]

_made: WeakValueDictionary[tuple[type, str, tuple[tuple[str, int], ...]], type[nn.Module]] = WeakValueDictionary()
"""Classes by what they are derived from and what their forward says, so that equal modules share one."""


def install(model: nn.Module, name: str, edit: Callable[[fx.Graph, nn.Module], None], local: LocalGraph, journal: Journal) -> None:
    """Change what the forward of a module does.

    The module stays the same object with the same children, keys and hooks; its class becomes one derived from its own, which can be
    copied, pickled, compiled and exported. Where a guard does not hold (another mode, another kind of argument), the module does what it did.

    Args:
        model: the model that ``local`` was traced in, or a copy of it in any dtype.
        name: qualified name of the module.
        edit: gets a copy of the graph, with the names of the nodes kept, and the module; changes the graph. Several edits of one module
            build upon one another.
        local: what the module does.
        journal: takes the change back.

    Raises:
        CannotChange: the module is not what was traced; nothing has been done.

    """
    told = name or "the model"
    try:
        module = model.get_submodule(name)
    except AttributeError:
        raise CannotChange(f"the model has no layer {told}") from None
    cls = type(module)
    earlier = vars(cls).get("_normadvisor_graphs", {}).get(id(local))
    if earlier is None and cls is not local.cls:
        raise CannotChange(f"{told} is a {cls.__name__}, and its forward is not the one that was traced")
    if "forward" in vars(module):
        raise CannotChange(f"{told} has a forward of its own beside that of its class")
    if module._compiled_call_impl is not None:  # noqa: SLF001 -- nn.Module has no public word for it
        raise CannotChange(f"{told} is compiled; change the model before it is compiled")
    graph = copy.deepcopy(earlier[1] if earlier is not None else local.graph)
    _keep_names(earlier[1] if earlier is not None else local.graph, graph)
    edit(graph, module)
    base: type[nn.Module] = local.cls
    made = _class(base, text_of(graph, local.guards, base.forward))
    kept = {**vars(made).get("_normadvisor_graphs", {}), id(local): (local, graph)}
    made._normadvisor_graphs = kept  # type: ignore[attr-defined] # noqa: SLF001 -- ours
    journal.did(lambda: _set_class(module, cls))
    _set_class(module, made)


def _keep_names(old: fx.Graph, new: fx.Graph) -> None:
    """Values and shapes of the copied nodes; fx copies the rest."""
    for before, after in zip(old.nodes, new.nodes, strict=True):
        after.meta = dict(before.meta)


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
        "__reduce_ex__": _reduced,
        "__module__": base.__module__,
        "__qualname__": base.__qualname__,
        "__doc__": base.__doc__,
        "_normadvisor_text": text,
        "_normadvisor_base": base,
    }
    made = type(base)(base.__name__, (base,), members)
    _made[key] = made
    return made


def _reduced(module: nn.Module, protocol: int) -> tuple[Any, ...]:
    """How such a module is pickled: as what it was, with the text of its forward."""
    cls: Any = type(module)
    text: Text = cls._normadvisor_text
    names = {name: Reference.of(value) or value for name, value in text.names.items()}
    del protocol
    return _restored, (cls._normadvisor_base, text.source, names), module.__getstate__()


def _restored(base: type[nn.Module], source: str, names: dict[str, Any]) -> nn.Module:
    cls = _class(base, Text(source, resolved(names)))
    return cls.__new__(cls)
