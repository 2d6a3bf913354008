"""What only a GPU can show of fused operations: sizes of real models, alignment, streams, graphs, and that nothing waits for the GPU.

``pytest tests/fused -m gpu -k "not on_a_gpu" -n 8 --dist loadgroup`` leaves out the rest of what is marked, which runs all of
``kernels_*.py`` on a GPU and takes much longer.
"""

from __future__ import annotations

import math
import warnings

import pytest
import torch
import torch.nn.functional as F
from torch import nn

from normadvisor.fused import (
    FusedBatchNormAct2d,
    FusedGroupNormAct,
    add_layer_norm,
    add_rms_norm,
    batch_norm_act,
    geglu_packed,
    group_norm_act,
    swiglu,
)
from normadvisor.fused.common.reference import gradients, in_float64, relative_error

pytestmark = [
    pytest.mark.gpu,
    pytest.mark.skipif(not torch.cuda.is_available(), reason="no CUDA device: fused operations were NOT tested on a GPU"),
]

FLOORS = {torch.float64: 1e-12, torch.float32: 4e-6, torch.float16: 4e-3, torch.bfloat16: 3e-2}
DTYPES = [torch.float32, torch.bfloat16]


def group_norm(shape, groups=32, act="silu"):
    def fused(x, weight, bias):
        return group_norm_act(x, groups, weight, bias, act=act, negative_slope=0.1)

    def plain(x, weight, bias):
        y = F.group_norm(x, groups, weight, bias)
        return F.leaky_relu(y, 0.1) if act == "leaky_relu" else F.silu(y)

    return fused, plain, [shape, shape[1:2], shape[1:2]]


def batch_norm(shape, residual=False):
    # Without a kink: on which side of it an entry lies is a matter of the last bit.
    def fused(x, weight, bias, added=None):
        return batch_norm_act(x, None, None, weight, bias, training=True, residual=added, act="silu")

    def plain(x, weight, bias, added=None):
        y = F.batch_norm(x, None, None, weight, bias, True)
        return F.silu(y if added is None else y + added)

    return fused, plain, [shape, shape[1:2], shape[1:2], *([shape] if residual else [])]


def layer_norm(rows, columns):
    def plain(x, residual, weight, bias):
        return F.layer_norm(x + residual, (columns,), weight, bias), x + residual

    return lambda x, residual, weight, bias: add_layer_norm(x, residual, (columns,), weight, bias), plain, [(rows, columns)] * 2 + [(columns,)] * 2


def rms_norm(rows, columns):
    def plain(x, residual, weight):
        return F.rms_norm(x + residual, (columns,), weight, 1e-5), x + residual

    return lambda x, residual, weight: add_rms_norm(x, residual, (columns,), weight, 1e-5), plain, [(rows, columns)] * 2 + [(columns,)]


def halves(rows, columns):
    def plain(x):
        first, second = x.chunk(2, -1)
        return F.gelu(first) * second

    return geglu_packed, plain, [(rows, 2 * columns)]


def gate(rows, columns):
    return swiglu, lambda gate, up: F.silu(gate) * up, [(rows, columns)] * 2


CASES = {
    "group_norm whole": group_norm((16, 1280, 8, 8)),
    "group_norm streamed": group_norm((16, 640, 32, 32)),
    "group_norm split": group_norm((2, 320, 64, 64)),
    "group_norm odd": group_norm((3, 15, 37, 41), groups=5),
    "instance norm": group_norm((8, 96, 7, 7), groups=96),
    "batch_norm": batch_norm((32, 64, 56, 56)),
    "batch_norm narrow": batch_norm((32, 509, 7, 7)),
    "batch_norm add": batch_norm((16, 256, 28, 28), residual=True),
    "batch_norm features": batch_norm((4096, 1000)),
    "layer_norm 128": layer_norm(20_001, 128),
    "layer_norm 1600": layer_norm(4096, 1600),
    "layer_norm 20000": layer_norm(300, 20_000),
    "layer_norm 70001": layer_norm(40, 70_001),
    "rms_norm 4096": rms_norm(4096, 4096),
    "rms_norm 8192": rms_norm(1024, 8192),
    "geglu packed": halves(4096, 1280),
    "geglu packed odd": halves(333, 77),
    "swiglu": gate(2048, 11008),
}


