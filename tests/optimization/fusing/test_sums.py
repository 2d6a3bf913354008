import pytest
import torch
from torch import nn

WRITTEN = "the sum is written to before it is normalized"
ELSEWHERE = "the sum is written over a value that is used elsewhere"
APART = "its operations are called in the forwards of different modules"


def rows(dtype=torch.float32):
    return torch.randn(2, 5, 8, dtype=dtype)


class PreNorm(nn.Module):
    def __init__(self, norm=nn.LayerNorm):
        super().__init__()
        self.norm1, self.norm2 = norm(8), norm(8)
        self.mixer, self.mlp = nn.Linear(8, 8), nn.Linear(8, 8)

    def forward(self, x):
        x = x + self.mixer(self.norm1(x))
        return x + self.mlp(self.norm2(x))


class PostNorm(PreNorm):
    def forward(self, x):
        x = self.norm1(x + self.mixer(x))
        return self.norm2(self.mlp(x).add(x))


class InPlace(PreNorm):
    def forward(self, x):
        h = self.mixer(self.norm1(x))
        h += x
        return h + self.mlp(self.norm2(h))


class Chain(PreNorm):
    """Additions one after the other: the second sum holds the first."""

    def forward(self, x):
        first = x + self.mixer(self.norm1(x))
        second = first + self.mlp(self.norm1(first))
        return self.norm2(second) + first


class TwoNorms(PreNorm):
    def forward(self, x):
        total = x + self.mixer(x)
        return self.norm1(total) * self.norm2(total)


class WrittenTo(PreNorm):
    def forward(self, x):
        total = x + self.mixer(x)
        total.mul_(2)
        return self.norm1(total) + self.norm2(x - self.mlp(x))


class IntoTheInput(PreNorm):
    def forward(self, x):
        y = self.mixer(x)
        z = y.view(-1, 8)
        y += x
        return self.norm1(y) + z.view(x.shape)


class Twice(PreNorm):
    def forward(self, x):
        return self.norm1(x + x)


class Maps(nn.Module):
    def __init__(self):
        super().__init__()
        self.norm = nn.LayerNorm((3, 4))

    def forward(self, x, y):
        return self.norm(x + y)


class WrittenByHand(nn.Module):
    def __init__(self, width):
        super().__init__()
        self.weight, self.variance_epsilon = nn.Parameter(torch.ones(width)), 1e-6

    def forward(self, hidden):
        dtype = hidden.dtype
        hidden = hidden.to(torch.float32)
        hidden = hidden * torch.rsqrt(hidden.pow(2).mean(-1, keepdim=True) + self.variance_epsilon)
        return self.weight * hidden.to(dtype)


class OnePlus(WrittenByHand):
    def forward(self, hidden):
        return super().forward(hidden) + hidden * torch.rsqrt(hidden.pow(2).mean(-1, keepdim=True) + self.variance_epsilon)


@pytest.mark.parametrize("mode", ["training", "inference"])
@pytest.mark.parametrize(
    ("model", "places", "kept"),
    [
        (PreNorm(), [("add + layer_norm", ("norm2",))], [True]),
        (PreNorm(nn.RMSNorm), [("add + rms_norm", ("norm2",))], [True]),
        (PreNorm(lambda width: nn.LayerNorm(width, elementwise_affine=False)), [("add + layer_norm", ("norm2",))], [True]),
        (PreNorm(lambda width: nn.LayerNorm(width, bias=False)), [("add + layer_norm", ("norm2",))], [True]),
        (PostNorm(), [("add + layer_norm", ("norm1",)), ("add + layer_norm", ("norm2",))], [False, False]),
        (InPlace(), [("add + layer_norm", ("norm2",))], [True]),
        (Chain(), [("add + layer_norm", ("norm1",)), ("add + layer_norm", ("norm2",))], [True, False]),
        (TwoNorms(), [("add + layer_norm", ("norm1",))], [True]),
        (Twice(), [("add + layer_norm", ("norm1",))], [False]),
    ],
    ids=lambda value: type(value).__name__,
)
def test_blocks(fusing, model, places, kept, mode):
    found = fusing(model, rows(), mode=mode)
    assert found.places == places
    assert [item.shape_key.endswith("sum kept") for item in found.candidates] == kept
    found.check()
    found.check_kernels()


def test_norms_over_several_axes(fusing):
    found = fusing(Maps(), torch.randn(2, 3, 4), torch.randn(2, 3, 4))
    assert [item.shape_key for item in found.candidates] == ["2x3x4 float32 contiguous over 3x4"]
    found.check()


def test_hand_written_norms(fusing):
    found = fusing(PreNorm(WrittenByHand), rows())
    assert found.places == [("add + rms_norm", ("norm2",))]
    found.check(tolerance=1e-5)  # It computes in float32, whatever it gets.
    found.check_kernels()
    assert fusing(PreNorm(OnePlus), rows()).places == []


def test_mixed_dtypes(fusing):
    class Mixed(PreNorm):
        def forward(self, x):
            return self.norm1(x + self.mixer(x).bfloat16())

    found = fusing(Mixed(), rows(), mode="inference")
    assert [item.shape_key for item in found.candidates] == ["2x5x8 float32 contiguous + 2x5x8 bfloat16 contiguous over 8"]


@pytest.mark.parametrize(("model", "reason"), [(WrittenTo(), WRITTEN), (IntoTheInput(), ELSEWHERE)], ids=lambda value: type(value).__name__)
def test_what_is_written_over_is_left(fusing, model, reason):
    found = fusing(model, rows(), mode="inference")
    assert found.places == []
    assert found.left == [(("norm1",), reason)]


def test_hooks_are_refused(fusing):
    model = PreNorm()
    model.norm2.register_full_backward_hook(lambda *_: None)
    assert fusing(model, rows(), mode="inference").left == [(("norm2",), "hooks run around the norm, and would not any more")]


def test_sums_of_one_block_that_the_next_normalizes_are_said(fusing):
    found = fusing(nn.Sequential(PreNorm(), PreNorm()), rows())
    assert found.places == [("add + layer_norm", ("0.norm2",)), ("add + layer_norm", ("1.norm2",))]
    assert found.left == [(("1.norm1",), APART)]
    found.check()


def test_transformers(fusing, zoo):
    zoo("transformers")
    from transformers import AutoConfig, AutoModel

    words = torch.randint(0, 50, (2, 7))
    small = {"hidden_size": 16, "intermediate_size": 32, "num_hidden_layers": 2, "num_attention_heads": 2, "vocab_size": 50}
    llama = AutoModel.from_config(AutoConfig.for_model("llama", num_key_value_heads=2, use_cache=False, pad_token_id=0, **small))
    found = fusing(llama, input_ids=words)
    assert found.places == [
        ("add + rms_norm", ("layers.0.post_attention_layernorm",)), ("add + rms_norm", ("layers.1.post_attention_layernorm",)),
        ("silu * up", ("layers.0.mlp", "layers.0.mlp.act_fn")), ("silu * up", ("layers.1.mlp", "layers.1.mlp.act_fn")),
    ]  # fmt: skip
    found.check(tolerance=1e-4)  # Its norms compute in float32.
    bert = AutoModel.from_config(AutoConfig.for_model("bert", **small))
    found = fusing(bert, input_ids=words, mode="inference")
    assert found.places == [
        ("add + layer_norm", (f"encoder.layer.{layer}.{part}.LayerNorm",)) for layer in (0, 1) for part in ("attention.output", "output")
    ]
    found.check()
