from __future__ import annotations

import copy

import pytest
import torch
from torch import nn

from normadvisor.targets.build import build
from normadvisor.targets.load import load
from normadvisor.targets.parse import parse_target
from normadvisor.targets.sites import SiteRecorder


@pytest.fixture
def sites(tmp_path, write):
    """Sites of a model as ``{module: [source of every frame's span]}``."""

    def find(text, target="model.py:Net"):
        path = write("model.py", "import copy\nimport torch\nfrom torch import nn\n\n" + text)
        built = build(load(parse_target(target, tmp_path)))
        lines = path.read_text().splitlines()

        def source(frame):
            place = frame.location
            assert place.path == str(path)
            if place.end_line != place.line:
                return lines[place.line - 1][place.column - 1 :] + "..."
            return lines[place.line - 1][place.column - 1 : place.end_column - 1]

        assert all("_normadvisor" not in key for module in built.model.modules() for key in module.__dict__)
        return {name: [source(frame) for frame in site.frames] for name, site in built.sites.items()}

    return find


def test_exact_spans_and_chains(sites):
    found = sites(
        """class Block(nn.Module):
    def __init__(self, n):
        super().__init__()
        self.c, self.b = nn.Conv2d(n, n, 3), nn.BatchNorm2d(n)

def stack(n):
    return nn.Sequential(*[Block(n) for _ in range(2)])

class Net(nn.Module):
    def __init__(self):
        super().__init__()
        größe = "ß"; self.layers = stack(3)
"""
    )
    assert found["layers.1.c"] == ["nn.Conv2d(n, n, 3)", "Block(n)", "stack(3)"]
    assert found["layers.0.b"] == ["nn.BatchNorm2d(n)", "Block(n)", "stack(3)"]
    assert found["layers"] == ["nn.Sequential(*[Block(n) for _ in range(2)])", "stack(3)"]
    assert found["layers.0"] == ["Block(n)", "stack(3)"]
    assert "" not in found  # the model itself is constructed by no line of the user's


def test_base_classes(sites):
    found = sites(
        """class Base(nn.Module):
    def __init__(self, n):
        nn.Module.__init__(self)
        self.a = nn.Linear(n, n)

class Named(nn.BatchNorm2d):
    def __init__(self, *args):
        super().__init__(*args)

class Net(Base):
    def __init__(self):
        super().__init__(3)
        self.n = Named(8)
"""
    )
    assert found == {"a": ["nn.Linear(n, n)", "super().__init__(3)"], "n": ["Named(8)"]}


def test_copies_inherit_the_site_of_their_original(sites):
    found = sites(
        """class Net(nn.Module):
    def __init__(self):
        super().__init__()
        block = nn.Sequential(nn.Linear(3, 3), nn.ReLU())
        self.layers = nn.ModuleList([copy.deepcopy(block) for _ in range(2)])
        self.enc = nn.TransformerEncoder(nn.TransformerEncoderLayer(8, 2, batch_first=True), 2)
"""
    )
    assert (found["layers.1.0"], found["layers.1.1"]) == (["nn.Linear(3, 3)"], ["nn.ReLU()"])
    assert found["enc.layers.1.norm1"] == ["nn.TransformerEncoderLayer(8, 2, batch_first=True)"]


def test_shared_unpickled_lazy_parametrized_and_decorated(sites):
    found = sites(
        """import functools, io

def traced(init):
    @functools.wraps(init)
    def wrapper(*args, **kwargs):
        return init(*args, **kwargs)
    return wrapper

class Inner(nn.Module):
    @traced
    def __init__(self):
        super().__init__()

class Net(nn.Module):
    def __init__(self):
        super().__init__()
        self.a = nn.Linear(3, 3)
        self.b = self.a
        self.lazy = nn.LazyConv2d(8, 3)
        self.p = nn.utils.parametrizations.weight_norm(nn.Linear(4, 4))
        self.i = Inner()
        self.q = nn.ReLU.__new__(nn.ReLU)
        self.q.__setstate__({"_modules": {}, "_parameters": {}, "_buffers": {}, "inplace": False})
"""
    )
    assert (found["a"], found["b"]) == (["nn.Linear(3, 3)"], ["nn.Linear(3, 3)"])
    assert (found["lazy"], found["p"], found["i"]) == (["nn.LazyConv2d(8, 3)"], ["nn.Linear(4, 4)"], ["Inner()"])
    assert "q" not in found


def test_instances_built_while_importing(sites):
    assert sites("net = nn.Sequential(nn.ReLU())\n", "model.py:net")["0"] == ["nn.ReLU()"]


def test_recording_leaves_torch_as_it_was():
    original = nn.Module.__init__
    recorder = SiteRecorder()
    with pytest.raises(ZeroDivisionError), recorder.recording():
        1 / 0  # noqa: B018 -- raises
    assert nn.Module.__init__ is original


def test_recording_costs_at_most_half_more(instructions):
    def make():
        with torch.device("meta"):
            return nn.Sequential(*[nn.Sequential(nn.Linear(4, 4), nn.BatchNorm1d(4), nn.ReLU()) for _ in range(20)])

    def record():
        recorder = SiteRecorder()
        with recorder.recording():
            model = make()
        assert len(recorder.collect(model)) == 81

    for each in (make, record):
        each()  # what is done once
    assert instructions(make) < instructions(record) < 1.5 * instructions(make)


def test_deepcopy_outside_recording_is_untouched():
    assert list(copy.deepcopy(nn.ReLU()).__dict__) == list(nn.ReLU().__dict__)
