"""How models are to be measured: the command line over a model's own table over the table for all."""

from __future__ import annotations

import pytest

from normadvisor.api.asked import asked, check_values
from normadvisor.api.job import LOADING_DATA, PROBING, Limits
from normadvisor.api.threads import threads_to_use
from normadvisor.api.wanted import wanted_budget, wanted_probing
from normadvisor.config import load_settings
from normadvisor.errors import ConfigError, UsageError
from normadvisor.types import ProbeOptions, RunContext


@pytest.fixture
def project(tmp_path, monkeypatch):
    """Settings of a configuration in a folder that is not the working directory."""
    root, here = tmp_path / "project", tmp_path / "here"
    for folder in (root, here):
        folder.mkdir()
        for name in ("data.py", "losses.py"):
            (folder / name).touch()
    monkeypatch.chdir(here)

    def write(text):
        (root / "normadvisor.toml").write_text(text)
        return load_settings(root)

    write.here, write.root = here, root
    return write


CONFIG = """
[probe]
steps = 4
lr = 0.5
data = "data.py:train"
loss = "mse"

[[models]]
target = "net.py:Net"
lr = 0.25
loss = "losses.py:focal(gamma=2.0)"
budget = 90
"""


def test_flags_take_precedence_over_the_model_and_that_over_all(project):
    settings = project(CONFIG)
    probing = wanted_probing({"steps": 2, "seed": 7}, settings.models[0], settings, project.here)
    assert probing.options == ProbeOptions(
        steps=2, lr=0.25, seed=7, budget=90, data="data.py:train", loss="losses.py:focal(gamma=2.0)"
    )  # fmt: skip
    assert (probing.data.path, probing.data.name) == (project.root / "data.py", "train")
    assert (probing.loss.path, probing.loss.name, probing.loss.kwargs) == (project.root / "losses.py", "focal", {"gamma": 2.0})


def test_files_of_flags_are_relative_to_the_working_directory(project):
    settings = project(CONFIG)
    probing = wanted_probing({"data": "data.py:other"}, None, settings, project.here)
    assert (probing.data.path, probing.data.name, probing.loss) == (project.here / "data.py", "other", None)
    assert probing.options == ProbeOptions(steps=4, lr=0.5, loss="mse", budget=60.0, data="data.py:other")


def test_without_anything_there_is_a_minute(project):
    probing = wanted_probing({}, None, project(""), project.here)
    assert (probing.options, probing.data, probing.loss) == (ProbeOptions(budget=60.0), None, None)


@pytest.mark.parametrize(
    ("config", "flags", "kind", "message", "hint", "line"),
    [
        ('[probe]\nloss = "mes"', {}, ConfigError, "'loss' cannot be 'mes'", "did you mean 'mse'?", 2),
        ('[probe]\ndata = "somewhere_else.py:f"', {}, ConfigError, "'data': no file or folder 'somewhere_else.py'", "'data' takes module:function or file.py:function", 2),
        ("", {"data": "dato.py:f"}, UsageError, "--data: no file or folder 'dato.py'", "did you mean 'data.py:f'?", None),
        ('[probe]\ndata = "data.py"', {}, ConfigError, "'data': 'data.py' names no function", "'data' takes module:function or file.py:function", 2),
        ("", {"data": "data.py"}, UsageError, "--data: 'data.py' names no function", "--data takes module:function or file.py:function", None),
        ("", {"loss": "losses.py:f(x)"}, UsageError, "--loss: argument 1 of 'losses.py:f(x)' is 'x', which is not a literal", None, None),
    ],
)
def test_a_function_that_cannot_be_is_named_with_its_place(project, config, flags, kind, message, hint, line):
    settings = project(config)
    with pytest.raises(kind) as caught:
        wanted_probing(flags, None, settings, project.here)
    error = caught.value
    assert (error.message, error.location and error.location.line) == (message, line)
    assert hint is None or error.hint == hint


def test_the_time_for_all_is_that_of_the_slowest(project):
    settings = project(CONFIG)
    assert [wanted_budget(flags, settings) for flags in ({}, {"budget": 5.0})] == [90.0, 5.0]
    assert wanted_budget({}, project("")) == 60.0


