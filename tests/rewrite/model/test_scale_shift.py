from __future__ import annotations

import pytest
import torch
from torch import nn

from normadvisor.rewrite.keys import KeyMap
from normadvisor.rewrite.model import change_model
from normadvisor.rewrite.model.scale_shift import scale_and_shift
from normadvisor.rewrite.proof import align

X = torch.randn(4, 3, 8, 8)


class HandWritten(nn.Module):
    """Scale and shift under names of its own."""

    def __init__(self, scale: str = "gamma", shift: str = "beta", axes: tuple[int, ...] = (0, 2, 3), more: float = 0.0) -> None:
        super().__init__()
        self.scale, self.shift, self.axes, self.more = scale, shift, axes, more
        for name in filter(None, (scale, shift)):
            self.register_parameter(name, nn.Parameter(torch.rand(3)))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        mean, var = x.mean(self.axes, keepdim=True), x.var(self.axes, keepdim=True, unbiased=False)
        y, shape = (x - mean) / (var + 1e-5).sqrt(), (-1, *[1] * (x.dim() - 2))
        if self.scale:
            y = y * (getattr(self, self.scale) + self.more).reshape(shape)
        return y + getattr(self, self.shift).reshape(shape) if self.shift else y


@pytest.mark.parametrize(
    ("old", "new", "expected"),
    [
        (HandWritten(), nn.BatchNorm2d(3), {"gamma": "weight", "beta": "bias"}),
        (HandWritten("b", "a"), nn.BatchNorm2d(3), {"b": "weight", "a": "bias"}),
        (HandWritten(shift=""), nn.BatchNorm2d(3), {"gamma": "weight"}),
        (HandWritten(scale=""), nn.BatchNorm2d(3), {"beta": "bias"}),
        (HandWritten(axes=(0,)), nn.BatchNorm1d(3), {"gamma": "weight", "beta": "bias"}),
        (HandWritten().to("meta"), nn.BatchNorm2d(3), {"gamma": "weight", "beta": "bias"}),
        # 1 + gamma is no weight.
        (HandWritten(more=1.0), nn.BatchNorm2d(3), {}),
        (HandWritten(), nn.BatchNorm2d(4), {}),
        (HandWritten(), nn.BatchNorm2d(3, affine=False), {}),
        (HandWritten(), nn.GroupNorm(1, 3), {}),
        (nn.ParameterList([torch.ones(3), torch.ones(3)]), nn.BatchNorm2d(3), {}),
    ],
)
def test_scale_and_shift_are_told_by_what_they_do(old: nn.Module, new: nn.Module, expected: dict[str, str]) -> None:
    state, drawn = torch.get_rng_state(), {name: value.clone() for name, value in old.named_parameters()}
    assert scale_and_shift(old, new) == expected
    assert torch.equal(torch.get_rng_state(), state)
    assert all(value.is_meta or torch.equal(value, drawn[name]) for name, value in old.named_parameters())


def test_values_go_on_under_the_names_of_torch(follow, operation) -> None:
    model = nn.Sequential(HandWritten())
    graph, expected, gamma = follow(model, X), model(X), model[0].gamma
    made = operation("replace_layer", graph, "0", layer="torch.nn.BatchNorm2d", arguments={"num_features": 3})
    new = ("0.running_mean", "0.running_var", "0.num_batches_tracked")
    keys = KeyMap(renamed={"0.gamma": "0.weight", "0.beta": "0.bias"}, added=new)
    original = nn.Sequential(HandWritten())
    assert align(original, nn.Sequential(nn.BatchNorm2d(3)), [made], graph) == keys
    change = change_model(model, [made], graph)
    assert (change.key_map, change.notes) == (keys, ())
    assert model[0].weight is gamma
    torch.testing.assert_close(model(X), expected)
    change.undo()
    assert model[0].gamma is gamma
