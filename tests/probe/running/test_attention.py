"""How many rows of attention are one-hot."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from torch import nn
from torch.nn import functional as F

HERE = Path(__file__).resolve()


class Heads(nn.Module):
    """Queries, keys and values, made into an output by ``how`` with scores times ``scale``."""

    def __init__(self, how, scale: float) -> None:
        super().__init__()
        torch.manual_seed(0)
        self.queries, self.keys, self.values = (nn.Linear(16, 16) for _ in range(3))
        self.how, self.scale = how, scale

    def forward(self, x):
        return self.how(self.queries(x), self.keys(x), self.values(x), self.scale)


def by_hand(q, k, v, scale):
    weights = F.softmax(q @ k.transpose(1, 2) * scale, dim=-1)  # by hand
    return F.dropout(weights, 0.1) @ v


def by_einsum(q, k, v, scale):
    return torch.einsum("bij,bjd->bid", torch.einsum("bid,bjd->bij", q, k).mul(scale).softmax(-1), v)


def by_columns(q, k, v, scale):
    return torch.softmax(k @ q.transpose(1, 2) * scale, dim=1).transpose(1, 2) @ v


def fused(q, k, v, scale):
    return F.scaled_dot_product_attention(q, k, v, scale=scale)


def fused_causal(q, k, v, scale):
    return F.scaled_dot_product_attention(q, k, v, scale=scale, is_causal=True)


def no_attention(q, k, v, scale):
    return (q * scale).softmax(-1) * k + v


def kept_weights(q, k, v, scale):
    """Probabilities that nothing is multiplied with."""
    return (q @ k.transpose(1, 2) * scale).softmax(-1)[..., :16] + v[..., :1]


@pytest.mark.parametrize("how", [by_hand, by_einsum, by_columns, fused, fused_causal])
def test_the_share_grows_with_the_scores(probe, how):
    low, high = (probe(Heads(how, scale), (4, 20, 16)).facts for scale in (0.25, 1e4))
    assert (low["attention_peak"], "peaked_attention" in low) == (0.0, False)
    assert high["attention_peak"] > (0.95 if how is not fused_causal else 0.9)
    assert high["peaked_attention"] == [""]
    assert high["restored"] is True


def test_the_share_is_that_of_the_rows(probe):
    """Against the weights of the first batch, computed here."""
    model = Heads(by_hand, 30.0)
    batches = [torch.randn(4, 20, 16, generator=torch.Generator().manual_seed(1))]
    facts = probe(model, batches=batches, loss_fn=lambda output, _: output.square().mean()).facts
    weights = (model.queries(batches[0]) @ model.keys(batches[0]).transpose(1, 2) * 30.0).softmax(-1)
    assert facts["attention_peak"] == float((weights.amax(-1) > 0.999).double().mean())


def test_the_line_of_the_softmax_is_named(probe):
    number = next(number for number, text in enumerate(HERE.read_text().splitlines(), 1) if text.endswith("# by hand"))
    assert probe(Heads(by_hand, 1e4), (4, 20, 16)).facts["peaked_line"] == f"{HERE}:{number}"


@pytest.mark.parametrize("how", [no_attention, kept_weights])
def test_other_softmaxes_are_none(probe, how):
    assert "attention_peak" not in probe(Heads(how, 1e4), (4, 20, 16)).facts


def test_short_rows_are_not_looked_at(probe):
    assert "attention_peak" not in probe(Heads(by_hand, 1e4), (4, 6, 16)).facts


def test_masked_entries_do_not_count(probe):
    """Of 20 entries, only the first 5 can be chosen."""

    def narrow(q, k, v, scale):
        mask = torch.arange(20) < 5
        return (q @ k.transpose(1, 2) * scale).masked_fill(~mask, float("-inf")).softmax(-1) @ v

    assert "attention_peak" not in probe(Heads(narrow, 1e4), (4, 20, 16)).facts


class Blocks(nn.Module):
    def __init__(self, std: float) -> None:
        super().__init__()
        torch.manual_seed(0)
        layer = nn.TransformerEncoderLayer(16, 2, 32, batch_first=True)
        self.blocks, self.head = nn.TransformerEncoder(layer, 2), nn.Linear(16, 3)
        for block in self.blocks.layers:
            nn.init.normal_(block.self_attn.in_proj_weight, std=std)

    def forward(self, x):
        return self.head(self.blocks(x).mean(1))


@pytest.mark.filterwarnings("ignore:enable_nested_tensor")
def test_modules_of_torch_are_named(probe):
    low, high = (probe(Blocks(std), (4, 20, 16)) for std in (0.1, 10.0))
    assert low.facts["attention_peak"] == 0.0
    assert high.facts["peaked_attention"] == ["blocks.layers.0.self_attn", "blocks.layers.1.self_attn"]
    assert high.missing["peaked_line"] == "a layer of torch computes it"
