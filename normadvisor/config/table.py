"""Turns a configuration table into settings."""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from normadvisor.config.context import CONTEXT_KEYS, parse_context
from normadvisor.config.plain import MODEL_KEYS, MODEL_PROBE_KEYS, PROBE_KEYS, TABLE_KEYS, plainly_right
from normadvisor.config.settings import ModelConfig, Settings
from normadvisor.config.suggest import did_you_mean
from normadvisor.config.wording import mistake_error, one_line
from normadvisor.errors import ConfigError
from normadvisor.types import RunContext, Severity

if TYPE_CHECKING:
    from collections.abc import Mapping

    from normadvisor.config.document import Document
    from normadvisor.types import Location

__all__ = ["read_table"]


def read_table(document: Document, base: tuple[str, ...]) -> Settings:
    """The settings of the table at ``base``, a key path in the document.

    Raises:
        ConfigError: the first mistake in the table, with its place and what would be right.

    """
    table: Any = document.data
    for key in base:
        table = table[key]
    if not isinstance(table, dict):
        raise ConfigError("'tool.normadvisor' must be a table", location=document.locate(*base), hint="write [tool.normadvisor]")
    tool = table.get("tool")
    if not base and isinstance(tool, dict) and "normadvisor" in tool:
        raise ConfigError(
            f"'{document.path.name}' holds a [tool.normadvisor] table",
            location=document.locate("tool", "normadvisor"),
            hint="outside pyproject.toml the keys stand at the top level, without the table's header",
        )
    top = _Section(document, base, table, TABLE_KEYS)
    listed = top.values.get("models")
    models = [
        _Section(document, (*top.path("models"), index), entry, MODEL_KEYS) if isinstance(entry, dict) else None
        for index, entry in enumerate(listed if isinstance(listed, list) else ())
    ]
    for section in models:
        if section is not None and isinstance(section.values.get("inputs"), str):
            section.values["inputs"] = [section.values["inputs"]]
    measured = top.values.get("probe")
    probe = _Section(document, top.path("probe"), measured, PROBE_KEYS, ()) if isinstance(measured, dict) else None
    _check(top, models, probe)
    return _built(document, top, [section for section in models if section is not None], {} if probe is None else probe.values)


class _Section:
    """A table whose keys may be spelled with ``-`` or ``_``, its context keys set apart."""

    def __init__(
        self, document: Document, base: tuple[str | int, ...], table: Mapping[str, Any], keys: tuple[str, ...],
        context_keys: tuple[str, ...] = CONTEXT_KEYS,
    ) -> None:  # fmt: skip
        self.document = document
        self.base = base
        self.written: dict[str, str] = {}
        """Key with ``_``: key as in the file."""
        self.values: dict[str, Any] = {}
        context: dict[str, Any] = {}
        for key, value in table.items():
            name = key.replace("-", "_")
            if name not in keys and name not in context_keys:
                known = list(dict.fromkeys([*keys, *context_keys]))
                raise ConfigError(f"unknown key '{one_line(key)}'", location=document.locate(*base, key), hint=did_you_mean(key, known))
            if name in self.written:
                raise ConfigError(f"'{key}' and '{self.written[name]}' are the same key", location=document.locate(*base, key))
            self.written[name] = key
            # A loss may be a function of the user's, which is no part of the context.
            is_function = name in keys and isinstance(value, str) and ":" in value
            (context if name in context_keys and not is_function else self.values)[name] = value
        self.context: RunContext = parse_context(context, locate=self.locate)

    def path(self, name: str) -> tuple[str | int, ...]:
        """Path of a key in the document, spelled as in the file."""
        return (*self.base, self.written.get(name, name))

    def locate(self, name: str, *rest: str | int) -> Location:
        """Place of a key, or of something in its value."""
        return self.document.locate(*self.path(name), *rest)


def _check(top: _Section, models: list[_Section | None], probe: _Section | None) -> None:
    """Raise the first mistake in the order of the file."""
    table = dict(top.values)
    if probe is not None:
        table["probe"] = probe.values
    if isinstance(table.get("models"), list):
        table["models"] = [raw if section is None else section.values for raw, section in zip(table["models"], models, strict=True)]
    if plainly_right(table):
        return
    from normadvisor.config.schema import mistakes  # noqa: PLC0415 - costs pydantic

    errors = []
    for loc, kind, parameters in mistakes(table):
        name, rest = str(loc[0]), loc[1:]
        model = models[rest[0]] if name == "models" and rest and isinstance(rest[0], int) else None
        if model is not None and len(rest) > 1:
            place = model.locate(str(rest[1]), *rest[2:])
        elif name == "probe" and probe is not None and rest:
            place = probe.locate(str(rest[0]), *rest[1:])
        else:
            place = top.locate(name, *rest)
        errors.append((place.line, place.column, mistake_error(loc, kind, parameters, place)))
    if errors:
        raise min(errors, key=lambda entry: entry[:2])[2]


def _built(document: Document, top: _Section, models: list[_Section], probe: Mapping[str, Any]) -> Settings:
    """Settings from checked values."""
    values = top.values
    root = Path(os.path.abspath(document.path)).parent  # noqa: PTH100 - links stay as the user wrote them
    severity: dict[str, Severity | Literal["off"]] = {
        rule: "off" if level == "off" else Severity(level) for rule, level in values.get("severity", {}).items()
    }
    ignores = {pattern: tuple(rules) for pattern, rules in values.get("per_file_ignores", {}).items()}
    locations = {name: top.locate(name) for name in values}
    locations |= {f"severity.{rule}": top.locate("severity", rule) for rule in severity}
    locations |= {f"probe.{name}": top.document.locate(*top.path("probe"), name) for name in probe}
    locations |= {f"per_file_ignores.{pattern}": top.locate("per_file_ignores", pattern) for pattern in ignores}
    plain: dict[str, Any] = {name: values[name] for name in ("format", "memory") if name in values}
    plain |= {name: tuple(values[name]) for name in ("select", "ignore", "extend_select", "exclude") if name in values}
    if "timeout" in values:
        plain["timeout"] = float(values["timeout"])
    if "fail_on" in values:
        plain["fail_on"] = Severity(values["fail_on"])
    return Settings(
        **plain,
        severity=severity,
        per_file_ignores=ignores,
        rules=tuple(root / folder for folder in values.get("rules", ())),
        baseline=root / values["baseline"] if "baseline" in values else None,
        cache_dir=root / values["cache_dir"] if "cache_dir" in values else None,
        context=top.context,
        models=tuple(
            ModelConfig(
                target=section.values["target"],
                inputs=tuple(section.values.get("inputs", ())),
                context=section.context,
                location=section.locate("target"),
                probe={name: section.values[name] for name in MODEL_PROBE_KEYS if name in section.values},
            )
            for section in models
        ),
        probe=dict(probe),
        root=root,
        source=document.path,
        locations=locations,
    )
