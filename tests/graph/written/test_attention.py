import math
from types import SimpleNamespace

import pytest
import torch
import torch.nn.functional as F
from torch import nn

from normadvisor.graph.written.attention import attention_at
from normadvisor.graph.written.model import Surroundings
from normadvisor.optimization.forward import local_graphs

B, H, L, S, E = 2, 3, 5, 6, 4


def found_in(forward, *, shapes=None, training=False):
    class Model(nn.Module):
        def __init__(self):
            super().__init__()
            self.drop = nn.Dropout(0.1)
            self.soft = nn.Softmax(dim=-1)
            self.table = nn.Parameter(torch.randn(1, H, L, S))
            self.temperature = nn.Parameter(torch.rand(H, 1, 1))
            self.register_buffer("causal", torch.ones(1, 1, 8, 8).tril())

        def forward(self, q, k, v, m):
            return forward(self, q, k, v, m)

    model = Model().train(training)
    shapes = shapes or ((B, H, L, E), (B, H, S, E), (B, H, S, E))
    q, k, v = (torch.randn(shape) for shape in shapes)
    mask = torch.rand(B, 1, L, S) < 0.5
    local = next(iter(local_graphs(model, SimpleNamespace(args=(q, k, v, mask), kwargs={}))))
    root = next(node for node in local.graph.nodes if node.op == "output").args[0]
    root = root[0] if isinstance(root, tuple) else root
    found = attention_at(root, Surroundings(local.graph, model))
    if found is None:
        return None
    return {name: str(node) for name, node in found.inputs.items()}, dict(found.arguments), found.refused


PLAIN = {"query": "q", "key": "k", "value": "v"}
MASKED = {**PLAIN, "attn_mask": "m"}


def plain(self, q, k, v, m):
    return ((q @ k.transpose(-2, -1)) * E**-0.5).softmax(-1) @ v


def by_size(self, q, k, v, m):
    scores = torch.matmul(q, k.transpose(2, 3)) / math.sqrt(k.size(-1))
    return torch.matmul(F.softmax(scores, dim=-1, dtype=torch.float32).to(q.dtype), v)


def scaled_queries(self, q, k, v, m):
    q = q * 0.25
    return self.drop(self.soft(q @ k.mT)) @ v


def dropped(self, q, k, v, m):
    scores = q @ k.transpose(-2, -1) / 2
    return scores.masked_fill(m, float("-inf")).softmax(-1) @ v


def filled(self, q, k, v, m):
    scores = q @ k.transpose(-2, -1) / 2
    return scores.masked_fill(m, -1e9).softmax(-1) @ v


def kept(self, q, k, v, m):
    scores = q @ k.transpose(-2, -1) / 2
    return torch.where(m, scores, torch.finfo(scores.dtype).min).softmax(-1) @ v


def biased(self, q, k, v, m):
    scores = q @ k.transpose(-2, -1) / 2 + self.table
    return (scores - m.float() * 10000.0).softmax(-1) @ v


def learned(self, q, k, v, m):
    scores = F.normalize(q, dim=-1) @ F.normalize(k, dim=-1).transpose(-2, -1)
    return (scores * self.temperature).softmax(-1) @ v


def numbers(self, q, k, v, m):
    scores = q @ k.transpose(-2, -1) / torch.sqrt(torch.tensor(16.0))
    return scores.softmax(-1) @ v


def in_einsum(self, q, k, v, m):
    scores = torch.einsum("bhid,bhjd->bhij", q, k) / 2
    return torch.einsum("bhij,bhjd->bihd", scores.softmax(-1), v)


def key_given_transposed(self, q, k, v, m):
    return (q @ k.permute(0, 1, 3, 2).contiguous() / 2).softmax(-1) @ v


def shifted(self, q, k, v, m):
    scores = q @ k.transpose(-2, -1) / 2
    return (scores - scores.max(dim=-1, keepdim=True).values).softmax(-1) @ v


def shifted_by_amax(self, q, k, v, m):
    scores = (q @ k.transpose(-2, -1) / 2).masked_fill(m, float("-inf"))
    return (scores - scores.amax(-1, True).detach()).softmax(-1) @ v


