from __future__ import annotations

from normadvisor.report import RenderOptions, render
from normadvisor.types import ModelSummary, Report, TraceKind

TABLE = "title\n" + "\n".join(f"{row}  {'x' * 100}" for row in range(2)) + "\n"
REPORT = Report(models=(ModelSummary(target="a.py:A", trace=TraceKind.SYMBOLIC),), graphs=(TABLE,))


def test_a_pipe_gets_whole_lines():
    assert render(REPORT, "text", options=RenderOptions(width=60)) == f"{TABLE}\nNo findings in 1 model.\n"


def test_a_terminal_gets_lines_that_fit():
    lines = render(REPORT, "text", options=RenderOptions(width=60, terminal=True)).splitlines()
    assert lines == [
        "title",
        f"0  {'x' * 56}…",
        f"1  {'x' * 56}…",
        "lines are cut at the width of the terminal; --output FILE or a pipe gets them whole",
        "",
        "No findings in 1 model.",
    ]


def test_a_wide_terminal_gets_whole_lines():
    assert render(REPORT, "text", options=RenderOptions(width=200, terminal=True)) == f"{TABLE}\nNo findings in 1 model.\n"


def test_ascii_terminals_get_dots():
    text = render(REPORT, "text", options=RenderOptions(width=60, terminal=True, encoding="ascii"))
    assert f"0  {'x' * 54}...\n" in text
