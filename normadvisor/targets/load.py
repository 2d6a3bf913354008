"""Import what a target names. Runs the target's code: only ever in a worker process."""

from __future__ import annotations

import ast
import difflib
import hashlib
import importlib
import importlib.util
import inspect
import os
import sys
import traceback
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from types import ModuleType
from typing import Any

from normadvisor.errors import NormAdvisorError, TargetError
from normadvisor.files.source import read_source
from normadvisor.targets.offline import offline
from normadvisor.targets.parse import Target
from normadvisor.targets.sites import SiteRecorder, is_user_file, site_of_code
from normadvisor.types import Location, Site

__all__ = ["Loaded", "find_object", "load", "translate_errors"]

_PIP_NAMES = {
    "Bio": "biopython", "PIL": "pillow", "attr": "attrs", "bs4": "beautifulsoup4", "cv2": "opencv-python", "dateutil": "python-dateutil",
    "fvcore": "fvcore", "git": "GitPython", "google.protobuf": "protobuf", "magic": "python-magic", "mpl_toolkits": "matplotlib",
    "osgeo": "GDAL", "pl_bolts": "lightning-bolts", "pytorch_lightning": "lightning", "skimage": "scikit-image", "sklearn": "scikit-learn",
    "torch_cluster": "torch-cluster", "torch_geometric": "torch-geometric", "torch_scatter": "torch-scatter",
    "torch_sparse": "torch-sparse", "yaml": "pyyaml",
}  # fmt: skip
"""Import names whose distribution is called otherwise."""


@dataclass(slots=True)
class Loaded:
    """What a target names, imported but not built.

    ``obj`` is a class, a factory or an ``nn.Module``; ``recorder`` has seen the modules that importing constructed.
    """

    target: Target
    obj: Any
    recorder: SiteRecorder
    defined_at: Site | None
    notes: list[str] = field(default_factory=list)


def load(target: Target, *, real: bool = False) -> Loaded:
    """Import the file or module of a target and look its object up.

    A file is imported as ``python file.py`` would see it: its folder first on ``sys.path``; a file inside a package is
    imported as the package's module, so that relative imports work.

    Args:
        target: a model, or what builds it.
        real: whether a model that importing builds is going to be run, and so needs its weights.

    Raises:
        TargetError: the import failed (a package is missing, an import circle, an exception, ``sys.exit``), or the object
            does not exist or is neither class, function nor module.

    """
    if not target.name:
        message = f"{target} names no object"
        raise TargetError(message, hint=f"say {target}:Name")
    recorder = SiteRecorder()
    obj = _import_and_find(target, recorder, real=real)
    if inspect.ismodule(obj) or not (callable(obj) or _is_config(obj)):
        message = f"{target.name} is {_describe(obj)}, not a class, a factory or a torch.nn.Module"
        raise TargetError(message, location=_start_of(target), hint=f"name a torch.nn.Module of {_place(target)}")
    defined = obj if inspect.isclass(obj) or inspect.isroutine(obj) else type(obj)
    return Loaded(target, obj, recorder, site_of_code(inspect.unwrap(defined)))


def _import_and_find(target: Target, recorder: SiteRecorder, *, real: bool) -> Any:
    if not real and target.path is not None and _assigned_at_top(target):
        # A module-level instance: import under the meta device first, so that a large model costs no memory.
        import torch

        try:
            with torch.device("meta"):
                return _find(_import(target, recorder), target)
        except TargetError:
            pass  # importing reads values: repeat it in real memory, and report what that says
    return _find(_import(target, recorder), target)


def _import(target: Target, recorder: SiteRecorder) -> ModuleType:
    with translate_errors(target, "importing"), offline(), recorder.recording(), _arguments_of_a_script(target):
        if target.path is not None:
            return _import_file(target.path.resolve())
        if (folder := str(Path.cwd())) not in sys.path:
            sys.path.insert(0, folder)
        return importlib.import_module(target.module)


@contextmanager
def _arguments_of_a_script(target: Target) -> Iterator[None]:
    """Hide this program's command line from a script that parses ``sys.argv`` while it is imported."""
    saved = sys.argv
    sys.argv = [str(target.path or target.module)]
    try:
        yield
    finally:
        sys.argv = saved


def _import_file(path: Path) -> ModuleType:
    tree = read_source(path).tree
    root, package = _package_of(path, tree)
    if package:
        name = package if path.stem == "__init__" else f"{package}.{path.stem}"
        _prepend(root)
        importlib.invalidate_caches()
        present = sys.modules.get(package.partition(".")[0])
        if present is None or _belongs(present, root):
            module = importlib.import_module(name)
            if module.__file__ and Path(module.__file__).resolve() == path:
                return module
    else:
        _prepend(path.parent)
    unique = f"{path.stem}_{hashlib.sha256(str(path).encode()).hexdigest()[:12]}"
    spec = importlib.util.spec_from_file_location(unique, path)
    if spec is None or spec.loader is None:
        message = f"{path} cannot be imported"
        raise TargetError(message)
    module = importlib.util.module_from_spec(spec)
    sys.modules[unique] = module
    try:
        spec.loader.exec_module(module)
    except BaseException:
        sys.modules.pop(unique, None)
        raise
    return module


