"""Where kernels cannot run, torch's own operations do, to the bit; and it is said why."""

from __future__ import annotations

import copy
import io

import pytest
import torch
from torch import nn
from torch.nn import functional as F

from normadvisor.fused.add_norm import FusedAddLayerNorm, FusedAddRMSNorm, add_layer_norm, add_rms_norm, run_add_norm
from normadvisor.fused.add_norm.functional import supported
from normadvisor.fused.common import triton_support

X, RESIDUAL = torch.randn(2, 3, 8), torch.randn(2, 3, 8)
WEIGHT, BIAS = torch.randn(8), torch.randn(8)


@pytest.fixture
def as_if_on_a_gpu(monkeypatch):
    """As if kernels could run on the CPU: reasons that lie in the tensors come to light."""
    monkeypatch.setattr(triton_support, "INTERPRETED", True)
    monkeypatch.setattr(triton_support, "HAS_TRITON", True)


def test_functions_compute_what_torch_computes():
    total = X + RESIDUAL
    assert [torch.equal(*pair) for pair in zip(add_layer_norm(X, RESIDUAL, (8,), WEIGHT, BIAS, 1e-3), (F.layer_norm(total, (8,), WEIGHT, BIAS, 1e-3), total), strict=True)] == [True, True]
    assert [torch.equal(*pair) for pair in zip(add_rms_norm(X, RESIDUAL, (8,), WEIGHT), (F.rms_norm(total, (8,), WEIGHT), total), strict=True)] == [True, True]


def test_what_torch_broadcasts_is_broadcast():
    out, total = add_layer_norm(X, RESIDUAL[:1], (8,))
    assert torch.equal(total, X + RESIDUAL[:1])
    assert torch.equal(out, F.layer_norm(total, (8,)))


def test_torch_speaks_of_wrong_shapes():
    with pytest.raises(RuntimeError, match="normalized_shape"):
        add_layer_norm(X, RESIDUAL, (7,), WEIGHT[:7])


def test_no_kernel_on_a_cpu():
    reason = supported(X, RESIDUAL, (8,), WEIGHT, BIAS)
    assert reason == ("on cpu torch's own operations are the fast ones" if triton_support.HAS_TRITON else "Triton is not installed")


@pytest.mark.parametrize(
    ("arguments", "expected"),
    [
        ((X, RESIDUAL, (8,), WEIGHT, BIAS), ""),
        ((X, RESIDUAL, (3, 8)), ""),
        ((X, RESIDUAL[:1], (8,)), "the summands have different shapes"),
        ((X, RESIDUAL, (7,)), "the last dimensions are not (7,)"),
        ((X, RESIDUAL, ()), "the last dimensions are not ()"),
        ((X, RESIDUAL, (1, 2, 3, 8)), "the last dimensions are not (1, 2, 3, 8)"),
        ((X, RESIDUAL, (8,), WEIGHT[:1]), "the parameters are not of shape (8,)"),
        ((X.half(), RESIDUAL.half(), (8,), WEIGHT), "the parameters are not in float16, as the sum is"),
        ((X.half(), RESIDUAL, (8,), WEIGHT), ""),
        ((X.int(), RESIDUAL, (8,), WEIGHT), "there are no kernels for int32"),
        ((X.transpose(1, 2), RESIDUAL.transpose(1, 2), (3,)), "the inputs would have to be copied first"),
        ((X.bfloat16(), RESIDUAL.bfloat16(), (8,), None, None, None), "what eps=None means in bfloat16 differs between versions of torch"),
        ((X, RESIDUAL, (8,), None, None, None), ""),
        ((X.to_sparse(), RESIDUAL, (8,)), "there are no kernels for tensors of layout torch.sparse_coo"),
    ],
)
def test_reasons(arguments, expected, as_if_on_a_gpu):
    assert supported(*arguments) == expected


def test_reason_to_be_switched_off(as_if_on_a_gpu):
    with triton_support.disabled():
        assert supported(X, RESIDUAL, (8,)) == "fused kernels are switched off"


def test_jit_traces_torch_operations():
    layer = FusedAddLayerNorm(8)
    traced = torch.jit.trace(layer, (X, RESIDUAL))
    assert torch.equal(traced(X, RESIDUAL)[0], layer(X, RESIDUAL)[0])


