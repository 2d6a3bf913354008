import time

import pytest
import torch

from normadvisor.optimization.measuring.clock import clock_for


def test_on_the_cpu_it_is_the_time_on_the_wall_per_call(monkeypatch):
    now = [100.0]

    def run():
        now[0] += 0.25

    monkeypatch.setattr(time, "perf_counter", lambda: now[0])
    seconds = clock_for(torch.device("cpu")).seconds(run, 3)
    assert (seconds, now[0]) == (0.25, 100.75)


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="there is no GPU here")
@pytest.mark.parametrize("alone", [False, True])
def test_on_a_gpu_it_is_the_time_of_the_work(alone):
    device = torch.device("cuda")
    tensor = torch.randn(4096, 4096, device=device)
    clock = clock_for(device, alone=alone)
    clock.seconds(lambda: tensor @ tensor, 3)
    small, large = clock.seconds(lambda: tensor + 1, 5), clock.seconds(lambda: tensor @ tensor @ tensor, 5)
    assert 0 < small < large
