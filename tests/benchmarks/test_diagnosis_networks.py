"""The networks of the diagnosis benchmark: what they are, that they are the same each time, and that training bears them out."""

import math
import random
from collections import Counter

import pytest
import torch
from torch import nn

pytest.importorskip("sklearn", reason="the digits that the networks are trained on are scikit-learn's (extra: zoo)")

from benchmarks.probe.diagnosis import families, plants
from benchmarks.probe.diagnosis.measure import MOST_PER_PLANT, chosen
from benchmarks.probe.diagnosis.network import FAMILIES, KINDS, PLANTS, Network, networks, plant
from benchmarks.probe.diagnosis.plants.surgery import Apply, after, layers, replace
from benchmarks.probe.diagnosis.tasks import TASKS
from benchmarks.probe.diagnosis.training import LEAST_SKILL, MOST_OF_TWIN, borne_out, known

REGISTERED = (families, plants)
EVERY = {network.name: network for network in networks()}
CHOSEN = list(chosen())


def network_of(name):
    return EVERY[name]


def flat(model):
    parts = [tensor.detach().double().flatten() for tensor in model.state_dict().values()]
    return torch.cat(parts) if parts else torch.zeros(0)


def test_there_are_enough_of_them_and_half_are_healthy():
    kinds = Counter(network.kind for network in CHOSEN)
    assert len(CHOSEN) >= 240
    assert set(kinds) == {*KINDS, "healthy"}
    assert 0.4 <= kinds["healthy"] / len(CHOSEN) <= 0.6, kinds
    for kind in KINDS:
        halves = Counter(network.development for network in CHOSEN if network.kind == kind)
        assert min(halves[True], halves[False]) >= 8, (kind, halves)


def test_no_name_stands_for_two_networks():
    assert len(EVERY) == len(list(networks()))


def test_of_each_plant_a_few_are_taken():
    taken = Counter((network.plant.name, network.development) for network in CHOSEN if network.plant)
    assert max(taken.values()) == MOST_PER_PLANT


def test_every_plant_and_family_says_what_it_is():
    assert [trouble.name for trouble in PLANTS.values() if len(trouble.cause) < 20] == []
    assert {name for trouble in PLANTS.values() for name in trouble.families} <= set(FAMILIES)
    assert {healthy.task for healthy in FAMILIES.values()} <= set(TASKS)


@pytest.mark.parametrize("name", ["mlp/healthy/1", "cnn-bn/norm-shift-negative/0", "lora/healthy/0", "cnn-bn/stuck-in-train-mode/1"])
def test_a_network_is_the_same_each_time(name):
    first, second = network_of(name).setup(), network_of(name).setup()
    torch.rand(3)
    assert torch.equal(flat(first.model), flat(second.model))
    assert flat(first.model).numel() > 0
    assert (first.optimizer, first.lr, first.task) == (second.optimizer, second.lr, second.task)


def test_a_twin_is_the_same_network_without_the_plant():
    planted = network_of("mlp/negative-bias-one/0")
    assert planted.twin == network_of("mlp/healthy/0")
    sick, healthy = planted.setup().model, planted.twin.setup().model
    differing = [name for name, value in sick.state_dict().items() if not torch.equal(value, healthy.state_dict()[name])]
    assert len(differing) == 1
    assert differing[0].endswith("bias")


def test_seeds_part_the_halves():
    assert {network.development for network in EVERY.values() if network.seed % 2 == 0} == {True}
    assert {network.development for network in EVERY.values() if network.seed % 2 == 1} == {False}


@pytest.mark.parametrize("name", sorted(FAMILIES))
def test_every_family_takes_its_task(name):
    setup = Network(family=FAMILIES[name], plant=None, seed=FAMILIES[name].seeds[0]).setup()
    assert setup.model.training
    *inputs, target = setup.task.batches(0, 1, 8)[0]
    loss = setup.task.loss(setup.model(*inputs), target)
    loss.backward()
    assert math.isfinite(loss.item())


@pytest.mark.parametrize("name", sorted(PLANTS))
def test_every_plant_leaves_a_network_that_runs(name):
    first = next(network for network in EVERY.values() if network.plant and network.plant.name == name)
    setup = first.setup()
    *inputs, target = setup.task.batches(0, 1, 8)[0]
    output = setup.model(*inputs)
    assert setup.task.loss(output, target).requires_grad
    assert setup.model.training


def test_truth_is_known_of_all_that_are_chosen():
    rows = known()
    assert [network.name for network in CHOSEN if network.name not in rows] == []
    for network in CHOSEN:
        skill, twin = rows[network.name]["skill"], rows[network.twin.name]["skill"]
        assert twin >= LEAST_SKILL, network.name
        assert network.plant is None or skill <= MOST_OF_TWIN * twin, network.name


def test_a_plant_that_does_not_hurt_is_left_out(monkeypatch):
    planted = network_of("mlp/detached/0")
    rows = {planted.name: {"skill": 0.7}, planted.twin.name: {"skill": 0.9}}
    monkeypatch.setattr("benchmarks.probe.diagnosis.training.known", lambda: rows)
    assert not borne_out(planted)
    assert borne_out(planted.twin)
    rows[planted.name]["skill"] = 0.67
    assert borne_out(planted)
    rows[planted.twin.name]["skill"] = 0.29
    assert not borne_out(planted)
    assert not borne_out(planted.twin)


def test_skill_goes_from_guessing_to_knowing():
    digits = TASKS["digits"]
    assert digits.skill(math.log(10)) == 0.0
    assert digits.skill(0.0) == 1.0
    assert digits.skill(100.0) == -1.0
    assert digits.skill(math.nan) == -1.0
    assert TASKS["language"].skill(TASKS["language"].floor) == 1.0


@pytest.mark.parametrize("name", sorted(TASKS))
def test_batches_are_the_same_for_the_same_seed(name):
    first, second = (TASKS[name].batches(3, 2, 8) for _ in range(2))
    assert all(torch.equal(a, b) for one, other in zip(first, second, strict=True) for a, b in zip(one, other, strict=True))
    assert not torch.equal(first[0][0], first[1][0])
    assert {len(tensor) for batch in first for tensor in batch} == {8}


def test_training_and_test_digits_are_apart():
    task = TASKS["digits"]
    trained = {tuple(row) for batch in task.batches(0, 40, 100) for row in batch[0].tolist()}
    tested = {tuple(row) for row in task.test()[0].tolist()}
    assert len(trained & tested) == 0


def test_surgery_puts_modules_into_place():
    model = nn.Sequential(nn.Linear(2, 2), nn.ReLU(), nn.Sequential(nn.Linear(2, 2), nn.Tanh()))
    replace(model, (nn.ReLU, nn.Tanh), lambda _: nn.Sigmoid())
    assert [type(module).__name__ for module in model.modules()] == ["Sequential", "Linear", "Sigmoid", "Sequential", "Linear", "Sigmoid"]
    after(model, (nn.Sigmoid,), lambda _: Apply(torch.neg), random.Random(0))
    assert [type(module).__name__ for module in model[1]] == ["Sigmoid", "Apply"]
    with pytest.raises(LookupError, match="no ReLU in Sequential"):
        layers(model, (nn.ReLU,))


def test_plants_need_a_known_kind_and_a_name_of_their_own():
    with pytest.raises(ValueError, match="wobbly is none of vanishing"):
        plant("wobbly", "mlp")
    with pytest.raises(ValueError, match="two plants are named detached"):
        plant("dead", "mlp")(PLANTS["detached"].change)
