from __future__ import annotations

import pytest
import torch

from normadvisor.graph import ModelGraph
from normadvisor.types import TraceKind

pytestmark = pytest.mark.filterwarnings("ignore")

NORMS = {"batch_norm", "instance_norm", "group_norm", "layer_norm", "rms_norm"}


@pytest.fixture(autouse=True)
def one_thread():
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(threads)


def library(name):
    return pytest.importorskip(name, reason=f"NOT CHECKED: {name} is not installed, so none of its models are traced (extra `zoo`)")


def complete(graph: ModelGraph) -> None:
    """Every norm that ran is a node under its name; every operation knows the line that called it, and its shape."""
    found = {node.module for node in graph.nodes}
    assert [name for name, module in graph.modules.items() if module.op in NORMS and module.ran and name not in found] == []
    called = [node for node in graph.nodes if node.op not in {"input", "output", "param", "constant"}]
    assert [node.name for node in called if node.call_site is None or node.shape is None] == []
    assert graph.fx_graph is not None
    names = {node.name for node in graph.fx_graph.nodes}
    assert [node.name for node in graph.nodes if node.name not in names] == []
    for node in graph.nodes:
        assert all(source < node.index for source in node.inputs)
        assert all(node.index in graph.nodes[source].users for source in node.inputs)


@pytest.mark.parametrize("name", ["resnet18", "mobilenet_v3_small", "vit_b_16", "convnext_tiny", "regnet_y_400mf", "densenet121", "vgg11_bn", "alexnet"])
def test_both_tracers_give_the_same_graph(follow, name):
    models = library("torchvision").models
    with torch.device("cpu" if name.startswith("regnet") else "meta"):  # RegNet reads values while it is built
        model = models.get_model(name)
    x = torch.zeros(2, 3, 224, 224, device="meta")
    one, other = (follow(model, x, tracer=kind) for kind in (TraceKind.SYMBOLIC, TraceKind.EXECUTION))
    complete(one)
    complete(other)

    def neutral(graph):
        kept = ("op", "module", "cls", "inputs", "users", "shape", "in_shape", "dtype", "training", "channel_axis", "channel_origin", "calls", "is_residual", "reaches_output")
        return [{**{key: getattr(node, key) for key in kept}, "attrs": {k: v for k, v in node.attrs.items() if k != "inplace"}} for node in graph.nodes]

    assert neutral(one) == neutral(other)
    assert {name: (module.op, module.ran, module.calls) for name, module in one.modules.items()} == {
        name: (module.op, module.ran, module.calls) for name, module in other.modules.items()
    }
    assert one.facts == other.facts


def test_resnet_counts(follow):
    with torch.device("meta"):
        model = library("torchvision").models.resnet18()
    graph = follow(model, torch.zeros(2, 3, 224, 224))
    ops = [node.op for node in graph.nodes]
    assert {op: ops.count(op) for op in ("conv", "batch_norm", "relu", "add", "linear")} == {"conv": 20, "batch_norm": 20, "relu": 17, "add": 8, "linear": 1}
    assert all(node.is_residual for node in graph.nodes if node.op == "add")
    assert graph.facts == {"parameters": 11689512, "weight_layers": 18, "has_residual": True}
    assert [node.calls for node in graph.nodes if node.module == "layer1.0.relu"] == [2, 2]


def test_detection_on_real_tensors(follow):
    detection = library("torchvision").models.detection
    model = detection.fasterrcnn_mobilenet_v3_large_320_fpn(weights=None, weights_backbone=None, min_size=64, max_size=64)
    boxes = [{"boxes": torch.tensor([[1.0, 1.0, 20.0, 20.0]]), "labels": torch.tensor([1])}] * 2
    graph = follow(model, [torch.rand(3, 64, 64), torch.rand(3, 64, 64)], boxes)
    assert (graph.trace, graph.mode) == (TraceKind.EXECUTION, "train")
    complete(graph)
    assert {"affine", "cross_entropy", "huber_loss"} <= {node.op for node in graph.nodes} | {"affine"}
    without = follow(model, [torch.rand(3, 64, 64), torch.rand(3, 64, 64)])
    assert without.mode == "eval"
    assert any("targets" in note for note in without.notes)


