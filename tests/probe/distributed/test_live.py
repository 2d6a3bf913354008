"""Models of the user's own script, wrapped for several devices, probed where they stand."""

import re

import pytest

SCRIPT = """
import normadvisor
dist.init_process_group("gloo")

def built():
    torch.manual_seed(0)
    return nn.Sequential(nn.Conv2d(3, 8, 3), nn.BatchNorm2d(8), nn.ReLU(), nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(8, 5))

def batch(samples=6, shift=0.0):
    generator = torch.Generator().manual_seed(rank)
    return torch.randn(samples, 3, 8, 8, generator=generator) + shift, torch.randint(0, 5, (samples,), generator=generator)

def state(model):
    return [tensor.clone() for tensor in (*model.parameters(), *model.buffers())], [module.training for module in model.modules()], torch.get_rng_state()

def same(before, after):
    return all(torch.equal(a, b) for a, b in zip(before[0], after[0], strict=True)) and before[1] == after[1] and torch.equal(before[2], after[2])

def numbers(measurements):
    return {layer.name: {key: value for key, value in {**layer.series, **layer.facts}.items() if key != "dead_share"} for layer in measurements.layers}
"""

DDP = "nn.parallel.DistributedDataParallel"


@pytest.mark.parametrize("options", ["find_unused_parameters=True, broadcast_buffers=False", "static_graph=True, gradient_as_bucket_view=True"])
def test_data_parallel_model(on_ranks, options):
    found = on_ranks.results(SCRIPT + f"""
model = {DDP}(built(), {options})
model(batch()[0]).sum().backward()
grads = [parameter.grad for parameter in model.parameters()]
values = [grad.clone() for grad in grads]
before = state(model)
probed = normadvisor.probe(model, batch(), nn.CrossEntropyLoss(), steps=3)
after = state(model)
kept = same(before, after) and all(p.grad is g and torch.equal(g, v) for p, g, v in zip(model.parameters(), grads, values, strict=True))
(measured,) = probed.measurements
# It trains on as if nothing had been.
optimizer = torch.optim.SGD(model.parameters(), .1)
for _ in range(2):
    optimizer.zero_grad()
    nn.functional.cross_entropy(model(batch()[0]), batch()[1]).backward()
    optimizer.step()
result = [numbers(measured), kept, measured.facts["restored"], measured.setup["world_size"], measured.facts["rank_gradient_gap"], measured.facts["rank_weight_gap"],
          list(measured.notes), [layer.name for layer in measured.layers], [problem.message for problem in probed.report.problems], dist.get_world_size()]
dist.destroy_process_group()
""")  # fmt: skip
    assert found[0] == found[1]
    numbers, *rest, names, problems, _ = found[0]
    kept, restored, world_size, gradient_gap, weight_gap, notes = rest
    assert problems == []
    assert (kept, restored, world_size, gradient_gap, weight_gap) == (True, True, 2, 0.0, 0.0)
    assert names == ["0", "1", "2", "5"]
    assert not [note for note in notes if "not traced" in note], notes
    assert not [note for note in notes if "differ" in note]
    assert 0 < numbers["1"]["bn_rank_gap"] < 1
    assert numbers["1"]["bn_sync"] is False


@pytest.mark.parametrize(
    "wrap",
    [
        "fully_shard(model)",
        "model = FSDP(model, use_orig_params=True, device_id=torch.device('cpu'))",
    ],
)
def test_sharded_model(on_ranks, wrap):
    found = on_ranks.results(SCRIPT + f"""
from torch.distributed.fsdp import FullyShardedDataParallel as FSDP, fully_shard
model = built()
{wrap}

def local():
    return [getattr(tensor, "to_local", lambda tensor=tensor: tensor)().clone() for tensor in (*model.parameters(), *model.buffers())]

before = local()
probed = normadvisor.probe(model, batch(), nn.CrossEntropyLoss(), steps=3)
kept = all(torch.equal(a, b) for a, b in zip(before, local(), strict=True))
problems = [problem.message for problem in probed.report.problems]
(measured,) = probed.measurements or [None]
loss = nn.functional.cross_entropy(model(batch()[0]), batch()[1])
loss.backward()
result = [measured and numbers(measured), problems, kept, measured and measured.facts["restored"], measured and list(measured.notes), measured and dict(measured.missing)]
dist.destroy_process_group()
""")  # fmt: skip
    assert found[0] == found[1]
    numbers, problems, kept, restored, _, missing = found[0]
    assert problems == []
    assert (kept, restored) == (True, True)
    assert min(numbers["0"]["grad_norm"]) > 0
    assert "overfit" not in missing


def test_all_ranks_have_to_probe(on_ranks):
    found = on_ranks(SCRIPT + f"""
import sys
live = sys.modules["normadvisor.probe.distributed.live"]
live._PATIENCE = 1.5
model = {DDP}(built())
if rank == 0:
    result = [problem.message + " / " + str(problem.hint) for problem in normadvisor.probe(model, batch(), nn.CrossEntropyLoss(), steps=2).report.problems]
else:
    time.sleep(1000)
""", until=0)  # fmt: skip
    assert found[0].result == ["rank 1 has not come to probe within 1.5 s / probe the model on every rank, as its own forward passes are run"]


def test_model_that_is_not_wrapped_is_probed_by_one_rank(on_ranks):
    found = on_ranks.results(SCRIPT + """
if rank == 0:
    probed = normadvisor.probe(built(), batch(), nn.CrossEntropyLoss(), steps=2)
    result = [probed.measurements[0].setup["world_size"], len(probed.report.problems)]
""")  # fmt: skip
    assert found == [[1, 0], None]


@pytest.mark.parametrize(
    ("trouble", "patience", "words"),
    [
        ("time.sleep(1000)", 5, r"rank 1 does not go on: it is at step \d of 3, in case.py:\d+ in forward, while others have waited 5 s at step \d of 3"),
        ("os._exit(7)", 1000, r"rank 1 is gone: the connection is closed, while others are at step \d of 3"),
        ("raise ValueError('no luck')", 1000, r"rank 1: .*ValueError: no luck.*"),
    ],
    ids=["hangs", "leaves", "raises"],
)
def test_rank_that_fails_in_a_forward_pass(on_ranks, trouble, patience, words):
    """The others wait in an exchange of the wrapper's own."""
    found = on_ranks(SCRIPT + f"""
import sys
live = sys.modules["normadvisor.probe.distributed.live"]
live._PATIENCE = {patience}

class Model(nn.Linear):
    steps = 0
    def forward(self, x):
        if self.training and torch.is_grad_enabled() and live_now:
            Model.steps += 1
            if rank == 1 and Model.steps == 3:
                {trouble}
        return super().forward(x)

live_now = False
model = {DDP}(Model(8, 5))
x, y = torch.randn(4, 8), torch.randint(0, 5, (4,))
live_now = True
probed = normadvisor.probe(model, (x, y), nn.CrossEntropyLoss(), steps=3)
result = [problem.message for problem in probed.report.problems]
os._exit(0) if rank == 1 else None
""", until=0)  # fmt: skip
    assert found[0].status == 0, found[0].printed
    (message,) = found[0].result
    assert re.fullmatch(words, message), message
