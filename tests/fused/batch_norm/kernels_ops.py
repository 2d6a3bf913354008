"""The operations as torch sees them: schemas, shapes for compilers, gradients of first and second order, compiled layers."""

from __future__ import annotations

import itertools

import pytest
import torch
import torch.nn.functional as F
from torch import nn
from torch._dynamo.backends.common import aot_autograd
from torch.func import functional_call, vmap
from torch.library import opcheck

from normadvisor.fused.batch_norm import ops
from normadvisor.fused.batch_norm.functional import batch_norm_act, batch_norm_supported, run_batch_norm
from normadvisor.fused.batch_norm.modules import FusedBatchNormAct1d, FusedBatchNormAct2d, FusedBatchNormAct3d
from normadvisor.fused.common.triton_support import disabled


def arguments(device, *, order="first", residual=True, dtype=torch.float64, shape=(3, 4, 3, 2)):
    torch.manual_seed(3)
    x, added = (torch.randn(shape, dtype=dtype, device=device) for _ in range(2))
    if order == "last":
        x, added = (tensor.to(memory_format=torch.channels_last) for tensor in (x, added))
    weight, bias, mean = (torch.randn(shape[1], dtype=dtype, device=device) for _ in range(3))
    tracked = [tensor.requires_grad_() for tensor in (x, added, weight, bias)]
    return (tracked[0], tracked[1] if residual else None, mean, mean.square() + 0.5, tracked[2], tracked[3])


@pytest.mark.parametrize("order", ["first", "last"])
def test_schemas_shapes_and_registrations(device, order):
    x, residual, mean, var, weight, bias = arguments(device, order=order)
    seen = x.detach()

    results = [
        opcheck(ops.batch_norm_statistics, (seen, mean, var, None, 0.1)),
        opcheck(ops.batch_norm_statistics, (seen, None, None, None, 0.1)),
        opcheck(ops.batch_norm_statistics, (seen, mean, var, torch.tensor(3, device=device), 0.0)),
        opcheck(ops.batch_norm_act, (x, residual, mean, var, weight, bias, 1e-5, "silu", 0.01, True)),
        opcheck(ops.batch_norm_act, (x, None, mean, var, None, None, 1e-5, "relu", 0.01, False)),
        opcheck(ops.batch_norm_act_backward, (seen, x, residual, mean, var, weight, bias, 1e-5, "silu", 0.01, True, [True] * 4)),
        opcheck(ops.batch_norm_act_backward, (seen, x, None, mean, var, None, None, 1e-5, "none", 0.01, False, [True] + [False] * 3)),
    ]

    assert {name: said for result in results for name, said in result.items() if said != "SUCCESS"} == {}


@pytest.mark.parametrize("training", [True, False], ids=["training", "evaluation"])
@pytest.mark.parametrize(("residual", "act"), [(True, "none"), (False, "leaky_relu"), (True, "silu")])
def test_gradients_of_first_and_second_order(device, training, residual, act):
    x, added, mean, var, weight, bias = arguments(device, residual=residual, order="last")
    inputs = [tensor for tensor in (x, weight, bias, added) if tensor is not None]

    def forward(x, weight, bias, added=None):
        return batch_norm_act(x, mean.clone(), var.clone(), weight, bias, training, residual=added, act=act)

    assert batch_norm_supported(x, mean, var, weight, bias, training, residual=added) == ""
    assert torch.autograd.gradcheck(forward, inputs, fast_mode=True)
    assert torch.autograd.gradgradcheck(forward, inputs, fast_mode=True)


@pytest.mark.parametrize("training", [True, False], ids=["training", "evaluation"])
@pytest.mark.parametrize("act", ["none", "relu"])
def test_only_the_gradients_that_are_asked_for(device, training, act):
    tensors = dict(zip(("x", "residual", "mean", "var", "weight", "bias"), arguments(device), strict=True))

    def gradients(names):
        taken = {name: tensor.detach().requires_grad_(name in names) for name, tensor in tensors.items()}
        y = batch_norm_act(
            taken["x"], taken["mean"], taken["var"], taken["weight"], taken["bias"], training=training, residual=taken["residual"], act=act
        )
        y.backward(tensors["x"].detach())
        return {name: tensor.grad for name, tensor in taken.items() if tensor.grad is not None}

    everything = gradients(("x", "residual", "weight", "bias"))
    for count in (1, 2):
        for names in itertools.combinations(everything, count):
            found = gradients(names)
            assert {name: torch.equal(gradient, everything[name]) for name, gradient in found.items()} == dict.fromkeys(sorted(names, key=list(everything).index), True)


