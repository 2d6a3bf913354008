"""Networks nobody wrote, and every fix of everything that is found in them, on the live model.

What a fix calls safe must leave the function as it is, which is found out here and not by the product; what it calls unsafe must leave a
model that runs, trains and can be traced.
"""

from __future__ import annotations

import copy
import functools
from collections import Counter
from dataclasses import dataclass
from typing import Any

import pytest
import torch
import torch.nn.functional as F
from hypothesis import HealthCheck, Phase, given, seed, settings
from hypothesis import strategies as st
from torch import nn

from normadvisor.api.live_fix import fix
from normadvisor.api.selection import load_selected
from normadvisor.config import Settings
from normadvisor.graph import trace
from normadvisor.match import engine, match
from normadvisor.match.compiled import CompiledRule, compile_rule
from normadvisor.rewrite.model import CannotChange, change_model
from normadvisor.rewrite.proof import prove
from normadvisor.rulebook.model import Rule
from normadvisor.targets.inputs.spec import Inputs
from normadvisor.types import Applicability, RunContext

WIDTH = 4
PARTS, NETWORKS = 8, 65
"""520 networks, in parts that can run side by side."""

WHOLE = settings(
    max_examples=NETWORKS, deadline=None, derandomize=True, database=None, suppress_health_check=list(HealthCheck), phases=[Phase.generate]
)  # fmt: skip

MAPS = {
    "conv": lambda: nn.Conv2d(WIDTH, WIDTH, 3, padding=1),
    "conv without bias": lambda: nn.Conv2d(WIDTH, WIDTH, 3, padding=1, bias=False),
    "pointwise": lambda: nn.Conv2d(WIDTH, WIDTH, 1),
    "depthwise": lambda: nn.Conv2d(WIDTH, WIDTH, 3, padding=1, groups=WIDTH),
    "transposed": lambda: nn.ConvTranspose2d(WIDTH, WIDTH, 3, padding=1),
    "batch norm": lambda: nn.BatchNorm2d(WIDTH),
    "averaging batch norm": lambda: nn.BatchNorm2d(WIDTH, momentum=None),
    "batch norm without statistics": lambda: nn.BatchNorm2d(WIDTH, track_running_stats=False),
    "plain batch norm": lambda: nn.BatchNorm2d(WIDTH, affine=False, eps=1e-3),
    "group norm": lambda: nn.GroupNorm(2, WIDTH),
    "group norm of one": lambda: nn.GroupNorm(WIDTH, WIDTH),
    "instance norm": lambda: nn.InstanceNorm2d(WIDTH),
    "tracking instance norm": lambda: nn.InstanceNorm2d(WIDTH, affine=True, track_running_stats=True),
    "map dropout": lambda: nn.Dropout2d(0.2),
    "max pool": lambda: nn.MaxPool2d(3, 1, 1),
    "average pool": lambda: nn.AvgPool2d(3, 1, 1),
    "weight norm": lambda: nn.utils.parametrizations.weight_norm(nn.Conv2d(WIDTH, WIDTH, 1)),
}
ROWS = {
    "linear": lambda: nn.Linear(WIDTH, WIDTH),
    "linear without bias": lambda: nn.Linear(WIDTH, WIDTH, bias=False),
    "batch norm": lambda: nn.BatchNorm1d(WIDTH),
    "averaging batch norm": lambda: nn.BatchNorm1d(WIDTH, momentum=None),
    "layer norm": lambda: nn.LayerNorm(WIDTH),
    "group norm": lambda: nn.GroupNorm(2, WIDTH),
}
ANYWHERE = {
    "relu": nn.ReLU,
    "relu in place": lambda: nn.ReLU(inplace=True),
    "relu6": nn.ReLU6,
    "sigmoid": nn.Sigmoid,
    "tanh": nn.Tanh,
    "gelu": nn.GELU,
    "silu": nn.SiLU,
    "leaky relu": lambda: nn.LeakyReLU(0.2),
    "hardtanh": nn.Hardtanh,
    "softplus": nn.Softplus,
    "dropout": lambda: nn.Dropout(0.2),
    "nothing": nn.Identity,
}
CALLS = {"F.relu": F.relu, "torch.sigmoid": torch.sigmoid, "Tensor.relu": torch.Tensor.relu, "F.relu6": F.relu6}
STYLES = ("sequential", "attributes", "residual", "branches", "list")


