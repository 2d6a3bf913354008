"""What the rules NA701 to NA706 say of real models is what the finders of ``optimize`` find in them."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import nn

from normadvisor.graph import ModelGraph, look_for_written, trace
from normadvisor.match import match
from normadvisor.optimization.candidate import Candidate, Setting
from normadvisor.optimization.finders import find
from normadvisor.optimization.fusing.places import Place, places
from normadvisor.rulebook import load_rules
from normadvisor.targets.inputs.spec import Inputs
from normadvisor.types import Finding, RunContext

IMAGE = (2, 3, 64, 64)
NORMS = frozenset({"layer_norm", "rms_norm"})


def torchvision_model(name: str) -> Callable[[], nn.Module]:
    models = pytest.importorskip("torchvision.models")
    return lambda: models.get_model(name, weights=None)


def timm_model(name: str, **options: Any) -> Callable[[], nn.Module]:
    timm = pytest.importorskip("timm")
    return lambda: timm.create_model(name, **options)


def language_model(kind: str, **options: Any) -> Callable[[], nn.Module]:
    transformers = pytest.importorskip("transformers")

    def build() -> nn.Module:
        config = transformers.AutoConfig.for_model(kind, vocab_size=50, attn_implementation="eager", **options)
        return transformers.AutoModel.from_config(config)

    return build


LLAMA = {"hidden_size": 32, "intermediate_size": 48, "num_hidden_layers": 2, "num_attention_heads": 2, "num_key_value_heads": 1}
MODELS: dict[str, Callable[[], Callable[[], nn.Module]]] = {
    "resnet18": lambda: torchvision_model("resnet18"),
    "mobilenet_v3_small": lambda: torchvision_model("mobilenet_v3_small"),
    "shufflenet_v2_x0_5": lambda: torchvision_model("shufflenet_v2_x0_5"),
    "swin_t": lambda: torchvision_model("swin_t"),
    "efficientnet_b0": lambda: timm_model("efficientnet_b0"),
    "repvgg_a0": lambda: timm_model("repvgg_a0"),
    "resnetv2_50": lambda: timm_model("resnetv2_50"),
    "levit_128s": lambda: timm_model("levit_128s", img_size=64),
    "convnext_atto": lambda: timm_model("convnext_atto"),
    "eva02_tiny": lambda: timm_model("eva02_tiny_patch14_224", img_size=56),
    "llama": lambda: language_model("llama", **LLAMA),
    "gemma": lambda: language_model("gemma", **LLAMA, head_dim=16),
    "bert": lambda: language_model("bert", hidden_size=32, intermediate_size=48, num_hidden_layers=2, num_attention_heads=2),
    "gpt2": lambda: language_model("gpt2", n_embd=32, n_layer=2, n_head=2),
}
RETURNED = {"llama", "gemma", "gpt2", "bert"}
"""Their attention returns its weights, which their layers drop: as seen from the whole model nobody reads them, and as seen from the module
that computes them everybody may. The rule speaks and says why no edit is made; the finder stays out."""

KEEPING = {"levit_128s"}
"""Their attention puts what it computed into a dictionary that it keeps, which no other forward would: the finder stays out of it."""


@dataclass(frozen=True)
class Subject:
    model: nn.Module
    graph: ModelGraph
    setting: Setting

    def rule(self, rule: str) -> list[Finding]:
        return match(self.graph, [load_rules().get(rule)], RunContext(), Path("/nowhere"))

    def modules(self, rule: str) -> set[str]:
        return {name for finding in self.rule(rule) for name in finding.modules or ("",)}

    def candidates(self, stage: str) -> Iterator[Candidate]:
        found = find(self.model, self.graph, self.setting, stage)
        assert found.notes == []
        yield from found.candidates

    def places(self, rule: str) -> list[Place]:
        return [place for place in places(self.graph) if place.rule == rule]


@cache
def subject(name: str) -> Subject:
    torch.manual_seed(0)
    model = MODELS[name]()().eval()
    shape = (2, 3, 56, 56) if name == "eva02_tiny" else IMAGE
    kwargs = {"input_ids": torch.ones(2, 8, dtype=torch.long)} if name in RETURNED else {}
    inputs = Inputs(() if kwargs else (torch.randn(shape),), kwargs=kwargs, given=True)
    graph = trace(model, inputs, target=name, sites={}, mode="eval")
    look_for_written(graph, model)
    setting = Setting(mode="inference", device=torch.device("cpu"), dtype=torch.float32, inputs=inputs, force=True)
    return Subject(model, graph, setting)


@pytest.mark.parametrize("name", MODELS)
def test_folds(name):
    held = subject(name)
    norms = {node.module for node in held.graph.nodes if node.op == "batch_norm"}
    folded = {module for found in held.candidates("fold") for module in found.modules if module in norms}
    assert held.modules("NA701") == folded
    assert (name in {"resnet18", "repvgg_a0"}) <= bool(folded)


@pytest.mark.parametrize("name", MODELS)
@pytest.mark.parametrize("rule", ["NA702", "NA703"])
def test_what_could_be_one_kernel(name, rule):
    held = subject(name)
    found = held.rule(rule)
    expected = held.places(rule)
    assert [finding.evidence["places"] for finding in found] == ([len(expected)] if expected else [])
    assert held.modules(rule) >= {place.modules[0] for place in expected}


@pytest.mark.parametrize("name", MODELS)
def test_what_is_written_out(name):
    held = subject(name)
    by_rule: dict[str, set[str]] = {"NA704": set(), "NA705": set()}
    for found in held.candidates("upgrade"):
        by_rule[found.rule].add(found.modules[0])
    said = {rule: held.modules(rule) for rule in by_rule}
    if name in RETURNED | KEEPING:
        attention = [finding for finding in held.rule("NA705") if "scaled_dot_product" in str(finding.evidence["function"])]
        said["NA705"] -= {module for finding in attention for module in finding.modules}
    assert said == by_rule
    assert (name in {"llama", "gemma"}) <= (len(by_rule["NA704"]) == 5)
    assert (name == "gpt2") <= (len(by_rule["NA705"]) == 2)


@pytest.mark.parametrize("name", MODELS)
def test_memory_format(name):
    """The rule is silent about a single convolution, which the finder tries as well: it hands no map to another one."""
    held = subject(name)
    convolutions = sum(node.op in {"conv", "conv_transpose"} for node in held.graph.nodes)
    assert len(held.rule("NA706")) == (len(list(held.candidates("layout"))) if convolutions > 1 else 0)
    assert (name in {"resnet18", "levit_128s"}) <= (convolutions > 1)


def test_nothing_is_said_of_weights_that_lie_as_they_should():
    held = subject("resnet18")
    model = MODELS["resnet18"]()().to(memory_format=torch.channels_last).eval()
    graph = trace(model, held.setting.inputs, target="net", sites={}, mode="eval")
    assert match(graph, [load_rules().get("NA706")], RunContext(), Path("/nowhere")) == []
