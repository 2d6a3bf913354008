"""Whatever stands in a file or on the command line, the answer is a report or one message: never a traceback."""

from __future__ import annotations

import ast
import contextlib
import io
import os
import string
import warnings
from pathlib import Path

import pytest
from hypothesis import HealthCheck, assume, example, given, settings
from hypothesis import strategies as st

import normadvisor.api.pool
import normadvisor.rulebook.catalogue
from normadvisor.cli.run import run
from normadvisor.rulebook import builtin_dir

MODEL = """import torch
from torch import nn


# normadvisor: batch_size=2 task=detection
class Net(nn.Module):
    def __init__(self, width=8):
        super().__init__()
        self.conv = nn.Conv2d(3, width, 3)
        self.bn = nn.BatchNorm2d(width)  # noqa: NA201

    def forward(self, x):
        return torch.relu(self.bn(self.conv(x))).mean((2, 3))
"""
CONFIG = """[tool.normadvisor]
select = ["NA1"]
ignore = []
severity = { NA102 = "error" }
exclude = ["build", "**/generated"]
timeout = 30
memory = 4096
batch_size = 32
task = "detection"
per-file-ignores = { "tests/*" = ["NA1"] }

[[tool.normadvisor.models]]
target = "net.py:Net(width=4)"
inputs = ["2x3x32x32"]
batch_size = 2
"""
BASELINE = '{"schema": 1, "tool": "normadvisor", "findings": [{"path": "net.py", "rule": "NA102", "message": "m", "count": 1, "fingerprint": "a"}]}'


@pytest.fixture(scope="module")
def place(tmp_path_factory, pool):
    """A folder to work in, one rule, and workers that stay."""
    folder = tmp_path_factory.mktemp("anything")
    rules = folder / "builtin"
    rules.mkdir()
    (rule,) = builtin_dir().rglob("NA102-*.yaml")
    (rules / rule.name).write_bytes(rule.read_bytes())

    class Shared:
        def __init__(self, **_options: object) -> None:
            pass

        def __enter__(self):
            return pool

        def __exit__(self, *_error: object) -> None:
            pass

    before = Path.cwd()
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(normadvisor.api.pool, "WorkerPool", Shared)
        # The other rules take most of the time and nothing here is about them.
        patch.setattr(normadvisor.rulebook.catalogue, "builtin_dir", lambda: rules)
        (folder / "work").mkdir()
        os.chdir(folder / "work")
        yield folder / "work"
        os.chdir(before)


def call(*arguments: str) -> tuple[int, str]:
    """Exit code and everything printed; fails on anything that is no answer."""
    out, err = io.StringIO(), io.StringIO()
    with contextlib.redirect_stdout(out), contextlib.redirect_stderr(err):
        code = run(arguments)
    text = out.getvalue() + err.getvalue()
    assert code in {0, 1, 2}
    assert "Traceback (most recent" not in text
    assert "internal error" not in text
    assert "bug of normadvisor" not in text
    assert (code == 2) == ("error: " in err.getvalue() or "could not check" in text), text
    return code, text


def write(path: Path, content: str | bytes) -> None:
    path.write_bytes(content if isinstance(content, bytes) else content.encode("utf-8", "surrogatepass"))


@st.composite
def damaged(draw, text: str) -> str:
    """A text with a few pieces cut out, doubled, exchanged, or replaced."""
    pieces = st.text(st.characters(exclude_categories=["Cs"]), max_size=6) | st.sampled_from(
        ["", "\n", "\t", "  ", "'", '"', "{", "}", "[", "]", ":", "- ", "#", "\0", "*", "&a ", "!!python/object:os.system", "1e999", "\ufeff", "null", "0x"]
    )
    for _ in range(draw(st.integers(1, 4))):
        start = draw(st.integers(0, len(text)))
        end = min(len(text), start + draw(st.integers(0, 12)))
        text = text[:start] + draw(pieces) + text[end:]
    return text


def damaged_bytes(text: str):
    def cut(data: tuple[str, int, bytes]) -> bytes:
        content, position, piece = data
        raw = content.encode("utf-8", "surrogatepass")
        at = position % (len(raw) + 1)
        return raw[:at] + piece + raw[at + len(piece) :]

    return st.tuples(damaged(text), st.integers(0, 10_000), st.binary(max_size=4)).map(cut)


