import pytest
import torch
import torch.nn.functional as F
from torch import nn

from normadvisor import fused
from normadvisor.fused.convolution.functional import is_convolution

IN_TORCH = {
    "none": lambda y: y,
    "relu": F.relu,
    "relu6": F.relu6,
    "leaky_relu": lambda y: F.leaky_relu(y, 0.1),
    "silu": F.silu,
    "gelu": F.gelu,
    "gelu_tanh": lambda y: F.gelu(y, approximate="tanh"),
    "hardswish": F.hardswish,
}
FORMATS = {4: torch.channels_last, 5: torch.channels_last_3d}


def given(shape=(2, 6, 9, 7), out=8, kernel=3, groups=1, *, last=False, bias=True):
    torch.manual_seed(0)
    x, weight = torch.randn(shape), torch.randn(out, shape[1] // groups, *[kernel] * (len(shape) - 2)) * 0.3
    return x.contiguous(memory_format=FORMATS[len(shape)]) if last else x, weight, torch.randn(out) if bias else None


def calls(function):
    """Names of the operations of torch that run."""
    with torch.profiler.profile(activities=[torch.profiler.ProfilerActivity.CPU]) as profile:
        function()
    return {event.key for event in profile.key_averages()} & {"mkldnn::_convolution_pointwise", "aten::conv2d", "aten::conv3d"}


def test_all_activations_are_known():
    assert sorted(IN_TORCH) == sorted(fused.CONV_ACTIVATIONS)


@pytest.mark.parametrize("last", [False, True])
@pytest.mark.parametrize("residual", [False, True])
@pytest.mark.parametrize("act", fused.CONV_ACTIVATIONS)
def test_error_is_at_most_twice_that_of_torch(act, residual, last):
    x, weight, bias = given(last=last)
    y = F.conv2d(x, weight, bias, 2, 1)
    added = torch.randn_like(y) if residual else torch.zeros(())
    exact = IN_TORCH[act](F.conv2d(x.double(), weight.double(), bias.double(), 2, 1) + added)
    out = fused.conv_act(x, weight, bias, 2, 1, act=act, negative_slope=0.1, residual=added if residual else None)
    assert (out.dtype, out.shape, out.stride()) == (torch.float32, y.shape, y.stride())
    own = (IN_TORCH[act](y + added) - exact).abs().max()
    assert (out - exact).abs().max() <= 2 * own + 4 * torch.finfo(torch.float32).eps


@pytest.mark.parametrize(
    ("given", "options"),
    [
        (given((2, 6, 5, 6, 7)), {"padding": 1}),
        (given((1, 6, 1, 1), kernel=1), {}),
        (given((3, 6, 8, 8), groups=3, out=9, bias=False), {"groups": 3, "padding": (2, 0), "stride": (1, 2)}),
        (given((3, 6, 12, 12), groups=6, out=6, last=True), {"groups": 6, "dilation": 2}),
        ((given()[0][:, :, ::2, 1:], *given()[1:]), {"padding": 1}),
        ((given()[0][:1].expand(4, -1, -1, -1), *given()[1:]), {}),
    ],
    ids=["volumes", "points", "groups", "depthwise dilated", "slice", "expanded"],
)
def test_shapes_and_settings(given, options):
    convolve = F.conv3d if given[0].dim() == 5 else F.conv2d
    torch.testing.assert_close(fused.conv_act(*given, **options, act="relu"), convolve(*given, **options).relu())
    assert fused.conv_act_supported(*given) == ""


@pytest.mark.parametrize("shape", [(2, 8, 9, 7), (2, 8, 1, 1), (1, 8, 9, 7), (8, 9, 7), (8, 1, 1), ()])
@pytest.mark.parametrize("last", [False, True])
def test_what_is_added_is_broadcast_as_torch_does(shape, last):
    x, weight, bias = given(last=last)
    added = torch.randn(shape)
    wanted = F.relu(F.conv2d(x, weight, bias, padding=1) + added)
    torch.testing.assert_close(fused.conv_act(x, weight, bias, padding=1, act="relu", residual=added), wanted)


def test_what_cannot_be_added_is_refused():
    x, weight, bias = given(last=True)
    with pytest.raises(RuntimeError, match="must match"):
        fused.conv_act(x, weight, bias, padding=1, act="relu", residual=torch.randn(2, 8, 9, 8))


def test_one_operation_or_those_of_torch():
    conv, x = nn.Conv2d(6, 8, 3), given()[0]
    with torch.no_grad():
        assert calls(lambda: fused.run_conv(conv, x, None, "relu")) == {"mkldnn::_convolution_pointwise"}
        with fused.disabled():
            assert calls(lambda: fused.run_conv(conv, x, None, "relu")) == {"aten::conv2d"}
    assert calls(lambda: fused.run_conv(conv, x, None, "relu")) == {"aten::conv2d"}


def test_gradients_are_those_of_torch():
    x, weight, bias = given()
    results = []
    for function in (lambda x, w: fused.conv_act(x, w, bias, act="silu", residual=x[:, :1, 2:, 2:]), lambda x, w: F.silu(F.conv2d(x, w, bias) + x[:, :1, 2:, 2:])):
        leaves = [x.clone().requires_grad_(), weight.clone().requires_grad_()]
        results.append(torch.autograd.grad(function(*leaves).square().sum(), leaves))
    torch.testing.assert_close(*results, rtol=0, atol=0)


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        (lambda x: x.double(), "float64 is left to torch's own operations"),
        (lambda x: x.bfloat16(), "bfloat16 is left to torch's own operations"),
        (lambda x: x.to("meta"), "oneDNN computes on a CPU"),
        (lambda x: x[0], "only batches of maps and volumes are convolved in one operation"),
        (lambda x: x[:0], "the input is empty"),
        (lambda x: x.clone().requires_grad_(), "gradients are recorded: the operation has none"),
        (lambda x: x.as_subclass(type("Own", (torch.Tensor,), {})), "a compiler or a tensor of its own kind follows the operations"),
    ],
)
def test_what_is_left_to_torch(change, reason):
    x, weight, bias = given()
    x = change(x)
    weight, bias = weight.to(x.device, x.dtype), bias.to(x.device, x.dtype)
    assert fused.conv_act_supported(x, weight, bias) == reason
    out, wanted = fused.conv_act(x, weight, bias, padding=1, act="relu"), F.relu(F.conv2d(x, weight, bias, padding=1))
    assert out.requires_grad == wanted.requires_grad
    if not x.is_meta:
        torch.testing.assert_close(out, wanted, rtol=0, atol=0)


