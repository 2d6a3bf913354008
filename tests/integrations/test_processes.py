"""Several processes that train together: what the first one logs is what one process with all the data would."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from torch import nn

pytestmark = pytest.mark.skipif(not torch.distributed.is_gloo_available(), reason="this build of torch has no gloo, which joins processes on a CPU")

SCRIPT = """
import datetime, json, sys
import torch
import torch.distributed as dist
from torch import nn
from normadvisor.integrations.watch import watch

rank, world, store = int(sys.argv[1]), int(sys.argv[2]), sys.argv[3]
torch.set_num_threads(1)
dist.init_process_group("gloo", init_method="file://" + store, rank=rank, world_size=world, timeout=datetime.timedelta(seconds=600))

def train(wrapping):
    torch.manual_seed(0)
    model = nn.Sequential(nn.Linear(6, 10), nn.Tanh(), nn.Linear(10, 3), nn.LayerNorm(3))
    data = torch.randn(4, 8, 6).chunk(world, 1)[rank]
    if wrapping == "ddp":
        model = nn.parallel.DistributedDataParallel(model)
    elif wrapping == "fsdp1":
        from torch.distributed.fsdp import FullyShardedDataParallel
        model = FullyShardedDataParallel(model, use_orig_params=True, device_id=torch.device("cpu"))
    elif wrapping == "fsdp2":
        from torch.distributed.fsdp import fully_shard
        for layer in (model[0], model[2]):
            fully_shard(layer)
        fully_shard(model)
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
    taken = []
    with watch(model, every=2, log=taken.append, rules=False) as watching:
        for batch in data:
            optimizer.zero_grad()
            model(batch).square().sum(1).sin().mean().backward()
            if wrapping in ("ddp", "fsdp2"):
                nn.utils.clip_grad_norm_(model.parameters(), 0.01)
            else:
                model.clip_grad_norm_(0.01)
            optimizer.step()
    [measurements] = watching.report().measurements
    rows = [[numbers.step, numbers.run, dict(numbers.layers)] for numbers in taken]
    dist.barrier()
    return {"rows": rows, "notes": measurements.notes, "norms": measurements.series["grad_norm"]}

print("FOUND" + json.dumps({wrapping: train(wrapping) for wrapping in sys.argv[4:]}))
dist.destroy_process_group()
"""


WRAPPINGS = ("ddp", "fsdp1", "fsdp2")


@pytest.fixture(scope="module")
def found(tmp_path_factory, world=2):
    """What each process found, by how the model was wrapped: one start of the processes for all."""
    folder = tmp_path_factory.mktemp("processes")
    script = folder / "script.py"
    script.write_text(SCRIPT, encoding="utf-8")
    environment = {**os.environ, "OMP_NUM_THREADS": "1", "PYTHONPATH": str(Path(__file__).parents[2])}
    arguments = [[sys.executable, str(script), str(rank), str(world), str(folder / "store"), *WRAPPINGS] for rank in range(world)]
    running = [subprocess.Popen(one, env=environment, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True) for one in arguments]
    outputs = []
    try:
        outputs = [process.communicate()[0] for process in running]
    finally:
        for process in running:
            if process.poll() is None:
                process.kill()
                process.communicate()
    assert [process.returncode for process in running] == [0] * world, "\n".join(outputs)
    return [json.loads(output.split("FOUND")[1].splitlines()[0]) for output in outputs]


def alone():
    """Norms by step of one process that has all the data."""
    torch.manual_seed(0)
    model = nn.Sequential(nn.Linear(6, 10), nn.Tanh(), nn.Linear(10, 3), nn.LayerNorm(3))
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
    norms = []
    for batch in torch.randn(4, 8, 6):
        optimizer.zero_grad()
        model(batch).square().sum(1).sin().mean().backward()
        layers = {name: float(torch.cat([p.grad.flatten() for p in layer.parameters()]).norm()) for name, layer in model.named_children() if name != "1"}
        norms.append({**layers, "": sum(norm**2 for norm in layers.values()) ** 0.5})
        nn.utils.clip_grad_norm_(model.parameters(), 0.01)
        optimizer.step()
    return norms


@pytest.mark.parametrize("wrapping", WRAPPINGS)
def test_norms_are_those_of_one_process_with_all_the_data(wrapping, found):
    first, second = (results[wrapping] for results in found)
    expected = alone()
    assert [step for step, _, _ in first["rows"]] == [0, 2]
    for step, run, layers in first["rows"]:
        norms = {name: values["grad_norm"] for name, values in layers.items() if "grad_norm" in values}
        assert {**norms, "": run["grad_norm"]} == pytest.approx(expected[step], rel=1e-4)
        assert all(layers[name]["update_ratio"] > 0 for name in norms)
    assert first["notes"][:2] == ["measured while training, at steps 0, 2", "activations and losses are those of the batches of the first of 2 processes"]
    assert second["rows"] == [], "only the first process logs"
    assert second["norms"] == pytest.approx(first["norms"], rel=1e-6)
