"""Import files as an overlay gives them, and import anew what was imported before. Only ever in a worker process."""

from __future__ import annotations

import importlib
import importlib.machinery
import linecache
import os
import sys
import sysconfig
from collections import OrderedDict, defaultdict
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from types import FunctionType, ModuleType
from typing import Any

from normadvisor.files.overlay import overlay_of, overlay_paths
from normadvisor.files.real import RealPaths
from normadvisor.files.source import text_of

__all__ = ["forget_modules", "importing_overlaid", "is_installed"]

_PACKAGE = Path(__file__).resolve().parents[1]
_SITE = frozenset({"site-packages", "dist-packages"})
_LIBRARY = tuple({Path(folder).resolve() for key in ("stdlib", "platstdlib") if (folder := sysconfig.get_path(key))})


@contextmanager
def importing_overlaid() -> Iterator[None]:
    """Let imports of overlaid files run the overlay's bytes; ``linecache`` and ``inspect.getsource`` tell them as well.

    Set the overlay first. Byte code of an overlaid file is neither read from the disk nor written to it. Modules that were imported before
    stay what they were: see :func:`forget_modules`. While this is active, ``inspect.getsource`` of an object of theirs finds the new
    lines, so whatever is wanted of the old ones is to be looked up before.
    """
    loader: Any = importlib.machinery.SourceFileLoader
    own = {name: loader.__dict__[name] for name in ("get_code", "get_data") if name in loader.__dict__}
    get_code, get_data, update = loader.get_code, loader.get_data, linecache.updatecache

    def overlaid_code(self: Any, fullname: str) -> Any:
        path = self.get_filename(fullname)
        data = overlay_of(path)
        return get_code(self, fullname) if data is None else self.source_to_code(data, path)

    def overlaid_data(self: Any, path: Any) -> bytes:
        data = overlay_of(os.fsdecode(path))
        read: bytes = get_data(self, path) if data is None else data
        return read

    def overlaid_lines(filename: str, module_globals: Any = None) -> Any:
        data = overlay_of(filename) if filename and not filename.startswith("<") else None
        if data is None:
            return update(filename, module_globals)
        lines = _lines(data, Path(filename))
        linecache.cache[filename] = (len(data), None, lines, filename)  # without a time of change: the disk has no say
        return lines

    loader.get_code, loader.get_data = overlaid_code, overlaid_data
    linecache.updatecache = overlaid_lines
    _forget_lines()
    try:
        yield
    finally:
        linecache.updatecache = update
        _forget_lines()
        for name in ("get_code", "get_data"):
            if name in own:
                setattr(loader, name, own[name])
            else:
                delattr(loader, name)


def _lines(data: bytes, path: Path) -> list[str]:
    """Lines as ``linecache`` keeps them: each with a line feed at its end."""
    lines = text_of(data, path)[0].split("\n")
    last = lines.pop()
    return [f"{line}\n" for line in [*lines, *([last] if last else [])]]


def _forget_lines() -> None:
    """Have the lines of overlaid files read again."""
    for filename in [name for name in linecache.cache if overlay_of(name) is not None]:
        del linecache.cache[filename]


def is_installed(module: ModuleType) -> bool:
    """Whether a module is Python's, of an installed package, of this package, or none that source code could be read for again."""
    file = getattr(module, "__file__", None)
    if not isinstance(file, str):
        # A namespace package has folders and no file.
        return not any(not _is_foreign(Path(folder)) for folder in _folders(module))
    return not file.endswith((".py", ".pyw")) or _is_foreign(Path(file))


def _folders(module: ModuleType) -> list[str]:
    try:
        return [folder for folder in getattr(module, "__path__", ()) if isinstance(folder, str)]
    except Exception:  # noqa: BLE001 - a module may be an object of any class
        return []


def _is_foreign(path: Path) -> bool:
    try:
        path = path.resolve()
    except (OSError, RuntimeError, ValueError):
        return True
    return not _SITE.isdisjoint(path.parts) or any(path.is_relative_to(folder) for folder in (_PACKAGE, *_LIBRARY))


