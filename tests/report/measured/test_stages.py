from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st
from probe_samples import resnet, transformer

from normadvisor.report.measured.stages import common_prefix, stages


def named(measured):
    return [layer.name for layer in measured.layers]


def test_parts_of_a_residual_network():
    found = stages(named(resnet()))
    assert [stage.name for stage in found] == ["conv1", "bn1", "relu", *(f"layer{stage}.{block}" for stage in (1, 2, 3, 4) for block in (0, 1)), "fc"]
    assert found[3] == ("layer1.0", 3, 8)


def test_blocks_of_a_transformer_rather_than_all_of_them():
    assert [stage.name for stage in stages(named(transformer(96)))] == ["wte", *(f"h.{index}" for index in range(6, 96, 8))]


def test_numbers_keep_the_name_before_them():
    assert [stage.name for stage in stages([f"body.{index}" for index in range(28)] + ["head"])] == [f"body.{index}" for index in range(0, 28, 3)]


def test_common_prefix():
    assert common_prefix(["a.b.c", "a.b.d"]) == "a.b."
    assert common_prefix(["a.b", "a.b"]) == "a."
    assert common_prefix(["a.0", "a.1"]) == ""
    assert common_prefix(["a"]) == ""
    assert common_prefix([]) == ""


@given(st.lists(st.text("ab.0", max_size=8), max_size=60))
def test_stages_cover_all_layers_in_order(names):
    found = stages(names)
    covered = [position for stage in found for position in range(stage.first, stage.last + 1)]
    assert covered == list(range(len(names)))
    assert len(found) <= 14
