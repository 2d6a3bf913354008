from __future__ import annotations

import os
import random
import signal
from collections import Counter, deque
from typing import Any

import numpy as np
import pytest
import torch
from torch import nn
from torch.nn.utils import parametrizations

from normadvisor.probe.keeping.keep import Kept, kept


class _Counting(nn.Module):
    """Changes whatever a forward pass may change."""

    def __init__(self) -> None:
        super().__init__()
        self.fc = nn.Linear(4, 4)
        self.norm = nn.BatchNorm1d(4)
        self.register_buffer("mean", torch.zeros(4))
        self.register_buffer("cache", torch.zeros(2), persistent=False)
        self.register_buffer("nothing", None)
        self.calls = 0
        self.seen: list[int] = []
        self.by_name: dict[str, Any] = {"inner": {"deep": [1, 2]}}
        self.recent: deque[int] = deque([1], maxlen=3)
        self.names = {"a"}
        self.loose = torch.ones(3)
        self.array = np.arange(3.0)
        self.generator = torch.Generator().manual_seed(1)

    def forward(self, values: torch.Tensor) -> torch.Tensor:
        self.calls += 1
        self.seen.append(self.calls)
        self.by_name["inner"]["deep"].append(3)
        self.by_name["new"] = 1
        self.recent.extend([2, 3, 4])
        self.names.add("b")
        self.loose.add_(1)
        self.array += 1
        torch.rand(1, generator=self.generator)
        found = self.norm(self.fc(values))
        self.mean = found.detach().mean(0)
        self.cache.add_(1)
        self.nothing = torch.ones(1)
        self.added = "attribute"
        return found + torch.rand(()) * random.random() * np.random.rand()  # noqa: NPY002 - the state of the old interface is what is kept


def _bytes(model: nn.Module) -> dict[str, bytes]:
    return {name: value.detach().reshape(-1).view(torch.uint8).numpy().tobytes() for name, value in model.state_dict().items()}


def _plain(model: _Counting) -> dict[str, Any]:
    return {
        "calls": model.calls,
        "seen": list(model.seen),
        "by_name": {"inner": {"deep": list(model.by_name["inner"]["deep"])}, "keys": list(model.by_name)},
        "recent": list(model.recent),
        "names": sorted(model.names),
        "loose": model.loose.tolist(),
        "array": model.array.tolist(),
        "generator": model.generator.get_state().tolist(),
        "cache": model.cache.tolist(),
        "nothing": model.nothing,
        "added": hasattr(model, "added"),
        "modes": [module.training for module in model.modules()],
        "buffers": list(model._buffers),
    }


def _process() -> dict[str, Any]:
    return {
        "random": random.getstate(),
        "numpy": np.random.get_state()[1].tolist(),  # noqa: NPY002 - as above
        "torch": torch.get_rng_state().tolist(),
        "grad": torch.is_grad_enabled(),
        "dtype": torch.get_default_dtype(),
        "device": torch.get_default_device(),
        "benchmark": torch.backends.cudnn.benchmark,
        "deterministic": (torch.are_deterministic_algorithms_enabled(), torch.is_deterministic_algorithms_warn_only_enabled()),
        "autocast": (torch.is_autocast_enabled("cpu"), torch.get_autocast_dtype("cpu")),
        "anomaly": torch.is_anomaly_enabled(),
        "matmul": torch.get_float32_matmul_precision(),
        "global hooks": list(torch.nn.modules.module._global_forward_hooks),
        "modes": torch.overrides._get_current_function_mode_stack(),
    }


def _disturb(model: nn.Module, optimizer: torch.optim.Optimizer) -> None:
    """All that a careless probe could do."""
    model(torch.randn(6, 4)).square().sum().backward()
    optimizer.step()
    optimizer.zero_grad()
    model(torch.randn(6, 4)).square().sum().backward()
    model.eval()
    model.fc.train()
    model.fc.weight.requires_grad_(False)
    model.norm.weight.data = torch.ones(4, dtype=torch.float64)
    model.fc.bias = nn.Parameter(torch.zeros(4))
    model.norm.register_forward_hook(lambda *_: None)
    model.fc._forward_hooks.clear()
    model.extra = nn.Linear(1, 1)
    optimizer.param_groups[0]["lr"] = 7.0
    optimizer.add_param_group({"params": [nn.Parameter(torch.zeros(1))]})
    torch.manual_seed(99)
    random.seed(99)
    np.random.seed(99)  # noqa: NPY002 - as above
    torch.set_grad_enabled(False)
    torch.set_default_dtype(torch.float64)
    torch.set_default_device("meta")
    torch.backends.cudnn.benchmark = not torch.backends.cudnn.benchmark
    torch.use_deterministic_algorithms(True, warn_only=True)
    torch.set_autocast_enabled("cpu", True)
    torch.set_autocast_dtype("cpu", torch.float16)
    torch.set_float32_matmul_precision("medium")
    torch.nn.modules.module.register_module_forward_hook(lambda *_: None)