@dataclass(frozen=True)
class Stage:
    style: str
    layers: tuple[str, ...]
    again: bool
    """The stage's first norm or activation runs once more at its end."""
    spare: str
    """A layer that is built and never runs."""


class Attributes(nn.Module):
    """Layers by name, and functions between them."""

    def __init__(self, stage: Stage, kinds: dict[str, Any]) -> None:
        super().__init__()
        self.order = []
        for index, name in enumerate(stage.layers):
            if name in CALLS:
                self.order.append(CALLS[name])
                continue
            self.order.append(f"layer{index}")
            setattr(self, self.order[-1], kinds[name]())
        if stage.again:
            light = [name for name, layer in self.named_children() if not next(layer.parameters(), torch.zeros(0)).dim() > 1]
            self.order += light[:1]
        self.style = stage.style

    def forward(self, x):
        given = x
        for step in self.order:
            x = getattr(self, step)(x) if isinstance(step, str) else step(x)
        return x + given if self.style == "residual" else torch.cat([x, given], 1)[:, :WIDTH] * 0.5 if self.style == "branches" else x


class Listed(nn.Module):
    def __init__(self, layers: list[nn.Module]) -> None:
        super().__init__()
        self.layers = nn.ModuleList(layers)

    def forward(self, x):
        for layer in self.layers:
            x = layer(x)
        return x


class Network(nn.Module):
    def __init__(self, stages: tuple[Stage, ...], maps: bool, end: str) -> None:
        super().__init__()
        torch.manual_seed(0)
        kinds = {**(MAPS if maps else ROWS), **ANYWHERE}
        self.stem = nn.Conv2d(3, WIDTH, 3) if maps else nn.Linear(3, WIDTH)
        self.stages = nn.Sequential(*(self._stage(stage, kinds) for stage in stages))
        for index, stage in enumerate(stages):
            if stage.spare:
                setattr(self, f"spare{index}", kinds[stage.spare]())
        self.head, self.end, self.maps = nn.Linear(WIDTH, 3), nn.Sequential() if end == "logits" else ANYWHERE[end](), maps

    @staticmethod
    def _stage(stage: Stage, kinds: dict[str, Any]) -> nn.Module:
        if stage.style in {"sequential", "list"}:
            layers = [kinds[name]() for name in stage.layers if name not in CALLS]
            if stage.again and layers:
                layers.append(next((layer for layer in layers if not next(layer.parameters(), torch.zeros(0)).dim() > 1), nn.ReLU()))
            return nn.Sequential(*layers) if stage.style == "sequential" else Listed(layers)
        return Attributes(stage, kinds)

    def forward(self, x):
        x = self.stages(self.stem(x))
        return self.end(self.head(x.mean((2, 3)) if self.maps else x))


def stages(maps: bool) -> st.SearchStrategy[tuple[Stage, ...]]:
    usual = ["conv", "pointwise"] if maps else ["linear"]
    # What is met everywhere comes more often: most mistakes are about two of them that follow one another.
    kinds = st.sampled_from([*4 * (*usual, "batch norm", "relu"), "dropout", *(MAPS if maps else ROWS), *ANYWHERE, *CALLS])
    spare = st.sampled_from(["", "", "", "relu", "batch norm"])
    again = st.sampled_from([False, False, False, True])
    stage = st.builds(Stage, st.sampled_from(STYLES), st.lists(kinds, min_size=2, max_size=6).map(tuple), again, spare)
    return st.lists(stage, min_size=1, max_size=2).map(tuple)


NETS = st.booleans().flatmap(
    lambda maps: st.builds(Network, stages(maps), st.just(maps), st.sampled_from(["logits", "logits", "relu", "sigmoid"]))
)
CONTEXTS = st.sampled_from([RunContext(), RunContext(batch_size=2), RunContext(batch_size=64)])
SEEN: Counter[str] = Counter()


@functools.cache
def rules():
    return load_selected(Settings())[1]


