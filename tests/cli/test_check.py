"""``check`` as users run it: what it prints, where, and what it exits with."""

from __future__ import annotations

import json
import re
from pathlib import Path

import pytest

MODEL = """import torch
from torch import nn


class Net(nn.Module):
    def __init__(self):
        super().__init__()
        self.conv = nn.Conv2d(3, 8, 3)
        self.bn = nn.BatchNorm2d(8)

    def forward(self, x):
        return torch.relu(self.bn(self.conv(x))).mean((2, 3))
"""
CLEAN = MODEL.replace("nn.Conv2d(3, 8, 3)", "nn.Conv2d(3, 8, 3, bias=False)")
FINDING = "net.py:8:21: NA102 [warning] the bias of conv has no effect: bn subtracts the mean of every channel right after it [in conv]"


@pytest.fixture(autouse=True)
def _model(tmp_path):
    (tmp_path / "net.py").write_text(MODEL)
    (tmp_path / "clean.py").write_text(CLEAN)


def without_time(text):
    return re.sub(r"\(\d+\.\d s\)", "(T)", text)


def test_findings_are_exit_code_1(cli):
    result = cli("check", "net.py", "--format", "concise")
    assert (result.code, without_time(result.out)) == (1, f"{FINDING}\nFound 1 finding in 1 model: 1 warning; 1 fixable with `normadvisor fix` (T).\n")
    assert result.err == "note: net.py:Net: inputs 2x3x224x224 were inferred: first layer\n"


def test_nothing_wrong_is_exit_code_0_and_one_line(cli):
    result = cli("check", "clean.py")
    assert (result.code, without_time(result.out)) == (0, "No findings in 1 model (T).\n")


def test_quiet_says_nothing_when_nothing_is_wrong(cli):
    result = cli("check", "clean.py", "-q")
    assert (result.code, result.out, result.err) == (0, "", "")


def test_what_cannot_be_checked_is_exit_code_2_and_the_others_are_reported(cli):
    result = cli("check", "nett.py", "net.py", "torch.nn:Sequentail", "--format", "concise", "-q")
    assert result.code == 2
    assert without_time(result.out).splitlines() == [
        FINDING,
        "nett.py: could not check nett.py: no file or folder 'nett.py' (did you mean 'net.py'?)",
        "torch.nn:Sequentail: could not check torch.nn:Sequentail: torch.nn has no 'Sequentail' (did you mean 'Sequential'?)",
        "Found 1 finding in 1 model: 1 warning; 1 fixable with `normadvisor fix`; 2 targets could not be checked (T).",
    ]


def test_json_has_models_with_inputs_and_findings(cli):
    result = cli("check", "net.py", "--format", "json", "--input", "4x3x32x32")
    data = json.loads(result.out)
    assert data["models"] == [
        {"target": "net.py:Net", "trace": "symbolic", "inputs": "4x3x32x32", "modules": 3, "nodes": 6, "error": None}
    ]
    assert [(item["rule"], item["path"], item["line"], item["modules"]) for item in data["findings"]] == [("NA102", "net.py", 8, ["conv"])]
    assert result.err == ""


def test_problems_are_on_standard_error_beside_formats_for_machines(cli):
    result = cli("check", "gone.py", "--format", "json")
    assert (result.code, json.loads(result.out)["models"][0]["error"]) == (2, "no file or folder 'gone.py'")
    assert result.err.startswith("error: could not check gone.py: no file or folder 'gone.py'")


def test_output_goes_to_a_file_in_one_step(cli, tmp_path):
    result = cli("check", "net.py", "--format", "concise", "--output", "report.txt", "-q", "--no-cache")
    assert (result.code, result.out, result.err) == (1, "", "")
    assert (tmp_path / "report.txt").read_text().splitlines()[0] == FINDING
    # Where Python writes bytecode, importing the file leaves some.
    assert sorted(path.name for path in tmp_path.iterdir() if path.name != "__pycache__") == ["clean.py", "net.py", "report.txt"]


@pytest.mark.parametrize(
    ("flags", "code"),
    [
        (["--fail-on", "error"], 0),
        (["--fail-on", "info"], 1),
        (["--exit-zero"], 0),
        (["--severity", "NA102=error", "--fail-on", "error"], 1),
        (["--severity", "NA102=info"], 0),
        (["--severity", "NA102=off"], 0),
        (["--ignore", "NA102"], 0),
        (["--ignore", "bias-before-norm"], 0),
        (["--select", "NA3,NA5"], 0),
        (["--select", "NA3", "--extend-select", "NA102"], 1),
        (["--select", "NA1"], 1),
    ],
)
def test_flags_decide_what_counts(cli, flags, code):
    result = cli("check", "net.py", "-q", *flags)
    assert (result.code, result.err) == (code, "")