def _trained(optimizer: str) -> tuple[_Counting, torch.optim.Optimizer]:
    torch.manual_seed(0)
    model = _Counting()
    model.fc.register_forward_hook(lambda *_: None)
    chosen = torch.optim.Adam(model.parameters()) if optimizer == "adam" else torch.optim.SGD(model.parameters(), 0.1, momentum=0.9)
    model(torch.randn(6, 4)).square().sum().backward()
    chosen.step()
    model.norm.bias.grad = None
    return model, chosen


@pytest.mark.parametrize("optimizer", ["adam", "sgd"])
@pytest.mark.parametrize("error", [None, ValueError(), KeyboardInterrupt(), SystemExit(2)], ids=lambda error: type(error).__name__)
def test_everything_is_put_back_bit_by_bit(optimizer: str, error: BaseException | None):
    model, chosen = _trained(optimizer)
    objects = {name: (value, value.grad, value.data_ptr(), value.stride()) for name, value in model.named_parameters()}
    buffers = {name: (id(value), value.data_ptr()) for name, value in model.named_buffers()}
    gradients = {name: None if value.grad is None else value.grad.clone() for name, value in model.named_parameters()}
    hooks = [list(module._forward_hooks.items()) for module in model.modules()]
    before = _bytes(model), _plain(model), _process()
    groups = [dict(group) for group in chosen.param_groups]
    state = {id(key): {name: value.clone() if isinstance(value, torch.Tensor) else value for name, value in each.items()} for key, each in chosen.state.items()}
    state_objects = {id(key): {name: id(value) for name, value in each.items()} for key, each in chosen.state.items()}
    try:
        with kept(model, chosen) as snapshot:
            _disturb(model, chosen)
            assert len(snapshot.verify()) > 20
            if error is not None:
                raise error  # noqa: TRY301 - the block is what is tested
    except BaseException as raised:  # noqa: BLE001 - as it was given
        assert raised is error
    assert snapshot.verify() == []
    assert (_bytes(model), _plain(model), _process()) == before
    found = dict(model.named_parameters())
    assert {name: (found[name] is value, found[name].grad is grad, found[name].data_ptr(), found[name].stride(), found[name].requires_grad) for name, (value, grad, _, _) in objects.items()} == {
        name: (True, True, address, stride, True) for name, (_, _, address, stride) in objects.items()
    }
    assert {name: (id(value), value.data_ptr()) for name, value in model.named_buffers()} == buffers
    assert all(found[name].grad is None if grad is None else torch.equal(found[name].grad, grad) for name, grad in gradients.items())
    assert [list(module._forward_hooks.items()) for module in model.modules()] == hooks
    assert [dict(group) for group in chosen.param_groups] == groups
    assert {id(key): {name: id(value) for name, value in each.items()} for key, each in chosen.state.items()} == state_objects
    for key, each in chosen.state.items():
        assert {name: value.tolist() if isinstance(value, torch.Tensor) else value for name, value in each.items()} == {
            name: value.tolist() if isinstance(value, torch.Tensor) else value for name, value in state[id(key)].items()
        }


def test_differences_are_named():
    model = nn.Sequential(nn.Linear(2, 2), nn.BatchNorm1d(2))
    state = Kept(model)
    with torch.no_grad():
        model[0].weight.add_(1)
    model[0].bias.requires_grad_(False)
    model[1].eval()
    model[1].note = 3
    model[1].running_mean = torch.zeros(2)
    model[0].weight.grad = torch.zeros(2, 2)
    torch.rand(1)
    assert state.verify() == [
        "1: other entries at training, note",
        "1: other entries at running_mean",
        "0.weight: holds other values",
        "0.weight: its gradient is another object",
        "0.bias: requires_grad differs",
        "1: is in another mode",
        "torch's random state: differs",
    ]
    state.restore()
    assert state.verify() == []


def test_a_gradient_that_is_none_has_no_copy():
    model = nn.Sequential(nn.Linear(100, 50, bias=False))
    assert Kept(model).size == 4 * 5000
    model(torch.ones(1, 100)).sum().backward()
    assert Kept(model).size == 2 * 4 * 5000


