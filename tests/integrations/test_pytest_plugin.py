"""The pytest plugin, in runs of pytest of its own."""

from __future__ import annotations

import subprocess
import sys
from importlib.metadata import entry_points
from xml.etree import ElementTree as ET

import pytest

import normadvisor
from normadvisor.integrations.healthy import assert_model_healthy

pytest_plugins = ["pytester"]

MODELS = """
import torch
from torch import nn

def healthy():
    torch.manual_seed(0)
    return nn.Sequential(nn.Linear(8, 32), nn.ReLU(), nn.Linear(32, 4))

class Broken(nn.Module):
    def __init__(self):
        super().__init__()
        self.body = nn.Linear(8, 8)
        self.head = nn.Linear(8, 4)
        nn.init.constant_(self.body.weight, float("nan"))

    def forward(self, x):
        return self.head(torch.relu(self.body(x)))

generator = torch.Generator().manual_seed(0)
BATCH = torch.randn(16, 8, generator=generator), torch.randint(0, 4, (16,), generator=generator)
"""


def test_plugin_is_found_by_pytest():
    assert [entry.value for entry in entry_points(group="pytest11") if entry.name == "normadvisor"] == ["normadvisor.integrations.pytest_plugin"]


FILES = {
    "models.py": MODELS,
    "pyproject.toml": "[tool.normadvisor]\n",
    "test_good.py": """
import torch
from models import BATCH, healthy

def test_model(assert_model_healthy):
    model = healthy()
    before = {name: value.clone() for name, value in model.state_dict().items()}
    state = torch.get_rng_state()
    audit = assert_model_healthy(model, BATCH, torch.nn.CrossEntropyLoss())
    assert audit.go
    assert all(torch.equal(value, before[name]) for name, value in model.state_dict().items())
    assert torch.equal(torch.get_rng_state(), state)
    assert all(parameter.grad is None for parameter in model.parameters())
""",
    "test_failure.py": """
import torch
from models import BATCH, Broken

def test_model(assert_model_healthy):
    assert_model_healthy(Broken(), BATCH, torch.nn.CrossEntropyLoss(), steps=2)
""",
    "test_options.py": """
import torch
from models import BATCH, Broken
from torch import nn

class Small(nn.Module):
    def __init__(self):
        super().__init__()
        self.conv, self.norm = nn.Conv2d(3, 8, 3), nn.BatchNorm2d(8)

    def forward(self, x):
        return torch.relu(self.norm(self.conv(x))).mean((2, 3))

IMAGES = torch.randn(16, 3, 8, 8), torch.randint(0, 8, (16,))

def test_ignored(assert_model_healthy):
    assert_model_healthy(Broken(), BATCH, nn.CrossEntropyLoss(), ignore=["non-finite"], steps=2)

def test_mild(assert_model_healthy):
    audit = assert_model_healthy(Small(), IMAGES, nn.CrossEntropyLoss(), fail_on="error", steps=2)
    assert [finding.rule for finding in audit.findings] == ["NA102"]

def test_severe(assert_model_healthy):
    assert_model_healthy(Small(), IMAGES, nn.CrossEntropyLoss(), ignore="NA605", steps=2)
""",
    "test_wrong.py": """
import pytest
from models import BATCH, healthy
from normadvisor import NormAdvisorError
from torch import nn

def test_wrong(assert_model_healthy):
    for wrong, words in (
        ({"fail_on": "fatal"}, "fail_on is 'fatal' (write 'info', 'warning' or 'error')"),
        ({"ignore": "NA999"}, "NA999"),
        ({"stesp": 3}, "stesp"),
    ):
        with pytest.raises(NormAdvisorError) as error:
            assert_model_healthy(healthy(), BATCH, nn.CrossEntropyLoss(), **wrong)
        assert words in str(error.value)

def test_no_model(assert_model_healthy):
    with pytest.raises(NormAdvisorError):
        assert_model_healthy(3)
""",
    "test_cannot_run.py": """
import torch
from models import healthy
from torch import nn

def test_model(assert_model_healthy):
    assert_model_healthy(healthy(), (torch.randn(4, 7), torch.zeros(4, dtype=torch.long)), nn.CrossEntropyLoss())
""",
    "test_text.py": """
def test_model(assert_model_healthy):
    assert_model_healthy("models.py:healthy", steps=2)
""",
}


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    """What one run of pytest says of all files, since each run imports torch: outcomes by file and test, and everything it prints."""
    folder = tmp_path_factory.mktemp("project")
    for name, text in FILES.items():
        (folder / name).write_text(text)
    command = [sys.executable, "-m", "pytest", "-p", "no:cacheprovider", "-p", "no:xdist", "--junitxml=junit.xml"]
    printed = subprocess.run(command, cwd=folder, capture_output=True, text=True, check=False).stdout
    cases = ET.parse(folder / "junit.xml").getroot().iter("testcase")
    outcomes = {(case.get("classname"), case.get("name")): "passed" if not len(case) else case[0].tag for case in cases}
    return outcomes, printed