def drawn(shapes, dtype, last=False, spare=0):
    """Tensors that take gradients; scales are around 1. With ``spare``, so many elements into a larger buffer."""
    torch.manual_seed(0)
    made = []
    for index, shape in enumerate(shapes):
        start = 1.0 if len(shape) == 1 and index else 0.3
        values = torch.randn(shape, device="cuda") * (0.2 if len(shape) == 1 and index else 2.0) + start
        values = values.to(dtype, memory_format=torch.channels_last if last and len(shape) == 4 else torch.preserve_format)
        if spare:
            place = torch.empty(values.numel() + spare, dtype=dtype, device="cuda")[spare:]
            values = place.as_strided(values.shape, values.stride(), spare).copy_(values)
        made.append(values.requires_grad_())
    return tuple(made)


def compare(name, arguments):
    """At most twice as far from float64 as torch's own operations; the same bits each time."""
    fused, plain, _ = CASES[name]
    outputs = fused(*arguments)
    seeds = [torch.randn_like(output) for output in (outputs if isinstance(outputs, tuple) else (outputs,))]
    exact = gradients(plain, in_float64(arguments), seeds)
    ours, again, theirs = (gradients(run, arguments, seeds) for run in (fused, fused, plain))
    assert [torch.equal(one, other) for one, other in zip(ours, again, strict=True)] == [True] * len(ours)
    floor = FLOORS[arguments[0].dtype]
    allowed = [max(2 * relative_error(value, true), floor) for value, true in zip(theirs, exact, strict=True)]
    errors = [relative_error(value, true) for value, true in zip(ours, exact, strict=True)]
    assert [pair for pair in zip(errors, allowed, strict=True) if not pair[0] <= pair[1]] == []
    return ours


@pytest.mark.parametrize("dtype", DTYPES, ids=str)
@pytest.mark.parametrize("last", [False, True], ids=["first", "last"])
@pytest.mark.parametrize("name", CASES)
def test_sizes_of_real_models(name, last, dtype, canary):
    shapes = CASES[name][2]
    if last and len(shapes[0]) != 4:
        pytest.skip("has one order only")
    arguments = tuple(canary.guard(tensor) for tensor in drawn(shapes, dtype, last))
    assert compare(name, arguments)[0].stride() == arguments[0].stride() or len(shapes[0]) != 4


@pytest.mark.parametrize("name", ["group_norm whole", "group_norm odd", "batch_norm", "layer_norm 128", "geglu packed odd", "swiglu"])
def test_float64(name):
    compare(name, drawn(CASES[name][2], torch.float64))


def test_slopes_are_not_rounded_in_float64():
    fused, plain, shapes = group_norm((2, 6, 9, 5), groups=3, act="leaky_relu")
    arguments = drawn(shapes, torch.float64)
    torch.testing.assert_close(fused(*arguments), plain(*arguments), rtol=1e-12, atol=1e-12)


@pytest.mark.parametrize("spare", [1, 3, 8])
@pytest.mark.parametrize("name", ["group_norm split", "batch_norm", "layer_norm 1600", "geglu packed", "swiglu"])
def test_tensors_that_begin_anywhere(name, spare):
    compare(name, drawn(CASES[name][2], torch.bfloat16))  # Compiles for aligned ones first.
    compare(name, drawn(CASES[name][2], torch.bfloat16, spare=spare))


@pytest.mark.filterwarnings("ignore:Synchronization debug mode is a prototype")
@pytest.mark.parametrize("name", ["group_norm split", "group_norm whole", "batch_norm", "layer_norm 1600", "geglu packed", "swiglu"])
def test_nothing_waits_for_the_gpu(name):
    arguments = drawn(CASES[name][2], torch.bfloat16)
    outputs = CASES[name][0](*arguments)
    seeds = [torch.ones_like(output) for output in (outputs if isinstance(outputs, tuple) else (outputs,))]
    gradients(CASES[name][0], arguments, seeds)
    torch.cuda.set_sync_debug_mode("error")
    try:
        gradients(CASES[name][0], arguments, seeds)
    finally:
        torch.cuda.set_sync_debug_mode("default")


