"""CSV logs read back to the very numbers."""

from __future__ import annotations

import csv
import math

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st
from log_samples import FINDING, NAN_AND_INFINITE

from normadvisor.errors import UsageError
from normadvisor.report.logs import StepNumbers, log_measurements, start_log
from normadvisor.report.logs.csv_log import COLUMNS
from normadvisor.types import CURVES, LAYER_SERIES, RUN_SERIES


def read(path):
    """Rows without what is empty."""
    with path.open(encoding="utf-8", newline="") as file:
        return [{key: text for key, text in row.items() if text} for row in csv.DictReader(file)]


def test_every_number_of_a_probe_has_a_row(tmp_path):
    path = tmp_path / "log.csv"
    log_measurements([NAN_AND_INFINITE], f"csv:{path}")
    assert path.read_text(encoding="utf-8").splitlines()[0] == ",".join(COLUMNS)
    assert read(path) == [
        {"model": "net", "step": "0", "loss": "2.5", "grad_norm": "1.0", "overfit": "3.0"},
        {"model": "net", "step": "0", "layer": "conv1", "grad_norm": "0.1", "act_mean": "0.3333333333333333"},
        {"model": "net", "step": "0", "layer": "(model)", "grad_norm": "inf"},
        {"model": "net", "step": "1", "loss": "nan", "overfit": "2.0"},
        {"model": "net", "step": "1", "layer": "conv1", "act_mean": "nan"},
        {"model": "net", "step": "1", "layer": "(model)", "grad_norm": "2e-300"},
        {"model": "net", "step": "2", "overfit": "1.0"},
    ]


def test_columns_are_all_kinds_of_numbers():
    assert set(COLUMNS) == {"model", "step", "layer", *RUN_SERIES, *CURVES, *LAYER_SERIES}


def test_probe_replaces_what_an_earlier_one_wrote(tmp_path):
    path = tmp_path / "log.csv"
    path.write_text("something else", encoding="utf-8")
    for _ in range(2):
        log_measurements([NAN_AND_INFINITE, NAN_AND_INFINITE], f"csv:{path}")
    assert len(read(path)) == 14
    assert [entry.name for entry in tmp_path.iterdir()] == ["log.csv"]


def test_rows_are_there_as_soon_as_they_are_written(tmp_path):
    path = tmp_path / "log.csv"
    log = start_log(f"csv:{path}")
    assert read(path) == []
    log.write(StepNumbers(step=7, run={"loss": 1}, findings=(FINDING,)))
    assert read(path) == [{"step": "7", "loss": "1.0"}]
    log.close()


def test_training_that_goes_on_adds_rows(tmp_path):
    path = tmp_path / "log.csv"
    for step in (0, 100):
        log = start_log(f"csv:{path}")
        log.write(StepNumbers(step=step, layers={"a": {"grad_norm": 0.5}, "b": {}}))
        log.close()
    assert read(path) == [{"step": "0", "layer": "a", "grad_norm": "0.5"}, {"step": "100", "layer": "a", "grad_norm": "0.5"}]


def test_row_that_a_killed_process_left_unfinished_is_ended(tmp_path):
    path = tmp_path / "log.csv"
    path.write_text(",".join(COLUMNS) + "\nnet,0,a,0.", encoding="utf-8")
    log = start_log(f"csv:{path}")
    log.write(StepNumbers(step=1, run={"loss": 2.0}))
    log.close()
    assert [(row["step"], row.get("loss")) for row in read(path)] == [("0", "0."), ("1", "2.0")]


def test_file_with_other_columns_is_left_alone(tmp_path):
    path = tmp_path / "results.csv"
    path.write_text("a,b\n1,2\n", encoding="utf-8")
    with pytest.raises(UsageError) as error:
        start_log(f"csv:{path}")
    assert str(error.value) == f"'{path}' holds other columns than a log of this version (name another file, or move that one away)"
    assert path.read_text(encoding="utf-8") == "a,b\n1,2\n"


def test_folder_that_cannot_be_written(tmp_path, monkeypatch):
    def refuse(*_, **__):
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr("pathlib.Path.open", refuse)
    with pytest.raises(UsageError) as error:
        start_log(f"csv:{tmp_path / 'x.csv'}")
    assert str(error.value) == f"cannot write '{tmp_path / 'x.csv'}': Permission denied"


@settings(max_examples=50)
@example(0.0, "\r")
@example(-0.0, ' a,"b"\n')
@given(st.floats(), st.text(st.characters(exclude_categories=["Cs"]), min_size=1))
def test_any_number_and_any_name_read_back(tmp_path_factory, value, name):
    path = tmp_path_factory.mktemp("logs") / "x.csv"
    log = start_log(f"csv:{path}")
    log.write(StepNumbers(step=0, layers={name: {"grad_norm": value}}))
    log.close()
    with path.open(encoding="utf-8", newline="") as file:
        [row] = csv.DictReader(file)
    assert row["layer"] == name
    assert float(row["grad_norm"]) == value or math.isnan(value)
