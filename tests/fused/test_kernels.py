"""Runs every ``kernels_*.py`` below this folder in a process of its own: in Triton's interpreter, and on a GPU where there is one."""

from __future__ import annotations

import os
import subprocess
import sys
from importlib.util import find_spec
from pathlib import Path

import pytest
import torch

HERE = Path(__file__).parent
FILES = sorted(str(path.relative_to(HERE)) for path in HERE.rglob("kernels_*.py"))


def run(file: str, interpret: str) -> None:
    environment = {**os.environ, "TRITON_INTERPRET": interpret}
    for name in ("PYTEST_XDIST_WORKER", "PYTEST_ADDOPTS", "PYTEST_CURRENT_TEST"):
        environment.pop(name, None)
    command = [sys.executable, "-m", "pytest", str(HERE / file), "-q", "-p", "no:cacheprovider", "-p", "no:xdist", "--no-header"]
    done = subprocess.run(command, env=environment, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr


@pytest.mark.timeout(900)
@pytest.mark.parametrize("file", FILES)
@pytest.mark.skipif(find_spec("triton") is None, reason="Triton is not installed: kernels were NOT tested")
def test_kernels_in_the_interpreter(file):
    run(file, "1")


@pytest.mark.gpu
@pytest.mark.timeout(900)
@pytest.mark.parametrize("file", FILES)
@pytest.mark.skipif(not torch.cuda.is_available(), reason="no CUDA device: kernels were NOT tested on a GPU")
def test_kernels_on_a_gpu(file):
    run(file, "0")