@pytest.mark.parametrize(
    ("original", "kind"),
    [
        (nn.LayerNorm(8, eps=1e-3), FusedAddLayerNorm),
        (nn.LayerNorm((3, 8), bias=False), FusedAddLayerNorm),
        (nn.LayerNorm(8, elementwise_affine=False), FusedAddLayerNorm),
        (nn.RMSNorm(8, eps=1e-6), FusedAddRMSNorm),
        (nn.RMSNorm((3, 8)), FusedAddRMSNorm),
        (nn.RMSNorm(8, elementwise_affine=False), FusedAddRMSNorm),
    ],
    ids=str,
)
class TestLayers:
    def test_shares_parameters_and_settings(self, original, kind):
        layer = kind.from_module(original.eval())
        assert isinstance(layer, type(original))
        assert {name: id(parameter) for name, parameter in layer.named_parameters()} == {name: id(parameter) for name, parameter in original.named_parameters()}
        assert list(layer.state_dict()) == list(original.state_dict())
        assert (layer.normalized_shape, layer.eps, layer.elementwise_affine, layer.training) == (original.normalized_shape, original.eps, original.elementwise_affine, False)
        assert str(layer) == str(original).replace(type(original).__name__, kind.__name__)

    def test_computes_the_same(self, original, kind):
        total = X + RESIDUAL
        layer = kind.from_module(original)
        out, found = layer(X, RESIDUAL)
        assert torch.equal(out, original(total))
        assert torch.equal(found, total)
        assert [torch.equal(*pair) for pair in zip(run_add_norm(original, X, RESIDUAL), (out, total), strict=True)] == [True, True]

    def test_without_residual(self, original, kind):
        out, same = kind.from_module(original)(X)
        assert torch.equal(out, original(X))
        assert same is X

    def test_can_be_copied_and_stored(self, original, kind):
        layer = kind.from_module(original, return_sum=False)
        buffer = io.BytesIO()
        torch.save(layer, buffer)
        buffer.seek(0)
        for other in (copy.deepcopy(layer), torch.load(buffer, weights_only=False)):
            out, nothing = other(X, RESIDUAL)
            assert torch.equal(out, layer(X, RESIDUAL)[0])
            assert nothing is None


def test_constructor_takes_the_arguments_of_torch():
    layer = FusedAddLayerNorm(8, 1e-3, True, False, "meta", torch.float16)
    assert (layer.eps, layer.bias, layer.weight.device.type, layer.weight.dtype) == (1e-3, None, "meta", torch.float16)
    rms = FusedAddRMSNorm([3, 8], 1e-6, True, "meta", torch.bfloat16)
    assert (rms.normalized_shape, rms.eps, rms.weight.dtype) == ((3, 8), 1e-6, torch.bfloat16)
    out, total = layer(torch.empty(2, 8, device="meta", dtype=torch.float16), torch.empty(2, 8, device="meta", dtype=torch.float16))
    assert (out.shape, total.dtype) == ((2, 8), torch.float16)


def test_shows_what_is_unusual():
    assert str(FusedAddRMSNorm(8, return_sum=False, implementation="torch")) == "FusedAddRMSNorm((8,), eps=None, elementwise_affine=True, return_sum=False, implementation='torch')"


def test_parametrized_norms_cannot_be_shared():
    norm = nn.LayerNorm(8)
    nn.utils.parametrize.register_parametrization(norm, "weight", nn.Identity())
    with pytest.raises(ValueError, match="LayerNorm is parametrized"):
        FusedAddLayerNorm.from_module(norm)


def test_one_node_in_graphs_of_fx():
    class Block(nn.Module):
        def __init__(self):
            super().__init__()
            self.norm = FusedAddLayerNorm(8)

        def forward(self, x, residual):
            out, total = self.norm(x * 2, residual)[:2]
            return out + total

    block = Block()
    graph = torch.fx.symbolic_trace(block)
    assert [node.name for node in graph.graph.nodes if node.op == "call_function"].count("_compute") == 1
    assert torch.equal(graph(X, RESIDUAL), block(X, RESIDUAL))


def test_compiles_and_exports():
    layer = FusedAddRMSNorm(8)
    compiled = torch.compile(layer, fullgraph=True, backend="eager")
    assert torch.equal(compiled(X, RESIDUAL)[0], layer(X, RESIDUAL)[0])
    exported = torch.export.export(layer, (X, RESIDUAL)).module()
    assert torch.equal(exported(X, RESIDUAL)[1], X + RESIDUAL)


def test_autocast_on_a_cpu_gives_the_dtypes_of_torch():
    with torch.autocast("cpu", torch.bfloat16):
        found = add_layer_norm(X.bfloat16(), RESIDUAL.bfloat16(), (8,), WEIGHT.bfloat16())
        expected = F.layer_norm(X.bfloat16() + RESIDUAL.bfloat16(), (8,), WEIGHT.bfloat16())
    assert (found[0].dtype, found[1].dtype) == (expected.dtype, torch.bfloat16)
