"""Whole scripts in, findings out."""

from __future__ import annotations

import re
import textwrap

import pytest

from normadvisor.match import match_script
from normadvisor.rulebook import load_rules
from normadvisor.script import analyze
from normadvisor.script.project.modules import Project
from normadvisor.types import RunContext

HEAD = """\
import copy
from collections import OrderedDict
import torch
import torchvision
from torch import nn
from torch.nn import functional as F
"""
_MARK = re.compile(r"# (NA\d+\??)")


@pytest.fixture(scope="session")
def rules():
    return list(load_rules())


@pytest.fixture
def reported(tmp_path, rules):
    def check(source):
        """What a script is marked with (``# NA401``, ``# NA401?`` if suspected), and what is found in it: ``LINE RULE``, infos left out."""
        text = HEAD + textwrap.dedent(source).lstrip("\n")
        path = tmp_path / "main.py"
        path.write_text(text)
        project = Project([tmp_path])
        script = analyze(path, project)
        assert (script.problems, script.notes) == ((), ())
        found = {
            f"{finding.line} {finding.rule}{'?' if finding.confidence.value == 'suspected' else ''}"
            for finding in match_script(script, rules, RunContext(), root=tmp_path, modules=project)
            if finding.severity.value != "info"
        }
        marked = {f"{number} {mark}" for number, line in enumerate(text.splitlines(), 1) for mark in _MARK.findall(line)}
        return sorted(marked), sorted(found)

    return check