@pytest.mark.parametrize("name", ["group_norm streamed", "group_norm split", "batch_norm add", "rms_norm 4096", "swiglu"])
def test_other_streams(name):
    fused, _, shapes = CASES[name]
    arguments = drawn(shapes, torch.bfloat16)
    outputs = fused(*arguments)
    seeds = [torch.ones_like(output) for output in (outputs if isinstance(outputs, tuple) else (outputs,))]
    expected = gradients(fused, arguments, seeds)
    stream = torch.cuda.Stream()
    held = [argument.detach().zero_() if index == 0 else argument.detach() for index, argument in enumerate(arguments)]
    values = drawn(shapes, torch.bfloat16)[0].detach()
    torch.cuda.synchronize()
    with torch.cuda.stream(stream):
        torch.cuda._sleep(20_000_000)  # Whoever does not wait for this stream sees zeros.
        held[0].copy_(values)
        found = gradients(fused, [tensor.requires_grad_() for tensor in held], seeds)
    stream.synchronize()
    assert [torch.equal(one, other) for one, other in zip(found, expected, strict=True)] == [True] * len(found)


@pytest.mark.parametrize("name", ["group_norm streamed", "group_norm split", "batch_norm add", "layer_norm 1600", "swiglu"])
def test_graphs_of_forward_and_backward(name):
    fused, _, shapes = CASES[name]
    arguments = drawn(shapes, torch.bfloat16)
    outputs = fused(*arguments)
    seeds = [torch.randn_like(output) for output in (outputs if isinstance(outputs, tuple) else (outputs,))]
    side = torch.cuda.Stream()
    side.wait_stream(torch.cuda.current_stream())
    with torch.cuda.stream(side):
        gradients(fused, arguments, seeds)
    torch.cuda.current_stream().wait_stream(side)
    graph = torch.cuda.CUDAGraph()
    with torch.cuda.graph(graph):
        captured = gradients(fused, arguments, seeds)
    with torch.no_grad():
        arguments[0].mul_(0.5).add_(1.0)
    graph.replay()
    expected = gradients(fused, arguments, seeds)
    assert [torch.equal(one, other) for one, other in zip(captured, expected, strict=True)] == [True] * len(expected)


@pytest.mark.parametrize("momentum", [0.1, None])
def test_graphs_move_running_statistics(momentum):
    layer = FusedBatchNormAct2d(8, momentum=momentum, act="relu", device="cuda")
    other = nn.BatchNorm2d(8, momentum=momentum, device="cuda")
    x = torch.randn(4, 8, 6, 6, device="cuda")
    side = torch.cuda.Stream()
    side.wait_stream(torch.cuda.current_stream())
    with torch.cuda.stream(side):
        layer(x)
    torch.cuda.current_stream().wait_stream(side)
    layer.reset_running_stats()
    graph = torch.cuda.CUDAGraph()
    with torch.cuda.graph(graph):
        layer(x)
    for step in range(3):
        x.normal_(step, 1 + step)
        graph.replay()
        other(x)
    assert layer.num_batches_tracked.item() == other.num_batches_tracked.item() == 3
    torch.testing.assert_close(layer.running_mean, other.running_mean)
    torch.testing.assert_close(layer.running_var, other.running_var)


class Block(nn.Module):
    def __init__(self):
        super().__init__()
        self.conv, self.norm = nn.Conv2d(3, 16, 3, padding=1, bias=False), FusedBatchNormAct2d(16, act="relu")
        self.group, self.up = FusedGroupNormAct(4, 16, act="silu"), nn.Linear(16, 64)

    def forward(self, x):
        y = self.group(self.norm(self.conv(x)))
        rows = y.flatten(2).transpose(1, 2).contiguous()
        rows, total = add_layer_norm(rows, rows.flip(0), (16,))
        return geglu_packed(self.up(rows)).sum(-1) + total.sum(-1)