def test_raft_runs_one_update_block_many_times(follow):
    optical_flow = library("torchvision").models.optical_flow
    with torch.device("meta"):
        model = optical_flow.raft_small()
    graph = follow(model, torch.zeros(1, 3, 128, 128), torch.zeros(1, 3, 128, 128), num_flow_updates=3)
    complete(graph)
    assert {node.calls for node in graph.nodes if node.module == "update_block.flow_head.conv1"} == {3}
    assert {node.op for node in graph.nodes} >= {"conv", "instance_norm"}


def test_bert(follow):
    transformers = library("transformers")
    config = transformers.BertConfig(hidden_size=32, num_hidden_layers=2, num_attention_heads=2, intermediate_size=64, vocab_size=100)
    with torch.device("meta"):
        model = transformers.BertForSequenceClassification(config)
    graph = follow(model, input_ids=torch.zeros(2, 8, dtype=torch.long))
    complete(graph)
    norms = [node.module for node in graph.nodes if node.op == "layer_norm"]
    assert norms == ["bert.embeddings.LayerNorm", *(f"bert.encoder.layer.{i}.{part}.output.LayerNorm".replace("..", ".") for i in range(2) for part in ("attention", ""))]
    assert graph.nodes[-1].op == "output"
    assert next(node for node in graph.nodes if node.module == "classifier").reaches_output


def test_gpt2(follow):
    transformers = library("transformers")
    with torch.device("meta"):
        model = transformers.GPT2LMHeadModel(transformers.GPT2Config(n_embd=32, n_layer=2, n_head=2, vocab_size=100))
    graph = follow(model, input_ids=torch.zeros(2, 8, dtype=torch.long))
    complete(graph)
    ops = [node.op for node in graph.nodes]
    assert (ops.count("layer_norm"), ops.count("gelu"), ops.count("attention")) == (5, 2, 2)
    assert sum(node.is_residual for node in graph.nodes) == 4


def test_llama_norms_are_rms_norms(follow):
    transformers = library("transformers")
    config = transformers.LlamaConfig(hidden_size=64, intermediate_size=128, num_hidden_layers=2, num_attention_heads=4, num_key_value_heads=2, vocab_size=100)
    with torch.device("meta"):
        model = transformers.LlamaForCausalLM(config)
    graph = follow(model, input_ids=torch.zeros(2, 8, dtype=torch.long))
    complete(graph)
    norms = [node for node in graph.nodes if node.op == "rms_norm"]
    assert [node.cls for node in norms] == ["LlamaRMSNorm"] * 5
    assert {(node.attrs["eps"], tuple(node.attrs["axes"])) for node in norms} == {(1e-6, (2,))}


@pytest.mark.parametrize("name", ["efficientnet_b0", "convnext_atto", "vit_tiny_patch16_224", "regnetx_002", "mobilenetv4_conv_small", "nf_regnet_b0"])
def test_timm(follow, name):
    timm = library("timm")
    with torch.device("meta"):
        model = timm.create_model(name)
    graph = follow(model, torch.zeros(2, 3, 224, 224))
    complete(graph)
    for index, node in enumerate(graph.nodes):
        module = model.get_submodule(node.module)
        if type(module).__name__ == "BatchNormAct2d" and node.op == "batch_norm":
            assert node.attrs["num_features"] == module.num_features
            assert node.training is True
            if not isinstance(module.act, torch.nn.Identity):
                drop, act = graph.nodes[index + 1 : index + 3]
                assert (drop.op, drop.inputs) == ("identity", (index,))
                assert (act.inputs, act.module) == ((index + 1,), f"{node.module}.act")
