"""Measurements of several ranks are those of one process with all of the data."""

import json

import pytest
import torch
from torch import nn

from normadvisor.probe.distributed.vocabulary import LAYER_FACT_WAYS, LAYER_WAYS, RUN_FACT_WAYS, RUN_WAYS
from normadvisor.types.measurements import LAYER_FACTS, LAYER_SERIES, RUN_FACTS, RUN_SERIES

MODEL = """
from normadvisor.probe import Recorder
from normadvisor.probe.distributed.group import GroupRanks
from normadvisor.types import Measurements

def built(seed=0):
    torch.manual_seed(seed)
    return nn.Sequential(nn.Conv2d(3, 8, 3), nn.GroupNorm(2, 8), nn.ReLU(), nn.Flatten(), nn.Linear(288, 32), nn.Tanh(), nn.Linear(32, 5))

def data(step, samples=8):
    generator = torch.Generator().manual_seed(1000 + step)
    return torch.randn(samples, 3, 8, 8, generator=generator) * 2, torch.randint(0, 5, (samples,), generator=generator)

def measured(model, optimizer, batches, ranks=None, average=True, steps=3, set_to_none=True):
    losses = []
    with Recorder(model, exact=True) as recorder:
        for step in range(steps):
            x, y = batches(step)
            recorder.begin_step()
            loss = nn.functional.cross_entropy(model(x), y)
            loss.backward()
            if ranks is not None:
                ranks.samples(len(x))
                if average:
                    ranks.average_gradients(model)
            recorder.after_backward()
            optimizer.step()
            recorder.end_step()
            optimizer.zero_grad(set_to_none=set_to_none)
            losses.append(loss.item())
        return Measurements(target="m", layers=recorder.layers(), series={**recorder.series(), "loss": tuple(losses)})

def plain(measurements):
    return {layer.name: {"parameters": layer.parameters, "trainable": layer.trainable, "calls": layer.calls, **layer.series, **layer.facts} for layer in measurements.layers} | {"run": dict(measurements.series)}
"""


def alone(samples=8):
    space = {"torch": torch, "nn": nn}
    code = MODEL.replace("samples=8", f"samples={samples}")
    exec(code, space)
    model = space["built"]()
    found = space["measured"](model, torch.optim.SGD(model.parameters(), 0.1), space["data"])
    return json.loads(json.dumps(space["plain"](found)))


BETWEEN = {"dead_share", "sample_std"}
"""What is not joined exactly."""


def assert_same(found, expected, *, rel=1e-5, leaving=()):
    assert found.keys() == expected.keys()
    for name, numbers in expected.items():
        wanted = {key: value for key, value in numbers.items() if key not in BETWEEN and key not in leaving}
        seen = {key: value for key, value in found[name].items() if key not in BETWEEN and key not in leaving}
        for key, value in wanted.items():
            # Means of activations are sums of large numbers of either sign.
            assert seen.pop(key) == pytest.approx(value, rel=rel, abs=1e-7 if key == "act_mean" else 1e-9), (name, key)
        assert not seen, name


def test_every_key_has_a_way():
    assert set(LAYER_WAYS) == set(LAYER_SERIES)
    assert set(RUN_WAYS) == set(RUN_SERIES)
    assert set(LAYER_FACT_WAYS) == set(LAYER_FACTS)
    assert set(RUN_FACT_WAYS) == set(RUN_FACTS)


def test_plain_model_is_measured_as_with_all_data(on_ranks):
    found = on_ranks.results(MODEL + """
with join(environment, run="x") as ranks:
    model = built(rank)
    ranks.same_weights(model)
    optimizer = torch.optim.SGD(model.parameters(), 0.1)
    mine = measured(model, optimizer, lambda step: tuple(part[rank::world] for part in data(step)), ranks)
    joined = ranks.joined(mine, model)
    result = [plain(joined), joined.facts, joined.setup, list(joined.notes)]
""")  # fmt: skip
    assert found[0] == found[1]
    numbers, facts, setup, notes = found[0]
    assert_same(numbers, alone())
    assert facts == {"rank_gradient_gap": 0.0, "rank_weight_gap": 0.0}
    assert setup == {"world_size": 2}
    assert notes == []


def test_four_ranks_with_uneven_batches(on_ranks):
    """Each rank's loss counts the same, as in data-parallel training, so gradients are not those of one large batch."""
    found = on_ranks.results(MODEL + """
with join(environment, run="x") as ranks:
    model = built()
    shares = [slice(0, 1), slice(1, 3), slice(3, 7), slice(7, 8)]
    mine = measured(model, torch.optim.SGD(model.parameters(), 0.1), lambda step: tuple(part[shares[rank]] for part in data(step)), ranks, steps=1)
    result = plain(ranks.joined(mine, model))
""", ranks=4)  # fmt: skip
    assert found == [found[0]] * 4
    expected = alone()
    for name in ("0", "4", "6"):
        for key in ("act_mean", "act_std", "zero_share", "act_abs_max", "weight_norm"):
            assert found[0][name][key][0] == pytest.approx(expected[name][key][0], rel=1e-5), (name, key)


