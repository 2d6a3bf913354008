import copy
import pickle
from types import SimpleNamespace

import pytest
import torch
import torch.nn.functional as F
from torch import nn

from normadvisor.graph import trace
from normadvisor.optimization.candidate import Setting
from normadvisor.optimization.fusing.convolutions import find_activated
from normadvisor.rewrite.model.journal import Journal


def found(model, *inputs, mode="inference", dtype=torch.float32, device="cpu", force=False):
    given = SimpleNamespace(args=inputs, kwargs={}, given=True)
    graph = trace(model, given, target="model", sites={}, mode="eval" if mode == "inference" else "train")
    setting = Setting(mode=mode, device=torch.device(device), dtype=dtype, inputs=given, force=force)
    return list(find_activated(model, graph, setting))


def images(batch=2, side=8, channels=4):
    return torch.randn(batch, channels, side, side)


def conv(*, stride=1, out=4):
    return nn.Conv2d(4, out, 3, stride, padding=1)


class Block(nn.Module):
    """A residual block as it is once its norms are folded."""

    def __init__(self):
        super().__init__()
        self.conv1, self.bn1, self.conv2 = conv(), nn.Identity(), conv()
        self.relu = nn.ReLU(inplace=True)
        self.downsample = nn.Sequential(nn.Conv2d(4, 4, 1), nn.Identity())

    def forward(self, x):
        out = self.relu(self.bn1(self.conv1(x)))
        out = self.conv2(out)
        out += self.downsample(x)
        return self.relu(out)


class Functions(nn.Module):
    def __init__(self):
        super().__init__()
        self.a, self.b, self.c = conv(), conv(), conv()

    def forward(self, x):
        y = F.leaky_relu(self.a(x), 0.2)
        z = F.gelu(self.b(y), approximate="tanh")
        return F.hardswish(self.c(z)) + torch.tanh(self.c(x)) + y


class Read(nn.Module):
    """What a convolution gives is read twice."""

    def __init__(self):
        super().__init__()
        self.conv = conv()

    def forward(self, x):
        y = self.conv(x)
        return torch.relu(y) + y


class Summed(nn.Module):
    def __init__(self, act):
        super().__init__()
        self.conv, self.act = conv(), act

    def forward(self, x):
        return self.act(self.conv(x) + x)


class Broadcast(Summed):
    def forward(self, x):
        return self.act(self.conv(x) + x.mean((2, 3), keepdim=True))


class Doubled(Summed):
    def forward(self, x):
        y = self.conv(x)
        return self.act(y + y)


CASES = {
    "sequence": (
        lambda: nn.Sequential(conv(), nn.Identity(), nn.SiLU(), conv(stride=2), nn.Dropout(), nn.ReLU6()),
        [("conv + silu", ("0", "2")), ("conv + relu6", ("3", "5"))],
    ),
    "block": (Block, [("conv + relu", ("conv1", "relu")), ("conv + add + relu", ("conv2", "relu"))]),
    "functions": (Functions, [("conv + leaky_relu", ("a",)), ("conv + gelu_tanh", ("b",)), ("conv + hardswish", ("c",))]),
    "read twice": (Read, []),
    "a sum, and relu": (lambda: Summed(nn.ReLU()), [("conv + add + relu", ("conv", "act"))]),
    "a sum, and no relu": (lambda: Summed(nn.SiLU()), []),
    "a sum with itself": (lambda: Doubled(nn.ReLU()), []),
    "a broadcast sum": (lambda: Broadcast(nn.ReLU()), []),
    "an activation oneDNN does not have": (lambda: nn.Sequential(conv(), nn.Mish()), []),
    "other padding": (lambda: nn.Sequential(nn.Conv2d(4, 4, 3, padding=1, padding_mode="circular"), nn.ReLU()), []),
    "transposed": (lambda: nn.Sequential(nn.ConvTranspose2d(4, 4, 3), nn.ReLU()), []),
}