RULE = next(builtin_dir().rglob("NA102-*.yaml")).read_text(encoding="utf-8").split("examples:")[0].replace("NA102", "AC001").replace(
    "bias-before-norm", "own-rule"
) + 'examples:\n  bad: [{code: "x = 1"}]\n  good: [{code: "x = 1"}]\n'  # fmt: skip

OTHERS = [HealthCheck.function_scoped_fixture, HealthCheck.too_slow]


@settings(max_examples=120, suppress_health_check=OTHERS)
@given(content=damaged_bytes(RULE) | st.binary(max_size=60) | st.text(max_size=60))
def test_rule_files(place, content):
    write(place / "own.yaml", content)
    write(place / "script.py", "x = 1\n")
    call("check", "script.py", "--rules", "own.yaml")


@settings(max_examples=60, suppress_health_check=OTHERS)
@given(content=damaged(RULE))
def test_rules_that_run(place, content):
    write(place / "own.yaml", content)
    write(place / "net.py", MODEL)
    call("check", "net.py", "--rules", "own.yaml")


@settings(max_examples=100, suppress_health_check=OTHERS)
@given(content=damaged_bytes(CONFIG) | st.binary(max_size=60) | st.text(max_size=60))
def test_configurations(place, content):
    write(place / "pyproject.toml", content)
    write(place / "script.py", "x = 1\n")
    try:
        call("check", "script.py", "--format", "concise")
    finally:
        (place / "pyproject.toml").unlink()


@settings(max_examples=80, suppress_health_check=OTHERS)
@given(content=damaged_bytes(MODEL) | st.binary(max_size=80) | st.text(max_size=80))
@example(content="class Net(nn.Module):\n" + "    " * 300 + "pass")
@example(content="from torch import nn\nx = " + "(" * 500 + ")" * 500)
@example(content="from torch import nn\nx = " + "-" * 5000 + "1")
def test_python_files(place, content):
    write(place / "net.py", content)
    call("check", "net.py", "--format", "json")


@settings(max_examples=15, suppress_health_check=OTHERS)
@given(content=damaged_bytes(MODEL.replace("  # noqa: NA201", "")))
@example(content=MODEL.replace("(3, width, 3)", "(3, width, 3\\\n)"))
@example(content=MODEL.replace("\n", "\r"))
def test_files_that_are_fixed(place, content):
    """What was Python stays Python, and a second run finds nothing more to do."""
    write(place / "net.py", content)
    before = parses(place / "net.py")
    code, _text = call("fix", "net.py", "--unsafe-fixes", "--format", "concise")
    assert parses(place / "net.py") == before
    if code != 2:
        assert call("fix", "net.py", "--unsafe-fixes", "--diff")[0] == 0


def parses(path: Path) -> bool:
    try:
        with warnings.catch_warnings(action="ignore"):
            ast.parse(path.read_bytes())
    except (SyntaxError, ValueError, MemoryError, RecursionError):
        return False
    return True


NOTEBOOK = """{"cells": [{"cell_type": "markdown", "source": ["# Title"]}, {"cell_type": "code", "source": ["%matplotlib inline\\n", "import torch\\n"]},
 {"cell_type": "code", "source": "!ls\\nmodel = torch.nn.BatchNorm2d(3)  # noqa: NA102\\n%time model(torch.ones(2, 3, 4, 4))"}],
 "metadata": {"kernelspec": {"language": "python"}}, "nbformat": 4, "nbformat_minor": 5}"""


@settings(max_examples=80, suppress_health_check=OTHERS)
@given(content=damaged_bytes(NOTEBOOK) | st.binary(max_size=80) | st.text(max_size=80))
@example(content="[" * 200_000)
@example(content='{"cells": [{"cell_type": "code", "source": ["def f():\\n", "    return ("]}]}')
@example(content='{"cells": [{"cell_type": "code", "source": "# normadvisor: nonsense\\nx = 1"}]}')
def test_notebooks(place, content):
    write(place / "net.ipynb", content)
    call("check", "net.ipynb", "--format", "concise", *(["--static"] if len(content) % 2 else []))


@settings(max_examples=80, suppress_health_check=OTHERS)
@given(content=damaged_bytes(MODEL) | st.binary(max_size=80) | st.text(max_size=80))
@example(content="from torch import nn\nx = " + "-" * 5000 + "1")
@example(content="x = " + "[" * 150 + "]" * 150)
@example(content="if x:\n" + "".join("    " * depth + "if x:\n" for depth in range(1, 99)) + "    " * 99 + "pass\n")
def test_scripts(place, content):
    write(place / "script.py", content)
    call("check", "--static", "script.py", "--format", "json")


