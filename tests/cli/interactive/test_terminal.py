"""``fix -i`` in a real pseudo-terminal, as a user sees it."""

from __future__ import annotations

import signal
import subprocess
import sys
import time
from pathlib import Path

import psutil
import pytest

PROGRAM = Path(__file__).with_name("fake_program.py")
CODE = "a = old  # NA102 new\nb = old  # NA102 new\nc = old  # NA104 breaks unsafe words\nd = 1\n"
QUESTION = r"\[q\]uit$"

FIRST = """\

── 1 of 3 ──────────────────────────────────────────────────────────────────────
fk.py:1:5  NA102 some-rule  [warning, confirmed]
  a is old

  > 1 │ a = old  # NA102 new
      │     ^^^
    2 │ b = old  # NA102 new

  evidence  age: 3
  why       A bias adds one number per channel.

  fix       Use new (safe)
            Put new in place of old.
            trade-off: new costs more

--- a/fk.py
+++ b/fk.py
@@ -1,4 +1,4 @@
-a = old  # NA102 new
+a = new  # NA102 new
 b = old  # NA102 new
 c = old  # NA104 breaks unsafe words
 d = 1

Apply this fix? [y]es [n]o [a]ll of NA102 [s]kip NA102 [e]xplain [q]uit"""


@pytest.fixture
def fixing(terminal, tmp_path):
    """Start ``fix -i`` on a file and wait for the first question."""

    def start(*flags, code=CODE, wait=QUESTION, **options):
        (tmp_path / "fk.py").write_text(code)
        found = terminal(PROGRAM, "fix", "-i", "fk.py", *flags, **{"columns": 80, **options})
        if wait:
            found.wait(wait)
        return found

    return start


def content(tmp_path):
    return (tmp_path / "fk.py").read_text()


def test_the_first_question_shows_code_reason_evidence_and_diff(fixing):
    found = fixing()
    assert found.screen.text == FIRST
    assert found.screen.colored


def test_yes_is_tried_and_written_at_the_end(fixing, tmp_path):
    found = fixing()
    found.type("y")
    found.wait("2 of 3")
    assert content(tmp_path) == CODE
    assert "\nfixed: outputs, gradients and buffers equal in float64, train and eval, 3 draws" in found.screen.history
    found.wait(QUESTION)
    found.type("n")
    found.wait("3 of 3")
    found.wait(QUESTION)
    found.type("n")
    assert found.end() == 1
    assert content(tmp_path) == CODE.replace("a = old", "a = new")
    tail = found.screen.history.partition("Found 2 findings in 1 model: 2 warnings; 2 fixable with `normadvisor fix`.\n")[2]
    assert tail.splitlines()[0] == "Fixed 1 finding in 1 file (1 safe)."
    assert found.modes == found.before
    assert not found.screen.cursor_hidden


def test_quit_writes_what_holds(fixing, tmp_path):
    found = fixing()
    found.type("a")
    found.wait("3 of 3")
    found.wait(QUESTION)
    found.type("q")
    assert found.end() == 1
    assert "[q]uit q\n1 finding was left\n" in found.screen.history
    assert content(tmp_path) == CODE.replace("a = old", "a = new").replace("b = old", "b = new")


def test_what_is_rolled_back_is_told_and_another_fix_chosen(fixing, tmp_path):
    found = fixing()
    found.type("s")
    found.wait("3 of 3")
    found.wait(QUESTION)
    found.type("y")
    found.wait("rolled back: the outputs differ by 0.5\n.*another fix of the same finding:")
    found.wait(QUESTION)
    found.type("c")
    screen = found.wait(r"\[b\]ack$")
    assert screen.partition("[q]uit c\n")[2] == """
  1  Use breaks (safe)
     Put breaks in place of old.
     trade-off: breaks costs more
     rolled back: the outputs differ by 0.5
> 2  Use unsafe (unsafe)
     Put unsafe in place of old.
     trade-off: unsafe costs more
  3  Use words (in words only)
     Put words in place of old.
     trade-off: words costs more

Which fix? [1-3] [b]ack"""
    found.type("3")
    found.wait("3 cannot be applied: it is in words only\nWhich")
    found.type("2")
    found.wait(QUESTION)
    found.type("y")
    assert found.end() == 1
    assert content(tmp_path) == CODE.replace("c = old", "c = unsafe")


def test_diffs_show_what_is_left_of_the_file_after_what_holds(fixing):
    found = fixing()
    found.type("y")
    found.wait(r"2 of 3[^\x00]*\n a = new[^\x00]*\n-b = old[^\x00]*\n\+b = new")


def test_undo_takes_an_answer_back(fixing, tmp_path):
    found = fixing()
    found.type("y")
    found.wait("2 of 3")
    found.wait(QUESTION)
    found.type("u")
    found.wait("took the last answer back\n\n── 1 of 3")
    found.wait(QUESTION)
    found.type("q")
    assert found.end() == 1
    assert content(tmp_path) == CODE
    assert found.screen.text.endswith("Nothing was fixed.")


