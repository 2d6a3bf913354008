"""The library's entry to fixing: targets by name, and modules of this process."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from torch import nn

import normadvisor
from normadvisor.api.fixing import FixRun
from normadvisor.errors import ConfigError, UsageError

CODE = "from torch import nn\n\nmodel = nn.Sequential(nn.Conv2d(3, 4, 3), nn.BatchNorm2d(4), nn.ReLU(), nn.ReLU())\n"
FIXED = CODE.replace("3)", "3, bias=False)").replace(", nn.ReLU(), nn.ReLU()", ", nn.ReLU()")


def test_source_is_mended_and_written(in_folder):
    path = in_folder / "net.py"
    path.write_text(CODE)
    run = normadvisor.fix("net.py", "2x3x8x8")
    assert isinstance(run, FixRun)
    assert (path.read_text(), [item.finding.rule for item in run.applied]) == (CODE, ["NA102", "NA105"])
    assert str(run).splitlines()[-1] == "2 fixed in 1 file, 0 rolled back"
    assert run.write().written == (path.resolve(),)
    assert path.read_text() == FIXED


def test_rules_are_selected_and_files_written_at_once(in_folder):
    (in_folder / "net.py").write_text(CODE)
    run = normadvisor.fix([Path("net.py")], inputs=["2x3x8x8"], select=["NA1"], ignore="NA102", write=True)
    assert [item.finding.rule for item in run.applied] == ["NA105"]
    assert (in_folder / "net.py").read_text() == CODE.replace(", nn.ReLU(), nn.ReLU()", ", nn.ReLU()")


def test_a_module_of_this_process_is_mended_in_place(in_folder):
    net = nn.Sequential(nn.Conv2d(3, 4, 3), nn.BatchNorm2d(4), nn.ReLU())
    optimizer = torch.optim.SGD(net.parameters(), 0.1)
    result = normadvisor.fix(net, "2x3x8x8", optimizer=optimizer)
    assert isinstance(result, normadvisor.FixResult)
    assert (result.model, net[0].bias, result.key_map.dropped) == (net, None, ("0.bias",))
    assert len(optimizer.param_groups[0]["params"]) == 3


@pytest.mark.parametrize(
    ("call", "error", "words"),
    [
        (lambda: normadvisor.fix("net.py", batchsize=2), ConfigError, "unknown context key 'batchsize'"),
        (lambda: normadvisor.fix("net.py", optimizer=1), UsageError, "an optimizer goes with a model of this process"),
        (lambda: normadvisor.fix(nn.ReLU(), write=True), UsageError, "a model of this process has no source to write"),
        (lambda: normadvisor.convert("net.py", "batch_norm"), UsageError, "there is no conversion to 'batch_norm'"),
    ],
)
def test_what_makes_no_sense_is_refused(in_folder, call, error, words):
    with pytest.raises(error, match=words):
        call()


def test_public_names_are_loaded_on_demand():
    assert {name for name in normadvisor.__all__ if name != "__version__" and getattr(normadvisor, name) is None} == set()