WORDS = st.sampled_from(
    ["net.py", "net", ":", "Net", "(", ")", "(width=4)", "(1, 2)", ".", "torch.nn", "torch", "os", "path", "=", "'", "[", "**", " ", "é", "\\", "\n", "1"]
)


@settings(max_examples=100, suppress_health_check=OTHERS)
@given(target=st.lists(WORDS, min_size=1, max_size=7).map("".join) | st.text(max_size=30) | damaged("net.py:Net(width=4)"))
@example(target="net.py:Net(" + "(" * 300)
@example(target="net.py:Net(9**9**9)")
@example(target="a" * 5000)
def test_targets(place, target):
    write(place / "net.py", MODEL)
    with contextlib.suppress(OSError, ValueError):
        assume(not Path(target.strip()).is_dir())
    call("check", "--format", "concise", "--", target)


@settings(max_examples=80, suppress_health_check=OTHERS)
@given(
    text=st.text(max_size=20)
    | damaged("mask=2x3x32x32:float32")
    | st.lists(st.sampled_from(["2", "x", "3", ":", "int64", "=", "-1", "0", "99999999999999999999", "1e9", "x=", ",", "bool"]), max_size=8).map("".join)
)
def test_inputs(place, text):
    write(place / "net.py", MODEL)
    call("check", "net.py", f"--input={text}", "--format", "json")


FLAGS = ["--batch-size", "--task", "--loss", "--world-size", "--precision", "--distributed", "--select", "--ignore", "--extend-select", "--severity",
         "--format", "--fail-on", "--exclude", "--timeout", "--memory", "--jobs", "--color", "--config", "--baseline", "--rules", "--cache-dir", "--unknown"]  # fmt: skip
VALUES = st.text(st.characters(exclude_categories=["Cs"]), max_size=12) | st.sampled_from(
    ["", "0", "-1", "nan", "inf", "1e400", "9" * 5000, "NA", "NA1", "NA102=", "NA102=off", "=", ",", "json", "none", "ALL", "\0", "*", "[", "./.", "a/b"]
)


@settings(max_examples=100, suppress_health_check=OTHERS)
@given(flags=st.lists(st.tuples(st.sampled_from(FLAGS), VALUES), min_size=1, max_size=3))
def test_flags(place, flags):
    write(place / "script.py", "x = 1\n")
    call("check", "script.py", *(f"{flag}={value}" for flag, value in flags))


FIX_FLAGS = ["--to", "--layers", "--groups", "--key-map", "--patch", "--select", "--color", "--format", "--unknown", "--input"]


@settings(max_examples=80, suppress_health_check=OTHERS)
@given(
    flags=st.lists(st.tuples(st.sampled_from(FIX_FLAGS), VALUES), min_size=1, max_size=3),
    switches=st.lists(st.sampled_from(["--diff", "--unsafe-fixes", "--fix-only", "--write", "--static", "-q"]), max_size=3),
    command=st.sampled_from(["fix", "check"]),
)
def test_flags_about_fixing(place, flags, switches, command):
    write(place / "script.py", "x = 1\n")
    call(command, "script.py", *(f"{flag}={value}" for flag, value in flags), *switches)


@settings(max_examples=60, suppress_health_check=OTHERS)
@given(content=damaged(BASELINE) | st.binary(max_size=40) | st.text(max_size=40))
def test_baselines(place, content):
    write(place / "known.json", content)
    write(place / "script.py", "x = 1\n")
    call("check", "script.py", "--baseline", "known.json")


@settings(max_examples=100, suppress_health_check=OTHERS)
@given(arguments=st.lists(st.text(string.printable, max_size=8) | st.sampled_from(["rule", "list", "explain", "--help", "NA102", "--select"]), max_size=4))
def test_command_lines(place, arguments):
    # These write files or run the examples of rules.
    assume(not {"new", "test", "schema", "--write", "--output"} & set(arguments))
    assume(not any(argument and not argument.startswith("-") and Path(argument.replace("\0", "")).is_dir() for argument in arguments))
    with contextlib.redirect_stdout(io.StringIO()), contextlib.redirect_stderr(io.StringIO()) as err:
        assert run(arguments) in {0, 1, 2}
    assert "internal error" not in err.getvalue()
