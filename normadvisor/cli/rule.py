"""``normadvisor rule``: the catalogue, one rule explained, and the tools to write and test rules."""

from __future__ import annotations

import json
import os
import sys
from collections import Counter
from collections.abc import Sequence
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

if TYPE_CHECKING:
    from rich.console import Console
    from rich.table import Table
    from rich.text import Text

    from normadvisor.rulebook.catalogue import RuleBook
    from normadvisor.rulebook.model import Rule
    from normadvisor.rulebook.trial import Outcome, Trial
    from normadvisor.types import Location

__all__ = ["app"]

app = typer.Typer(help="List, explain, write and test rules.", no_args_is_help=True, rich_markup_mode=None)


class ListFormat(StrEnum):
    """How a list or a result is printed."""

    TEXT = "text"
    JSON = "json"


class NewScope(StrEnum):
    """What a new rule looks at."""

    GRAPH = "graph"
    SCRIPT = "script"
    PROBE = "probe"


class PageFormat(StrEnum):
    """How an explanation is printed."""

    TEXT = "text"
    MARKDOWN = "markdown"


RulesOption = Annotated[
    list[Path] | None, typer.Option("--rules", metavar="DIR", help="Folder or file with further rules; may be given several times.")
]

_COLOURS = {"info": "cyan", "warning": "yellow", "error": "red"}
_WIDTH = 160
"""Columns of a table that goes to a file or a pipe."""


@app.command("list")
def list_rules(
    rules: RulesOption = None,
    select: Annotated[
        list[str] | None, typer.Option(metavar="ID", help="Only rules with this id, name or prefix; may be given several times.")
    ] = None,
    output_format: Annotated[ListFormat, typer.Option("--format", help="How to print them.")] = ListFormat.TEXT,
) -> None:
    """List the rules: built-in ones and those of --rules."""
    chosen = _chosen(rules, select)
    if output_format is ListFormat.JSON:
        _print_json([_entry(rule) for rule in chosen])
        return
    from rich.table import Table
    from rich.text import Text

    table = Table(box=None, pad_edge=False, header_style="bold")
    for name in ("rule", "name", "severity", "scope", "summary"):
        table.add_column(name, no_wrap=name != "summary")
    for rule in chosen:
        severity = Text(rule.severity, style=_COLOURS[rule.severity])
        table.add_row(rule.id, rule.name, severity, f"{rule.scope}{', script' if rule.script else ''}", Text(rule.summary.strip()))
    _print_table(table)


@app.command()
def explain(
    rule: Annotated[str | None, typer.Argument(metavar="RULE", help="Id or name of a rule, such as NA102.")] = None,
    rules: RulesOption = None,
    output_format: Annotated[PageFormat, typer.Option("--format", help="How to print the page.")] = PageFormat.TEXT,
    every: Annotated[bool, typer.Option("--all", help="All rules instead of one.")] = False,  # noqa: FBT002
    write: Annotated[
        Path | None, typer.Option(metavar="DIR", help="With --all: write the documentation, one page per rule, to this folder.")
    ] = None,
) -> None:
    """Explain a rule: what it does, why, its numbers and sources, exemptions, examples and what its fix changes."""
    from normadvisor.errors import UsageError
    from normadvisor.rulebook.explain import explain_markdown

    if (rule is None) != every:
        raise UsageError("name one rule to explain, or give --all", hint="'normadvisor rule list' shows them")
    if write is not None and not every:
        raise UsageError("--write writes the pages of all rules", hint="add --all")
    book = _book(rules)
    if write is not None:
        from normadvisor.rulebook.docs import write_documentation

        changed = write_documentation(write, book)
        typer.echo(f"{len(changed)} files changed in {write}", err=True)
        return
    pages = [explain_markdown(item) for item in (book if rule is None else [book.get(rule)])]
    if output_format is PageFormat.MARKDOWN or not sys.stdout.isatty():  # a pipe gets the page as it is, to search and to store
        typer.echo("\n".join(pages), nl=False)
        return
    from rich.markdown import Markdown

    console = _console()
    for page in pages:
        console.print(Markdown(page, code_theme="ansi_dark", hyperlinks=False))


