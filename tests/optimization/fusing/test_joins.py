import pytest
import torch
import torch.nn.functional as F
from torch import nn

READ = "a value between its operations is read elsewhere, or meets one of another shape or dtype"
BETWEEN = "what goes in is written to in between"
ELSEWHERE = "the sum is written over a value that is used elsewhere"
HOOKS = "hooks run around one of the layers, and would not any more"


def images(batch=3, side=6):
    return torch.randn(batch, 4, side, side)


class Block(nn.Module):
    """A residual block whose parts tests exchange."""

    def __init__(self, norm=nn.BatchNorm2d, act=None):
        super().__init__()
        self.conv, self.bn1, self.bn2 = nn.Conv2d(4, 4, 3, padding=1), norm(4), norm(4)
        self.act = act if act is not None else nn.ReLU(inplace=True)

    def forward(self, x):
        out = self.act(self.bn1(self.conv(x)))
        return self.join(self.bn2(self.conv(out)), x)

    def join(self, out, x):
        out += x
        return self.act(out)


class Plain(Block):
    def join(self, out, x):
        return F.silu(x + out)


class Method(Block):
    def join(self, out, x):
        return out.add(x).relu_()


class Downsampled(Block):
    def __init__(self):
        super().__init__()
        self.downsample = nn.Sequential(nn.Conv2d(4, 4, 1), nn.BatchNorm2d(4))

    def join(self, out, x):
        return super().join(out, self.downsample(x))


class Dropped(Block):
    def __init__(self):
        super().__init__()
        self.drop = nn.Dropout(0.1)

    def join(self, out, x):
        return super().join(self.drop(out), x)


class Broadcast(Block):
    def join(self, out, x):
        return self.act(out + x.mean((2, 3), keepdim=True))


class Scaled(Block):
    def join(self, out, x):
        return self.act(torch.add(out, x, alpha=2))


class IntoTheInput(Block):
    def join(self, out, x):
        x += out
        return self.act(x)


class Overwritten(Block):
    def join(self, out, x):
        y = self.conv(x)
        y += out
        return self.act(y) + y.exp()


class WrittenBetween(Block):
    def join(self, out, x):
        return out + x


class Between(nn.Module):
    def __init__(self):
        super().__init__()
        self.conv, self.norm, self.act = nn.Conv2d(4, 4, 1), nn.BatchNorm2d(4), nn.ReLU()

    def forward(self, x):
        y = self.conv(x)
        z = self.norm(y)
        y.mul_(2)
        return self.act(z) + self.act(y)


SHARED = [("batch_norm + relu", ("bn1", "act")), ("batch_norm + add + relu", ("bn2", "act"))]


@pytest.mark.parametrize("mode", ["training", "inference"])
@pytest.mark.parametrize(
    ("block", "places"),
    [
        (Block(), SHARED),
        (Downsampled(), SHARED),
        (Method(), [("batch_norm + relu", ("bn1", "act")), ("batch_norm + add + relu", ("bn2",))]),
        (Plain(), [("batch_norm + relu", ("bn1", "act")), ("batch_norm + add + silu", ("bn2",))]),
        (Block(act=nn.LeakyReLU(0.2)), [(pattern.replace("relu", "leaky_relu"), names) for pattern, names in SHARED]),
        (Block(lambda width: nn.BatchNorm2d(width, momentum=None)), SHARED),
        (Block(lambda width: nn.BatchNorm2d(width, affine=False, track_running_stats=False)), SHARED),
    ],
    ids=lambda value: type(value).__name__,
)
def test_residual_blocks(fusing, block, places, mode):
    found = fusing(block, images(), mode=mode)
    assert found.places == places
    assert found.left == []
    found.check()
    found.check_kernels()


def test_dropout_counts_in_training_only(fusing):
    assert fusing(Dropped(), images()).places == [SHARED[0]]
    found = fusing(Dropped(), images(), mode="inference")
    assert found.places == SHARED
    found.check()


def test_group_norms_with_shared_activations(fusing):
    found = fusing(Block(lambda width: nn.GroupNorm(2, width)), images())
    assert found.places == [("group_norm + relu", ("bn1", "act"))]
    assert [item.shape_key for item in found.candidates] == ["3x4x6x6 float32 contiguous 2 groups relu"]
    found.check()
    found.check_kernels()


def test_frozen_norms_stay_frozen(fusing):
    block = Block()
    found = fusing(block, images())
    block.bn2.eval()
    found = fusing(block, images())
    block.bn2.eval()
    fused = found.check()
    assert not fused.bn2.training


@pytest.mark.parametrize(
    ("block", "left"),
    [
        (Broadcast(), [(("bn2", "act"), READ)]),
        (Scaled(), [(("bn2", "act"), READ)]),
        (IntoTheInput(), [(("bn2", "act"), ELSEWHERE)]),
    ],
    ids=lambda value: type(value).__name__,
)
def test_what_is_no_such_sum_is_left(fusing, block, left):
    found = fusing(block, images(), mode="inference")
    assert found.places == [SHARED[0]]
    assert found.left == left
    found.check()


def test_what_is_written_over_is_left(fusing):
    found = fusing(Overwritten(), images(), mode="inference")
    assert found.places == [SHARED[0]]
    assert fusing(Between(), images(), mode="inference").left == [(("norm", "act"), BETWEEN)]


def test_hooks_are_refused(fusing):
    block = Block()
    block.bn2.register_forward_pre_hook(lambda *_: None)
    found = fusing(block, images())
    assert found.places == [SHARED[0]]
    assert found.left == [(("bn2", "act"), HOOKS)]


def test_the_block_is_one_object_that_other_modes_find_unchanged(fusing):
    block = Block()
    found = fusing(block, images())
    fused = found.check()
    assert isinstance(fused, Block)
    x = images().double()
    torch.testing.assert_close(fused.eval()(x), block.double().eval()(x), rtol=1e-10, atol=1e-10)


class Reads(Block):
    def join(self, out, x):
        return self.act(out + x) if float(x.sum()) < 1e9 else x


def test_what_cannot_be_traced_is_said_with_its_line(fusing):
    found = fusing(nn.Sequential(Reads()), images(), mode="inference")
    assert found.places == []
    assert [modules for modules, _ in found.left] == [("0.bn1", "0.act"), ("0.bn2", "0.act")]
    assert all(reason.startswith(f"the forward of 0 is out of reach: {__file__}:") for _, reason in found.left)


def test_torchvision_and_timm_blocks(fusing, zoo):
    timm, torchvision = zoo("timm"), zoo("torchvision")

    found = fusing(torchvision.models.resnet18(), torch.randn(2, 3, 32, 32))
    assert [pattern for pattern, _ in found.places].count("batch_norm + add + relu") == 8
    assert len(found.places) == 17
    assert found.left == []
    found.check()
    found = fusing(timm.create_model("resnet10t", num_classes=2), torch.randn(2, 3, 32, 32))
    assert [pattern for pattern, _ in found.places].count("batch_norm + add + relu") == 4
    found.check()
