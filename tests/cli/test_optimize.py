"""``optimize`` as users run it: what it prints, where, what it writes, and what it exits with."""

from __future__ import annotations

import json
import re
from pathlib import Path

import pytest
import torch

import normadvisor
from normadvisor.cli import optimize_options

NET = """
import torch
from torch import nn


class Net(nn.Module):
    def __init__(self, width=8):
        super().__init__()
        self.conv = nn.Conv2d(3, width, 3, bias=False)
        self.bn = nn.BatchNorm2d(width)
        self.head = nn.Linear(width, 4)

    def forward(self, x):
        return self.head(torch.relu(self.bn(self.conv(x))).mean((2, 3)))
"""
QUICK = ("--input", "2x3x16x16", "--allow-busy", "--budget", "600s", "--device", "cpu", "--no-cache", "--threads", "1")
KEPT = (*QUICK, "--channels-last", "on", "--only", "NA706")
BOTH = (*KEPT[:-1], "NA701,NA706")


@pytest.fixture(autouse=True)
def _files(tmp_path, monkeypatch):
    (tmp_path / "net.py").write_text(NET, encoding="utf-8")
    monkeypatch.setenv("NORMADVISOR_CACHE_DIR", str(tmp_path / "cache"))


def files(folder):
    return sorted(path.name for path in folder.iterdir() if path.name not in {"__pycache__", "cache"})


def test_a_table_is_printed_and_the_model_is_saved(cli, tmp_path):
    result = cli("optimize", "net.py:Net", *BOTH, "--save", "net.safetensors", "--report", "net.html")
    assert result.code == 0, result
    lines = result.out.splitlines()
    assert lines[0] == "net.py:Net"
    assert re.fullmatch(r"inference, cpu \(.*, 1 thread\), float32, inputs 2x3x16x16", lines[1])
    assert any(re.match(r"NA701  conv2d \+ batch_norm -> conv2d( |$)", line) for line in lines), result.out
    assert any(re.match(r"NA706  contiguous maps -> channels_last maps( |$)", line) for line in lines), result.out
    assert "kept" in result.out.split()
    assert f"saved:{tmp_path / 'net.safetensors'}" in "".join(result.out.split())
    assert re.fullmatch(r"Kept [12] replacements? in 1 model \(\d+\.\d s\)\.", lines[-1])
    assert files(tmp_path) == ["net.html", "net.py", "net.safetensors"]
    assert (tmp_path / "net.py").read_text(encoding="utf-8") == NET
    namespace = {}
    exec(NET, namespace)  # the class as the file has it
    loaded = normadvisor.load_optimized(namespace["Net"](), tmp_path / "net.safetensors")
    assert loaded(torch.randn(2, 3, 16, 16)).shape == (2, 4)


def test_json_holds_findings_and_tables(cli):
    result = cli("optimize", "net.py:Net", *BOTH, "--format", "json")
    assert result.code == 0, result
    data = json.loads(result.out)
    (found,) = data["optimizations"]
    assert (found["target"], found["inputs"], [row["rule"] for row in found["replacements"]]) == ("net.py:Net", "2x3x16x16", ["NA701", "NA706"])
    told = {(item["rule"], item["confidence"]) for item in data["findings"]}
    kept = {(row["rule"], "confirmed") for row in found["replacements"] if row["verdict"] == "kept"}
    assert ("NA706", "confirmed") in kept <= told
    assert len(data["findings"]) + len(data["withdrawn"]) == 2
    lines = {item["rule"]: item["line"] for item in [*data["findings"], *(each["finding"] for each in data["withdrawn"])]}
    assert lines["NA701"] == 9


def test_markdown_and_files(cli, tmp_path):
    result = cli("optimize", "net.py:Net", *KEPT, "--format", "markdown", "--report", "net.json", "-q")
    assert (result.code, result.err) == (0, "")
    assert result.out.startswith("## `net.py:Net`\n")
    assert json.loads((tmp_path / "net.json").read_text(encoding="utf-8"))["optimizations"][0]["target"] == "net.py:Net"
    result = cli("optimize", "net.py:Net", *KEPT, "--output", "net.txt")
    assert (result.code, result.out) == (0, "")
    assert (tmp_path / "net.txt").read_text(encoding="utf-8").startswith("net.py:Net\n")


