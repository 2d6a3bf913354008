"""The examples of trainings and tests that are watched run and show what they promise."""

from __future__ import annotations

import csv
import os
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
pytestmark = pytest.mark.slow


def run(arguments, folder):
    environment = {**os.environ, "OMP_NUM_THREADS": "1", "PYTHONPATH": str(ROOT)}
    done = subprocess.run([sys.executable, *arguments], cwd=folder, env=environment, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


def test_loop_of_ones_own(tmp_path):
    output = run([str(ROOT / "examples" / "watch_training.py")], tmp_path)
    assert "measured while training, at steps 0, 20, 40, 60, 80" in output
    assert "No findings" in output
    with (tmp_path / "stripes.csv").open(encoding="utf-8", newline="") as file:
        norms = [float(row["grad_norm"]) for row in csv.DictReader(file) if not row["layer"]]
    assert len(norms) == 5
    assert norms[0] > 1, "clipped to 1, and measured before"


def test_lightning(tmp_path):
    pytest.importorskip("lightning", reason="lightning is not installed")
    output = run([str(ROOT / "examples" / "watch_lightning.py")], tmp_path)
    assert "measured while training, at steps 0, 25, 50, 75, 100, 125" in output
    assert "No findings" in output


def test_transformers(tmp_path):
    pytest.importorskip("transformers", reason="transformers is not installed")
    pytest.importorskip("accelerate", reason="accelerate is not installed")
    output = run([str(ROOT / "examples" / "watch_transformers.py")], tmp_path)
    assert "measured while training, at steps 0, 20, 40" in output
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    events = EventAccumulator(str(tmp_path / "tagging")).Reload()
    norms = [event.value for event in events.Scalars("run/grad_norm")]
    assert len(norms) == 3
    assert min(norms) > 0.1, "clipped to 0.1, and measured before"


def test_health_of_models(tmp_path):
    output = run(["-m", "pytest", "-q", "-p", "no:cacheprovider", str(ROOT / "examples" / "model_health.py")], tmp_path)
    assert "2 passed" in output