def test_measuring_has_a_clock_of_its_own():
    limits = Limits(timeout=10, probing=95)
    phases = ("importing", "building", "tracing", "matching", LOADING_DATA, PROBING)
    assert [limits.seconds(phase) for phase in phases] == [10, 10, None, None, 10, 95]


def test_options_from_python_are_sorted():
    found = asked({"steps": 3, "batch_size": 8, "world_size": 2, "loss": "losses.py:focal", "task": "detection", "precision": "bf16", "lr": None})
    assert found.probing == {"steps": 3, "batch_size": 4, "loss": "losses.py:focal", "precision": "bf16"}
    assert found.context == RunContext(batch_size=8, world_size=2, task="detection", precision="bf16")


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"stepz": 3}, "unknown option 'stepz' (did you mean 'steps'?)"),
        ({"steps": 0}, "steps cannot be 0 (a whole number above 0)"),
        ({"steps": True}, "steps cannot be True (a whole number above 0)"),
        ({"steps": 2.5}, "steps cannot be 2.5 (a whole number above 0)"),
        ({"lr": -1.0}, "lr cannot be -1.0 (a number above 0)"),
        ({"lr": float("nan")}, "lr cannot be nan (a number above 0)"),
        ({"budget": float("inf")}, "budget cannot be inf (a number above 0)"),
        ({"seed": -1}, "seed cannot be -1 (a whole number from 0 to 2**63 - 1)"),
        ({"optimizer": "adamm"}, "optimizer cannot be 'adamm' (did you mean 'adam'?)"),
        ({"loss": "mes"}, "loss cannot be 'mes' (did you mean 'mse'?)"),
        ({"loss": lambda: 0}, None),
        ({"precision": "fp8"}, "precision cannot be 'fp8' (did you mean 'fp32'?)"),
        ({"task": "detecion"}, "'task' cannot be 'detecion' (did you mean 'detection'?)"),
        ({"data": 3}, "data cannot be 3 (text)"),
    ],
)
def test_a_wrong_option_says_what_would_be_right(options, message):
    with pytest.raises(UsageError) as caught:
        asked(options)
    assert message is None or str(caught.value) == message


def test_on_the_command_line_options_are_flags():
    with pytest.raises(UsageError, match="--batch-size cannot be 0"):
        check_values({"batch_size": 0}, "--", "-")


@pytest.mark.parametrize(
    ("variables", "expected"),
    [({"OMP_NUM_THREADS": "3"}, 3), ({"OMP_NUM_THREADS": "4,2"}, 4), ({"MKL_NUM_THREADS": "2"}, 2), ({"OMP_NUM_THREADS": "x", "MKL_NUM_THREADS": "5"}, 5)],
)
def test_threads_are_as_many_as_the_user_allows(monkeypatch, variables, expected):
    for name in ("OMP_NUM_THREADS", "MKL_NUM_THREADS"):
        monkeypatch.delenv(name, raising=False)
    for name, value in variables.items():
        monkeypatch.setenv(name, value)
    assert threads_to_use() == expected


@pytest.mark.parametrize(
    ("files", "expected"),
    [
        ({"cpu.max": "150000 100000\n"}, 2), ({"cpu.max": "50000 100000\n"}, 1), ({"cpu.max": "max 100000\n"}, None), ({"cpu.max": "?"}, None), ({}, None),
        ({"cpu/cpu.cfs_quota_us": "400000\n", "cpu/cpu.cfs_period_us": "100000\n"}, 4),
        ({"cpu/cpu.cfs_quota_us": "-1\n", "cpu/cpu.cfs_period_us": "100000\n"}, None),
        ({"cpu/cpu.cfs_quota_us": "100\n", "cpu/cpu.cfs_period_us": "0\n"}, None),
    ],
)  # fmt: skip
def test_a_container_may_have_part_of_the_cores(tmp_path, files, expected):
    from normadvisor.api.threads import _quota

    for name, text in files.items():
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_text(text)
    assert _quota(tmp_path) == expected


def test_else_threads_are_the_cores_there_are(monkeypatch):
    import os

    import psutil

    for name in ("OMP_NUM_THREADS", "MKL_NUM_THREADS"):
        monkeypatch.delenv(name, raising=False)
    assert 1 <= threads_to_use() <= min(os.cpu_count(), psutil.cpu_count(logical=False) or os.cpu_count())