def test_for_training(cli):
    result = cli("optimize", "net.py:Net", "--for", "training", *KEPT)
    assert result.code == 0, result
    assert result.out.splitlines()[1].startswith("training, cpu (")
    assert "a pass is forward and backward; the optimizer's step is not in it" in result.out


def test_nothing_to_replace_is_no_failure(cli, tmp_path):
    (tmp_path / "net.py").write_text("from torch import nn\n\n\nclass Net(nn.Linear):\n    def __init__(self):\n        super().__init__(4, 4)\n")
    result = cli("optimize", "net.py:Net", "--device", "cpu", "--allow-busy")
    assert result.code == 0, result
    assert "There is nothing to replace." in result.out


def test_several_models_and_a_broken_one(cli, tmp_path):
    (tmp_path / "bad.py").write_text(NET.replace("return self.head", "raise ValueError('no')\n        return self.head"), encoding="utf-8")
    result = cli("optimize", "net.py:Net", "bad.py:Net", *KEPT)
    assert result.code == 2
    assert "net.py:Net\ninference, cpu" in result.out
    assert "could not optimize bad.py:Net" in result.out
    assert "Traceback" not in result.out + result.err


HANG = "import time\n        time.sleep(1000) if self.training is False else None\n        return self.head"
CRASH = "import os\n        os.abort() if self.training is False else None\n        return self.head"


def test_a_model_that_crashes_is_one_problem_and_the_others_go_on(cli, tmp_path):
    (tmp_path / "bad.py").write_text(NET.replace("return self.head", CRASH), encoding="utf-8")
    result = cli("optimize", "bad.py:Net", "net.py:Net", *KEPT)
    assert result.code == 2
    assert "optimizing bad.py:Net aborted the process (SIGABRT)" in " ".join(result.out.split())
    assert "net.py:Net\ninference, cpu" in result.out


def test_a_model_that_hangs_is_ended(cli, tmp_path):
    (tmp_path / "bad.py").write_text(NET.replace("return self.head", HANG), encoding="utf-8")
    result = cli("optimize", "bad.py:Net", *KEPT, "--budget", "0.1s", "--timeout", "2")
    assert result.code == 2
    words = " ".join(result.out.split())
    assert "optimizing bad.py:Net took longer than 10.3 s" in words
    assert "a pass does not end, or is too long: raise --budget, or lower --batch-size" in words


def test_what_cannot_be_saved_at_the_end_is_one_problem_beside_the_table(cli, tmp_path):
    code = NET.replace("return self.head", "assert float(x.sum()) < 1e9\n        return self.head")
    (tmp_path / "net.py").write_text(code, encoding="utf-8")
    result = cli("optimize", "net.py:Net", *KEPT, "--save", "net.pt2")
    assert result.code == 2
    assert "it was optimized, and could not be saved: torch.export cannot export net.py:Net: " in " ".join(result.out.split())
    assert "NA706  contiguous maps -> channels_last maps" in result.out
    assert "saved to" not in result.out
    assert files(tmp_path) == ["net.py"]


def test_an_endless_loop_is_told_as_what_it_is(cli, tmp_path):
    (tmp_path / "bad.py").write_text(NET.replace("        return self.head", "        while True:\n            x = self.conv(x)"), encoding="utf-8")
    result = cli("optimize", "bad.py:Net", *KEPT, "--timeout", "5")
    assert result.code == 2
    assert "tracing bad.py:Net took longer than 5 s" in result.out
    assert "raise the limit with --timeout" in result.out


def test_next_to_no_memory_names_the_limit(cli):
    result = cli("optimize", "net.py:Net", *KEPT, "--memory", "1")
    assert result.code == 2
    words = " ".join(result.out.split())
    assert "net.py:Net cannot be looked at within 1 MiB of memory: not even a thread can be started" in words
    assert "raise the limit with --memory" in words