@pytest.mark.parametrize(
    ("file", "test", "outcome"),
    [
        ("test_good", "test_model", "passed"),
        ("test_failure", "test_model", "failure"),
        ("test_options", "test_ignored", "passed"),
        ("test_options", "test_mild", "passed"),
        ("test_options", "test_severe", "failure"),
        ("test_wrong", "test_wrong", "passed"),
        ("test_wrong", "test_no_model", "passed"),
        ("test_cannot_run", "test_model", "failure"),
        ("test_text", "test_model", "passed"),
    ],
)
def test_outcome(run, file, test, outcome):
    """Healthy models pass and are left as they were, sick ones fail, wrong arguments raise: the tests of :data:`FILES` say it all."""
    assert run[0][file, test] == outcome


def test_all_tests_ran(run):
    assert len(run[0]) == 9


def test_failure_names_place_reason_and_mend_and_shows_the_line_of_the_test(run):
    matcher = pytest.LineMatcher(run[1].splitlines())
    matcher.fnmatch_lines(
        [
            ">   *assert_model_healthy(Broken(), BATCH, torch.nn.CrossEntropyLoss(), steps=2)",
            "E   *AssertionError: the model is not healthy: 1 finding",
            "E   *models.py:*: NA605 non-finite (error): *",
            "E   *layers: body",
            "E   *mend: *",
        ]
    )
    matcher.no_fnmatch_line("*healthy.py*")  # what runs inside of the assertion is of no interest to who reads the failure


def test_what_cannot_run_and_what_is_a_warning_is_said(run):
    lines = run[1].splitlines()
    pytest.LineMatcher(lines).fnmatch_lines(["E   *AssertionError: the model could not be measured", "E   *4x7*"])
    pytest.LineMatcher(lines).fnmatch_lines(["E   *NA102 bias-before-norm (warning): *"])


def test_without_pytest_it_is_a_function():
    assert normadvisor.assert_model_healthy is assert_model_healthy


def test_run_that_does_not_use_it_imports_next_to_nothing(pytester):
    pytester.makeconftest(
        """
        import sys

        def pytest_sessionfinish():
            print("LOADED", sorted(name for name in sys.modules if name.split(".")[0] in ("normadvisor", "torch", "numpy", "pydantic", "rich")))
        """
    )
    pytester.makepyfile("def test_nothing(): pass")
    result = pytester.runpytest_subprocess("-s")
    result.assert_outcomes(passed=1)
    assert "LOADED ['normadvisor', 'normadvisor.integrations', 'normadvisor.integrations.pytest_plugin']" in result.stdout.str()


def test_fixture_is_listed_with_its_purpose(pytester):
    result = pytester.runpytest_subprocess("--fixtures")
    result.stdout.fnmatch_lines(["assert_model_healthy *", "*Check a model and probe a few steps of its training*"])


def test_plugin_can_be_left_out(pytester):
    pytester.makepyfile("def test_model(assert_model_healthy): pass")
    pytester.runpytest_subprocess("-p", "no:normadvisor").assert_outcomes(errors=1)


def test_loading_imports_nothing_but_itself():
    """A plugin is loaded in every run of everybody's tests."""
    code = """
import pytest, sys
before = set(sys.modules)
import normadvisor.integrations.pytest_plugin
print(*sorted(set(sys.modules) - before))
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.split() == ["normadvisor", "normadvisor.integrations", "normadvisor.integrations.pytest_plugin"]
