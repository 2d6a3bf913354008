import re
from dataclasses import replace
from html.parser import HTMLParser
from pathlib import Path

from optimize_samples import FOUND, REPORT

from normadvisor.report.optimize import html_optimize
from normadvisor.types import Report

EMPTY = {"meta", "path", "use", "rect", "circle", "br"}


class Page(HTMLParser):
    """Text by class of the element, and whether elements are closed in their order."""

    def __init__(self, text):
        super().__init__()
        self.open, self.words, self.hidden = [], [], False
        self.feed(text)

    def handle_starttag(self, tag, attrs):
        if tag not in EMPTY:
            self.open.append(tag)

    def handle_endtag(self, tag):
        if tag not in EMPTY:
            assert self.open.pop() == tag

    def handle_data(self, data):
        if data.strip() and not {"style", "script"} & set(self.open):
            self.words.append(" ".join(data.split()))


def test_the_page_says_what_the_table_says():
    page = Page(html_optimize(REPORT, root=Path.cwd()))
    assert page.open == []
    for words in (
        "net.py:Net", "1.12 times as fast: a pass takes 89.3 ms instead of 100 ms.", "5 x conv2d + batch_norm -> conv2d", "1.31x", "kept",
        "less than 3% faster here: left out", "on cpu torch's own is faster", "torch.compile + freezing", "There is nothing to replace.",
        "it raised ValueError", "measured twice",
    ):  # fmt: skip
        assert words in page.words


def test_a_ratio_is_a_bar_with_words_for_those_who_do_not_see_it():
    text = html_optimize(REPORT, root=Path.cwd())
    assert re.findall(r'aria-label="([^"]+)"', text) == [
        "1.31 times, quartiles 1.25 and 1.40", "1.12 times, quartiles 1.10 and 1.13", "1.01 times, quartiles 0.99 and 1.02",
        "0.80 times, quartiles 0.70 and 0.90",
    ]  # fmt: skip


def test_nothing_is_loaded_and_nothing_of_a_stranger_runs():
    hostile = replace(FOUND, target="<script>alert(1)</script>", notes=("<img src=x onerror=alert(1)>",))
    text = html_optimize(Report(optimizations=(hostile,), optimized=True), root=Path.cwd())
    assert "<script>alert" not in text
    assert "<img" not in text
    assert 'Content-Security-Policy" content="default-src &#39;none&#39;;' in text
    assert re.findall(r'(?:src|href)="(?!#)[^"]*"', text) == []