@app.command()
def new(
    rule_id: Annotated[str, typer.Argument(metavar="ID", help="Id of the new rule, such as AC001.")],
    name: Annotated[str, typer.Argument(metavar="NAME", help="Its name: words joined by hyphens.")],
    folder: Annotated[Path, typer.Option("--dir", metavar="DIR", help="Folder of your rules; made if it is not there.")] = Path("rules"),
    scope: Annotated[NewScope, typer.Option(help="What the rule looks at: a model's graph, source, or a measurement.")] = NewScope.GRAPH,
) -> None:
    """Write a new rule to start from: commented, valid, with examples that pass."""
    from normadvisor.errors import RuleError
    from normadvisor.rulebook.skeleton import new_rule

    book = _book(None)
    taken = next((item for item in book if rule_id == item.id or name == item.name), None)
    if taken is not None:
        raise RuleError(f"there is a built-in rule {taken.id} {taken.name}", hint="choose another id and name")
    path = new_rule(rule_id, name, folder, scope)
    typer.echo(str(path))
    typer.echo(f"next: edit it, run 'normadvisor rule test {folder}', then 'normadvisor check --rules {folder} ...'", err=True)


@app.command()
def schema(
    output: Annotated[Path | None, typer.Option(metavar="FILE", help="Write it to a file instead of standard output.")] = None,
) -> None:
    """Print the JSON Schema of rule files, for editors."""
    from normadvisor.errors import UsageError
    from normadvisor.rulebook.schema import schema_text

    if output is None:
        typer.echo(schema_text(), nl=False)
        return
    try:
        output.write_text(schema_text(), encoding="utf-8", newline="\n")
    except OSError as error:
        raise UsageError(f"'{output}' cannot be written: {error.strerror}") from error


@app.command("test")
def run_examples(
    place: Annotated[Path | None, typer.Argument(metavar="[DIR]", help="Folder or file with rules; the built-in ones by default.")] = None,
    select: Annotated[
        list[str] | None, typer.Option(metavar="ID", help="Only rules with this id, name or prefix; may be given several times.")
    ] = None,
    output_format: Annotated[ListFormat, typer.Option("--format", help="How to print the result.")] = ListFormat.TEXT,
) -> None:
    """Run the examples of rules as tests: bad ones must be found, good and fixed ones must stay silent."""
    from normadvisor.rulebook.trial import Verdict, trials

    chosen = _under(_chosen([place] if place else None, select), place)
    outcomes = _run(list(trials(chosen)))
    failed = [outcome for outcome in outcomes if outcome.verdict is not Verdict.PASSED]
    if output_format is ListFormat.JSON:
        _print_json(_result(chosen, outcomes))
    else:
        _print_result(chosen, outcomes, failed)
    raise typer.Exit(1 if failed else 0)


def _book(rules: Sequence[Path] | None) -> RuleBook:
    from normadvisor.rulebook.catalogue import load_rules

    return load_rules(rules or ())


def _chosen(rules: Sequence[Path] | None, select: Sequence[str] | None) -> list[Rule]:
    """Rules by id, name or prefix; all by default."""
    from normadvisor.rulebook.catalogue import ALL, select_rules

    return select_rules(_book(rules), select=select or [ALL])


def _under(rules: Sequence[Rule], place: Path | None) -> list[Rule]:
    """Those of the rules whose file is ``place`` or lies in it."""
    if place is None:
        return list(rules)
    resolved = place.resolve()
    return [rule for rule in rules if Path(rule.source).resolve().is_relative_to(resolved)]


def _run(jobs: Sequence[Trial]) -> list[Outcome]:
    """Check every example with its own rule alone, in a worker process."""
    from normadvisor.api import SourceJob, check_sources
    from normadvisor.config import parse_context
    from normadvisor.rulebook.trial import judge

    sources = [
        SourceJob(
            code=trial.example.code,
            rules=[trial.rule],
            model=trial.example.model,
            inputs=trial.example.inputs,
            context=parse_context(trial.example.context),
            script=trial.is_script,
            probing=trial.options() if trial.is_probe else None,
        )
        for trial in jobs
    ]
    from rich.console import Console

    outcomes = []
    with Console(stderr=True).status(f"running {len(jobs)} examples"):
        reports = check_sources(sources)
    for trial, report in zip(jobs, reports, strict=True):
        problems = [problem.message for problem in report.problems]
        if not report.models and not problems and not trial.is_script:
            problems = ["no model was found in the example: give 'model' the name of a class or of a function without arguments"]
        outcomes.append(judge(trial, report.findings, problems))
    return outcomes