def _prepend(folder: Path) -> None:
    text = str(folder)
    if text in sys.path:
        sys.path.remove(text)
    sys.path.insert(0, text)


def _belongs(module: ModuleType, root: Path) -> bool:
    return any(Path(folder).resolve().parent == root for folder in getattr(module, "__path__", ()))


def _package_of(path: Path, tree: ast.Module) -> tuple[Path, str]:
    """Folder to put on ``sys.path`` and dotted package of a file; the package is empty for a file that stands alone.

    Folders count as packages when they hold ``__init__.py``, or when the file's relative imports climb that far.
    """
    climbs = max((node.level for node in ast.walk(tree) if isinstance(node, ast.ImportFrom)), default=0)
    folder, parts = path.parent, list[str]()
    while folder.name.isidentifier() and folder != folder.parent and ((folder / "__init__.py").is_file() or len(parts) < climbs):
        parts.insert(0, folder.name)
        folder = folder.parent
    return folder, ".".join(parts)


def _assigned_at_top(target: Target) -> bool:
    first = target.name.partition(".")[0]
    if target.path is None or target.called:
        return False
    for node in read_source(target.path).tree.body:
        names = node.targets if isinstance(node, ast.Assign) else [node.target] if isinstance(node, ast.AnnAssign) else []
        if any(isinstance(name, ast.Name) and name.id == first for name in names):
            return True
    return False


def find_object(target: Target) -> Any:
    """What a target names, whatever it is; a file that was imported already is not imported again.

    Raises:
        TargetError: the import failed, or there is no such name.

    """
    known = None
    if target.path is not None:
        resolved = str(target.path.resolve())
        known = next((module for module in list(sys.modules.values()) if _file_of(module) == resolved), None)
    return _find(known or _import(target, SiteRecorder()), target)


def _file_of(module: object) -> str | None:
    file = getattr(module, "__dict__", {}).get("__file__")
    return os.path.realpath(file) if isinstance(file, str) and "\0" not in file else None


def _find(module: ModuleType, target: Target) -> Any:
    obj: Any = module
    with translate_errors(target, "importing"):
        for i, part in enumerate(target.name.split(".")):
            if hasattr(obj, part):
                obj = getattr(obj, part)
                continue
            if inspect.ismodule(obj) and hasattr(obj, "__path__") and importlib.util.find_spec(f"{obj.__name__}.{part}"):
                obj = importlib.import_module(f"{obj.__name__}.{part}")
                continue
            where = ".".join([_place(target), *target.name.split(".")[:i]]) if i else _place(target)
            close = difflib.get_close_matches(part, [name for name in dir(obj) if not name.startswith("_")], n=1, cutoff=0.5)
            models, functions = ", ".join(_models_in(obj)), ", ".join(_functions_in(obj))
            held = f"models found in it: {models}" if models else f"functions found in it: {functions}" if functions else None
            hint = f"did you mean {close[0]!r}?" if close else held
            message = f"{where} has no {part!r}"
            raise TargetError(message, location=_start_of(target), hint=hint)
    return obj


def _functions_in(obj: object) -> list[str]:
    """Names of functions that a module defines itself: those of a file of losses or batches."""
    held = vars(obj).items() if inspect.ismodule(obj) else ()
    return [name for name, value in held if inspect.isfunction(value) and value.__module__ == getattr(obj, "__name__", None)]


def _models_in(obj: object) -> list[str]:
    import torch

    found = [name for name, value in list(vars(obj).items()) if inspect.isclass(value) and issubclass(value, torch.nn.Module)]
    return sorted(found)[:5]


def _is_config(obj: object) -> bool:
    return hasattr(obj, "model_type") and hasattr(obj, "to_dict")


def _describe(obj: object) -> str:
    if inspect.ismodule(obj):
        return "a Python module"
    return f"a value of type {type(obj).__name__}"


def _place(target: Target) -> str:
    return str(target.path.name if target.path else target.module)


def _start_of(target: Target) -> Location | None:
    return Location(str(target.path), 1) if target.path else None