def test_ctrl_c_at_a_question_writes_nothing_and_says_so(fixing, tmp_path):
    found = fixing()
    found.type("y")
    found.wait("2 of 3")
    found.wait(QUESTION)
    found.type("\x03")
    assert found.end() == 130
    assert found.screen.text.endswith("[q]uit\ninterrupted: nothing was written")
    assert content(tmp_path) == CODE
    assert found.modes == found.before


def test_ctrl_c_while_a_fix_is_tried(fixing, tmp_path):
    found = fixing(code="a = old  # NA102 slow\n")
    found.type("y")
    found.wait("checking the fix: proving net.py:Net")
    time.sleep(0.3)
    found.type("\x03")
    assert found.end() == 130
    assert found.screen.text.endswith("interrupted: nothing was written")
    assert content(tmp_path) == "a = old  # NA102 slow\n"
    assert found.modes == found.before
    assert not found.screen.cursor_hidden


def test_what_is_typed_while_a_fix_is_tried_answers_nothing(fixing):
    found = fixing()
    found.type("yyy")
    found.wait("2 of 3")
    found.wait(QUESTION)
    time.sleep(0.5)
    found._read(0.2)
    assert "3 of 3" not in found.screen.history


@pytest.mark.parametrize("columns", [120, 50])
def test_another_size_draws_the_question_anew(fixing, columns):
    found = fixing()
    found.type("x")
    found.wait("press one of y n a s e q\nApply")
    found.resize(45, columns)
    line = "── 1 of 3 " + "─" * (columns - 10)
    screen = found.wait(f"^\n{line}$")
    found.wait(QUESTION)
    assert screen.splitlines()[1] == line
    found.type("n")
    found.wait("2 of 3")


def test_a_narrow_terminal_wraps_between_words(fixing):
    found = fixing(columns=44, rows=60)
    assert found.screen.text.splitlines()[-2:] == ["Apply this fix? [y]es [n]o [a]ll of NA102", "[s]kip NA102 [e]xplain [q]uit"]
    assert max(len(line) for line in found.screen.text.splitlines()) <= 44


def test_the_explanation_comes_in_pages(fixing):
    found = fixing(rows=24, columns=80)
    found.type("e")
    found.wait("bias-before-norm \\(NA102\\)[^\x00]*-- space for more, q to go back --$")
    found.type(" ")
    found.wait("Numbers and sources[^\x00]*-- space for more, q to go back --$")
    assert "space for more" not in found.screen.history.rpartition("--")[0].rpartition("--")[0]
    found.type("q")
    found.wait(QUESTION)


def test_no_color_asks_without_colours(fixing):
    found = fixing(NO_COLOR="1")
    assert found.screen.text == FIRST
    assert not found.screen.colored
    found.type("q")
    assert found.end() == 1
    assert not found.screen.colored


def test_color_never(fixing):
    found = fixing("--color", "never")
    assert found.screen.text == FIRST
    assert not found.screen.colored


def test_a_dumb_terminal_takes_lines(fixing, tmp_path):
    found = fixing(TERM="dumb")
    assert found.screen.text == FIRST
    found.type("yes\n")
    found.wait("2 of 3")
    assert "\nchecking the fix\nfixed: outputs" in found.screen.history
    found.wait(QUESTION)
    found.type("quit\n")
    assert found.end() == 1
    assert not found.screen.colored
    assert content(tmp_path) == CODE.replace("a = old", "a = new")


def test_a_terminal_that_knows_ascii_only(fixing):
    found = fixing(PYTHONIOENCODING="ascii", wait="1 of 3")
    screen = found.wait(QUESTION)
    assert "-- 1 of 3 ---" in screen
    assert "  > 1 | a = old" in screen


def test_the_diff_goes_to_a_file_while_the_questions_are_on_the_terminal(terminal, tmp_path):
    (tmp_path / "fk.py").write_text(CODE)
    code = f"import os, sys\nos.dup2(os.open('out', os.O_WRONLY | os.O_CREAT), 1)\nos.execv(sys.executable, [sys.executable, {str(PROGRAM)!r}, 'fix', '-i', '--diff', 'fk.py'])"
    found = terminal("-c", code, columns=80)
    found.wait(QUESTION)
    found.type("y")
    found.wait("2 of 3")
    found.wait(QUESTION)
    found.type("q")
    assert found.end() == 1
    assert content(tmp_path) == CODE
    assert (tmp_path / "out").read_text().splitlines()[:3] == ["diff --git a/fk.py b/fk.py", "--- a/fk.py", "+++ b/fk.py"]
    assert "Would fix 1 finding in 1 file (1 safe)." in found.screen.history


