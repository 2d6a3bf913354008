"""Which models are checked, with which inputs and context."""

from __future__ import annotations

import pytest

from normadvisor.api.plan import Planner
from normadvisor.config import ModelConfig, Settings
from normadvisor.errors import UsageError
from normadvisor.types import RunContext

NET = "from torch import nn\n\n\nclass Net(nn.Sequential):{pragma}\n    def __init__(self, width=8):\n        super().__init__(nn.Linear(3, width), nn.ReLU())\n"


@pytest.fixture
def planned(in_folder):
    def plan(*texts, files, settings=None, inputs=(), **flags):
        for name, code in files.items():
            (in_folder / name).parent.mkdir(parents=True, exist_ok=True)
            (in_folder / name).write_text(code)
        planner = Planner(texts=texts, cwd=in_folder)
        return planner.plan(Settings(root=in_folder, **(settings or {})), inputs=inputs, flags=RunContext(**flags))

    return plan


def contexts(plan):
    return {str(model.target): model.context for job in plan.jobs for model in job.models}


def test_every_source_of_context_yields_to_the_one_nearer_the_user(planned):
    settings = {
        "context": RunContext(batch_size=1, task="rl", loss="mse", precision="fp32"),
        "models": (ModelConfig(target="net.py:Net", context=RunContext(task="video", loss="l1", precision="fp16")),),
    }
    plan = planned("net.py:Net", files={"net.py": NET.format(pragma="  # normadvisor: loss=nll precision=amp")}, settings=settings, precision="bf16")
    assert contexts(plan) == {"net.py:Net": RunContext(batch_size=1, task="video", loss="nll", precision="bf16")}


def test_a_configured_model_takes_the_place_of_the_discovered_one(planned):
    settings = {"models": (ModelConfig(target="net.py:Net(4)", inputs=("2x3",)),)}
    plan = planned("net.py", files={"net.py": NET.format(pragma="")}, settings=settings)
    assert [(str(model.target), model.inputs) for model in plan.jobs[0].models] == [("net.py:Net(4)", ("2x3",))]


def test_inputs_of_the_command_line_take_the_place_of_configured_ones(planned):
    settings = {"models": (ModelConfig(target="net.py:Net", inputs=("2x3",)),)}
    plan = planned("net.py:Net", files={"net.py": NET.format(pragma="")}, settings=settings, inputs=("5x3",))
    assert plan.jobs[0].models[0].inputs == ("5x3",)


def test_a_module_below_the_working_directory_has_its_pragma_read(planned):
    plan = planned("pkg.net:Net", files={"pkg/__init__.py": "", "pkg/net.py": NET.format(pragma="  # normadvisor: task=rl")})
    assert contexts(plan) == {"pkg.net:Net": RunContext(task="rl")}


def test_a_folder_and_a_file_in_it_are_one_job(planned):
    plan = planned(".", "net.py", files={"net.py": NET.format(pragma=""), "script.py": "print()\n", "sub/other.py": NET.format(pragma="")})
    assert [job.label for job in plan.jobs] == ["net.py", "sub/other.py"]
    assert [path.name for path in plan.files] == ["net.py", "script.py", "other.py"]


def test_what_cannot_be_read_is_a_problem_and_the_rest_is_planned(planned):
    plan = planned("gone.py", "bad.py", "net.py", "empty", files={"net.py": NET.format(pragma=""), "bad.py": "def (", "empty/readme.txt": ""})
    assert [job.label for job in plan.jobs] == ["net.py"]
    assert [(problem.target, problem.message) for problem in plan.problems] == [
        ("gone.py", "no file or folder 'gone.py'"),
        ("bad.py", "not valid Python: invalid syntax"),
        ("empty", "there are no Python files in empty"),
    ]


def test_a_pragma_with_a_mistake_is_a_problem_of_its_file(planned):
    plan = planned("net.py", files={"net.py": NET.format(pragma="  # normadvisor: tsk=rl")})
    (problem,) = plan.problems
    assert (plan.jobs, problem.target, problem.message, problem.hint, problem.location.line) == (
        [], "net.py", "unknown context key 'tsk'", "did you mean 'task'?", 4,
    )  # fmt: skip


def test_a_configured_target_that_is_gone_is_told(planned):
    plan = planned("net.py", files={"net.py": NET.format(pragma="")}, settings={"models": (ModelConfig(target="gone.py:Net"),)})
    assert [(problem.target, problem.message) for problem in plan.problems] == [("gone.py:Net", "no file or folder 'gone.py'")]


def test_nothing_to_check_is_an_error(planned):
    with pytest.raises(UsageError, match="there is no target to check"):
        planned(files={})