def forget_modules(since: Iterable[str], keep: Callable[[ModuleType], bool] = is_installed) -> frozenset[str]:
    """Take modules out of ``sys.modules``, so that the next import runs them anew.

    Forgotten is what was imported since a snapshot and ``keep`` says no to; overlaid files whenever they were imported and whatever
    ``keep`` says; and with any of them every module that holds it or something defined in it, at any distance, so that no name leads
    back to the old ones. Modules written in C and ``__main__`` stay in any case. Registries of modules that stay give up what the
    forgotten ones entered.

    Args:
        since: names that were in ``sys.modules`` before; those that were not are new.
        keep: whether a new module may stay.

    Returns:
        The names that were forgotten. Objects made by them live on unharmed.

    """
    before = frozenset(since)
    everything: dict[str, Any] = dict(sys.modules)  # a module may have put an object of another class in its place
    loaded = {name: module for name, module in everything.items() if isinstance(module, ModuleType)}
    files = frozenset(map(str, overlay_paths()))
    real = RealPaths()
    overlaid = {name for name, module in loaded.items() if _source_of(module, real) in files} if files else set()
    gone = overlaid | {name for name, module in loaded.items() if name not in before and not keep(module)}
    gone |= _holders(loaded, gone)
    gone = {name for name in gone if name != "__main__" and not _is_compiled(loaded[name])}
    for name in gone:
        del sys.modules[name]
        parent, _, last = name.rpartition(".")
        # `from package import module` takes the attribute before it looks for a module.
        if parent in loaded and vars(loaded[parent]).get(last) is loaded[name]:
            delattr(loaded[parent], last)
    for name, module in loaded.items():
        if name not in gone and name.partition(".")[0] not in _NEVER_HOLD:
            _unregister(module, gone)
    importlib.invalidate_caches()
    return frozenset(gone)


def _unregister(module: ModuleType, gone: set[str]) -> None:
    """Take classes and functions of forgotten modules out of registries that stay: most refuse a name that they know."""
    for value in list(vars(module).values()):
        if isinstance(value, type | ModuleType | FunctionType):
            continue
        # A table, or an object that keeps its tables in attributes. Their own methods are not asked: some import what they name.
        tables = [value, *_attributes(value).values()]
        for table in tables:
            for key, entry in list(dict.items(table)) if isinstance(table, dict) else ():
                if isinstance(entry, type | FunctionType) and entry.__module__ in gone:
                    (OrderedDict if isinstance(table, OrderedDict) else dict).pop(table, key, None)


def _attributes(value: object) -> dict[str, object]:
    try:
        found = object.__getattribute__(value, "__dict__")
    except AttributeError:
        return {}
    return found if isinstance(found, dict) else {}


def _source_of(module: ModuleType, real: RealPaths) -> str | None:
    file = vars(module).get("__file__")
    if not isinstance(file, str) or "\0" in file:
        return None
    return real.of(file)


def _is_compiled(module: ModuleType) -> bool:
    file = vars(module).get("__file__")
    if not isinstance(file, str):
        return not _folders(module)
    return file.endswith(tuple(importlib.machinery.EXTENSION_SUFFIXES))


def _holders(loaded: dict[str, ModuleType], gone: set[str]) -> set[str]:
    """Modules, other than those of Python, torch and this package, that got a name from one of ``gone``, directly or through others."""
    if not gone:
        return set()
    held_by: defaultdict[str, set[str]] = defaultdict(set)
    for name, module in loaded.items():
        if name.partition(".")[0] in _NEVER_HOLD or name in sys.builtin_module_names:
            continue
        for value in list(vars(module).values()):
            if isinstance(value, ModuleType):
                # A package has its modules as attributes, whether or not it uses them; those are taken off where a module goes.
                if value.__name__.rpartition(".")[0] != name:
                    held_by[value.__name__].add(name)
            elif isinstance(value, type | FunctionType) and value.__module__ != name:
                held_by[str(value.__module__)].add(name)
    found: set[str] = set()
    waiting = list(gone)
    while waiting:
        new = held_by[waiting.pop()] - found - gone
        found |= new
        waiting += new
    return {name for name in found if name in loaded}


_NEVER_HOLD = frozenset({"__main__", "normadvisor", "torch", *sys.stdlib_module_names})
