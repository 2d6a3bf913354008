"""Models that are described by a configuration object, as in transformers: build them from the configuration's defaults.

Nothing here names a model: a class counts when it has ``config_class`` or ``from_config``, a configuration when it has
``model_type``.
"""

from __future__ import annotations

import inspect
import sys
from typing import TYPE_CHECKING, Any, cast

from normadvisor.errors import TargetError

if TYPE_CHECKING:
    from collections.abc import Callable

__all__ = ["config_call"]


def config_call(obj: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Callable[[], Any] | None:
    """The call that builds a model from a configuration; ``None`` when ``obj`` is not of that kind.

    Args:
        obj: a model class with ``config_class`` (built from that class's defaults and ``kwargs``), an ``Auto`` class
            (``args[0]`` is the model type), a configuration class, or a configuration.
        args: positional literals of the target.
        kwargs: keyword literals of the target: fields of the configuration.

    Raises:
        TargetError: an ``Auto`` class without model type, or an unknown model type.

    """
    if _is_auto(obj):
        return _auto_call(obj, args, kwargs)
    if _is_config_class(obj):
        return lambda: _model_of(obj(*args, **kwargs))
    if _is_config(obj):
        return lambda: _model_of(obj)
    config_class = getattr(obj, "config_class", None)
    if inspect.isclass(obj) and inspect.isclass(config_class) and not args:
        make, make_config = cast("Callable[..., Any]", obj), cast("Callable[..., Any]", config_class)
        parameters = inspect.signature(obj.__init__).parameters
        if "config" in parameters and not any(key in parameters for key in kwargs):
            return lambda: make(make_config(**kwargs))
    return None


def _is_auto(obj: Any) -> bool:
    return inspect.isclass(obj) and hasattr(obj, "_model_mapping") and hasattr(obj, "from_config")


def _is_config_class(obj: Any) -> bool:
    return inspect.isclass(obj) and isinstance(getattr(obj, "model_type", None), str) and hasattr(obj, "to_dict")


def _is_config(obj: Any) -> bool:
    return not inspect.isclass(obj) and isinstance(getattr(obj, "model_type", None), str) and hasattr(obj, "to_dict")


def _auto_call(auto: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Callable[[], Any]:
    import difflib

    library = sys.modules[auto.__module__.partition(".")[0]]
    kinds = sorted(config.model_type for config in auto._model_mapping)  # noqa: SLF001 -- the only place that lists what an Auto class builds
    if len(args) != 1 or args[0] not in kinds:
        close = difflib.get_close_matches(str(args[0]), kinds, n=1) if args else []
        message = f"{auto.__name__} needs a model type" if not args else f"{auto.__name__} has no model type {args[0]!r}"
        hint = f"did you mean {close[0]!r}?" if close else f"say {auto.__name__}('{kinds[0]}'), one of {len(kinds)} types"
        raise TargetError(message, hint=hint)
    return lambda: auto.from_config(library.AutoConfig.for_model(args[0], **kwargs))


def _model_of(config: Any) -> Any:
    library = sys.modules[type(config).__module__.partition(".")[0]]
    return library.AutoModel.from_config(config)