@pytest.mark.parametrize("name", CASES)
def test_what_is_found_and_that_it_computes_the_same(name):
    make, wanted = CASES[name]
    torch.manual_seed(0)
    model, x = make().eval(), images()
    candidates = found(model, x)
    assert [(each.pattern, each.modules) for each in candidates] == wanted
    changed, journal = copy.deepcopy(model), Journal()
    for each in candidates:
        assert each.apply(changed, journal) == ()
    assert list(changed.state_dict()) == list(model.state_dict())
    others = [copy.deepcopy(changed), pickle.loads(pickle.dumps(changed)), copy.deepcopy(changed).to(memory_format=torch.channels_last)]
    for each in (changed, *others):
        for given in (x, images(3, 11), images(1, 5).contiguous(memory_format=torch.channels_last)):
            for grad in (False, True):
                with torch.set_grad_enabled(grad):
                    out = each(given.clone())
                assert out.requires_grad == grad
                torch.testing.assert_close(out.detach(), model(given.clone()).detach(), rtol=1e-4, atol=1e-6)
    torch.testing.assert_close(changed.double()(x.double()), copy.deepcopy(model).double()(x.double()), rtol=0, atol=0)
    journal.undo()
    assert [type(module) for module in changed.modules()] == [type(module) for module in model.modules()]


@pytest.mark.parametrize("name", [name for name, (_, wanted) in CASES.items() if wanted])
def test_operations_alone(name):
    torch.manual_seed(0)
    for each in found(CASES[name][0]().eval(), images()):
        kernel = each.kernel()
        with torch.no_grad():
            before, after = (run(*[value.clone() for value in kernel.arguments]) for run in (kernel.before, kernel.after))
            exact = kernel.exact(*[value.double() for value in kernel.arguments])
        assert exact.dtype == torch.float64
        torch.testing.assert_close(before.double(), exact, rtol=1e-4, atol=1e-5)
        torch.testing.assert_close(after, before, rtol=1e-4, atol=1e-5)


def test_a_shape_key_tells_what_takes_time():
    first, second = found(nn.Sequential(conv(), nn.ReLU(), conv(stride=2, out=8), nn.ReLU()).eval(), images())
    assert first.shape_key == "2x4x8x8 float32 contiguous 4 by 3x3 stride 1x1 padding 1x1 dilation 1x1 in 1 groups, 4x4x3x3 float32 contiguous relu"
    assert second.shape_key == "2x4x8x8 float32 contiguous 8 by 3x3 stride 2x2 padding 1x1 dilation 1x1 in 1 groups, 8x4x3x3 float32 contiguous relu"
    assert first.remark == "NaN comes out of a relu that a convolution applies as 0, as it does in models that torch.compile has frozen"


def test_where_nothing_is_looked_for():
    model = nn.Sequential(conv(), nn.ReLU())
    assert found(model, images(), mode="training") == []
    assert found(copy.deepcopy(model).double(), images().double(), dtype=torch.float64) == []
    assert found(model, images(), device="meta") == []
    assert len(found(model, images(), device="meta", force=True)) == 1  # what was saved on another machine is made again
    assert found(nn.Sequential(nn.Conv1d(4, 4, 3), nn.ReLU()).eval(), torch.randn(2, 4, 8)) == []


def test_an_activation_that_is_exchanged_or_watched_later_counts():
    model, x = nn.Sequential(conv(), nn.ReLU()).eval(), images()
    (candidate,) = found(model, x)
    seen = []
    with torch.no_grad():
        candidate.apply(model, Journal())
        model[1].register_forward_hook(lambda _layer, _given, out: seen.append(out))
        assert torch.equal(model(x), seen[0])
        model[1] = nn.Tanh()
        torch.testing.assert_close(model(x), torch.tanh(model[0](x)))


def test_hooks_keep_a_layer_as_it_is():
    model = nn.Sequential(conv(), nn.ReLU()).eval()
    model[0].register_forward_hook(lambda *_: None)
    refused = found(model, images())
    assert [(each.modules, each.reason) for each in refused] == [(("0", "1"), "hooks run around one of the layers, and would not any more")]