def test_exit_zero_does_not_hide_what_could_not_be_checked(cli):
    assert cli("check", "gone.py", "--exit-zero").code == 2


def test_a_baseline_is_written_and_silences(cli, tmp_path):
    written = cli("check", "net.py", "--baseline", "known.json", "--write-baseline")
    assert written.code == 0
    assert written.err.splitlines()[-1] == f"note: 1 finding written to {Path('known.json')}"
    assert cli("check", "net.py", "--baseline", "known.json").code == 0
    # The fingerprint survives lines that move and a file that is renamed.
    (tmp_path / "moved.py").write_text("# a new first line\n\n" + MODEL)
    assert cli("check", "moved.py", "--baseline", "known.json").code == 0
    (tmp_path / "more.py").write_text(MODEL.replace("conv", "other"))
    assert cli("check", "net.py", "more.py", "--baseline", "known.json").code == 1


def test_noqa_silences_and_unused_ones_are_told(cli, tmp_path):
    (tmp_path / "net.py").write_text(MODEL.replace("nn.Conv2d(3, 8, 3)", "nn.Conv2d(3, 8, 3)  # noqa: NA102 - kept for old checkpoints"))
    (tmp_path / "clean.py").write_text(CLEAN.replace("nn.BatchNorm2d(8)", "nn.BatchNorm2d(8)  # noqa: NA102"))
    result = cli("check", "net.py", "clean.py", "--format", "concise", "-q")
    assert (result.code, without_time(result.out).splitlines()[0]) == (0, "clean.py:9:46: unused noqa")


def test_context_comes_from_flags_then_pragma_then_configuration(cli, tmp_path):
    (tmp_path / "net.py").write_text("# normadvisor: batch_size=1\n" + MODEL)
    (tmp_path / "normadvisor.toml").write_text("batch_size = 64\n")
    small = cli("check", "net.py", "--select", "NA201", "-q", "--format", "json", "--input", "1x3x32x32")
    assert [item["rule"] for item in json.loads(small.out)["findings"]] == ["NA201"]
    large = cli("check", "net.py", "--select", "NA201", "-q", "--format", "json", "--input", "1x3x32x32", "--batch-size", "64")
    assert json.loads(large.out)["findings"] == []


def test_configured_models_are_checked_without_targets_and_with_their_file(cli, tmp_path):
    sized = MODEL.replace("def __init__(self):", "def __init__(self, width):").replace("(3, 8, 3)", "(3, width, 3)").replace("(8)", "(width)")
    (tmp_path / "sized.py").write_text(sized)
    (tmp_path / "pyproject.toml").write_text(
        '[[tool.normadvisor.models]]\ntarget = "sized.py:Net(16)"\ninputs = ["2x3x16x16"]\n'
        '[[tool.normadvisor.models]]\ntarget = "net.py:Net"\ninputs = ["2x3x8x8"]\n'
    )
    every = json.loads(cli("check", "--format", "json", "-q").out)
    assert [(model["target"], model["inputs"]) for model in every["models"]] == [("net.py:Net", "2x3x8x8"), ("sized.py:Net(16)", "2x3x16x16")]
    one = json.loads(cli("check", "sized.py", "--format", "json", "-q").out)
    assert [(model["target"], model["inputs"]) for model in one["models"]] == [("sized.py:Net(16)", "2x3x16x16")]
    named = json.loads(cli("check", "net.py:Net", "--format", "json", "-q").out)
    assert [(model["target"], model["inputs"]) for model in named["models"]] == [("net.py:Net", "2x3x8x8")]


def test_a_folder_is_searched_and_exclude_leaves_files_out(cli, tmp_path):
    (tmp_path / "generated").mkdir()
    (tmp_path / "generated" / "net.py").write_text(MODEL)
    data = json.loads(cli("check", ".", "--exclude", "generated", "--format", "json", "-q").out)
    assert [model["target"] for model in data["models"]] == ["clean.py:Net", "net.py:Net"]