def test_data_parallel_wrapper(on_ranks):
    """Its own exchange of gradients, views of buckets, parameters without gradient, buffers, and a static graph."""
    expected = alone()
    for options in ("", "gradient_as_bucket_view=True", "find_unused_parameters=True", "static_graph=True"):
        found = on_ranks.results(MODEL + f"""
with join(environment, run="x") as ranks:
    model = nn.parallel.DistributedDataParallel(built(rank), {options})
    optimizer = torch.optim.SGD(model.parameters(), 0.1)
    mine = measured(model, optimizer, lambda step: tuple(part[rank::world] for part in data(step)), ranks)
    result = [plain(ranks.joined(mine, model)), ranks.bare(model) is model.module]
""")  # fmt: skip
        assert found[0] == found[1], options
        assert_same(found[0][0], expected)
        assert found[0][1]


@pytest.mark.parametrize(
    ("wrap", "ranks"),
    [
        ("[fully_shard(layer) for layer in model if list(layer.parameters())]; fully_shard(model)", 2),
        ("fully_shard(model)", 3),
        ("fully_shard(model, mesh=init_device_mesh('cpu', (2, 2), mesh_dim_names=('copy', 'shard')))", 4),
        ("model = FSDP(model, use_orig_params=True, device_id=torch.device('cpu'))", 2),
        ("model = FSDP(model, use_orig_params=True, device_id=torch.device('cpu'), auto_wrap_policy=ModuleWrapPolicy([nn.Linear]))", 3),
        ("model = FSDP(model, use_orig_params=True, device_id=torch.device('cpu'), sharding_strategy=ShardingStrategy.NO_SHARD)", 2),
    ],
)
def test_sharded_models(on_ranks, wrap, ranks):
    found = on_ranks.results(MODEL + f"""
from torch.distributed.device_mesh import init_device_mesh
from torch.distributed.fsdp import FullyShardedDataParallel as FSDP, ShardingStrategy, fully_shard
from torch.distributed.fsdp.wrap import ModuleWrapPolicy
with join(environment, run="x") as ranks:
    model = built()
    {wrap}
    optimizer = torch.optim.SGD(model.parameters(), 0.1)
    mine = measured(model, optimizer, lambda step: tuple(part[rank::world] for part in data(step, 12)), ranks)
    joined = ranks.joined(mine, model)
    result = [plain(joined), list(joined.notes)]
""", ranks=ranks)  # fmt: skip
    assert found == [found[0]] * ranks
    assert found[0][1] == []
    # The changes of sharded weights are added up in another order.
    assert_same(found[0][0], alone(12), rel=1e-4, leaving={"bias_grad_ratio"})


def test_parameters_that_belong_to_no_layer_are_said_to_be_missing(on_ranks):
    found = on_ranks.results(MODEL + """
from torch.distributed.fsdp import FullyShardedDataParallel as FSDP
with join(environment, run="x") as ranks:
    model = FSDP(built(), use_orig_params=False, device_id=torch.device("cpu"))
    mine = measured(model, torch.optim.SGD(model.parameters(), 0.1), lambda step: tuple(part[rank::world] for part in data(step)), ranks)
    joined = ranks.joined(mine, model)
    result = [plain(joined), dict(joined.missing)]
""")  # fmt: skip
    numbers, missing = found[0]
    expected = alone()
    assert found[0] == found[1]
    assert sorted(missing) == ["grad_norm", "update_ratio", "weight_norm"]
    assert "use_orig_params=True" in missing["grad_norm"]
    assert numbers["2"]["act_grad_norm"] == pytest.approx(expected["2"]["act_grad_norm"], rel=1e-5)
    assert sorted(numbers["run"]) == ["loss", "loss_scale"]


def test_unwrapped_model_that_is_not_averaged_is_told(on_ranks):
    found = on_ranks.results(MODEL + """
with join(environment, run="x") as ranks:
    model = built()
    mine = measured(model, torch.optim.SGD(model.parameters(), 0.1), lambda step: tuple(part[rank::world] for part in data(step)), ranks, average=False)
    joined = ranks.joined(mine, model)
    result = [joined.facts["rank_gradient_gap"] > .01, joined.facts["rank_weight_gap"] > 1e-5, [note.partition(",")[0] for note in joined.notes]]
""")  # fmt: skip
    assert found == [[True, True, ["ranks have different weights", "ranks have different gradients"]]] * 2