def _location(outcome: Outcome) -> Location | None:
    """Where the example stands in its rule's file."""
    from normadvisor.rulebook.load import load_file

    trial = outcome.trial
    if not trial.rule.source:
        return None
    return load_file(Path(trial.rule.source)).document.locate(("examples", str(trial.kind), trial.position - 1))


def _counts(rule: Rule, outcomes: Sequence[Outcome]) -> dict[str, int]:
    """Numbers of examples and verdicts of one rule."""
    from normadvisor.rulebook.trial import Verdict

    own = Counter(outcome.verdict for outcome in outcomes if outcome.trial.rule.id == rule.id)
    examples = {"bad": rule.examples.bad, "good": rule.examples.good, "fixed": rule.examples.fixed}
    return {
        **{kind: len(found) for kind, found in examples.items()},
        **{str(verdict): own[verdict] for verdict in (Verdict.MISSING, Verdict.NOISY, Verdict.ERROR)},
    }


def _result(rules: Sequence[Rule], outcomes: Sequence[Outcome]) -> dict[str, Any]:
    """The result as JSON."""
    examples = []
    for outcome in outcomes:
        trial = outcome.trial
        examples.append({
            "rule": trial.rule.id,
            "kind": str(trial.kind),
            "example": trial.position,
            "verdict": str(outcome.verdict),
            "reason": outcome.reason or None,
            "expected": list(outcome.expected),
            "found": list(outcome.found),
        })  # fmt: skip
    return {"rules": [{"id": rule.id, "name": rule.name, **_counts(rule, outcomes)} for rule in rules], "examples": examples}


def _print_result(rules: Sequence[Rule], outcomes: Sequence[Outcome], failed: Sequence[Outcome]) -> None:
    """A row per rule, then every example that did not pass."""
    from rich.table import Table
    from rich.text import Text

    console = _console()
    table = Table(box=None, pad_edge=False, header_style="bold")
    for name in ("rule", "name", "bad", "good", "fixed", "missing", "noisy", "error"):
        table.add_column(name, justify="left" if name in {"rule", "name"} else "right")
    for rule in rules:
        counts = _counts(rule, outcomes)
        cells = [_number(number, bad=key in {"missing", "noisy", "error"}) for key, number in counts.items()]
        table.add_row(rule.id, rule.name, *cells)
    _print_table(table)
    for outcome in failed:
        head = Text.assemble((f"{outcome.verdict}", "bold red"), f" {outcome.trial.label}")
        place = _location(outcome)
        above = "\n" if outcome is failed[0] else ""
        console.print(Text.assemble(above, head, f" at {place}: " if place else ": ", outcome.reason), soft_wrap=True)
    passed = len(outcomes) - len(failed)
    console.print(f"\n{passed} of {len(outcomes)} examples of {len(rules)} rules as they should be", highlight=False)


def _number(number: int, *, bad: bool) -> Text:
    from rich.text import Text

    return Text(str(number), style="bold red" if bad and number else "")


def _entry(rule: Rule) -> dict[str, Any]:
    """A rule in the JSON list."""
    return {
        "id": rule.id,
        "name": rule.name,
        "severity": str(rule.severity),
        "confidence": str(rule.confidence),
        "scope": rule.scope,
        "summary": rule.summary.strip(),
        "fix": str(rule.fix.applicability) if rule.fix else None,
        "source": rule.source,
    }


def _print_json(value: Any) -> None:
    typer.echo(json.dumps(value, indent=2, ensure_ascii=False))


def _console() -> Console:
    """Standard output; wide when nobody watches, so that a pipe gets whole lines."""
    from rich.console import Console

    return Console() if sys.stdout.isatty() or "COLUMNS" in os.environ else Console(width=_WIDTH)


def _print_table(table: Table) -> None:
    """A table; without the spaces at the ends of its lines where it goes into a pipe."""
    console = _console()
    if sys.stdout.isatty():
        console.print(table)
        return
    with console.capture() as captured:
        console.print(table)
    typer.echo("\n".join(line.rstrip() for line in captured.get().splitlines()))
