"""A command whose flags are texts, paths and switches: they are taken as they are.

Newer versions of typer hand every value to pydantic, whose import takes longer than all the rest of starting the program.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

from typer.core import TyperCommand, TyperGroup

__all__ = ["QuickCommand", "QuickGroup"]


class QuickCommand(TyperCommand):
    """A command that converts texts, paths and switches itself where typer would load a library to do so."""

    def get_params(self, ctx: Any) -> list[Any]:
        """The parameters, ``--help`` included."""
        return _prepared(super().get_params(ctx))


class QuickGroup(TyperGroup):
    """As :class:`QuickCommand`, for a command that has commands."""

    def get_params(self, ctx: Any) -> list[Any]:
        """The parameters, ``--help`` included."""
        return _prepared(super().get_params(ctx))


def _prepared(parameters: list[Any]) -> list[Any]:
    for parameter in parameters:
        annotation = getattr(getattr(parameter, "type_descriptor", None), "annotation", None)
        # Versions of typer without this attribute convert values themselves, and quickly.
        if getattr(parameter, "_runtime_param", parameter) is None and _is_plain(annotation):
            parameter._runtime_param = _Taken(_PLAIN[annotation])  # noqa: SLF001
    return parameters


def _is_plain(annotation: Any) -> bool:
    try:
        return annotation in _PLAIN
    except TypeError:  # not hashable
        return False


class _Taken:
    """Takes values of one kind."""

    def __init__(self, kind: type) -> None:
        self._kind = kind

    def coerce(self, value: Any, param: Any, ctx: Any) -> Any:
        """The value of a parameter, as typer asks for it."""
        del ctx
        several = getattr(param, "multiple", False) or getattr(param, "nargs", 1) == -1
        if value is None:
            return () if several else None
        return [self._one(item) for item in value] if several else self._one(value)

    def _one(self, value: Any) -> Any:
        return Path(value) if self._kind is Path else value


_PLAIN: dict[Any, type] = {str: str, bool: bool, Path: Path, list[str]: str, list[Path]: Path}
