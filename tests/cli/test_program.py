"""The program as a process: start-up, signals, pipes."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time

import psutil
import pytest

from normadvisor import __version__

MODEL = "import time\nfrom torch import nn\n{top}\nmodel = nn.Sequential(nn.Conv2d(3, 8, 3), nn.BatchNorm2d(8), nn.ReLU())\n"


def test_version(program):
    result = program("--version")
    assert (result.code, result.out, result.err) == (0, f"normadvisor {__version__}\n", "")


@pytest.mark.parametrize("arguments", [["--help"], ["check", "--help"], ["fix", "--help"], ["rule", "list"], ["--version"]])
def test_light_commands_do_not_import_torch(arguments):
    code = (
        f"import sys\nfrom normadvisor.cli.run import run\nassert run({arguments!r}) == 0\n"
        "heavy = {'torch', 'numpy', 'torchvision', 'libcst'} & set(sys.modules)\nassert not heavy, heavy"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, check=False)
    assert (done.returncode, done.stderr) == (0, b"")


def test_files_without_models_start_no_worker(tmp_path):
    (tmp_path / "script.py").write_text("import torch\nprint(torch.ones(2))\n")
    code = (
        "from normadvisor.cli.run import run\nimport normadvisor.api.launch as launch\n"
        "def refuse(*args): raise AssertionError\nlaunch.ForkLauncher.__init__ = refuse\nraise SystemExit(run(['check', 'script.py']))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, check=False, cwd=tmp_path)
    assert (done.returncode, done.stderr) == (0, b"")


def test_one_run_from_end_to_end(program, tmp_path):
    (tmp_path / "net.py").write_text(MODEL.format(top=""))
    result = program("check", "net.py", "--format", "concise", "-q")
    assert (result.code, result.out.splitlines()[0].split(": ")[:2], result.err) == (1, ["net.py:4:23", "NA102 [warning] the bias of layer 0 has no effect"], "")


def until_it_hangs(process, folder):
    """Until the target runs; everything that was started for it."""
    while not (folder / "began").exists():
        assert process.poll() is None
        time.sleep(0.05)
    family = psutil.Process(process.pid).children(recursive=True)
    assert len(family) >= 2
    return family


def test_ctrl_c_ends_with_130_and_leaves_no_process(started, tmp_path):
    (tmp_path / "hang.py").write_text(MODEL.format(top="open('began', 'w').close()\ntime.sleep(1000)"))
    process = started("check", "hang.py", "--timeout", "1000")
    family = until_it_hangs(process, tmp_path)
    os.kill(process.pid, signal.SIGINT)
    out, err = process.communicate()
    assert (process.returncode, out, err) == (130, b"", b"interrupted\n")
    _, alive = psutil.wait_procs(family, timeout=100)
    assert alive == []


def test_a_parent_that_is_killed_leaves_no_process(started, tmp_path):
    (tmp_path / "hang.py").write_text(MODEL.format(top="open('began', 'w').close()\ntime.sleep(1000)"))
    process = started("check", "hang.py", "--timeout", "1000")
    family = until_it_hangs(process, tmp_path)
    process.kill()
    process.wait()
    _, alive = psutil.wait_procs(family, timeout=100)
    assert alive == []


def test_a_reader_that_goes_away_is_no_error_of_ours(tmp_path):
    done = subprocess.run(
        f"{sys.executable} -m normadvisor rule list | head -n 1", shell=True, capture_output=True, cwd=tmp_path, check=False
    )
    assert done.stderr == b""
