"""``fix`` and ``check --fix`` as users run them: what is printed, what is written, and the exit code."""

from __future__ import annotations

import json
import re
import signal
import subprocess
import time
from pathlib import Path

import pytest

from normadvisor.api.fixing import FixRun
from normadvisor.rewrite.keys import KeyMap

MODEL = """import torch
from torch import nn


class Net(nn.Module):
    def __init__(self):
        super().__init__()
        self.fc = nn.Linear(4, 8)  # keeps its comment
        self.bn = nn.BatchNorm1d(8)
        self.spare = nn.BatchNorm2d(4)

    def forward(self, x):
        return torch.relu(self.bn(self.fc(x)))
"""
SAFE = MODEL.replace("nn.Linear(4, 8)", "nn.Linear(4, 8, bias=False)")
ALL = SAFE.replace("        self.spare = nn.BatchNorm2d(4)\n", "")
DIFF = """\
diff --git a/net.py b/net.py
--- a/net.py
+++ b/net.py
@@ -5,7 +5,7 @@
 class Net(nn.Module):
     def __init__(self):
         super().__init__()
-        self.fc = nn.Linear(4, 8)  # keeps its comment
+        self.fc = nn.Linear(4, 8, bias=False)  # keeps its comment
         self.bn = nn.BatchNorm1d(8)
         self.spare = nn.BatchNorm2d(4)
{}
""".format(" ")
LEFT = "net.py:10:22: NA110 [warning] spare (BatchNorm2d, 2 parameter tensors) is built but never run, and nothing reads it [in spare]"
ONE_LEFT = re.compile(r"Found 1 finding in 1 model: 1 warning.*\n")
OUTCOME = """\
note: net.py:Net: inputs 2x4 were inferred: first layer
{} 1 finding in 1 file (1 safe).
1 more finding can be fixed with --unsafe-fixes
proven: outputs, gradients and buffers equal in float64, train and eval, 3 draws, worst X (net.py:Net)
state_dict of net.py:Net:
  bn.running_mean -= fc.bias
  fc.bias (dropped)
"""
KEYS = KeyMap.from_dict({
    "renamed": {}, "dropped": ["fc.bias"], "added": [], "copied": {},
    "folded": [{"source": "fc.bias", "into": "bn.running_mean", "how": "subtract", "repeats": 1, "tiles": 1, "into_copy": False}],
})  # fmt: skip


@pytest.fixture(autouse=True)
def _model(tmp_path):
    (tmp_path / "net.py").write_text(MODEL)


@pytest.fixture
def now(tmp_path):
    return lambda name="net.py": (tmp_path / name).read_text()


def without_numbers(text):
    return re.sub(r"worst \S+", "worst X", text)


@pytest.mark.parametrize("command", [["fix", "net.py", "--diff"], ["check", "net.py", "--diff"], ["check", "net.py", "--fix", "--diff"]])
def test_a_diff_writes_nothing(cli, now, command):
    result = cli(*command)
    assert (result.code, result.out, without_numbers(result.err)) == (1, DIFF, OUTCOME.format("Would fix"))
    assert now() == MODEL


@pytest.mark.parametrize("command", [["fix", "net.py"], ["check", "net.py", "--fix"], ["fix", "net.py", "--diff", "--write"]])
def test_safe_fixes_are_written_and_what_remains_is_reported(cli, now, command):
    result = cli(*command, "--format", "concise")
    assert (result.code, without_numbers(result.err)) == (1, OUTCOME.format("Fixed"))
    if "--diff" in command:
        assert result.out == DIFF
    else:
        assert result.out.startswith(LEFT)
        assert ONE_LEFT.search(result.out)
    assert now() == SAFE


def test_a_second_run_has_nothing_to_do(cli, now):
    cli("fix", "net.py", "-q")
    before = Path("net.py").stat()
    result = cli("fix", "net.py", "--diff")
    assert (result.code, result.out) == (0, "")
    assert result.err.splitlines()[1:] == ["Nothing would be fixed.", "1 more finding can be fixed with --unsafe-fixes"]
    assert cli("fix", "net.py", "-q").code == 1
    after = Path("net.py").stat()
    assert (now(), after.st_mtime_ns, after.st_ino) == (SAFE, before.st_mtime_ns, before.st_ino)


def test_unsafe_fixes(cli, now):
    result = cli("fix", "net.py", "--unsafe-fixes", "--format", "concise")
    assert (result.code, result.out.partition(" (")[0]) == (0, "No findings in 1 model")
    assert "Fixed 2 findings in 1 file (1 safe, 1 unsafe).\n" in result.err
    assert "--unsafe-fixes" not in result.err
    assert now() == ALL


def test_selected_rules_only(cli, now):
    result = cli("fix", "net.py", "--select", "NA110", "--unsafe-fixes", "-q")
    assert (result.code, result.out, result.err) == (0, "", "")
    assert now() == MODEL.replace("        self.spare = nn.BatchNorm2d(4)\n", "")