@pytest.mark.parametrize(
    ("flags", "message"),
    [
        (("--for", "eval"), "error: --for cannot be 'eval' (one of inference, training)"),
        (("--dtype", "int8"), "error: --dtype cannot be 'int8' (one of float32, bfloat16, float16)"),
        (("--channels-last", "yes"), "error: --channels-last cannot be 'yes' (one of auto, on, off)"),
        (("--budget", "soon"), "error: --budget cannot be 'soon' (a time above 0 and up to a day: 60s, 2m, 0.5h)"),
        (("--threads", "0"), "error: --threads cannot be '0' (a whole number above 0)"),
        (("--seed", "-1"), "error: --seed cannot be '-1' (a whole number from 0 to 2**63 - 1)"),
        (("--save", "net.onnx"), "error: --save cannot be 'net.onnx' (a file that ends in .safetensors, .pt, .pt2)"),
        (("--save", "no/net.pt"), "error: --save: there is no folder no (make it first)"),
        (("--save", "net.pt2", "--for", "training"), "error: --save: a model for training is not exported as a program (save its weights: .safetensors or .pt)"),
        (("--report", "net.pdf"), "error: --report cannot be 'net.pdf' (a file that ends in .md, .html, .json)"),
        (("--only", "NA102"), "error: --only cannot be 'NA102' (rules about faster replacements: NA701 to NA706)"),
    ],
)
def test_flags_are_looked_at_before_anything_is_done(cli, flags, message):
    result = cli("optimize", "net.py:Net", *flags)
    assert (result.code, result.out, result.err.splitlines()) == (2, "", [message])


@pytest.mark.skipif(not Path("/proc/self").is_dir(), reason="needs a folder that takes no files from anybody")
@pytest.mark.parametrize("flag", ["--save", "--report", "--output"])
def test_a_folder_that_takes_no_files_is_seen_before_anything_is_done(cli, flag):
    name = "net.pt" if flag == "--save" else "net.html"
    result = cli("optimize", "net.py:Net", flag, f"/proc/{name}")
    assert (result.code, result.out) == (2, "")
    assert result.err.startswith(f"error: {flag}: the folder /proc cannot be written to (")


def test_without_safetensors_it_is_said_before_anything_is_done(cli, monkeypatch):
    monkeypatch.setattr(optimize_options, "find_spec", lambda _name: None)
    result = cli("optimize", "net.py:Net", "--save", "net.safetensors")
    assert (result.code, result.err) == (2, "error: --save: safetensors is not installed (pip install safetensors, or save as .pt)\n")


def test_one_file_takes_one_model(cli, tmp_path):
    (tmp_path / "more.py").write_text(NET + NET.partition("class")[1] + NET.partition("class")[2].replace("Net", "Other"), encoding="utf-8")
    result = cli("optimize", "more.py", *KEPT, "--save", "net.pt")
    assert result.code == 2
    assert result.err.startswith("error: --save takes one model, and there are 2: more.py:Net, more.py:Other (name one of them: more.py:Net)")


def test_a_target_that_is_no_model_is_said(cli, tmp_path):
    (tmp_path / "empty.py").write_text("x = 1\n", encoding="utf-8")
    result = cli("optimize", "empty.py")
    assert result.code == 2
    assert "there is no model to optimize" in result.out


def test_a_configured_rule_that_is_ignored_is_not_tried(cli, tmp_path):
    (tmp_path / "normadvisor.toml").write_text('ignore = ["NA706"]\n', encoding="utf-8")
    result = cli("optimize", "net.py:Net", *BOTH, "--format", "json")
    assert [row["rule"] for row in json.loads(result.out)["optimizations"][0]["replacements"]] == ["NA701"]


def test_the_diff_is_that_of_what_was_kept(cli, tmp_path):
    code = NET.replace("torch.relu(self.bn(self.conv(x)))", "self.act(self.bn(self.conv(x)))").replace(
        "    def forward", "    def act(self, x):\n        return x * torch.sigmoid(x)\n\n    def forward"
    )
    (tmp_path / "net.py").write_text(code, encoding="utf-8")
    result = cli("optimize", "net.py:Net", *BOTH, "--diff")
    assert result.code == 0, result
    assert result.err.splitlines()[-1] == "nothing that was kept can be written into the source"
