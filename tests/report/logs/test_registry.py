"""Places to log to: how they are written, and what is said of wrong ones."""

from __future__ import annotations

import importlib.util
import subprocess
import sys

import pytest
from hypothesis import given
from hypothesis import strategies as st

from normadvisor.errors import NormAdvisorError, UsageError
from normadvisor.report.logs import Destination, destination, log_kinds, start_log


def test_kinds_are_the_files():
    assert log_kinds() == ("csv", "tensorboard", "wandb")


def test_place_is_everything_behind_the_first_colon(tmp_path):
    place = tmp_path / "a:b.csv"
    assert destination(f"csv:{place}") == Destination("csv", str(place))
    assert str(destination("wandb:my project")) == "wandb:my project"
    assert str(destination("wandb")) == "wandb"


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("tensorbord:runs", "unknown kind of log 'tensorbord' (did you mean 'tensorboard'?)"),
        ("", "unknown kind of log '' (known are 'csv', 'tensorboard', 'wandb')"),
        ("csv", "no file is named to log to (write csv:FILE)"),
        ("tensorboard:", "no folder is named to log to (write tensorboard:DIR)"),
        ("csv:{folder}", "'{folder}' is a folder (write csv:FILE)"),
        ("csv:{folder}/none/x.csv", "there is no folder '{folder}/none' to write 'x.csv' to"),
        ("tensorboard:{folder}/file", "'{folder}/file' is a file (write tensorboard:DIR)"),
    ],
)
def test_what_is_wrong_is_said_in_one_sentence(text, message, tmp_path):
    (tmp_path / "file").touch()
    with pytest.raises(UsageError) as error:
        destination(text.format(folder=tmp_path))
    assert str(error.value) == message.format(folder=tmp_path)


@pytest.mark.parametrize(("kind", "words"), [("tensorboard:x", "TensorBoard needs the package tensorboard (pip install tensorboard)"), ("wandb", "Weights & Biases needs the package wandb (pip install wandb)")])
def test_missing_package_is_named(kind, words, monkeypatch):
    real = importlib.util.find_spec
    monkeypatch.setattr(importlib.util, "find_spec", lambda name, *rest: None if name in ("tensorboard", "wandb") else real(name, *rest))
    with pytest.raises(UsageError) as error:
        start_log(kind)
    assert str(error.value) == f"logging to {words}"


@given(st.text())
def test_no_text_ends_in_a_traceback(text):
    try:
        where = destination(text)
    except NormAdvisorError as error:
        assert str(error)
    else:
        assert str(where).startswith(where.kind)


def test_neither_torch_nor_the_packages_are_imported_until_they_are_used(tmp_path):
    code = f"""
import sys
from normadvisor.report.logs import destination, start_log
destination("tensorboard:{tmp_path}"), destination("wandb")
print(sorted({{"torch", "tensorboard", "wandb"}} & set(sys.modules)))
start_log("tensorboard:{tmp_path}")
print(sorted({{"torch", "wandb"}} & set(sys.modules)))
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout == "[]\n[]\n"