COMPILED: dict[int, tuple[Rule, CompiledRule]] = {}


@pytest.fixture(autouse=True)
def compiled_once(monkeypatch: pytest.MonkeyPatch) -> None:
    """A check compiles each rule once; here the same ones are matched with hundreds of networks."""

    def compiled(rule: Rule) -> CompiledRule:
        if id(rule) not in COMPILED:
            COMPILED[id(rule)] = rule, compile_rule(rule)
        return COMPILED[id(rule)][1]

    monkeypatch.setattr(engine, "compile_rule", compiled)


def inputs_of(net: Network) -> Inputs:
    return Inputs((torch.randn(2, 3, 6, 6) if net.maps else torch.randn(6, 3),), given=True)


def traced(net: nn.Module, inputs: Inputs):
    return trace(net, inputs, target="net", sites={})


def demand_valid(net: Network, inputs: Inputs, shape: torch.Size) -> None:
    for mode in (True, False):
        net.train(mode)
        assert net(*(value.clone() for value in inputs.args)).shape == shape
    traced(net, inputs)


@pytest.mark.parametrize("part", range(PARTS))
def test_every_fix_of_every_finding(part: int, tmp_path) -> None:
    root = tmp_path

    @seed(part)
    @WHOLE
    @given(net=NETS, context=CONTEXTS)
    def run(net: Network, context: RunContext) -> None:
        inputs = inputs_of(net)
        graph = traced(net, inputs)
        shape = net(*(value.clone() for value in inputs.args)).shape
        done = set()
        for finding in match(graph, rules(), context, root):
            for each in (finding.fix, *finding.alternatives):
                if each is None or not each.operations or str(each.operations) in done:
                    continue
                done.add(str(each.operations))
                changed = copy.deepcopy(net)
                try:
                    change = change_model(changed, each.operations, graph)
                except CannotChange as error:
                    SEEN["refused"] += 1
                    assert error.reason
                    continue
                SEEN[each.applicability] += 1
                if each.applicability is not Applicability.SAFE:
                    demand_valid(changed, inputs, shape)
                else:
                    proof = prove(net, changed, inputs, change.key_map, draws=1)
                    assert proof.equal, (finding.message, str(proof))

    run()


def test_whole_runs(tmp_path) -> None:
    """Safe fixes of everything at once, then the unsafe ones on top."""

    @seed(99)
    @settings(WHOLE, max_examples=8)
    @given(net=NETS)
    def run(net: Network) -> None:
        inputs = inputs_of(net)
        shape = net(*(value.clone() for value in inputs.args)).shape
        text = "2x3x6x6" if net.maps else "6x3"
        changed = copy.deepcopy(net)
        safe = fix(changed, text, settings=Settings(root=tmp_path))
        assert all(item.fix.applicability is Applicability.SAFE for item in safe.applied)
        proof = prove(net, changed, inputs, safe.key_map, draws=1)
        assert proof.equal, (str(safe), str(proof))
        both = fix(changed, text, unsafe=True, settings=Settings(root=tmp_path))
        demand_valid(changed, inputs, shape)
        keys = safe.key_map.then(both.key_map)
        assert keys.apply(net.state_dict()).keys() | set(keys.added) == changed.state_dict().keys()

    run()


def test_networks_show_what_they_are_for(tmp_path) -> None:
    """Generated networks hold mistakes of many kinds, so that the tests above are about something."""
    found: Counter[str] = Counter()

    @seed(0)
    @settings(WHOLE, max_examples=2 * NETWORKS)
    @given(net=NETS, context=CONTEXTS)
    def run(net: Network, context: RunContext) -> None:
        for finding in match(traced(net, inputs_of(net)), rules(), context, tmp_path):
            found.update(each.applicability for each in (finding.fix, *finding.alternatives) if each is not None and each.operations)
            found[finding.rule] += 1

    run()
    assert {"NA101", "NA102", "NA103", "NA104", "NA105", "NA106", "NA107", "NA110", "NA111", "NA201"} <= found.keys()
    assert found[Applicability.SAFE] > NETWORKS
    assert found[Applicability.UNSAFE] > 2 * NETWORKS
