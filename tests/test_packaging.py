"""What is published works without the checkout."""

from __future__ import annotations

import ast
import json
import os
import subprocess
import sys
import tarfile
import zipfile
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]

MODEL = """\
from torch import nn


def net():
    return nn.Sequential(
        nn.Conv2d(3, 8, 3),
        nn.BatchNorm2d(8),
        nn.ReLU(),
    )
"""


@pytest.fixture(scope="module")
def built(tmp_path_factory) -> Path:
    """A folder with the wheel and the sdist."""
    folder = tmp_path_factory.mktemp("dist")
    # The build runs in this interpreter: hatchling is among the development dependencies, and nothing is downloaded.
    command = [sys.executable, "-m", "build", "--no-isolation", "--outdir", str(folder), str(ROOT)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    return folder


def run(*arguments: str, cwd: Path, path: Path) -> subprocess.CompletedProcess[str]:
    """Run the tool that is installed in ``path``; -P keeps the current folder off the import path."""
    environment = {**os.environ, "PYTHONPATH": str(path)}
    command = [sys.executable, "-P", "-m", "normadvisor", *arguments]
    return subprocess.run(command, cwd=cwd, env=environment, capture_output=True, text=True, check=False)


def rule_files() -> set[str]:
    return {path.relative_to(ROOT / "rules").as_posix() for path in (ROOT / "rules").rglob("*.yaml")}


def test_wheel_holds_the_rules_and_nothing_of_the_checkout(built):
    (wheel,) = built.glob("*.whl")
    names = set(zipfile.ZipFile(wheel).namelist())
    assert {name.removeprefix("normadvisor/_rules/") for name in names if name.endswith(".yaml")} == rule_files()
    assert "normadvisor/py.typed" in names
    assert {name.split("/")[0] for name in names} == {"normadvisor", next(name.split("/")[0] for name in names if "dist-info" in name)}


def test_sdist_holds_rules_examples_and_tests(built):
    (sdist,) = built.glob("*.tar.gz")
    with tarfile.open(sdist) as archive:
        names = {name.split("/", 1)[1] for name in archive.getnames()}
    assert {name.removeprefix("rules/") for name in names if name.startswith("rules/") and name.endswith(".yaml")} == rule_files()
    assert names >= {"README.md", "LICENSE", "CHANGELOG.md", "CONTRIBUTING.md", "examples/tiny_gpt.py", "tests/test_packaging.py", ".ci/run"}


def test_wheel_works_outside_the_checkout(built, tmp_path):
    (wheel,) = built.glob("*.whl")
    site, work = tmp_path / "site", tmp_path / "work"
    work.mkdir()
    command = [sys.executable, "-m", "pip", "install", "--quiet", "--no-deps", "--no-index", "--target", str(site), str(wheel)]
    subprocess.run(command, check=True, capture_output=True)
    code = "import normadvisor; print(normadvisor.__file__)"
    shown = subprocess.run(
        [sys.executable, "-P", "-c", code], cwd=work, env={**os.environ, "PYTHONPATH": str(site)}, capture_output=True, text=True, check=True
    )
    assert shown.stdout.strip() == str(site / "normadvisor" / "__init__.py")

    listed = run("rule", "list", cwd=work, path=site)
    assert listed.returncode == 0, listed.stderr
    assert all(Path(name).name[:5] in listed.stdout for name in rule_files())

    (work / "model.py").write_text(MODEL, encoding="utf-8")
    checked = run("check", "model.py", "--format", "json", cwd=work, path=site)
    assert checked.returncode == 1, checked.stderr
    findings = json.loads(checked.stdout)["findings"]
    assert [(finding["rule"], finding["path"], finding["line"]) for finding in findings] == [("NA102", "model.py", 6)]


def test_readme_and_ci_run_the_same_tests():
    readme = (ROOT / "README.md").read_text(encoding="utf-8")
    opening = readme.split("```")[1].split("\n", 1)[1].strip().splitlines()
    commands = [line for line in opening if line and not line.startswith("#")]
    assert len(commands) == 2
    run = (ROOT / ".ci" / "run").read_text(encoding="utf-8").splitlines()
    # Set-up and tests are the README's, word for word; linters stand between.
    set_up, tests = commands[1].rsplit(" && ", 1)
    assert [line for line in run if line in {set_up, tests}] == [set_up, tests]
    assert os.access(ROOT / ".ci" / "run", os.X_OK)


def test_public_names_are_all_there():
    import normadvisor

    assert sorted(name for name in normadvisor.__all__ if hasattr(normadvisor, name)) == sorted(normadvisor.__all__)
    assert set(dir(normadvisor)) == set(normadvisor.__all__)
    with pytest.raises(AttributeError, match="'no_such_name'"):
        normadvisor.no_such_name  # noqa: B018


def test_names_told_to_type_checkers_are_those_loaded():
    import normadvisor

    tree = ast.parse((ROOT / "normadvisor" / "__init__.py").read_text(encoding="utf-8"))
    (block,) = (node for node in tree.body if isinstance(node, ast.If))
    told = {alias.name: node.module for node in block.body if isinstance(node, ast.ImportFrom) for alias in node.names}
    assert told == normadvisor._HOMES


def test_check_is_the_function_whatever_was_imported_before():
    code = "import normadvisor.api.check, normadvisor; print(callable(normadvisor.check))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout == "True\n"


def test_importing_the_package_and_its_torch_free_layers_loads_no_torch():
    modules = ["normadvisor", *(f"normadvisor.{name}" for name in ("types", "errors", "config", "rulebook", "suppress", "report", "cli", "api"))]
    modules += [f"normadvisor.targets.{name}" for name in ("parse", "discover", "pragma")]
    code = f"import sys, importlib; [importlib.import_module(name) for name in {modules!r}]; print('torch' in sys.modules)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout == "False\n"
