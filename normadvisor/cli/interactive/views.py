"""What the views look like: lines of rich text for a width, without a terminal."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING

from rich.console import Console
from rich.text import Text

from normadvisor.cli.interactive.session import Answer, Finished, Menu, Question
from normadvisor.files.overlay import overlaid
from normadvisor.report import RenderOptions
from normadvisor.report.clean import can_draw, one_line
from normadvisor.report.textual import blocks
from normadvisor.types import Applicability, Finding, Fix, Report

if TYPE_CHECKING:
    from normadvisor.rulebook.model import Rule

__all__ = ["Painter"]

LABEL = 12
"""Columns up to what is said of a finding, as in reports."""
MOST_CHANGED = 120
"""Lines of a diff that are shown: what scrolls off the screen is not read."""
APPLICABILITY = {
    Applicability.SAFE: ("safe", "green"),
    Applicability.UNSAFE: ("unsafe", "yellow"),
    Applicability.DISPLAY: ("in words only", "dim"),
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Painter:
    """Draws views.

    ``diff`` gives the unified diff of the fix that a question shows, coloured by escape sequences.
    """

    options: RenderOptions
    rules: Mapping[str, Rule]
    diff: Callable[[Question], str]
    contents: Mapping[Path, bytes] = field(default_factory=dict)
    """What files hold whose changes are not written yet."""

    def at_width(self, width: int) -> Painter:
        """The same for another width."""
        return replace(self, options=replace(self.options, width=width))

    def question(self, view: Question) -> list[Text]:
        """Code, reason, evidence and the diff of the fix, and last the prompt."""
        item, fix = view.item, view.item.fixes[view.fix]
        if view.again:
            return [*self.notices(view.notices), *self._prompt(view, fix)]
        lines = [*self.notices(view.notices), Text(), self._rule(f"{view.number} of {view.total}"), *self._finding(item.finding)]
        lines += [Text(), *self._fix(fix)]
        if fix.edits:
            lines += [Text(), *self._diff(self.diff(view))]
        return [*lines, Text(), *self._prompt(view, fix)]

    def menu(self, view: Menu) -> list[Text]:
        """Every fix with its trade-off, and last the prompt."""
        failed = dict(view.failed)
        prompt = self._wrapped(Text.assemble(("Which fix?", "bold"), " ", (f"[1-{len(view.item.fixes)}] [b]ack", "bold blue"), " "), 0)
        if view.again:
            return [*self.notices(view.notices), *prompt]
        lines = [*self.notices(view.notices), Text()]
        for number, fix in enumerate(view.item.fixes):
            mark = ">" if number == view.fix else " "
            head = Text.assemble(f"{mark} ", (str(number + 1), "bold"), "  ", _head(fix))
            lines += self._wrapped(head, 0, hanging=5)
            lines += self._about(fix, 5)
            if number in failed:
                lines += self._wrapped(Text(f"rolled back: {one_line(failed[number])}", style="red"), 5)
        return [*lines, Text(), *prompt]

    def finished(self, view: Finished) -> list[Text]:
        """What happened last."""
        one = view.left == 1
        left = [f"{view.left} finding{' was' if one else 's were'} left"] if view.left else []
        return self.notices([*view.notices, *left])

    def explanation(self, rule: str) -> list[Text]:
        """The page of a rule."""
        found = self.rules.get(rule)
        if found is None:
            return [Text(f"there is no page about {one_line(rule)}")]
        from rich.markdown import Markdown

        from normadvisor.rulebook.explain import explain_markdown

        console = Console(width=self.options.width, color_system="standard", force_terminal=True, legacy_windows=False, _environ={})
        with console.capture() as captured:
            console.print(Markdown(explain_markdown(found), code_theme="ansi_dark", hyperlinks=False))
        return [Text.from_ansi(line) for line in captured.get().rstrip("\n").split("\n")]

    def notices(self, notices: Iterable[str]) -> list[Text]:
        """Sentences about what happened."""
        return [line for notice in notices for line in self._wrapped(Text(one_line(notice), style="italic"), 0)]

    def _rule(self, words: str) -> Text:
        line = "\u2500" if can_draw(self.options.encoding) else "-"
        head = f"{line * 2} {words} "
        return Text(head + line * max(0, self.options.width - len(head)), style="dim")

    def _finding(self, finding: Finding) -> list[Text]:
        """As in a report, without the fix and with the reason."""
        bare = replace(finding, fix=None, alternatives=())
        with overlaid(self.contents):
            lines = next(iter(blocks(Report(findings=(bare,)), self.options, self.options.width)))
        rule = self.rules.get(finding.rule)
        if rule is None:
            return lines
        from normadvisor.rulebook.explain import first_sentence

        return lines + self._labelled("why", Text(one_line(first_sentence(rule.why))))

    def _fix(self, fix: Fix) -> list[Text]:
        return self._labelled("fix", _head(fix)) + self._about(fix, LABEL)

    def _about(self, fix: Fix, indent: int) -> list[Text]:
        lines = []
        if fix.title:
            lines += self._wrapped(Text(one_line(fix.description)), indent)
        if fix.trade_off:
            lines += self._wrapped(Text.assemble(("trade-off: ", "dim"), one_line(fix.trade_off)), indent)
        if not fix.edits and fix.refused:
            lines += self._wrapped(Text.assemble(("not in the source: ", "dim"), one_line(fix.refused)), indent)
        return lines

    def _diff(self, diff: str) -> list[Text]:
        whole = diff.removesuffix("\n").split("\n")
        shown = whole if len(whole) <= MOST_CHANGED else whole[: MOST_CHANGED - 1]
        lines = [Text.from_ansi(line) for line in shown]
        for line in lines:
            line.expand_tabs(4)
        if len(shown) < len(whole):
            dots = "\u2026" if can_draw(self.options.encoding) else "..."
            lines.append(Text(f"{dots} and {len(whole) - len(shown)} more lines; --diff prints them all", style="dim"))
        return lines

    def _labelled(self, label: str, text: Text) -> list[Text]:
        lines = self._wrapped(text, LABEL)
        lines[0] = Text.assemble(("  " + label).ljust(LABEL), lines[0][LABEL:])
        lines[0].stylize("dim", 0, LABEL)
        return lines

    def _prompt(self, view: Question, fix: Fix) -> list[Text]:
        words = "Apply this fix?" if fix.edits else "What now?"
        keys = " ".join(_bracketed(answer) for answer in view.answers)
        return self._wrapped(Text.assemble((words, "bold"), " ", (keys, "bold blue"), " "), 0)

    def _wrapped(self, text: Text, indent: int, *, hanging: int | None = None) -> list[Text]:
        """Lines of at most the width; those after the first begin at ``hanging``."""
        following = indent if hanging is None else hanging
        lines = text.wrap(Console(width=self.options.width, _environ={}), max(20, self.options.width - max(indent, following)))
        for line in lines:
            line.rstrip()
        return [Text.assemble(" " * (following if number else indent), line) for number, line in enumerate(lines)] or [Text()]


def _head(fix: Fix) -> Text:
    return Text.assemble((one_line(fix.title or fix.description), "bold"), " (", APPLICABILITY[fix.applicability], ")")


def _bracketed(answer: Answer) -> str:
    """``[y]es``."""
    return f"[{answer.key}]{answer.words.removeprefix(answer.key)}"