def test_a_terminal_that_closes_ends_it_without_writing(fixing, tmp_path):
    found = fixing()
    found.type("y")
    found.wait("2 of 3")
    found.wait(QUESTION)
    found.signal(signal.SIGHUP)
    assert found.end() == -signal.SIGHUP
    assert content(tmp_path) == CODE


def piped(tmp_path, answers, *flags, code=CODE):
    (tmp_path / "fk.py").write_text(code)
    return subprocess.run(
        [sys.executable, PROGRAM, "fix", "-i", "fk.py", *flags], input=answers, capture_output=True, cwd=tmp_path, check=False, encoding="utf-8"
    )


def test_answers_from_a_pipe(tmp_path):
    done = piped(tmp_path, "y\nno\nc\n2\ny\n", "--format", "concise")
    assert done.returncode == 1
    assert done.stdout == "fk.py:2:5: NA102 [warning] b is old\nFound 1 finding in 1 model: 1 warning; 1 fixable with `normadvisor fix`.\n"
    assert "Apply this fix? [y]es [n]o [a]ll of NA102 [s]kip NA102 [e]xplain [q]uit y\n" in done.stderr
    assert "Fixed 2 findings in 1 file (1 safe, 1 unsafe)." in done.stderr
    assert "\x1b" not in done.stdout + done.stderr
    assert content(tmp_path) == CODE.replace("a = old", "a = new").replace("c = old", "c = unsafe")


def test_without_answers_nothing_is_written(tmp_path):
    done = piped(tmp_path, "")
    assert done.returncode == 1
    assert content(tmp_path) == CODE


def test_nothing_to_ask_about(tmp_path):
    done = piped(tmp_path, "", code="a = 1\n")
    assert (done.returncode, done.stdout) == (0, "No findings in 1 model.\n")
    assert done.stderr == "\n"


def test_fixes_that_change_the_same_text_are_asked_about_in_another_round(fixing, tmp_path):
    found = fixing(code="a = older  # NA104\nb = old  # NA102 new\n", columns=100)
    found.type("y")
    found.wait("2 of 3")
    found.wait(QUESTION)
    found.type("y")
    found.wait("it changes the same text as a fix that holds: this is asked again afterwards")
    found.wait("3 of 3")
    found.wait(QUESTION)
    found.type("n")
    screen = found.wait("1 of 1[^\x00]*a is old\n[^\x00]*\n-a = old  # NA104\n.a = new  # NA104")
    assert "  > 1 │ a = old " in screen
    found.wait(QUESTION)
    found.type("y")
    assert found.end() == 1
    assert content(tmp_path) == "a = new  # NA104\nb = old  # NA102 new\n"
    assert "Fixed 2 findings in 1 file (2 safe)." in found.screen.history


def test_findings_that_go_along_are_not_asked_about(fixing, tmp_path):
    found = fixing(code="a = old  # NA102 gone\nb = old  # NA102 new\nc = old  # NA102 new\n", columns=120)
    found.type("y")
    found.wait(r"worst 3e-15; 1 more finding went away\swith it")
    found.wait("3 of 3")


MODEL = """import torch
from torch import nn


class Net(nn.Module):
    def __init__(self):
        super().__init__()
        self.fc = nn.Linear(4, 8)
        self.bn = nn.BatchNorm1d(8)

    def forward(self, x):
        return torch.relu(self.bn(self.fc(x)))
"""


def test_a_model_from_end_to_end(terminal, tmp_path):
    (tmp_path / "net.py").write_text(MODEL)
    found = terminal("-m", "normadvisor", "check", "-i", "net.py")
    found.wait(QUESTION)
    found.type("y")
    assert found.end() == 0
    assert (tmp_path / "net.py").read_text() == MODEL.replace("nn.Linear(4, 8)", "nn.Linear(4, 8, bias=False)")
    assert "\nfixed: outputs, gradients and buffers equal in float64, train and eval, 3 draws, worst " in found.screen.history
    assert found.screen.history.endswith("  bn.running_mean -= fc.bias\n  fc.bias (dropped)")


def test_ctrl_c_while_a_proof_runs_leaves_no_process(terminal, tmp_path):
    (tmp_path / "net.py").write_text(MODEL.replace("        return", "        import time\n        time.sleep(0.5)\n        return"))
    found = terminal("-m", "normadvisor", "fix", "-i", "net.py")
    found.wait(QUESTION)
    found.type("y")
    found.wait("checking the fix: proving")
    family = psutil.Process(found.process.pid).children(recursive=True)
    assert family
    found.type("\x03")
    assert found.end() == 130
    assert found.screen.text.endswith("interrupted: nothing was written")
    assert psutil.wait_procs(family, timeout=100)[1] == []
    assert "bias=False" not in (tmp_path / "net.py").read_text()
