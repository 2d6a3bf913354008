"""Norms at the end of containers, whose sum and activation stand in the forward around them."""

import pytest
import torch
import torch.nn.functional as F
from torch import nn

from normadvisor.optimization.fusing.calls import fused_batch_norm
from normadvisor.rewrite.model.journal import Journal
from normadvisor.rewrite.model.refusal import CannotChange

APART = "its operations are called in the forwards of different modules"


def images():
    return torch.randn(3, 4, 6, 6)


class Outside(nn.Module):
    def __init__(self, norm=None):
        super().__init__()
        self.body = nn.Sequential(nn.Conv2d(4, 4, 1), norm or nn.BatchNorm2d(4), nn.Identity())

    def forward(self, x):
        return F.relu(self.body(x))


class ConvNorm(nn.Module):
    def __init__(self, flip=False):
        super().__init__()
        self.conv, self.bn, self.flip, self.after = nn.Conv2d(4, 4, 1), nn.BatchNorm2d(4), flip, None

    def forward(self, x, mask=None, scale: float = 1.0):
        x = self.conv(x)
        if self.flip:
            x = x.flip(-1)
        if mask is not None:
            x = x * mask * scale
        return self.bn(x)


class Nested(nn.Module):
    """The norm stands three forwards deep, in the part that is added to a shortcut with a norm of its own."""

    def __init__(self):
        super().__init__()
        self.body = nn.Sequential(nn.Sequential(nn.Conv2d(4, 4, 1), nn.BatchNorm2d(4), nn.ReLU()), nn.Sequential(ConvNorm(flip=True)))
        self.shortcut, self.act = ConvNorm(), nn.ReLU(inplace=True)

    def forward(self, x):
        y = self.shortcut(x)
        y += self.body(x)
        return self.act(y)


class Masked(Nested):
    def forward(self, x):
        return self.act(self.shortcut(x, torch.ones_like(x)) + x)


class Shared(nn.Module):
    def __init__(self):
        super().__init__()
        self.body, self.act = ConvNorm(), nn.ReLU()

    def forward(self, x):
        y = self.act(self.body(x))
        return self.act(self.body(y) + x)


class ReadInside(ConvNorm):
    def forward(self, x):
        y = self.bn(self.conv(x))
        return y + y.mean()


@pytest.mark.parametrize("mode", ["training", "inference"])
@pytest.mark.parametrize(
    ("model", "places"),
    [
        (Outside(), [("batch_norm + relu", ("body.1",))]),
        (Outside(nn.GroupNorm(2, 4)), [("group_norm + relu", ("body.1",))]),
        (Nested(), [("batch_norm + relu", ("body.0.1", "body.0.2")), ("batch_norm + add + relu", ("shortcut.bn", "act"))]),
        (Shared(), [("batch_norm + relu", ("body.bn", "act")), ("batch_norm + add + relu", ("body.bn", "act"))]),
        (nn.Sequential(Outside(), Nested()), [
            ("batch_norm + relu", ("1.body.0.1", "1.body.0.2")), ("batch_norm + relu", ("0.body.1",)),
            ("batch_norm + add + relu", ("1.shortcut.bn", "1.act")),
        ]),
    ],
    ids=lambda value: type(value).__name__,
)  # fmt: skip
def test_norms_in_containers(fusing, model, places, mode):
    found = fusing(model, images(), mode=mode)
    assert found.places == places
    assert found.left == []
    found.check()
    found.check_kernels()


def test_the_deep_one_is_found_where_the_shortcut_has_no_norm(fusing):
    model = Nested()
    model.shortcut = nn.Conv2d(4, 4, 1)
    found = fusing(model, images())
    assert found.places == [("batch_norm + relu", ("body.0.1", "body.0.2")), ("batch_norm + add + relu", ("body.1.0.bn", "act"))]
    fused = found.check()
    assert fused_batch_norm in vars(type(fused))["_normadvisor_text"].names.values()
    assert type(fused.body) is nn.Sequential


def test_settings_of_containers_are_guarded(fusing):
    model = Nested()
    model.shortcut = nn.Conv2d(4, 4, 1)
    fused = fusing(model, images()).check().float()
    x = images()
    before = fused(x)
    for one in (fused, model):
        one.body[1][0].flip = False
        one.eval()
    model.load_state_dict(fused.state_dict())
    torch.testing.assert_close(fused(x), model(x))
    assert not torch.allclose(fused(x), before)


def test_what_containers_are_given_or_do_beside_is_left(fusing):
    assert fusing(Masked(), images()).left == [(("shortcut.bn", "act"), APART)]
    model = Outside()
    model.body = ReadInside()
    assert fusing(model, images()).found == []


def test_hooked_containers_stay_closed(fusing):
    model = Outside()
    model.body.register_forward_hook(lambda *_: None)
    found = fusing(model, images(), mode="inference")
    assert found.places == []
    assert found.left == [(("body.1", ""), APART)]


def test_other_containers_are_refused(fusing):
    found = fusing(Outside(), images())
    other = Outside()
    other.body = ConvNorm()
    with pytest.raises(CannotChange, match="body is a ConvNorm, and its forward is not the one that was traced"):
        found.candidates[0].apply(other, Journal())
    assert type(other) is Outside