def test_modes_in_which_torch_computes():
    x, weight, bias = given()
    with torch.autocast("cpu"):
        assert fused.conv_act_supported(x, weight, bias) == "autocast chooses the dtype of each operation"
        assert fused.conv_act(x, weight, bias, act="relu").dtype == torch.bfloat16
    with torch.backends.mkldnn.flags(enabled=False):
        assert fused.conv_act_supported(x, weight, bias) == "this build of torch has no oneDNN, or it is switched off"
    doubled = torch.func.vmap(lambda each: fused.conv_act(each, weight, bias, act="relu"))(torch.stack([x, 2 * x]))
    torch.testing.assert_close(doubled, torch.stack([F.conv2d(x, weight, bias).relu(), F.conv2d(2 * x, weight, bias).relu()]))
    tangent = torch.func.jvp(lambda each: fused.conv_act(each, weight, bias), (x,), (x,))[1]
    torch.testing.assert_close(tangent, F.conv2d(x, weight))


class Net(nn.Module):
    def __init__(self):
        super().__init__()
        self.conv = nn.Conv2d(6, 8, 3).requires_grad_(False)

    def forward(self, x):
        return fused.run_conv(self.conv, x, None, "relu")


def test_compilers_and_exporters_see_operations_of_torch():
    net, x = Net(), given()[0]
    wanted = net.conv(x).relu()
    torch.testing.assert_close(torch.compile(net, backend="eager", fullgraph=True)(x), wanted)
    exported = torch.export.export(net, (x,))
    assert [str(node.target) for node in exported.graph.nodes if node.op == "call_function"] == ["aten.conv2d.default", "aten.relu.default"]
    traced = torch.jit.trace(net, x)
    torch.testing.assert_close(traced(x), wanted)
    assert "mkldnn" not in str(traced.graph)


def test_a_weight_of_another_dtype_is_refused_by_torch():
    x, weight, bias = given()
    with pytest.raises(RuntimeError, match="should be the same"):
        fused.conv_act(x, weight.bfloat16(), bias.bfloat16(), act="relu")


def test_an_unknown_activation():
    with pytest.raises(ValueError, match="unknown activation 'tanh'"):
        fused.conv_act(*given(), act="tanh")
    torch.testing.assert_close(fused.conv_act(*given(), act="mish"), F.mish(F.conv2d(*given())))


class Doubled(nn.Conv2d):
    def forward(self, x):
        return 2 * super().forward(x)


def test_which_layers_are_known_to_the_last_detail():
    known = {
        "conv": nn.Conv2d(4, 4, 3),
        "volume": nn.Conv3d(4, 4, 3),
        "derived": type("Named", (nn.Conv2d,), {})(4, 4, 3),
        "reflecting": nn.Conv2d(4, 4, 3, padding=1, padding_mode="reflect"),
        "same": nn.Conv2d(4, 4, 3, padding="same"),
        "another forward": Doubled(4, 4, 3),
        "line": nn.Conv1d(4, 4, 3),
        "transposed": nn.ConvTranspose2d(4, 4, 3),
    }
    assert [name for name, layer in known.items() if is_convolution(layer)] == ["conv", "volume", "derived"]
