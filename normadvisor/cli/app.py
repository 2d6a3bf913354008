"""The commands and how they hang together."""

from __future__ import annotations

from typing import Annotated

import typer

from normadvisor.cli import audit, check, fix, optimize, probe, rule
from normadvisor.cli.quick import QuickCommand, QuickGroup

__all__ = ["app"]

app = typer.Typer(
    name="normadvisor",
    cls=QuickGroup,
    help="Finds and mends normalization and activation mistakes in PyTorch models.",
    no_args_is_help=True,
    rich_markup_mode=None,
    pretty_exceptions_enable=False,
    add_completion=False,
)
app.command("check", cls=QuickCommand)(check.check_command)
app.command("fix", cls=QuickCommand)(fix.fix_command)
app.command("probe", cls=QuickCommand)(probe.probe_command)
app.command("optimize", cls=QuickCommand)(optimize.optimize_command)
app.command("audit", cls=QuickCommand)(audit.audit_command)
app.add_typer(rule.app, name="rule")


def _version(value: bool) -> None:  # noqa: FBT001 - the signature of an option's callback
    if value:
        from normadvisor import __version__

        typer.echo(f"normadvisor {__version__}")
        raise typer.Exit


@app.callback()
def normadvisor(
    *,
    version: Annotated[bool, typer.Option("--version", callback=_version, is_eager=True, help="Print the version and exit.")] = False,
) -> None:
    """Find and mend normalization and activation mistakes in PyTorch models."""