@pytest.mark.parametrize(
    ("forward", "expected"),
    [
        (plain, (PLAIN, {}, "")),
        (by_size, (PLAIN, {"scaled_by": "width"}, "")),
        (scaled_queries, (PLAIN, {"dropout": True, "scale": 0.25}, "")),
        (dropped, (MASKED, {"mask": "drop", "fill": ["-inf"]}, "")),
        (filled, (MASKED, {"mask": "drop", "fill": [-1e9]}, "")),
        (kept, (MASKED, {"mask": "keep", "fill": [torch.finfo(torch.float32).min]}, "")),
        (biased, ({**PLAIN, "attn_mask": "mul", "attn_mask_1": "table"}, {"mask": "subtract+add"}, "")),
        (
            learned,
            ({"query": "normalize", "key": "normalize_1", "value": "v", "factor": "temperature"}, {"scale": 1.0, "factor": "mul"}, ""),
        ),
        (numbers, (PLAIN, {"scale": 0.25}, "")),
        (in_einsum, (PLAIN, {"output_axes": [0, 2, 1, 3]}, "")),
        (shifted, (PLAIN, {}, "")),
        (shifted_by_amax, (MASKED, {"mask": "drop", "fill": ["-inf"]}, "")),
        (key_given_transposed, ({**PLAIN, "key": "contiguous"}, {"key_axes": [0, 1, 3, 2]}, "")),
    ],
    ids=lambda value: getattr(value, "__name__", ""),
)
def test_attention_in_all_spellings(forward, expected):
    inputs, arguments, refused = found_in(forward)
    arguments = {name: round(value, 9) if isinstance(value, float) else value for name, value in arguments.items()}
    assert (inputs, arguments, refused) == expected


def test_heads_in_one_batch_axis():
    shapes = ((B * H, L, E), (B * H, S, E), (B * H, S, E))
    assert found_in(lambda self, q, k, v, m: torch.bmm(torch.bmm(q, k.transpose(1, 2)).softmax(-1), v), shapes=shapes) == (
        PLAIN,
        {"scale": pytest.approx(1.0)},
        "",
    )


def heads_last(self, q, k, v, m):
    scores = torch.einsum("bqhd,bkhd->bhqk", q, k) / 2
    return torch.einsum("bhqk,bkhd->bqhd", scores.softmax(-1), v)


def test_heads_behind_positions():
    shapes = ((B, L, H, E), (B, S, H, E), (B, S, H, E))
    axes = [0, 2, 1, 3]
    expected = {"query_axes": axes, "key_axes": axes, "value_axes": axes, "output_axes": axes}
    assert found_in(heads_last, shapes=shapes) == (PLAIN, expected, "")


def returned(self, q, k, v, m):
    weights = (q @ k.transpose(-2, -1) / 2).softmax(-1)
    return weights @ v, weights


READ = "its attention weights are returned or read elsewhere, and scaled_dot_product_attention does not give them"


def test_weights_that_are_returned_are_a_reason():
    assert found_in(returned) == (PLAIN, {}, READ)


def test_a_mask_that_is_computed_of_the_scores_is_a_reason():
    def forward(self, q, k, v, m):
        scores = q @ k.transpose(-2, -1) / 2
        return (scores + scores.max(dim=1, keepdim=True)[0]).softmax(-1) @ v

    assert found_in(forward) == ({**PLAIN, "attn_mask": "getitem"}, {"mask": "add"}, READ)


def over_queries(self, q, k, v, m):
    return (q @ k.transpose(-2, -1) / 2).softmax(-2) @ v


def clamped(self, q, k, v, m):
    return (q @ k.transpose(-2, -1) / 2).clamp(-5, 5).softmax(-1) @ v


def gently_masked(self, q, k, v, m):
    return (q @ k.transpose(-2, -1) / 2).masked_fill(m, -3.0).softmax(-1) @ v


def mask_scaled_too(self, q, k, v, m):
    return ((q @ k.transpose(-2, -1) + self.table) / 2).softmax(-1) @ v


def scaled_by_length(self, q, k, v, m):
    return (q @ k.transpose(-2, -1) / k.size(-2)).softmax(-1) @ v


def weights_changed(self, q, k, v, m):
    return ((q @ k.transpose(-2, -1) / 2).softmax(-1) * 2) @ v


def not_a_softmax(self, q, k, v, m):
    return torch.relu(q @ k.transpose(-2, -1) / 2) @ v


@pytest.mark.parametrize(
    "forward", [over_queries, clamped, gently_masked, mask_scaled_too, scaled_by_length, weights_changed, not_a_softmax]
)
def test_what_is_something_else_is_none(forward):
    assert found_in(forward) is None