def test_windows_line_ends_and_other_encodings(cli, tmp_path):
    (tmp_path / "crlf.py").write_bytes(MODEL.replace("\n", "\r\n").encode())
    (tmp_path / "latin.py").write_bytes(("# -*- coding: latin-1 -*-\n# gr\xfcn\n" + MODEL).encode("latin-1"))
    (tmp_path / "bom.py").write_bytes(MODEL.encode("utf-8-sig"))
    data = json.loads(cli("check", "crlf.py", "latin.py", "bom.py", "--format", "json", "-q").out)
    assert [(item["path"], item["line"], item["column"]) for item in data["findings"]] == [("bom.py", 8, 21), ("crlf.py", 8, 21), ("latin.py", 10, 21)]


def test_files_that_are_no_python_are_told_with_their_place(cli, tmp_path):
    (tmp_path / "bytes.py").write_bytes(b"import torch\nx = '\xff'\n")
    (tmp_path / "binary.py").write_bytes(b"\x7fELF\0\0")
    (tmp_path / "syntax.py").write_text("import torch\nclass Net(:\n")
    (tmp_path / "a.py").write_text("import b\nimport torch\nfrom torch import nn\nmodel = nn.Sequential(nn.Linear(2, 2), nn.ReLU())\n")
    (tmp_path / "b.py").write_text("from a import missing\n")
    result = cli("check", "bytes.py", "binary.py", "syntax.py", "a.py", "clean.py", "-q", "--format", "concise")
    assert result.code == 2
    lines = result.out.splitlines()
    assert lines[0].startswith("bytes.py:2:1: could not check bytes.py: byte 0xff is not valid utf-8 (")
    assert lines[1].startswith("binary.py:1:1: could not check binary.py: the file holds NUL bytes, so it is not Python source (")
    assert lines[2] == "syntax.py:2:11: could not check syntax.py: not valid Python: invalid syntax"
    assert "could not check a.py: " in lines[3]
    assert "circular import" in lines[3] or "cannot import name 'missing'" in lines[3]
    assert lines[4].startswith("No findings in 1 model; 4 targets could not be checked")


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["check", "net.py", "--task", "detecton"], "error: --task cannot be 'detecton' (did you mean 'detection'?)"),
        (["check", "net.py", "--batch-size", "0"], "error: --batch-size cannot be 0 (a whole number from 1 to 1000000000)"),
        (["check", "net.py", "--format", "jsn"], "error: --format cannot be 'jsn' (did you mean 'json'?)"),
        (["check", "net.py", "--fail-on", "waring"], "error: --fail-on cannot be 'waring' (did you mean 'warning'?)"),
        (["check", "net.py", "--color", "yes"], "error: --color cannot be 'yes' (one of auto, always, never)"),
        (["check", "net.py", "--timeout", "nan"], "error: --timeout cannot be 'nan' (a number above 0)"),
        (["check", "net.py", "--memory", "-1"], "error: --memory cannot be '-1' (a whole number above 0)"),
        (["check", "net.py", "-j", "many"], "error: --jobs cannot be 'many' (a whole number above 0)"),
        (["check", "net.py", "--select", "bias-befor-norm"], "error: 'select' names no rule: 'bias-befor-norm' (did you mean 'bias-before-norm'?)"),
        (["check", "net.py", "--severity", "NA102"], "error: --severity cannot be 'NA102' (write RULE=LEVEL, such as NA102=error)"),
        (["check", "net.py", "--severity", "NA102=eror"], "error: --severity NA102 cannot be 'eror' (did you mean 'error'?)"),
        (["check", "net.py", "--rules", "nowhere"], "error: no folder or file 'nowhere' with rules"),
        (["check", "net.py", "--output", "no/folder/a.txt"], "error: --output: there is no folder no/folder (make it first)"),
        (["check", "net.py", "--output", "."], "error: --output: . is a folder (name a file in it: --output report)"),
        (["check", "net.py", "--write-baseline"], "error: --write-baseline needs to know the file (add --baseline FILE, or name it in the configuration)"),
        (["check"], "error: there is no target to check (name a .py file, a folder, file.py:Name or package.module:Name, or list models in the configuration)"),
    ],
)  # fmt: skip
def test_a_wrong_flag_is_one_line_that_names_the_right_spelling(cli, arguments, message):
    result = cli(*arguments)
    assert (result.code, result.out, result.err) == (2, "", f"{message}\n")