def test_memory_that_is_shared_is_copied_once_and_stays_shared():
    model = nn.Sequential(nn.Linear(10, 10, bias=False), nn.Linear(10, 10, bias=False), nn.Linear(10, 10, bias=False))
    model[1].weight = model[0].weight
    flat = torch.randn(100)
    model[2].weight.data = flat.view(10, 10).t()
    before = flat.clone()
    with kept(model) as state:
        assert state.size == 4 * 200
        with torch.no_grad():
            model[0].weight.zero_()
            flat.zero_()
        model.half()
    assert model[1].weight is model[0].weight
    assert (model[2].weight.untyped_storage().data_ptr(), model[2].weight.stride()) == (flat.untyped_storage().data_ptr(), (1, 10))
    assert torch.equal(flat, before)
    assert state.verify() == []


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.complex64, torch.float64, torch.int8])
def test_every_bit_of_every_dtype(dtype: torch.dtype):
    model = nn.Module()
    model.register_buffer("values", torch.randint(-128, 127, (64,), dtype=torch.int8).view(dtype))
    before = model.values.clone().view(torch.int8)
    with kept(model) as state:
        model.values.zero_()
    assert torch.equal(model.values.view(torch.int8), before)
    assert state.verify() == []


def test_lazy_modules_become_lazy_again():
    model = nn.Sequential(nn.LazyConv2d(4, 3), nn.LazyBatchNorm2d(), nn.Flatten(), nn.LazyLinear(2))
    written = str(model)
    for _ in range(2):
        with kept(model) as state:
            model(torch.randn(2, 3, 8, 8)).sum().backward()
            assert str(model) != written
        assert (str(model), state.verify()) == (written, [])
        assert all(nn.parameter.is_lazy(parameter) for parameter in model.parameters())
    assert model(torch.randn(2, 5, 9, 9)).shape == (2, 2)


def test_parametrized_tied_sparse_and_recurrent_models():
    class Net(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.words = nn.Embedding(9, 4, sparse=True)
            self.rnn = nn.LSTM(4, 4, batch_first=True)
            self.norm = parametrizations.spectral_norm(nn.Linear(4, 4))
            self.head = nn.Linear(4, 9, bias=False)

        def forward(self, words: torch.Tensor) -> torch.Tensor:
            return self.head(self.norm(self.rnn(self.words(words))[0]))

    model = Net()
    model(torch.tensor([[1, 2]])).sum().backward()
    optimizer = torch.optim.SGD(model.parameters(), 0.1)
    sparse = model.words.weight.grad
    values = sparse.coalesce().values().clone()
    before = _bytes(model)
    with kept(model, optimizer) as state:
        for _ in range(2):
            model(torch.tensor([[3, 4, 3]])).sum().backward()
            optimizer.step()
    assert (_bytes(model), state.verify()) == (before, [])
    assert model.words.weight.grad is sparse
    assert torch.equal(sparse.coalesce().values(), values)


def test_read_only_memory_is_not_written_to():
    array = np.frombuffer(np.ones(4, dtype=np.float32).tobytes(), dtype=np.float32)
    assert not array.flags.writeable
    model = nn.Module()
    with pytest.warns(UserWarning, match="not writable"):
        model.register_buffer("values", torch.from_numpy(array))
    with kept(model) as state:
        pass
    assert state.verify() == []


def test_an_interrupt_waits_until_everything_is_restored(monkeypatch: pytest.MonkeyPatch):
    model = nn.Linear(2, 2)
    before = _bytes(model)
    restore = Kept.restore

    def interrupted(self: Kept) -> None:
        os.kill(os.getpid(), signal.SIGINT)
        restore(self)

    monkeypatch.setattr(Kept, "restore", interrupted)
    handler = signal.getsignal(signal.SIGINT)
    with pytest.raises(KeyboardInterrupt), kept(model), torch.no_grad():
        model.weight.zero_()
    assert (_bytes(model), signal.getsignal(signal.SIGINT)) == (before, handler)


def test_what_can_be_put_back_is_even_if_something_cannot():
    model = nn.Sequential(nn.Linear(2, 2))
    before = _bytes(model)
    state = Kept(model)
    with torch.no_grad():
        model[0].weight.zero_()

    def fail() -> None:
        raise RuntimeError("stubborn")

    state._attributes.restore = fail  # type: ignore[method-assign]
    with pytest.raises(RuntimeError, match="stubborn"):
        state.restore()
    assert _bytes(model) == before


def test_counters_of_other_objects_are_not_remembered():
    model = nn.Linear(1, 1)
    model.counter = Counter()
    with kept(model) as state:
        model.counter["calls"] += 1
    assert (dict(model.counter), state.verify()) == ({"calls": 1}, [])


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device")
def test_cuda_models_and_random_states():
    model = nn.Sequential(nn.Linear(8, 8), nn.BatchNorm1d(8), nn.Dropout()).cuda()
    before = {name: value.clone() for name, value in model.state_dict().items()}
    random_state = torch.cuda.get_rng_state()
    with kept(model) as state:
        model(torch.randn(4, 8, device="cuda")).sum().backward()
        with torch.no_grad():
            model[0].weight.zero_()
    assert state.verify() == []
    assert all(torch.equal(value, before[name]) for name, value in model.state_dict().items())
    assert torch.equal(torch.cuda.get_rng_state(), random_state)