def test_what_a_noqa_silences_is_left_alone(cli, now, tmp_path):
    code = MODEL.replace("# keeps its comment", "# noqa: NA102")
    (tmp_path / "net.py").write_text(code)
    assert cli("fix", "net.py", "-q").code == 1
    assert now() == code


@pytest.mark.parametrize(("flags", "code"), [(["--fix-only"], 0), (["--exit-zero"], 0), (["--fail-on", "error"], 0), ([], 1)])
def test_what_remains_decides_the_exit_code(cli, now, flags, code):
    result = cli("fix", "net.py", "-q", "--format", "concise", *flags)
    assert (result.code, result.err) == (code, "")
    assert result.out.startswith(LEFT) is ("--fix-only" not in flags)
    assert (result.out == "") is ("--fix-only" in flags)
    assert now() == SAFE


def test_a_patch_is_taken_by_git(cli, now, tmp_path):
    result = cli("fix", "net.py", "--patch", "fixes.patch", "--format", "concise")
    assert (result.code, result.out.startswith(LEFT), without_numbers(result.err)) == (1, True, OUTCOME.format("Would fix"))
    assert (now(), now("fixes.patch")) == (MODEL, DIFF)
    subprocess.run(["git", "apply", "fixes.patch"], cwd=tmp_path, check=True)
    assert now() == SAFE


def test_a_patch_on_standard_output(cli, now):
    result = cli("fix", "net.py", "--patch", "-")
    assert (result.code, result.out, now()) == (1, DIFF, MODEL)


def test_the_report_shows_code_as_it_would_be(cli, now, tmp_path):
    twice = "        self.act = nn.Sequential(\n            nn.ReLU(),\n            nn.ReLU(),\n        )\n"
    code = MODEL.replace("        self.spare", f"{twice}        self.spare").replace("torch.relu", "self.act")
    (tmp_path / "net.py").write_text(code)
    result = cli("fix", "net.py", "--diff", "--output", "report.txt")
    assert result.out.count("@@ ") == 1
    # A line above it goes.
    assert "  > 13 │         self.spare = nn.BatchNorm2d(4)\n" in now("report.txt")
    assert code.splitlines()[13] == "        self.spare = nn.BatchNorm2d(4)"
    assert now() == code


def test_keys_are_saved(cli, now):
    result = cli("fix", "net.py", "--key-map", "keys.json")
    assert result.err.splitlines()[-1] == "keys of net.py:Net saved to keys.json"
    assert KeyMap.load("keys.json") == KEYS
    result = cli("fix", "net.py", "--key-map", "keys.json")
    assert result.err.splitlines()[-1] == "no key of a state_dict changed; keys.json says so"
    assert KeyMap.load("keys.json") == KeyMap()


def test_keys_of_several_models_are_saved_beside_one_another(cli, tmp_path):
    (tmp_path / "two.py").write_text(MODEL.replace("class Net", "class Other"))
    result = cli("fix", "net.py", "two.py", "--key-map", "keys.json", "--fix-only")
    assert result.err.splitlines()[-2:] == [
        "keys of net.py:Net saved to keys.net.py-Net.json", "keys of two.py:Other saved to keys.two.py-Other.json",
    ]  # fmt: skip
    assert KeyMap.load("keys.net.py-Net.json") == KeyMap.load("keys.two.py-Other.json") == KEYS


def test_json_is_what_remains(cli):
    data = json.loads(cli("fix", "net.py", "--format", "json", "-q").out)
    assert [(item["rule"], item["line"], item["fix"]["applicability"]) for item in data["findings"]] == [("NA110", 10, "unsafe")]


def test_scripts_are_fixed_without_torch(program, tmp_path):
    code = "import torch\nfrom torchvision.models import resnet18\n\n\ndef predict(images):\n    model = resnet18()\n    model.load_state_dict(torch.load('x.pt'))\n    with torch.no_grad():\n        return model(images)\n"
    (tmp_path / "run.py").write_text(code)
    result = program("fix", "--static", "run.py", "--unsafe-fixes", "--diff")
    assert (result.code, "model.eval()" in result.out) == (1, True)
    assert "Would fix 1 finding in 1 file (1 unsafe).\n" in result.err


@pytest.mark.parametrize("flags", [[], ["--diff"], ["--fix-only"], ["--patch", "-"]])
def test_what_cannot_be_checked_is_exit_code_2_and_told(cli, now, tmp_path, flags):
    (tmp_path / "bad.py").write_text("def f(:\n")
    result = cli("fix", "bad.py", "net.py", *flags)
    assert result.code == 2
    assert "could not check bad.py" in result.out + result.err
    assert now() == (MODEL if {"--diff", "--patch"} & set(flags) else SAFE)


def test_a_file_that_changed_meanwhile_is_left_alone(cli, now, tmp_path, monkeypatch):
    write = FixRun.write

    def late(run):
        (tmp_path / "net.py").write_text("# edited\n" + MODEL)
        return write(run)

    monkeypatch.setattr(FixRun, "write", late)
    result = cli("fix", "net.py")
    assert result.code == 2
    assert result.err.splitlines()[-1].startswith("error: not written: net.py ")
    assert "Nothing was fixed.\n" in result.err
    assert now() == "# edited\n" + MODEL


