import pytest
import torch
from torch.utils._python_dispatch import TorchDispatchMode

from normadvisor.optimization.measuring.busy import Mark, Watch


class _Operations(TorchDispatchMode):
    def __init__(self):
        super().__init__()
        self.count = 0

    def __torch_dispatch__(self, func, types, args=(), kwargs=None):
        self.count += func not in {torch.ops.aten.detach.default, torch.ops.aten.view.default}
        return func(*args, **(kwargs or {}))


class OperationClock:
    """A millisecond for each operation: what runs fewer is faster, always by as much."""

    def seconds(self, run, repeats):
        with _Operations() as operations:
            run()
        return max(1, operations.count) / 1000


def idle(threads=1):
    """A machine on which nothing else runs."""
    return Watch(threads, cores=4, mark=lambda: Mark(0.0, 0.0, 0.0))


@pytest.fixture
def operation_clock(monkeypatch, tmp_path):
    """Time is the number of operations, the machine is idle, and the cache is empty."""
    monkeypatch.setattr("normadvisor.optimization.measuring.measurer.clock_for", lambda device, alone=False: OperationClock())
    monkeypatch.setattr("normadvisor.optimization.measuring.measurer.Watch", idle)
    monkeypatch.setattr("normadvisor.optimization.measuring.measurer._cpu_name", lambda: "Test CPU")
    monkeypatch.setattr("normadvisor.optimization.measuring.paired._WINDOW", 0.0)
    monkeypatch.setenv("NORMADVISOR_CACHE_DIR", str(tmp_path / "cache"))