def both(kind, device, **settings):
    """A fused layer, and the layer of torch with the same state."""
    torch.manual_seed(7)
    fused = kind(6, **settings).to(device)
    plain = kind.__mro__[2](6, **{name: value for name, value in settings.items() if name not in {"act", "negative_slope", "bias"}}).to(device)
    if "bias" in settings:
        plain.register_parameter("bias", None)
    for parameter in fused.parameters():
        nn.init.normal_(parameter)
    plain.load_state_dict(fused.state_dict())
    return fused, plain


@pytest.mark.parametrize(
    ("kind", "shape", "settings"),
    [
        (FusedBatchNormAct1d, (8, 6), {}),
        (FusedBatchNormAct1d, (4, 6, 5), {"momentum": None}),
        (FusedBatchNormAct2d, (4, 6, 5, 3), {"momentum": 0.5, "eps": 0.1}),
        (FusedBatchNormAct2d, (4, 6, 5, 3), {"affine": False}),
        (FusedBatchNormAct2d, (4, 6, 5, 3), {"track_running_stats": False}),
        (FusedBatchNormAct2d, (4, 6, 5, 3), {"bias": False}),
        (FusedBatchNormAct3d, (2, 6, 3, 2, 3), {"momentum": None}),
    ],
    ids=str,
)
def test_three_steps_of_training_and_one_of_evaluation(device, kind, shape, settings):
    fused, plain = both(kind, device, **settings, act="leaky_relu", negative_slope=0.3)
    outputs = []
    for layer in (fused, plain):
        outputs.append([])
        torch.manual_seed(1)
        layer.train()
        for _ in range(3):
            x, added = (torch.randn(shape, device=device, requires_grad=True) for _ in range(2))
            y = fused(x, added) if layer is fused else F.leaky_relu(plain(x) + added, 0.3)
            y.square().mean().backward()
            outputs[-1] += [y, x.grad, added.grad]
        layer.eval()
        outputs[-1].append(fused(x) if layer is fused else F.leaky_relu(plain(x), 0.3))

    torch.testing.assert_close(*outputs)
    assert fused.state_dict().keys() == plain.state_dict().keys()
    torch.testing.assert_close(dict(fused.state_dict()), dict(plain.state_dict()))
    torch.testing.assert_close([p.grad for p in fused.parameters()], [p.grad for p in plain.parameters()])


@pytest.mark.parametrize("mode", ["train", "eval"])
@pytest.mark.parametrize("momentum", [0.1, None])
def test_compiled_as_one_graph(device, mode, momentum):
    layer, plain = both(FusedBatchNormAct2d, device, momentum=momentum, act="silu")
    getattr(layer, mode)()
    getattr(plain, mode)()
    compiled = torch.compile(layer, fullgraph=True, backend="aot_eager")
    found, expected = [], []
    for number, shape in enumerate(((4, 6, 5, 3), (4, 6, 5, 3), (3, 6, 8, 2))):
        torch.manual_seed(number)
        x, added = (torch.randn(shape, device=device, requires_grad=True) for _ in range(2))
        for results, y in ((found, compiled(x, added)), (expected, F.silu(plain(x) + added))):
            results += [y, *torch.autograd.grad(y.square().sum(), [x, added])]
    torch.testing.assert_close(found, expected)
    torch.testing.assert_close(dict(layer.state_dict()), dict(plain.state_dict()))


def test_a_compiled_graph_holds_the_operations(device):
    layer, _ = both(FusedBatchNormAct2d, device, act="silu")
    graphs = []

    def keep(graph, example_inputs):
        graphs.append([str(node.target) for node in graph.graph.nodes if "normadvisor" in str(node.target)])
        return graph

    x = torch.randn(4, 6, 5, 3, device=device, requires_grad=True)
    torch.compile(layer, fullgraph=True, backend=aot_autograd(fw_compiler=keep, bw_compiler=keep))(x).sum().backward()

    forward, backward = graphs
    assert [name.split(".")[1] for name in forward if "auto_functionalized" not in name] == ["batch_norm_act"]
    assert backward == ["normadvisor.batch_norm_act_backward.default"]