def test_a_read_only_file_is_left_alone(cli, now, tmp_path):
    (tmp_path / "net.py").chmod(0o444)
    result = cli("fix", "net.py", "-q", "--fix-only")
    assert (result.code, result.out, result.err) == (2, "", "error: not written: net.py is read-only\n")
    assert now() == MODEL


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["fix", "net.py", "--groups", "8"], "error: --groups says what to convert, but not to what (add --to NAME)"),
        (["fix", "net.py", "--layers", "bn"], "error: --layers says what to convert, but not to what (add --to NAME)"),
        (["fix", "net.py", "--to", "groupnorm"], "error: --to cannot be 'groupnorm' (did you mean 'group_norm'?)"),
        (["fix", "net.py", "--to", "group_norm", "--groups", "0"], "error: --groups cannot be '0' (a whole number above 0)"),
        (["fix", "net.py", "--patch", "."], "error: --patch: . is a folder (name a file in it: --patch fixes.patch)"),
        (["fix", "net.py", "--key-map", "no/k.json"], "error: --key-map: there is no folder no (make it first)"),
        (["fix", "net.py", "--color", "red"], "error: --color cannot be 'red' (one of auto, always, never)"),
        (["check", "net.py", "--unsafe-fixes"],
         "error: --unsafe-fixes says how to fix, but nothing is to be fixed (add --fix, --diff, --patch FILE or -i)"),
        (["check", "net.py", "--fix", "--write-baseline", "--baseline", "b.json"],
         "error: --write-baseline does not go together with fixing (write the baseline in a run of its own)"),
        (["fix"], "error: there is no target to check (name a .py file, a folder, file.py:Name or package.module:Name, or list models in the configuration)"),
    ],
)  # fmt: skip
def test_a_wrong_flag_is_one_line_and_changes_nothing(cli, now, arguments, message):
    result = cli(*arguments)
    assert (result.code, result.out, result.err) == (2, "", message + "\n")
    assert now() == MODEL


def test_ctrl_c_writes_nothing_and_says_so(started, tmp_path, now):
    (tmp_path / "hang.py").write_text("import time\nopen('began', 'w').close()\ntime.sleep(1000)\n" + MODEL)
    process = started("fix", "net.py", "hang.py", "--timeout", "1000")
    while not (tmp_path / "began").exists():
        assert process.poll() is None
        time.sleep(0.05)
    process.send_signal(signal.SIGINT)
    out, err = process.communicate()
    assert (process.returncode, out, err) == (130, b"", b"interrupted: nothing was written\n")
    assert now() == MODEL


def test_colours_of_a_diff(cli):
    assert "\x1b[32m+        self.fc = nn.Linear(4, 8, bias=False)" in cli("fix", "net.py", "--diff", "--color", "always").out


def test_a_diff_leaves_other_bytes_alone(cli, tmp_path):
    code = ("# -*- coding: latin-1 -*-\n# gr\xfcn\n" + MODEL).replace("\n", "\r\n").encode("latin-1")
    (tmp_path / "net.py").write_bytes(code)
    cli("fix", "net.py", "--patch", "fixes.patch", "-q", "--fix-only")
    subprocess.run(["git", "apply", "fixes.patch"], cwd=tmp_path, check=True)
    assert (tmp_path / "net.py").read_bytes() == code.replace(b"nn.Linear(4, 8)", b"nn.Linear(4, 8, bias=False)")


def test_a_file_of_another_folder(cli, tmp_path):
    (tmp_path / "deep" / "er").mkdir(parents=True)
    (tmp_path / "deep" / "er" / "net.py").write_text(MODEL)
    result = cli("fix", Path("deep") / "er" / "net.py", "--diff")
    assert result.out.splitlines()[0] == "diff --git a/deep/er/net.py b/deep/er/net.py"


def test_conversions(cli, now):
    result = cli("fix", "net.py", "--to", "group-norm", "--layers", "*", "--layers", "!bn", "-q", "--fix-only", "--key-map", "keys.json")
    assert (result.code, result.out, result.err) == (0, "", "")
    assert now() == MODEL.replace("nn.BatchNorm2d(4)", "nn.GroupNorm(2, 4)")
    assert KeyMap.load("keys.json") == KeyMap(dropped=("spare.running_mean", "spare.running_var", "spare.num_batches_tracked"))


def test_groups_of_a_conversion(cli, now):
    result = cli("fix", "net.py", "--to", "group_norm", "--groups", "1", "--fix-only")
    assert result.code == 0
    assert "Fixed 2 findings in 1 file (2 unsafe).\n" in result.err
    assert now() == MODEL.replace("nn.BatchNorm1d(8)", "nn.GroupNorm(1, 8)").replace("nn.BatchNorm2d(4)", "nn.GroupNorm(1, 4)")


def test_a_conversion_that_matches_nothing_says_so(cli, now):
    result = cli("fix", "net.py", "--to", "group_norm", "--layers", "nothere,nor.this")
    assert (result.code, "no BatchNorm matches --layers nothere nor.this\n" in result.err) == (1, True)
    assert now() == MODEL