@contextmanager
def translate_errors(target: Target, doing: str) -> Iterator[None]:
    """Turn whatever the target's code raises into one :class:`TargetError` that points at the user's own line.

    Args:
        target: whose code runs.
        doing: ``importing`` or ``building``, for the message.

    """
    try:
        yield
    except NormAdvisorError:
        raise
    except KeyboardInterrupt:
        raise
    except SystemExit as error:
        message = f"{doing} {target} called sys.exit({'' if error.code is None else repr(error.code)})"
        hint = "move what runs as a script under if __name__ == '__main__':" if doing == "importing" else None
        raise TargetError(message, location=_user_line(error, target), hint=hint) from error
    except ImportError as error:
        raise _import_error(error, target, doing) from error
    except SyntaxError as error:
        place = Location(str(error.filename or target.path or target.module), max(error.lineno or 1, 1), max(error.offset or 1, 1))
        raise TargetError(f"not valid Python: {error.msg}", location=place) from error
    except MemoryError as error:
        message = f"{doing} {target} needs more memory than allowed"
        raise TargetError(message, location=_user_line(error, target), hint="raise the limit with --memory") from error
    except RecursionError as error:
        raise TargetError(f"{doing} {target} recurses without end", location=_user_line(error, target)) from error
    except BaseException as error:  # the target's code may raise anything, also classes derived from BaseException
        words = str(error).strip().splitlines()
        message = f"{doing} {target} raised {type(error).__name__}{': ' + words[0][:300] if words else ''}"
        raise TargetError(message, location=_user_line(error, target)) from error


def _import_error(error: ImportError, target: Target, doing: str) -> TargetError:
    location = _user_line(error, target)
    text = str(error)
    if "partially initialized module" in text or "circular import" in text:
        message = f"circular import: {text.partition(' (most likely')[0]}"
        hint = "import inside the function that needs it, or move what both files share to a third"
        return TargetError(message, location=location, hint=hint)
    if isinstance(error, ModuleNotFoundError) and error.name:
        top = error.name.partition(".")[0]
        if error.name == target.module or (target.module.startswith(f"{error.name}.") and location is None):
            if top in sys.modules and top != error.name:
                parent, _, last = error.name.rpartition(".")
                near = difflib.get_close_matches(last, dir(sys.modules.get(parent, sys.modules[top])), n=1, cutoff=0.6)
                words = f"did you mean {parent + '.' + near[0]!r}?" if near else None
                return TargetError(f"{parent} has no module {last!r}", location=location, hint=words)
            close = difflib.get_close_matches(top, _importable(), n=1, cutoff=0.75)
            hint = f"did you mean {close[0]!r}?" if close and close[0] != top else "install it, or run from the folder that holds it"
            return TargetError(f"there is no module {error.name!r}", location=location, hint=hint)
        message = f"{doing} {target} needs {error.name!r}, which is not installed"
        if top in sys.modules and top != error.name:
            message = f"{doing} {target} needs {error.name!r}, which the installed {top!r} does not have"
        name = _PIP_NAMES.get(error.name) or _PIP_NAMES.get(top, top)
        local = "." not in error.name and target.path is not None and not _PIP_NAMES.get(top)
        hint = f"pip install {name}" + (", or run where that module can be imported" if local else "")
        return TargetError(message, location=location, hint=hint)
    message = f"{doing} {target} failed: {text.splitlines()[0] if text else 'ImportError'}"
    return TargetError(message, location=location)


def _importable() -> list[str]:
    import pkgutil

    return [module.name for module in pkgutil.iter_modules()]


def _user_line(error: BaseException, target: Target) -> Location | None:
    """The innermost line of the user's code on the way to the error: of the target's own folder if there is one."""
    frames = [frame for frame in traceback.extract_tb(error.__traceback__) if is_user_file(frame.filename)]
    if not frames:
        return None
    home = str(target.path.resolve().parent) + os.sep if target.path else ""
    own = [frame for frame in frames if home and os.path.realpath(frame.filename).startswith(home)] or frames
    frame = own[-1]
    return Location(os.path.realpath(frame.filename), frame.lineno or 1, (frame.colno or 0) + 1)


def call_text(target: Target, missing: list[str]) -> str:
    """How to write the target with the arguments it misses."""
    given = [repr(value) for value in target.args] + [f"{key}={value!r}" for key, value in target.kwargs.items()]
    wanted = [f"{name}=..." for name in missing]
    place = target.text.rpartition(":" + target.name)[0]
    return f"{place}:{target.name}({', '.join(given + wanted)})"


def signature_of(function: Callable[..., Any]) -> inspect.Signature | None:
    """Signature of a class or function, ``None`` when Python cannot tell."""
    try:
        return inspect.signature(function)
    except (TypeError, ValueError):
        return None


def is_module_class(obj: object) -> bool:
    """Whether ``obj`` is a subclass of ``torch.nn.Module``."""
    import torch

    return inspect.isclass(obj) and issubclass(obj, torch.nn.Module)


def is_module(obj: object) -> bool:
    """Whether ``obj`` is a built ``torch.nn.Module``."""
    import torch

    return isinstance(obj, torch.nn.Module)
