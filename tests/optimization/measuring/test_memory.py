import pytest
import torch
from torch import nn

from normadvisor.optimization.measuring.memory import peak_bytes

CPU = torch.device("cpu")
BLOCK = 1000 * 100 * 4


def layers(number):
    return nn.Sequential(*(nn.Linear(100, 100, bias=False) for _ in range(number)))


def forward(model):
    given = torch.randn(1000, 100)

    def run():
        with torch.no_grad():
            model(given)

    return run


@pytest.mark.parametrize(("number", "blocks"), [(1, 1), (2, 2), (6, 2)])
def test_without_gradients_a_layer_keeps_its_input_and_its_output(number, blocks):
    assert peak_bytes(forward(layers(number)), CPU) == blocks * BLOCK


def test_for_the_backward_pass_every_output_is_kept():
    model, given = layers(6), torch.randn(1000, 100)
    kept = peak_bytes(lambda: model(given).sum().backward(), CPU)
    assert 6 * BLOCK <= kept <= 8 * BLOCK


def test_views_and_work_in_place_take_nothing():
    given = torch.randn(1000, 100)
    assert peak_bytes(lambda: given.view(-1).relu_().view(100, 1000).add_(1), CPU) == 0


def test_memory_that_is_freed_counts_no_longer():
    def run():
        for _ in range(5):
            torch.ones(1000, 100)

    assert peak_bytes(run, CPU) == BLOCK


def test_sparse_tensors_are_left_out():
    assert peak_bytes(lambda: torch.eye(4).to_sparse(), CPU) >= 64


def test_what_a_call_raises_comes_out():
    with pytest.raises(ZeroDivisionError):
        peak_bytes(lambda: 1 / 0, CPU)
