"""The attributes that rules may ask for are those that nodes, modules, runs, the context and the model have."""

from __future__ import annotations

from dataclasses import fields

from normadvisor.graph.model import ModuleInfo, NodeInfo
from normadvisor.rulebook.language import FUNCTIONS
from normadvisor.rulebook.vocabulary import ATTRIBUTES, CHANGES, CONTEXT, LAYER, MODULE, NODE, RUN, RUN_LAYERS, RUN_LINES, event_attributes
from normadvisor.types import LAYER_FACTS, LAYER_SERIES, RUN_FACTS, RUN_SERIES, OperationKind, RunContext
from normadvisor.types.events import EDITS, EVENT, EVENTS, PLACES


def test_the_context_is_known_completely():
    assert set(CONTEXT) == {field.name for field in fields(RunContext)} | {"per_device_batch"}


def test_nodes_are_known_completely():
    assert {field.name for field in fields(NodeInfo)} - {"attrs", "call_site"} <= set(NODE)


def test_modules_are_known_completely():
    assert set(MODULE) == {field.name for field in fields(ModuleInfo)} - {"attrs", "site"} | set(ATTRIBUTES)


def test_every_measured_number_can_be_asked_for():
    assert set(LAYER_SERIES) < set(LAYER)
    assert {"always_dead" if key == "dead_share" else key for key in LAYER_FACTS} < set(LAYER)
    assert set(RUN_SERIES) | set(RUN_FACTS) | set(RUN_LAYERS) < set(RUN)
    assert set(RUN_LINES) < set(RUN_LAYERS)
    assert set(RUN_LINES.values()) < set(RUN_FACTS)
    assert {f"{key}_{end}" for key in RUN_SERIES for end in ("first", "last", "min", "max")} < set(RUN)
    # No word has two meanings.
    assert set(LAYER_SERIES) & set(LAYER_FACTS) <= {"dead_share"}
    assert not set(RUN_SERIES) & set(RUN_FACTS)


def test_every_word_is_explained():
    for words in (NODE, MODULE, LAYER, RUN, CONTEXT, EVENT, PLACES, EDITS, *EVENTS.values()):
        assert all(text and not text.removesuffix("...").endswith(".") for text in words.values())
    assert list(FUNCTIONS) == sorted(FUNCTIONS)


def test_what_the_graph_records_can_be_asked_for():
    from torch import nn

    from normadvisor.graph.attributes import module_attrs

    layers = {
        "conv": nn.Conv2d(3, 4, 3), "conv_transpose": nn.ConvTranspose1d(3, 4, 3), "linear": nn.Linear(3, 4), "batch_norm": nn.SyncBatchNorm(4),
        "instance_norm": nn.InstanceNorm2d(4), "group_norm": nn.GroupNorm(2, 4), "layer_norm": nn.LayerNorm(4), "dropout": nn.Dropout(),
        "local_response_norm": nn.LocalResponseNorm(2), "max_pool": nn.MaxPool2d(2), "avg_pool": nn.AvgPool2d(2),
        "adaptive_avg_pool": nn.AdaptiveAvgPool2d(1), "upsample": nn.Upsample(scale_factor=2), "pad": nn.ReflectionPad2d(1),
        "embedding": nn.Embedding(4, 4), "lstm": nn.LSTM(3, 4), "attention": nn.MultiheadAttention(4, 2), "flatten": nn.Flatten(),
        "leaky_relu": nn.LeakyReLU(), "elu": nn.ELU(), "softplus": nn.Softplus(), "threshold": nn.Threshold(0.1, 0), "hardtanh": nn.Hardtanh(),
        "gelu": nn.GELU(), "prelu": nn.PReLU(), "rrelu": nn.RReLU(), "softmax": nn.Softmax(1), "glu": nn.GLU(), "pixel_shuffle": nn.PixelShuffle(2),
        "cross_entropy": nn.CrossEntropyLoss(), "mse_loss": nn.MSELoss(),
    }  # fmt: skip
    recorded = {key for op, module in layers.items() for key in module_attrs(op, nn.utils.spectral_norm(module) if op == "linear" else module)}
    assert recorded - set(ATTRIBUTES) == set()
    assert {"kernel_size", "eps", "parametrizations", "p"} <= recorded


def test_every_kind_of_change_is_explained():
    assert set(CHANGES) == set(OperationKind)


def test_scripts_and_rules_share_their_words():
    from normadvisor.script import events

    assert (events.EVENTS, events.PLACES) == (EVENTS, PLACES)


def test_events_of_several_kinds_know_what_either_knows():
    assert set(event_attributes(["export", "loss_call"])) == {*EVENT, *EVENTS["export"], *EVENTS["loss_call"]}
    assert all(EVENT.keys().isdisjoint(attributes) for attributes in EVENTS.values())


def test_every_edit_that_a_rule_may_name_is_made():
    from normadvisor.script import edits

    assert set(edits._ACTIONS) == set(EDITS)
