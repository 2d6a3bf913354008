"""The options of ``check``, each with its flag and its help, and what they say as settings."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Annotated, Any, TypeAlias

import typer

from normadvisor.config import Settings, parse_context
from normadvisor.errors import ConfigError, UsageError
from normadvisor.types import RunContext, Severity
from normadvisor.types.words import nearest

__all__ = ["choice", "context_of", "overridden", "positive", "words_of"]

Words: TypeAlias = list[str] | None

Targets = Annotated[
    list[str] | None,
    typer.Argument(metavar="TARGET", help="A .py or .ipynb file, a folder, file.py:Name or package.module:Name, or a call of these."),
]
Inputs = Annotated[
    Words,
    typer.Option("--input", metavar="SPEC", help="Input of forward: 2x3x224x224, 2x16:int64, mask=2x16:bool. Repeatable; else inferred."),
]
BatchSize = Annotated[str | None, typer.Option(metavar="N", help="Samples per optimizer step, over all devices.")]
Task = Annotated[
    str | None,
    typer.Option(metavar="NAME", help="classification, detection, segmentation, generation, language_model, rl ..."),
]
Loss = Annotated[
    str | None,
    typer.Option(metavar="NAME", help="cross_entropy, nll, bce, bce_with_logits, mse, l1, huber, gaussian_nll, none."),
]
WorldSize = Annotated[str | None, typer.Option(metavar="N", help="Number of devices that share the batch.")]
Precision = Annotated[str | None, typer.Option(metavar="NAME", help="fp32, bf16, fp16, amp.")]
Distributed = Annotated[str | None, typer.Option(metavar="NAME", help="none, ddp, fsdp.")]
FineTune = Annotated[bool | None, typer.Option("--fine-tune/--no-fine-tune", help="Whether training starts from pretrained weights.")]
Select = Annotated[
    Words,
    typer.Option(metavar="RULES", help="Rules to run instead of the default: ids, names or prefixes such as NA1; ALL."),
]
Ignore = Annotated[Words, typer.Option(metavar="RULES", help="Rules not to run, besides those the configuration ignores.")]
ExtendSelect = Annotated[Words, typer.Option(metavar="RULES", help="Rules to run besides the selected ones.")]
Severities = Annotated[
    Words,
    typer.Option("--severity", metavar="RULE=LEVEL", help="Severity of a rule: info, warning, error or off. Repeatable."),
]
Rules = Annotated[list[Path] | None, typer.Option("--rules", metavar="DIR", help="Folder with rules of your own. Repeatable.")]
Format = Annotated[
    str | None, typer.Option("--format", metavar="NAME", help="text (default), concise, json, sarif, github, junit or markdown.")
]
Output = Annotated[Path | None, typer.Option("--output", metavar="FILE", help="Write the report to a file instead of standard output.")]
FailOn = Annotated[
    str | None, typer.Option(metavar="LEVEL", help="Least severity that makes the exit code 1: info, warning (default), error.")
]
Baseline = Annotated[Path | None, typer.Option("--baseline", metavar="FILE", help="Known findings, which do not count.")]
Config = Annotated[
    Path | None,
    typer.Option("--config", metavar="FILE", help="Configuration file, instead of the nearest one above the target."),
]
Exclude = Annotated[Words, typer.Option(metavar="GLOB", help="Files and folders to leave out of folders. Repeatable.")]
Timeout = Annotated[str | None, typer.Option(metavar="SECONDS", help="Time one model may take; 60 by default.")]
Memory = Annotated[str | None, typer.Option(metavar="MIB", help="Memory one model may take; 8192 by default.")]
Jobs = Annotated[str | None, typer.Option("--jobs", "-j", metavar="N", help="Files checked side by side; default: the CPUs, at most 4.")]
CacheDir = Annotated[
    Path | None,
    typer.Option("--cache-dir", metavar="DIR", help="Folder that keeps what reading files gave; .normadvisor_cache by default."),
]
Static = Annotated[bool, typer.Option("--static", help="Import and run nothing: files are read, and no model is traced.")]
NoCache = Annotated[bool, typer.Option("--no-cache", help="Read every file anew, and keep nothing.")]
ExitZero = Annotated[bool, typer.Option("--exit-zero", help="Exit with 0 even if there are findings.")]
Quiet = Annotated[bool, typer.Option("--quiet", "-q", help="No notes, no progress, nothing about a clean run.")]
Debug = Annotated[bool, typer.Option("--debug", help="Show tracebacks and what targets printed.")]
Diff = Annotated[bool, typer.Option("--diff", help="Print what fixes would change, and write nothing; exit 1 if there is anything.")]
Write = Annotated[bool, typer.Option("--write", help="Write the files in spite of --diff or --patch.")]
UnsafeFixes = Annotated[bool, typer.Option("--unsafe-fixes", help="Apply fixes as well that change what is learned or stored.")]
FixOnly = Annotated[bool, typer.Option("--fix-only", help="Say nothing about findings that remain, and exit with 0.")]
Patch = Annotated[
    Path | None, typer.Option("--patch", metavar="FILE", help="Put the changes into a file for 'git apply' instead; - is standard output.")
]
Interactive = Annotated[bool, typer.Option("--interactive", "-i", help="Show every fix, and ask.")]
KeyMap = Annotated[Path | None, typer.Option("--key-map", metavar="FILE", help="Save which key of the state_dict became which, as JSON.")]
To = Annotated[
    str | None,
    typer.Option("--to", metavar="NAME", help="What BatchNorm becomes: {group,layer,instance,sync_batch,frozen_batch}_norm."),
]
Layers = Annotated[Words, typer.Option("--layers", metavar="GLOB", help="Names of layers to convert; !GLOB leaves out. Repeatable.")]
Groups = Annotated[str | None, typer.Option("--groups", metavar="N", help="Groups of a GroupNorm at most; 32 by default.")]
Color = Annotated[str, typer.Option(metavar="WHEN", help="auto, always or never.")]


def choice(flag: str, value: str, known: Sequence[str]) -> str:
    """``value`` if it is one of the known words.

    Raises:
        UsageError: it is not; names the nearest.

    """
    if value not in known:
        raise UsageError(f"{flag} cannot be '{_brief(value)}'", hint=nearest(value, known) or f"one of {', '.join(known)}")
    return value


def positive(flag: str, value: str, *, whole: bool) -> float:
    """The number a flag was given.

    Raises:
        UsageError: it is none, or not above 0.

    """
    try:
        number = int(value) if whole else float(value)
    except ValueError:
        number = 0
    if not 0 < number < 10**9 or not math.isfinite(number):
        kind = "a whole number" if whole else "a number"
        raise UsageError(f"{flag} cannot be '{_brief(value)}'", hint=f"{kind} above 0")
    return number


def words_of(values: Sequence[str] | None) -> tuple[str, ...]:
    """Values of a repeatable flag, each of which may hold several separated by commas."""
    return tuple(word for value in values or () for part in value.split(",") if (word := part.strip()))


def context_of(**flags: str | bool | None) -> RunContext:
    """The run context that flags say, by the name of its key.

    Raises:
        UsageError: a value is out of range; names the flag.

    """
    context = RunContext()
    for key, value in flags.items():
        try:
            context = context.merged(parse_context({key: value}))
        except ConfigError as error:
            flag = "--" + key.replace("_", "-")
            raise UsageError(error.message.replace(f"'{key}'", flag, 1), hint=error.hint) from error
    return context


def overridden(settings: Settings, **flags: Any) -> Settings:
    """Settings with what the flags say put over them; a flag that is ``None`` says nothing.

    Raises:
        UsageError: a value of a flag is wrong.

    """
    # Of a setting that a flag changes, the place in the file would mislead.
    given = {name for name, value in flags.items() if value}
    changes: dict[str, Any] = {"locations": {key: place for key, place in settings.locations.items() if key.partition(".")[0] not in given}}
    if flags["select"]:
        changes["select"] = words_of(flags["select"])
    for name in ("ignore", "extend_select"):
        changes[name] = (*getattr(settings, name), *words_of(flags[name]))
    changes["exclude"] = (*settings.exclude, *(flags["exclude"] or ()))
    changes["severity"] = {**settings.severity, **_severities(flags["severity"])}
    changes["rules"] = (*settings.rules, *(flags["rules"] or ()))
    if flags["baseline"] is not None:
        changes["baseline"] = flags["baseline"]
    if flags["fail_on"] is not None:
        changes["fail_on"] = Severity(choice("--fail-on", flags["fail_on"], list(Severity)))
    if flags["timeout"] is not None:
        changes["timeout"] = positive("--timeout", flags["timeout"], whole=False)
    if flags["memory"] is not None:
        changes["memory"] = int(positive("--memory", flags["memory"], whole=True))
    return replace(settings, **changes)


def _severities(values: Sequence[str] | None) -> dict[str, Any]:
    levels = [*Severity, "off"]
    found: dict[str, Any] = {}
    for value in words_of(values):
        rule, equals, level = value.partition("=")
        if not equals or not rule:
            raise UsageError(f"--severity cannot be '{_brief(value)}'", hint="write RULE=LEVEL, such as NA102=error")
        found[rule.strip()] = choice(f"--severity {_brief(rule)}", level.strip(), levels)
    return found


def _brief(value: str) -> str:
    return value if len(value) <= 60 else value[:57] + "..."
