from __future__ import annotations

import pytest
import torch
from torch.testing._internal.two_tensor import TwoTensor
from torch.utils.flop_counter import FlopCounterMode

from normadvisor.fused.common import triton_support
from normadvisor.fused.common.eager import plain
from normadvisor.fused.common.triton_support import disabled, enabled, multiprocessors, on_device_of, why_not_triton

CPU = torch.zeros(3)
META = torch.zeros(3, device="meta")


@pytest.fixture
def interpreted(monkeypatch):
    """As if kernels ran in the interpreter: whatever is on the CPU is fine."""
    monkeypatch.setattr(triton_support, "HAS_TRITON", True)
    monkeypatch.setattr(triton_support, "INTERPRETED", True)


def test_devices(monkeypatch):
    monkeypatch.setattr(triton_support, "HAS_TRITON", True)
    assert why_not_triton(CPU, None) == "on cpu torch's own operations are the fast ones"
    assert why_not_triton(META) == "on meta torch's own operations are the fast ones"
    assert why_not_triton(CPU, META) == "tensors are on different devices"


def test_triton_is_not_installed(monkeypatch):
    monkeypatch.setattr(triton_support, "HAS_TRITON", False)
    assert why_not_triton(CPU) == "Triton is not installed"


@pytest.mark.parametrize("dtype", [torch.float32, torch.float16, torch.bfloat16, torch.float64])
def test_dtypes_that_have_kernels(interpreted, dtype):
    assert why_not_triton(CPU.to(dtype), None, CPU) == ""


def test_tensors_that_have_none(interpreted):
    assert why_not_triton(CPU, CPU.int()) == "there are no kernels for int32"
    assert why_not_triton(CPU.to(torch.complex64)) == "there are no kernels for complex64"
    assert why_not_triton(torch.eye(3).to_sparse()) == "there are no kernels for tensors of layout torch.sparse_coo"


def test_switch(interpreted):
    with disabled():
        with disabled():
            pass
        assert (enabled(), why_not_triton(CPU)) == (False, "fused kernels are switched off")
    assert (enabled(), why_not_triton(CPU)) == (True, "")


def test_the_switch_is_turned_back_after_an_error():
    with pytest.raises(ValueError, match="inside"), disabled():
        raise ValueError("inside")
    assert enabled()


def test_transforms(interpreted):
    reasons = []

    def look(x):
        reasons.append(why_not_triton(x))
        return x.sin()

    torch.func.vmap(look)(CPU)
    torch.func.grad(lambda x: look(x).sum())(CPU)
    torch.func.jvp(look, (CPU,), (CPU,))
    assert reasons == ["a torch.func transform is active"] * 3


def test_other_kinds_of_tensors(interpreted):
    class Marked(torch.Tensor):
        pass

    assert why_not_triton(CPU, CPU.as_subclass(Marked)) == "Marked is a tensor of its own kind"
    assert why_not_triton(torch.nn.Parameter(CPU)) == ""
    with torch._subclasses.FakeTensorMode() as mode:
        assert why_not_triton(mode.from_tensor(CPU)) == ""


def test_forward_mode(interpreted):
    with torch.autograd.forward_ad.dual_level():
        assert why_not_triton(CPU) == ""
        assert why_not_triton(torch.autograd.forward_ad.make_dual(CPU, CPU)) == "forward-mode differentiation is active"


@pytest.mark.filterwarnings("ignore::DeprecationWarning")
def test_torch_jit(interpreted):
    reasons = []

    def look(x):
        reasons.append(why_not_triton(x))
        return x + 1

    torch.jit.trace(look, (CPU,), check_trace=False)
    assert reasons == ["torch.jit is tracing: its graphs hold torch's own operations"]


def test_dynamo_follows_the_question(interpreted):
    def ask(x):
        return x + 1 if why_not_triton(x, None) else x + 2

    assert torch.compile(ask, fullgraph=True, backend="eager")(CPU).tolist() == [2, 2, 2]
    # Distributed tensors are such a kind: they refuse operations that they do not know.
    assert torch.compile(ask, fullgraph=True, backend="eager")(TwoTensor(CPU, CPU)).a.tolist() == [1, 1, 1]


def test_dynamo_takes_what_a_gpu_can_as_given(monkeypatch):
    monkeypatch.setattr(triton_support, "_asked_capability", lambda _: (9, 0))
    graphs = []

    def record(module, _):
        graphs.append([str(node.target) for node in module.graph.nodes if node.op == "call_function"])
        return module.forward

    compiled = torch.compile(lambda x: x + triton_support._capability(0)[0], fullgraph=True, backend=record)
    assert (compiled(CPU).tolist(), graphs) == ([9, 9, 9], [["<built-in function add>"]])


def test_old_gpus(monkeypatch):
    monkeypatch.setattr(triton_support, "_capability", lambda _: (7, 5))
    monkeypatch.setattr(triton_support, "HAS_TRITON", True)
    monkeypatch.setattr(torch.version, "hip", None)
    turing = type("Fake", (), {"device": torch.device("cuda:0")})()
    assert triton_support._why_not_device([turing]) == "needs compute capability 8.0, this GPU has 7.5"
    monkeypatch.setattr(triton_support, "_capability", lambda _: (9, 0))
    assert triton_support._why_not_device([turing]) == ""
    monkeypatch.setattr(torch.version, "hip", "6.0")
    assert triton_support._why_not_device([turing]) == "the kernels were not tried on AMD GPUs"
    monkeypatch.setattr(triton_support, "INTERPRETED", True)
    assert triton_support._why_not_device([turing]) == "Triton interprets its kernels (TRITON_INTERPRET is set)"


def test_without_a_gpu():
    assert multiprocessors(torch.device("cpu")) == 4
    with on_device_of(CPU) as nothing:
        assert nothing is None


def test_plain_calls():
    assert plain(CPU, None, torch.nn.Parameter(CPU))
    with FlopCounterMode(display=False):
        assert not plain(CPU)

    class Marked(torch.Tensor):
        pass

    assert not plain(CPU.as_subclass(Marked))
    with torch._subclasses.FakeTensorMode() as mode:
        assert not plain(mode.from_tensor(CPU))