@pytest.mark.parametrize(
    ("arguments", "beginning"),
    [
        (["check", "--tsk", "rl"], "error: No such option: --tsk"),
        (["chekc"], "error: No such command 'chekc'"),
        (["check", "net.py", "--config", "nowhere.toml"], "error: "),
        (["check", "net.py", "--baseline", "nowhere.json"], "error: "),
        (["check", "net.py", "--input", "2x"], "error: "),
    ],
)
def test_other_wrong_words_are_one_line_as_well(cli, arguments, beginning):
    result = cli(*arguments)
    errors = [line for line in result.err.splitlines() if not line.startswith("note: ")]
    assert (result.code, result.out, len(errors)) == (2, "", 1)
    assert errors[0].startswith(beginning)


def test_a_configuration_with_a_mistake_is_told_with_its_place(cli, tmp_path):
    (tmp_path / "normadvisor.toml").write_text("selct = ['NA1']\n")
    result = cli("check", "net.py")
    assert (result.code, result.out) == (2, "")
    assert re.fullmatch(r"error: .*normadvisor\.toml:1:1: .*'selct'.*'select'.*\n", result.err)


def test_a_class_that_needs_arguments_is_not_passed_over_in_silence(cli, tmp_path):
    (tmp_path / "block.py").write_text(
        "from torch import nn\n\n\nclass Block(nn.Module):\n    def __init__(self, width, *, depth):\n        super().__init__()\n"
        "        self.layer = nn.Linear(width, depth)\n\n    def forward(self, x):\n        return self.layer(x)\n"
    )
    result = cli("check", "block.py")
    assert result.code == 0
    assert result.err == "note: block.py: Block was not checked, since it needs arguments: say block.py:Block(width=..., depth=...)\n"
    assert result.out.startswith("No findings in 1 file; no models were found")


def test_an_ignored_rule_that_does_not_exist_is_told_with_its_place(cli, tmp_path):
    (tmp_path / "normadvisor.toml").write_text("[per-file-ignores]\n'net.py' = ['NA1', 'NA1O3']\n")
    result = cli("check", "net.py")
    assert (result.code, result.out) == (2, "")
    assert re.fullmatch(r"error: .*normadvisor\.toml:2:1: 'per-file-ignores' names no rule: 'NA1O3' \(did you mean 'NA1\d\d'\?\)\n", result.err)


def test_a_selector_of_the_configuration_is_told_with_its_place(cli, tmp_path):
    (tmp_path / "normadvisor.toml").write_text("ignore = ['NA1']\nselect = ['NA999']\n")
    result = cli("check", "net.py")
    assert (result.code, result.out) == (2, "")
    assert re.match(r"error: .*normadvisor\.toml:2:\d+: 'select' names no rule: 'NA999'", result.err)
    assert cli("check", "net.py", "--select", "NA1", "--format", "json", "-q").code == 0


def test_a_rule_that_fails_on_a_model_is_told_once(cli, tmp_path):
    (tmp_path / "rules").mkdir()
    assert cli("rule", "new", "AC001", "no-relu", "--dir", "rules").code == 0
    assert cli("check", "net.py", "--rules", "rules", "--select", "AC001").code in {0, 1}


def test_show_graph_prints_the_operations(cli):
    result = cli("check", "clean.py", "--show-graph", "-q")
    assert result.code == 0
    assert [word for word in ("conv", "batch_norm", "relu") if word not in result.out] == []


def test_debug_shows_the_traceback_and_what_was_printed(cli, tmp_path):
    (tmp_path / "bad.py").write_text(MODEL.replace("super().__init__()", "super().__init__(); print('so far'); raise LookupError('here')"))
    plain = cli("check", "bad.py")
    assert (plain.code, "Traceback" in plain.out + plain.err, "so far" in plain.out + plain.err) == (2, False, False)
    debug = cli("check", "bad.py", "--debug")
    assert (debug.code, "Traceback" in debug.out, "so far" in debug.err) == (2, True, True)


def test_a_bug_of_ours_is_one_line(cli, monkeypatch):
    import normadvisor.api.check

    def broken(*_args, **_options):
        raise ZeroDivisionError("oh")

    monkeypatch.setattr(normadvisor.api.check, "run_check", broken)
    result = cli("check", "net.py")
    assert (result.code, result.out, result.err) == (2, "", "internal error: ZeroDivisionError: oh; rerun with --debug\n")
    assert "Traceback" in cli("check", "net.py", "--debug").err
