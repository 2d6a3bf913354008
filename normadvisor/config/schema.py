"""The shape of a configuration table, checked by pydantic. Imported only when a table holds something doubtful."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Any, Literal, Required

from annotated_types import Ge, Gt, Le, Lt, MinLen
from pydantic import TypeAdapter, ValidationError
from typing_extensions import TypedDict  # pydantic asks for it below Python 3.12

from normadvisor.config.plain import LARGEST_COUNT, LARGEST_RATE, SEEDS
from normadvisor.config.settings import Format

if TYPE_CHECKING:
    from collections.abc import Mapping

__all__ = ["KEYS", "mistakes"]

_Name = Annotated[str, MinLen(1)]


_Count = Annotated[int, Ge(1), Le(LARGEST_COUNT)]
_Optimizer = Literal["sgd", "momentum", "adam", "adamw", "rmsprop"]


class _OfModel(TypedDict, total=False):
    """How one model, or all of them, are measured."""

    device: _Name
    steps: _Count
    optimizer: _Optimizer
    lr: Annotated[float, Gt(0), Le(LARGEST_RATE)]
    seed: Annotated[int, Ge(0), Lt(SEEDS)]
    budget: Annotated[float, Gt(0), Le(86_400)]
    exact: bool
    data: _Name
    loss: _Name


class _Probe(_OfModel, total=False):
    """``[tool.normadvisor.probe]``."""

    batch_size: _Count
    precision: Literal["fp32", "bf16", "fp16", "amp"]


class _Model(_OfModel, total=False):
    """``[[tool.normadvisor.models]]`` less the context keys."""

    target: Required[_Name]
    inputs: list[_Name]


class _Table(TypedDict, total=False):
    """``[tool.normadvisor]`` less the context keys. Defaults stand in :class:`normadvisor.config.settings.Settings`."""

    select: Annotated[list[_Name], MinLen(1)]
    ignore: list[_Name]
    extend_select: list[_Name]
    severity: dict[_Name, Literal["info", "warning", "error", "off"]]
    per_file_ignores: dict[_Name, list[_Name]]
    rules: list[_Name]
    exclude: list[_Name]
    baseline: _Name
    cache_dir: _Name
    fail_on: Literal["info", "warning", "error"]
    format: Format
    timeout: Annotated[float, Gt(0), Le(86_400)]
    memory: Annotated[int, Ge(64), Le(1 << 30)]
    models: list[_Model]
    probe: _Probe


# Other keys are told apart before, with a suggestion.
_ADAPTER = TypeAdapter(_Table)

KEYS: tuple[tuple[str, ...], tuple[str, ...], tuple[str, ...]] = (
    tuple(_Table.__annotations__),
    tuple(dict.fromkeys(("target", "inputs", *_Model.__annotations__))),
    tuple(_Probe.__annotations__),
)
"""Keys of the table, of an entry of its models, and of its table ``probe``."""


def mistakes(table: Mapping[str, Any]) -> list[tuple[tuple[str | int, ...], str, dict[str, Any]]]:
    """Each mistake in a table whose keys are spelled with ``_``: key path, pydantic's kind of error, and its parameters.

    The parameters hold ``input`` (what was found) and ``message`` (pydantic's words) beside those of the kind.
    """
    try:
        _ADAPTER.validate_python(dict(table), strict=True)
    except ValidationError as error:
        return [
            (entry["loc"], entry["type"], {**entry.get("ctx", {}), "input": entry["input"], "message": entry["msg"]})
            for entry in error.errors(include_url=False)
        ]
    return []
