import pytest
import torch
import torch.nn.functional as F
from torch import nn

from normadvisor.optimization.proving.settled import without_chance

CPU = torch.device("cpu")


class DropPath(nn.Module):
    """As timm writes it."""

    def forward(self, x):
        return x * x.new_empty((x.shape[0], 1)).bernoulli_(0.5)


@pytest.mark.parametrize("layer", [nn.Dropout(0.5), nn.AlphaDropout(0.5), DropPath(), nn.RReLU()])
def test_two_runs_in_different_precision_agree(layer):
    given = torch.randn(64, 16)
    with without_chance(0, CPU):
        single = layer(given)
    with without_chance(0, CPU):
        double = layer(given.double())
    if isinstance(layer, nn.RReLU):
        pytest.skip("its slopes are drawn in the dtype of the input")
    assert torch.allclose(single.double(), double, atol=1e-6)


def test_a_mask_that_torch_draws_is_full():
    with without_chance(0, CPU):
        assert torch.bernoulli(torch.full((4,), 0.5)).tolist() == [1.0] * 4


def test_attention_drops_nothing():
    query = torch.randn(1, 2, 8, 4)
    with without_chance(0, CPU):
        by_name = F.scaled_dot_product_attention(query, query, query, dropout_p=0.9)
        by_place = F.scaled_dot_product_attention(query, query, query, None, 0.9)
    plain = F.scaled_dot_product_attention(query, query, query)
    assert torch.allclose(by_name, plain)
    assert torch.allclose(by_place, plain)


def test_random_states_are_put_back():
    before = torch.get_rng_state()
    with without_chance(7, CPU):
        one = torch.rand(3)
    with without_chance(7, CPU):
        other = torch.rand(3)
    assert torch.equal(one, other)
    assert torch.equal(torch.get_rng_state(), before)
