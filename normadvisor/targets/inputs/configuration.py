"""Numbers out of a configuration object and the configurations nested in it."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

__all__ = ["Configuration"]

_VISION = ("vision", "visual", "image", "backbone", "video")
_AUDIO = ("audio", "speech", "acoustic", "encoder")
_TEXT = ("text", "decoder", "llm", "language", "thinker", "talker")


class Configuration:
    """Looks numbers up by any of several names: in the configuration itself first, then in nested ones, nearest first."""

    def __init__(self, config: Any) -> None:
        self.config = config
        self.nested = list(_nested(config))

    def has(self, *names: str) -> bool:
        """Whether the configuration itself holds one of the names, not ``None``."""
        return any(_get(self.config, name) is not None for name in names)

    def anywhere(self, *names: str) -> bool:
        """Whether the configuration or a nested one holds one of the names, not ``None``."""
        return any(_get(config, name) is not None for _, config in [("", self.config), *self.nested] for name in names)

    def number(self, *names: str, part: tuple[str, ...] = (), default: int = 0) -> int:
        """A positive integer by the first of the names that is known.

        Args:
            names: attributes, the preferred first.
            part: fragments of the names of nested configurations to ask first.
            default: what to return if none is known.

        """
        value = self.value(*names, part=part)
        if isinstance(value, list | tuple) and value and isinstance(value[0], int):
            value = value[0]
        return int(value) if isinstance(value, int | float) and not isinstance(value, bool) and value >= 1 else default

    def value(self, *names: str, part: tuple[str, ...] = ()) -> Any:
        """The first value that is known, of any type."""
        first = [config for name, config in self.nested if any(fragment in name for fragment in part)]
        rest = [config for name, config in self.nested if config not in first] if self.nested else []
        order = [*first, self.config, *rest] if part else [self.config, *rest]
        for config in order:
            for name in names:
                value = _get(config, name)
                if value is not None:
                    return value
        return None

    def vision(self, *names: str, default: int = 0) -> int:
        """A number of the image side."""
        return self.number(*names, part=_VISION, default=default)

    def audio(self, *names: str, default: int = 0) -> int:
        """A number of the sound side."""
        return self.number(*names, part=_AUDIO, default=default)

    def text(self, *names: str, default: int = 0) -> int:
        """A number of the text side."""
        return self.number(*names, part=_TEXT, default=default)

    def image_size(self) -> tuple[int, int]:
        """Height and width of an image; 224 by 224 where the configuration leaves it open."""
        value = self.value("image_size", "img_size", "image_resolution", "spec_size", "video_size", part=_VISION)
        if isinstance(value, Mapping):
            value = (value.get("height", 0), value.get("width", 0))
        if isinstance(value, int) and not isinstance(value, bool) and value > 0:
            return value, value
        if isinstance(value, list | tuple) and len(value) == 2 and all(isinstance(size, int) and size > 0 for size in value):
            return value[0], value[1]
        return 224, 224


def _get(config: Any, name: str) -> Any:
    try:
        return getattr(config, name, None)
    except Exception:  # noqa: BLE001 -- a property of a configuration is the library's code and may fail on its defaults
        return None


def _nested(config: Any, prefix: str = "", depth: int = 0) -> Iterator[tuple[str, Any]]:
    if depth > 3:
        return
    below: list[tuple[str, Any]] = []
    for name, value in list(vars(config).items()) if hasattr(config, "__dict__") else []:
        if hasattr(value, "to_dict") and hasattr(value, "model_type"):
            below.append((f"{prefix}{name}", value))
    yield from below
    for name, value in below:
        yield from _nested(value, f"{name}.", depth + 1)