@pytest.mark.parametrize("dynamic", [False, True])
def test_compiled_as_one_graph(dynamic):
    torch.manual_seed(0)
    model = Block().cuda()
    compiled = torch.compile(model, fullgraph=True, dynamic=dynamic)
    for batch in (4, 6):
        x = torch.randn(batch, 3, 12, 12, device="cuda")
        found, expected = [], []
        with warnings.catch_warnings(), torch.backends.cudnn.flags(enabled=True, allow_tf32=False):
            # What Inductor says of the GPU and of precision is not ours.
            warnings.filterwarnings("ignore", module=r"torch\._inductor")
            for run, results in ((compiled, found), (model, expected)):
                y = run(x)
                results += [y.detach(), *torch.autograd.grad(y.square().sum(), list(model.parameters()))]
        scales = [float(other.abs().max()) for other in expected]
        for one, other, scale in zip(found, expected, scales, strict=True):
            torch.testing.assert_close(one, other, rtol=1e-3, atol=2e-4 * max(scale, 1.0))


@pytest.mark.parametrize("name", ["group_norm split", "batch_norm", "rms_norm 4096", "geglu packed"])
def test_no_more_memory_than_torch(name):
    fused, plain, shapes = CASES[name]
    arguments = drawn(shapes, torch.bfloat16)
    peaks = []
    for run in (fused, plain):
        outputs = run(*arguments)
        seeds = [torch.ones_like(output) for output in (outputs if isinstance(outputs, tuple) else (outputs,))]
        del outputs
        before = torch.cuda.memory_allocated()
        torch.cuda.reset_peak_memory_stats()
        gradients(run, arguments, seeds)
        peaks.append(torch.cuda.max_memory_allocated() - before)
    assert peaks[0] <= peaks[1]


@pytest.mark.skipif(torch.cuda.device_count() < 2, reason="one GPU: tensors on another than the current one were NOT tested")
@pytest.mark.parametrize("name", ["group_norm split", "batch_norm add", "layer_norm 1600", "swiglu"])
def test_tensors_on_another_gpu(name):
    fused, _, shapes = CASES[name]
    here = drawn(shapes, torch.bfloat16)
    there = tuple(tensor.detach().to("cuda:1").requires_grad_() for tensor in here)
    outputs = fused(*here)
    seeds = [torch.ones_like(output) for output in (outputs if isinstance(outputs, tuple) else (outputs,))]
    expected, found = gradients(fused, here, seeds), gradients(fused, there, [seed.to("cuda:1") for seed in seeds])
    assert [torch.equal(one.cpu(), other.cpu()) for one, other in zip(found, expected, strict=True)] == [True] * len(found)


@pytest.mark.xdist_group("memory")
def test_one_channel_of_more_entries_than_32_bits_count():
    shape = (2, 1, 2**15, 2**15 + 16)
    assert math.prod(shape) > 2**31
    try:
        x = torch.empty(shape, dtype=torch.bfloat16, device="cuda").normal_(3, 2)
        y = batch_norm_act(x, None, None, training=True, act="silu")
    except torch.cuda.OutOfMemoryError:
        pytest.skip("needs 9 GiB of GPU memory: long channels were NOT tested")
    for place in ((0, 0, 0), (1, 0, 2**15 - 1)):
        torch.testing.assert_close(y[place].float(), F.silu((x[place].float() - 3) / 2), rtol=2e-2, atol=2e-2)


@pytest.mark.xdist_group("memory")
def test_gates_of_more_entries_than_32_bits_count():
    try:
        values = torch.empty((2**15, 2**17), dtype=torch.bfloat16, device="cuda").normal_()
        y = geglu_packed(values)
    except torch.cuda.OutOfMemoryError:
        pytest.skip("needs 13 GiB of GPU memory: long tensors were NOT tested")
    assert values.numel() > 2**31
    first, second = values[-1].chunk(2)
    torch.testing.assert_close(y[-1], F.gelu(first) * second, rtol=2e-2, atol=2e-2)
