"""Findings that were measured are silenced as any others: in the code, in the configuration, by a baseline."""

from __future__ import annotations

import json

import pytest

NET = """import torch
from torch import nn


class Net(nn.Module):
    def __init__(self):
        super().__init__()
        self.first = nn.Linear(6, 16){noqa}
        self.last = nn.Linear(16, 3)

    def forward(self, x):
        return self.last(self.first(x) * float("nan"))
"""
SHORT = ("--steps", "2", "--budget", "600s", "--device", "cpu", "--format", "json")


@pytest.fixture
def write(tmp_path):
    return lambda noqa="": (tmp_path / "net.py").write_text(NET.format(noqa=noqa))


def findings(result):
    return [(item["rule"], item["line"], item["suppressed"]) for item in json.loads(result.out)["findings"]]


def test_a_measured_finding_points_at_the_layer_and_can_be_silenced_there(cli, write):
    write()
    result = cli("probe", "net.py", *SHORT)
    assert result.code == 1
    ((rule, line, suppressed),) = [item for item in findings(result) if item[0] == "NA605"]
    assert suppressed is None
    lines = NET.format(noqa="").splitlines()
    (path := lines)[line - 1] += f"  # noqa: {rule}"
    from pathlib import Path

    Path("net.py").write_text("\n".join(path) + "\n")
    result = cli("probe", "net.py", *SHORT)
    assert (result.code, [item for item in findings(result) if item[0] == rule]) == (0, [(rule, line, "noqa")])


def test_the_comment_does_not_count_as_unused_where_nothing_was_measured(cli, write):
    write("  # noqa: NA605, NA601")
    data = json.loads(cli("check", "net.py", "--format", "json").out)
    assert data["summary"]["unused_noqa"] == []


def test_a_baseline_with_measured_findings_is_not_stale_without_measuring(cli, write):
    write()
    result = cli("check", "net.py", "--probe", *SHORT, "--write-baseline", "--baseline", "known.json")
    assert result.code == 0, result
    assert cli("check", "net.py", "--probe", *SHORT, "--baseline", "known.json").code == 0
    result = cli("check", "net.py", "--baseline", "known.json")
    assert (result.code, "baseline" in result.err) == (0, False)
    result = cli("probe", "net.py", *SHORT, "--baseline", "known.json")
    assert (result.code, {item[2] for item in findings(result)}) == (0, {"baseline"})


def test_rules_are_selected_ignored_and_weighed(cli, write):
    write()
    assert findings(cli("probe", "net.py", *SHORT, "--ignore", "NA6")) == []
    assert cli("probe", "net.py", *SHORT, "--select", "NA605", "--severity", "NA605=info").code == 0
    assert cli("probe", "net.py", *SHORT, "--select", "NA605", "--severity", "NA605=info", "--fail-on", "info").code == 1


def test_the_configuration_silences_them_per_file(cli, write, tmp_path):
    write()
    (tmp_path / "normadvisor.toml").write_text('per-file-ignores = { "net.py" = ["NA6"] }\n')
    result = cli("probe", "net.py", *SHORT)
    assert (result.code, {item[2] for item in findings(result)}) == (0, {"config"})
