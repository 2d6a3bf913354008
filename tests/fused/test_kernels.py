"""Runs ``kernels_*.py``, one process for each folder below this one: in Triton's interpreter, and on a GPU where there is one."""

from __future__ import annotations

import os
import subprocess
import sys
from importlib.util import find_spec
from pathlib import Path

import pytest
import torch

HERE = Path(__file__).parent
FOLDERS = sorted({path.parent.name for path in HERE.glob("*/kernels_*.py")})


def test_all_of_them_are_run():
    assert [path for path in HERE.rglob("kernels_*.py") if path.parent not in {HERE / folder for folder in FOLDERS}] == []


def run(folder: str, interpret: str) -> None:
    environment = {**os.environ, "TRITON_INTERPRET": interpret}
    for name in ("PYTEST_XDIST_WORKER", "PYTEST_ADDOPTS", "PYTEST_CURRENT_TEST"):
        environment.pop(name, None)
    files = sorted(str(path) for path in (HERE / folder).glob("kernels_*.py"))
    # A GPU compiles every variant of a kernel, half a second each: side by side.
    beside = ["-n", "8", "--dist", "loadgroup"] if interpret == "0" and find_spec("xdist") else ["-p", "no:xdist"]
    command = [sys.executable, "-m", "pytest", *files, "-q", "-p", "no:cacheprovider", *beside, "--no-header"]
    done = subprocess.run(command, env=environment, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr


@pytest.mark.parametrize("folder", FOLDERS)
@pytest.mark.skipif(find_spec("triton") is None, reason="Triton is not installed: kernels were NOT tested")
def test_kernels_in_the_interpreter(folder):
    run(folder, "1")


@pytest.mark.gpu
@pytest.mark.parametrize("folder", FOLDERS)
@pytest.mark.skipif(not torch.cuda.is_available(), reason="no CUDA device: kernels were NOT tested on a GPU")
def test_kernels_on_a_gpu(folder):
    run(folder, "0")
