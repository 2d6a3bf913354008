"""The published JSON Schema of rule files: what editors complete and check while a rule is written.

It is derived from the dataclasses of :mod:`normadvisor.rulebook.model`, with the names of operations spelled out and the shorthands that
the loader accepts. What no schema can say (names bound before use, expressions) is left to the loader.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

from normadvisor.rulebook.check import EXPECT_FORM, ID_FORM, NAME_FORM, NODE_FORM, PROBING_KINDS
from normadvisor.rulebook.check_fixes import ARGUMENT_FORM
from normadvisor.rulebook.shape import SHORTHANDS, rule_adapter
from normadvisor.rulebook.vocabulary import CHANGES, CONTEXT, PROBING
from normadvisor.types import DISTRIBUTED, GROUPS, LOSSES, OPS, PRECISIONS, TASKS
from normadvisor.types.events import EDITS, EVENTS, PLACES

__all__ = ["SCHEMA_ID", "rule_schema", "schema_text"]

DIALECT = "https://json-schema.org/draft/2020-12/schema"
SCHEMA_ID = "urn:normadvisor:rule:1"
"""Name of the schema; the number changes when a rule that was valid no longer is."""

_OPERATION_KEYS = frozenset({"broken_by", "op", "through", "until"})


def rule_schema() -> dict[str, Any]:
    """JSON Schema (draft 2020-12) of one rule file."""
    schema = rule_adapter().json_schema()
    definitions = schema.pop("$defs")
    definitions["Operation"] = _operation()
    definitions["RunContext"] = _context()
    schema["properties"].pop("source")
    for owner in (schema, *definitions.values()):
        _complete(owner)
    for name in ("Chain", "ModulePattern", "Pattern", "Relation"):
        key = "module" if name == "ModulePattern" else "node"
        definitions[name]["properties"][key]["pattern"] = f"^{NODE_FORM}$"
    definitions["ProbePattern"]["properties"]["layer"]["anyOf"][0]["pattern"] = f"^{NODE_FORM}$"
    definitions["FixTemplate"]["properties"]["edit"]["anyOf"] = [_choices(EDITS), {"type": "null"}]
    change = definitions["Change"]["properties"]
    change["kind"] = {"description": change["kind"]["description"], **_choices(CHANGES)}
    change["argument"]["anyOf"][0]["pattern"] = f"^{ARGUMENT_FORM}$"
    change["arguments"]["propertyNames"] = {"pattern": f"^{ARGUMENT_FORM}$"}
    for key in ("of", "other"):
        inner = change[key].get("anyOf", [change[key]])[0]
        inner["pattern"] = f"^{NODE_FORM}$"
    definitions.pop("OperationKind", None)
    side = definitions["ScriptSide"]["properties"]
    side["at"]["anyOf"] = [_choices(PLACES), {"type": "null"}]
    side["related"] = {"description": side["related"]["description"], **_one_or_many(_choices(PLACES))}
    example = definitions["Example"]["properties"]
    example["context"] = {"$ref": "#/$defs/RunContext", "description": example["context"]["description"]}
    definitions["Probing"] = _probing()
    example["probe"] = {"$ref": "#/$defs/Probing", "description": example["probe"]["description"]}
    groups = definitions["Definitions"]["properties"]["ops"]
    groups["additionalProperties"] = _one_or_many({"$ref": "#/$defs/Operation"})
    groups["propertyNames"] = {"pattern": f"^{NODE_FORM}$"}
    schema["properties"]["id"]["pattern"] = f"^{ID_FORM}$"
    schema["properties"]["name"]["pattern"] = f"^{NAME_FORM}$"
    schema["properties"]["summary"]["pattern"] = r"^[^\n]*[^.\s]\s*$"
    whole = {"$schema": DIALECT, "$id": SCHEMA_ID, **schema, "title": "normadvisor rule", "$defs": dict(sorted(definitions.items()))}
    described: dict[str, Any] = _plain_words(whole)
    return described


def schema_text() -> str:
    """The schema as the file that is published."""
    return json.dumps(rule_schema(), indent=2, ensure_ascii=False) + "\n"


def _operation() -> dict[str, Any]:
    """Names of operations and groups for completion; the form of a name for groups that a rule defines itself."""
    return {
        "title": "Operation",
        "description": "An operation, a group of operations, `any` (in `through`), or a group of `define.ops`; in a script an event.",
        "anyOf": [
            {"title": "Group", "enum": list(GROUPS)},
            {"title": "Operation", "enum": ["any", *sorted(OPS)]},
            {"title": "Event", "enum": list(EVENTS)},
            {"title": "Group of this rule", "type": "string", "pattern": f"^{NODE_FORM}$"},
        ],
    }


def _choices(words: Mapping[str, str]) -> dict[str, Any]:
    """One of some words, each with what it means."""
    return {"anyOf": [{"const": word, "description": meaning} for word, meaning in words.items()]}


def _context() -> dict[str, Any]:
    """The run context of an example."""
    kinds: dict[str, dict[str, Any]] = {
        "batch_size": {"type": "integer", "minimum": 1},
        "task": {"enum": list(TASKS)},
        "loss": {"enum": list(LOSSES)},
        "precision": {"enum": list(PRECISIONS)},
        "world_size": {"type": "integer", "minimum": 1},
        "distributed": {"enum": list(DISTRIBUTED)},
        "fine_tune": {"type": "boolean"},
    }
    properties = {key: {**kind, "description": f"{CONTEXT[key][:1].upper()}{CONTEXT[key][1:]}."} for key, kind in kinds.items()}
    return {"title": "RunContext", "type": "object", "additionalProperties": False, "properties": properties}


def _probing() -> dict[str, Any]:
    """How an example is probed."""
    kinds = {int: "integer", str: "string", (int, float): "number"}
    return {
        "title": "Probing",
        "type": "object",
        "additionalProperties": False,
        "properties": {
            key: {"description": f"{words[:1].upper()}{words[1:]}.", "type": kinds[PROBING_KINDS[key]]} for key, words in PROBING.items()
        },
    }


def _complete(owner: dict[str, Any]) -> None:
    """Spell out operations and shorthands in the properties of one class, and drop titles that repeat the key."""
    for key, value in owner.get("properties", {}).items():
        value.pop("title", None)
        if key in _OPERATION_KEYS:
            words = {"description": value["description"]}
            owner["properties"][key] = {**words, **_one_or_many({"$ref": "#/$defs/Operation"})}
        elif key in SHORTHANDS:
            items = {"anyOf": [{"type": "string", "pattern": f"^({EXPECT_FORM})$"}, {"type": "integer", "minimum": 1}]}
            single = items if key == "expect" else value["items"]
            owner["properties"][key] = {"description": value["description"], **_one_or_many(single)}


def _one_or_many(single: dict[str, Any]) -> dict[str, Any]:
    return {"anyOf": [single, {"type": "array", "items": single}]}


def _plain_words(value: Any) -> Any:
    """Descriptions with the backticks of Markdown, which editors render."""
    if isinstance(value, dict):
        return {
            key: item.replace("``", "`") if key == "description" and isinstance(item, str) else _plain_words(item)
            for key, item in value.items()
        }
    if isinstance(value, list):
        return [_plain_words(item) for item in value]
    return value
