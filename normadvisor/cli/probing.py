"""Runs that measure: what they print and which files they write."""

from __future__ import annotations

import sys
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from normadvisor.cli.printing import Printing, check_writable, print_notes, print_problems, print_report, write_file
from normadvisor.cli.progress import shown_progress
from normadvisor.errors import UsageError

if TYPE_CHECKING:
    from normadvisor.api.check import Checked, CheckOptions
    from normadvisor.api.verdict import Verdict
    from normadvisor.config import Settings
    from normadvisor.report import RenderOptions
    from normadvisor.types import Measurements

__all__ = ["Outputs", "probe_targets"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Outputs:
    """Where results go beside standard output."""

    html: Path | None = None
    json: Path | None = None
    log: str | None = None
    compare: tuple[Measurements, ...] = ()
    compared: Path | None = None
    audit: bool = False
    """Whether the verdict is wanted."""

    @classmethod
    def of(cls, given: Mapping[str, Any], *, audit: bool = False) -> Outputs:
        """What the flags say; everything that can be wrong with it is found before anything is measured.

        Raises:
            UsageError: a file cannot be written, or the earlier run cannot be read.

        """
        check_writable("--html", given["html"], "report.html")
        check_writable("--json", given["json"], "report.json")
        if given["log"] is not None:
            from normadvisor.report.logs import destination

            destination(given["log"])
        compared = given.get("compare")
        compare: tuple[Measurements, ...] = ()
        if compared is not None:
            from normadvisor.api.compare import read_run

            compare = read_run(compared)
        return cls(html=given["html"], json=given["json"], log=given["log"], compare=compare, compared=compared, audit=audit)


def probe_targets(
    targets: Sequence[str], settings: Callable[[Path], Settings], options: CheckOptions, printing: Printing, outputs: Outputs
) -> int:
    """Measure targets, print the report, write the files, and return the exit code.

    Raises:
        NormAdvisorError: an option, the configuration or a rule is wrong, the earlier run is of another model, or a file cannot be written.

    """
    from normadvisor.api.check import run_check

    begin = time.monotonic()
    with shown_progress(quiet=printing.quiet) as progress:
        checked = run_check(targets, settings, options, progress=progress)
    elapsed = time.monotonic() - begin
    if outputs.compared is not None:
        from normadvisor.api.compare import check_comparable

        note = check_comparable(checked.report.measurements, outputs.compare, outputs.compared)
        if note is not None:
            checked = replace(checked, report=replace(checked.report, notes=(*checked.report.notes, note)))
    print_notes(checked, printing)
    _print(checked, printing, outputs, elapsed)
    _write(checked, printing, outputs, elapsed)
    code = _verdict(checked).code if outputs.audit else checked.report.exit_code(checked.settings.fail_on)
    return 0 if code == 1 and printing.exit_zero else code


def _print(checked: Checked, printing: Printing, outputs: Outputs, elapsed: float) -> None:
    """The report on standard output or in a file: for people with measurements, for machines in their formats."""
    if (printing.format or checked.settings.format) != "text":
        print_report(checked, printing, elapsed)
        return
    if printing.output is None:
        sys.stdout.write(_text(checked, printing, outputs, elapsed))
        return
    write_file("--output", printing.output, _text(checked, printing, outputs, elapsed).encode("utf-8", "backslashreplace"))
    print_problems(checked)


def _text(checked: Checked, printing: Printing, outputs: Outputs, elapsed: float) -> str:
    from normadvisor.report.probe import render_audit, render_probe

    options = _options(checked, printing, elapsed)
    if outputs.audit:
        found = _verdict(checked)
        return render_audit(checked.report, options, go=found.shown, reasons=found.reasons, remarks=found.remarks, seconds=elapsed)
    return render_probe(checked.report, options, compare=outputs.compare or None)


def _options(checked: Checked, printing: Printing, elapsed: float) -> RenderOptions:
    from normadvisor.report import RenderOptions

    others: dict[str, Any] = {
        "root": Path.cwd(), "rules": checked.rules, "elapsed": elapsed, "fail_on": checked.settings.fail_on, "debug": printing.debug,
    }  # fmt: skip
    if printing.output is None:
        return RenderOptions.for_stream(sys.stdout, color=printing.use_color, **others)
    return RenderOptions(color=bool(printing.use_color), **others)


def _verdict(checked: Checked) -> Verdict:
    from normadvisor.api.verdict import verdict_of

    return verdict_of(checked.report, checked.settings.fail_on)


def _write(checked: Checked, printing: Printing, outputs: Outputs, elapsed: float) -> None:
    """The files that flags name."""
    if outputs.json is not None:
        write_file("--json", outputs.json, _json(checked, printing, outputs, elapsed).encode("ascii"))
    if outputs.html is not None:
        from normadvisor.report.html import html_audit, html_probe

        root = Path.cwd()
        if outputs.audit:
            found = _verdict(checked)
            page = html_audit(checked.report, go=found.shown, reasons=found.reasons, remarks=found.remarks, root=root)
        else:
            page = html_probe(checked.report, compare=outputs.compare or None, root=root)
        write_file("--html", outputs.html, page.encode("utf-8", "backslashreplace"))
    if outputs.log is not None and checked.report.measurements:
        from normadvisor.report.logs import log_measurements

        try:
            log_measurements(checked.report.measurements, outputs.log)
        except OSError as error:
            raise UsageError(f"--log: cannot write {outputs.log}: {error.strerror or error}") from error


def _json(checked: Checked, printing: Printing, outputs: Outputs, elapsed: float) -> str:
    from normadvisor.report import RenderOptions, render

    options = RenderOptions(
        root=Path.cwd(), rules=checked.rules, elapsed=elapsed, fail_on=checked.settings.fail_on, debug=printing.debug
    )  # fmt: skip
    text = render(checked.report, "json", options=options)
    if not outputs.audit:
        return text
    import json

    return json.dumps({**json.loads(text), "audit": _verdict(checked).to_dict()}, indent=2) + "\n"
