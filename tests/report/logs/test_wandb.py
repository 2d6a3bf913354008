"""What Weights & Biases stores of our logs, in a process of its own because it starts servers and threads."""

from __future__ import annotations

import json
import os
import subprocess
import sys

import pytest

pytest.importorskip("wandb", reason="wandb is not installed")

READ = r'''
import glob, json, struct, sys
import wandb
from wandb.proto import wandb_internal_pb2

wandb.teardown()  # waits for the process that writes the files

def records(path):
    """A log as of LevelDB: blocks of 32 KiB, each part of a record behind its checksum, length and kind (whole, first, middle, last)."""
    data, at, whole = open(path, "rb").read(), 7, b""
    while at + 7 <= len(data):
        left = 32768 - at % 32768
        if left < 7:
            at += left
            continue
        _, length, kind = struct.unpack("<IHB", data[at : at + 7])
        whole, at = whole + data[at + 7 : at + 7 + length], at + 7 + length
        if kind in (1, 4):
            record = wandb_internal_pb2.Record()
            record.ParseFromString(whole)
            yield record
            whole = b""

runs = []
for path in glob.glob("wandb/offline-run-*/*.wandb"):
    run = {"history": [], "summary": {}, "metrics": {}, "project": None}
    for record in records(path):
        kind = record.WhichOneof("record_type")
        if kind == "history":
            row = {item.key or "/".join(item.nested_key): json.loads(item.value_json) for item in record.history.item}
            run["history"].append({key: value for key, value in row.items() if key not in ("_timestamp", "_runtime")})
        elif kind == "summary":
            for item in record.summary.update:
                run["summary"][item.key or "/".join(item.nested_key)] = json.loads(item.value_json)
        elif kind == "metric":
            run["metrics"][record.metric.name or record.metric.glob_name] = record.metric.step_metric
        elif kind == "run":
            run["project"] = record.run.project
    runs.append(run)
print("READ" + json.dumps(runs))
'''

START = """
from normadvisor.report.logs import StepNumbers, log_measurements, start_log
from normadvisor.types import Confidence, Finding, Severity
finding = Finding(rule="NA605", name="non-finite", severity=Severity.ERROR, confidence=Confidence.CONFIRMED, message="not a number", modules=("a", "b"))
"""


def runs(script, folder):
    environment = {**os.environ, "WANDB_MODE": "offline", "WANDB_SILENT": "true", "PYTHONWARNINGS": "ignore"}
    command = [sys.executable, "-c", START + script + READ]
    done = subprocess.run(command, cwd=folder, env=environment, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout.split("READ")[-1])


def test_numbers_and_findings_go_to_a_run_of_their_own(tmp_path):
    [run] = runs(
        """
log = start_log("wandb:audits")
log.write(StepNumbers(step=0, run={"loss": 1.5}, layers={"a.b": {"grad_norm": 0.25, "act_mean": None}}))
log.write(StepNumbers(step=100, run={"loss": 2.5}, layers={"": {"grad_norm": 0.5}}, findings=(finding,)))
log.close()
""",
        tmp_path,
    )
    assert run["project"] == "audits"
    assert run["metrics"] == {"normadvisor/step": "", "normadvisor/*": "normadvisor/step"}
    assert run["history"] == [
        {"_step": 0, "normadvisor/step": 0, "normadvisor/run/loss": 1.5, "normadvisor/grad_norm/a.b": 0.25},
        {"_step": 1, "normadvisor/step": 100, "normadvisor/run/loss": 2.5, "normadvisor/grad_norm/(model)": 0.5},
    ]
    assert run["summary"]["normadvisor/findings/NA605 a,b"] == "step 100: NA605 non-finite (error): not a number"


def test_steps_of_a_run_that_the_user_opened_stay_the_users(tmp_path):
    [run] = runs(
        """
import wandb
run = wandb.init(project="mine")
log = start_log("wandb:ignored")
for step in range(4):
    if step % 2 == 0:
        log.write(StepNumbers(step=step, run={"loss": step / 4}))
    run.log({"mine": step}, step=step)
log.close()
assert wandb.run is run
run.finish()
""",
        tmp_path,
    )
    assert run["project"] == "mine"
    # What we log before the user's call for the same step waits for that call; our step 2 is told while the user's step 1 is open.
    assert [(row["_step"], row["mine"]) for row in run["history"]] == [(0, 0), (1, 1), (2, 2), (3, 3)]
    assert [(row["normadvisor/step"], row["normadvisor/run/loss"]) for row in run["history"] if "normadvisor/step" in row] == [(0, 0), (2, 0.5)]


def test_run_that_cannot_be_opened_is_one_error(tmp_path):
    with pytest.raises(AssertionError) as error:
        runs(
            """
import wandb
def refuse(**_): raise wandb.Error("api_key not configured (no-tty). Run wandb login.")
wandb.init = refuse
start_log("wandb")
""",
            tmp_path,
        )
    assert "normadvisor.errors.UsageError: Weights & Biases cannot open a run: api_key not configured" in str(error.value)