def test_a_transform_of_torch_func_takes_the_operations_of_torch(device):
    layer, plain = both(FusedBatchNormAct2d, device, act="relu")
    layer.eval()
    plain.eval()
    x = torch.randn(3, 2, 6, 4, 4, device=device)
    expected = torch.stack([F.relu(plain(entry) + entry) for entry in x])

    torch.testing.assert_close(vmap(layer)(x, x), expected)
    jacobian = torch.func.jacrev(lambda weight: functional_call(layer, {"weight": weight}, (x[0],)).sum())(layer.weight.detach())
    layer(x[0]).sum().backward()
    torch.testing.assert_close(jacobian, layer.weight.grad)


def test_forward_mode_differentiation(device):
    layer, plain = both(FusedBatchNormAct2d, device, track_running_stats=False, act="silu")
    x, tangent = (torch.randn(3, 6, 4, 4, device=device) for _ in range(2))
    found, expected = (torch.func.jvp(function, (x,), (tangent,))[1] for function in (layer, lambda value: F.silu(plain(value))))
    torch.testing.assert_close(found, expected)
    with torch.autograd.forward_ad.dual_level():
        dual = torch.autograd.forward_ad.make_dual(x, tangent)
        torch.testing.assert_close(torch.autograd.forward_ad.unpack_dual(layer(dual)).tangent, expected)


def test_switched_off(device):
    x, residual, mean, var, weight, bias = (tensor.detach() for tensor in arguments(device))
    on = batch_norm_act(x, mean, var, weight, bias, residual=residual, act="mish")
    with disabled():
        off = batch_norm_act(x, mean, var, weight, bias, residual=residual, act="mish")
        assert batch_norm_supported(x, mean, var) == "fused kernels are switched off"
    torch.testing.assert_close(on, off)


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        ({"input": torch.ones(0, 4, 3)}, "there is nothing to normalize"),
        ({"input": torch.ones(4)}, "there is nothing to normalize"),
        ({"weight": torch.ones(8)[::2]}, "parameters or statistics are not one number per channel, side by side"),
        ({"weight": torch.ones(5)}, "parameters or statistics are not one number per channel, side by side"),
        ({"residual": torch.ones(3, 4, 1)}, "what is added has another shape or dtype"),
        ({"residual": torch.ones(3, 4, 3, dtype=torch.float64)}, "what is added has another shape or dtype"),
        ({"bias": torch.ones(4, dtype=torch.float16)}, "dtypes of input and parameters do not go together"),
        ({"running_var": None}, "a running statistic is missing"),
        ({"running_mean": None, "running_var": None, "training": False}, "a running statistic is missing"),
        ({"input": torch.ones(1, 4, 1)}, "one value per channel has no statistics"),
        ({"running_mean": torch.ones(4, requires_grad=True)}, "running statistics take gradients"),
        ({"input": torch.ones(3, 4, 3).int()}, "there are no kernels for int32"),
        ({}, ""),
    ],
)
def test_what_torchs_own_operations_take(device, change, reason):
    given = {"input": torch.ones(3, 4, 3), "running_mean": torch.zeros(4), "running_var": torch.ones(4), "training": True, **change}
    on_device = {name: value.detach().to(device).requires_grad_(value.requires_grad) if isinstance(value, torch.Tensor) else value for name, value in given.items()}
    assert batch_norm_supported(**on_device) == reason


def test_a_plain_layer_run_with_what_follows(device):
    fused, plain = both(FusedBatchNormAct2d, device, momentum=None, act="relu")
    x, added = (torch.randn(3, 6, 4, 4, device=device) for _ in range(2))
    torch.testing.assert_close(run_batch_norm(plain, x, added, "relu"), fused(x, added))
    torch.testing.assert_close(dict(plain.state_dict()), dict(fused.state_dict()))
    with pytest.raises(ValueError, match="expected 4D input"):
        run_batch_norm(plain, x[0])


def test_statistics_that_move_before_the_backward_pass_are_noticed(device):
    layer, _ = both(FusedBatchNormAct2d, device, act="relu")
    x = torch.randn(3, 6, 4, 4, device=device, requires_grad=True)
    y = layer.eval()(x)
    layer.train()(x)
    with pytest.raises(RuntimeError, match="modified by an inplace operation"):
        y.sum().backward()
