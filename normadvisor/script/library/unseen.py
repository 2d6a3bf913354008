"""Models that come from code out of reach: ``get_model(args)`` of a module that is not there.

What such a call returns is taken for something that may be a model if its name says so, or if the file goes on to use it like one. It
becomes a model when it is used like one (``load_state_dict``, ``parameters``, ``train`` ...); until then nothing is said about it.
"""

from __future__ import annotations

import ast
import re
from functools import lru_cache
from typing import TYPE_CHECKING

from normadvisor.script.library.flow import gathered
from normadvisor.script.library.models import models_in
from normadvisor.script.library.names import last
from normadvisor.script.library.syntax import enclosing_statements, module_of
from normadvisor.script.project.externals import STANDARD
from normadvisor.script.state import FRESH, UNKNOWN_MODE
from normadvisor.script.values import Arguments, Const, Place, Value

if TYPE_CHECKING:
    from normadvisor.script.protocol import Machine
    from normadvisor.script.state import State

__all__ = ["perhaps_model"]

_MODEL_NAME = re.compile(
    r"(?:^|_)(?:model|net|network|encoder|decoder|generator|discriminator|backbone|classifier|critic|actor|policy|student|teacher|detector"
    r"|resnet|unet|cnn|rnn|lstm|vit|vae|gan|bert|netg|netd|netf|mlp|transformer)(?:_?\w{0,2})$",
    re.IGNORECASE,
)
_OTHER_NAME = re.compile(
    r"loader|dataset|path|name|dir|file|cfg|config|optim|sched|loss|criterion|token|process|vocab|sampler|writer|logger|trainer|scaler|ckpt"
    r"|checkpoint|weight|state|params|info|type|transform|metric|size|stats|fn$|func",
    re.IGNORECASE,
)
_MODULE_USE = frozenset(
    {"parameters", "named_parameters", "modules", "named_modules", "load_state_dict", "train", "eval", "requires_grad_"}
)
_OTHER_USE = frozenset(
    {"fit", "predict", "predict_proba", "fit_transform", "transform", "step", "zero_grad", "tokenize", "batch_decode", "encode_plus"}
    | {"update", "fit_generator", "partial_fit", "score", "compile", "summary", "read", "write", "close", "split", "lower", "keys"}
    | {"items", "values"}
)
_WRAPPERS = frozenset({"DataParallel", "DistributedDataParallel", "FullyShardedDataParallel", "DDP", "FSDP"})
_LOADED = re.compile(
    r"load|restore|pretrain|checkpoint|ckpt|eval|infer|predict|frozen|test|serv|download|init_detector|reconstruct|resume|wrap",
    re.IGNORECASE,
)
"""Functions that may do more than build: what they return may be in eval mode."""
_ASKS_MODE = re.compile(r"train|eval|test|infer|mode|phase|freeze|frozen", re.IGNORECASE)


def perhaps_model(machine: Machine, state: State, name: str, arguments: Arguments, place: Place) -> Value | None:
    """What a function out of reach returns if that may be a model; ``None`` if nothing says so."""
    tail = last(name)
    if name.partition(".")[0] in STANDARD or not tail.isidentifier() or tail.startswith("_"):
        return None
    target, text = _target(machine, place)
    if target is None or _OTHER_NAME.search(target.rpartition(".")[2]):
        return None
    if not _MODEL_NAME.search(target.rpartition(".")[2]) and not _used_as_model(target, text):
        return None
    given = list(arguments.values())
    if any(thing.kind == "module" for value in given for thing in models_in(machine, state, value)):
        return None  # a model went in: what comes out is the same one, as a rule
    flow = gathered(machine, state, given)
    if flow.calls or "loader" in flow.origins:
        return None
    ref = machine.new(state, "opaque", place, name=name, extern=name, arguments=arguments)
    machine.things[ref.address].facts["fresh"] = True
    asked = any(_ASKS_MODE.search(key) and value != Const(None) for key, value in arguments.named)
    state.modes[ref.address] = UNKNOWN_MODE if asked or _LOADED.search(tail) else FRESH
    return ref


def _target(machine: Machine, place: Place) -> tuple[str | None, str]:
    """What the result of a call is assigned to, as it is written, and the text of the function around."""
    module = module_of(machine, place)
    if module is None:
        return None, ""
    statements = enclosing_statements(module, place.location)
    if not statements or not isinstance(statements[-1], ast.Assign) or len(statements[-1].targets) != 1:
        return None, ""
    statement = statements[-1]
    target, value = statement.targets[0], statement.value
    if not isinstance(target, ast.Name | ast.Attribute):
        return None, ""
    while isinstance(value, ast.Call) and module.location(value) != place.location:
        if isinstance(value.func, ast.Attribute) and isinstance(value.func.value, ast.Call):
            value = value.func.value  # get_model(args).to(device)
        elif value.args and ast.unparse(value.func).rpartition(".")[2] in _WRAPPERS:
            value = value.args[0]  # nn.DataParallel(get_model(args))
        else:
            break
    if not isinstance(value, ast.Call) or module.location(value) != place.location:
        return None, ""
    around = next((item for item in reversed(statements) if isinstance(item, ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef)), None)
    attribute = isinstance(target, ast.Attribute)
    if attribute:
        around = next((item for item in statements if isinstance(item, ast.ClassDef)), around)
    return ast.unparse(target), module.segment(around) if around is not None else module.text


@lru_cache(maxsize=1024)
def _used_as_model(target: str, text: str) -> bool:
    """Whether a text calls something, and methods on it that modules have and other things do not."""
    name = re.escape(target)
    methods = set(re.findall(rf"(?<![\w.]){name}\.(\w+)\(", text))
    if not methods & _MODULE_USE or methods & _OTHER_USE:
        return False
    sure = methods & {"parameters", "named_parameters", "modules", "named_modules"}
    return bool(sure) or re.search(rf"(?<![\w.]){name}\(", text) is not None
