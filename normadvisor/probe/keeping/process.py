"""What of the process a training step may change: random states, switches of torch, global hooks."""

from __future__ import annotations

import random
import sys
from collections.abc import Callable, Iterator
from typing import Any, NamedTuple

import torch

__all__ = ["Process"]


class _Setting(NamedTuple):
    """Something that can be asked for and set."""

    name: str
    get: Callable[[], Any]
    put: Callable[[Any], Any]


_SWITCHES = {
    "cudnn_enabled": "cudnn_enabled", "cudnn_benchmark": "cudnn_benchmark", "cudnn_deterministic": "cudnn_deterministic",
    "mkldnn_enabled": "mkldnn_enabled", "mkldnn_deterministic": "mkldnn_deterministic", "nnpack_enabled": "nnpack_enabled",
    "flash_sdp_enabled": "sdp_use_flash", "mem_efficient_sdp_enabled": "sdp_use_mem_efficient", "math_sdp_enabled": "sdp_use_math",
    "cudnn_sdp_enabled": "sdp_use_cudnn", "overrideable_sdp_enabled": "sdp_use_overrideable",
    "float32_matmul_precision": "float32_matmul_precision", "cublas_allow_tf32": "cublas_allow_tf32",
    "cudnn_allow_tf32": "cudnn_allow_tf32", "onednn_allow_tf32": "onednn_allow_tf32",
    "cublas_allow_fp16_reduced_precision_reduction": "cublas_allow_fp16_reduced_precision_reduction",
    "cublas_allow_bf16_reduced_precision_reduction": "cublas_allow_bf16_reduced_precision_reduction",
    "cublas_allow_fp16_accumulation": "cublas_allow_fp16_accumulation",
    "deterministic_fill_uninitialized_memory": "deterministic_fill_uninitialized_memory",
}  # fmt: skip
"""Switches of torch by the name of their getter in ``torch._C``, and of their setter."""

_PRECISIONS = [(backend, op) for backend in ("generic", "cuda", "mkldnn") for op in ("all", "matmul", "conv", "rnn")]
_GLOBAL_HOOKS = (
    "_global_forward_pre_hooks", "_global_forward_hooks", "_global_forward_hooks_always_called", "_global_forward_hooks_with_kwargs",
    "_global_backward_hooks", "_global_backward_pre_hooks", "_global_module_registration_hooks", "_global_parameter_registration_hooks",
    "_global_buffer_registration_hooks",
)  # fmt: skip


def _spread(function: Callable[..., Any]) -> Callable[[Any], Any]:
    """A setter that takes several flags where its getter returns several."""
    return lambda value: function(*value) if isinstance(value, tuple) else function(value)


def _switches() -> Iterator[_Setting]:
    for getter, setter in _SWITCHES.items():
        get, put = getattr(torch._C, f"_get_{getter}", None), getattr(torch._C, f"_set_{setter}", None)  # noqa: SLF001
        if get is not None and put is not None:
            yield _Setting(getter, get, _spread(put))
    get = getattr(torch._C, "_get_fp32_precision_getter", None)  # noqa: SLF001 - since 2.9
    put = getattr(torch._C, "_set_fp32_precision_setter", None)  # noqa: SLF001
    for backend, op in _PRECISIONS if get is not None and put is not None else []:
        yield _precision(backend, op, get, put)


def _precision(backend: str, op: str, get: Any, put: Any) -> _Setting:
    return _Setting(f"fp32_precision of {backend} {op}", lambda: get(backend, op), lambda value: put(backend, op, value))


def _modes() -> Iterator[_Setting]:
    def deterministic(value: tuple[bool, bool]) -> None:
        torch.use_deterministic_algorithms(value[0], warn_only=value[1])

    yield _Setting(
        "deterministic algorithms",
        lambda: (torch.are_deterministic_algorithms_enabled(), torch.is_deterministic_algorithms_warn_only_enabled()),
        deterministic,
    )
    yield _Setting("grad mode", torch.is_grad_enabled, torch._C._set_grad_enabled)  # noqa: SLF001 - the public one is a context manager too
    yield _Setting("default dtype", torch.get_default_dtype, torch.set_default_dtype)
    yield _Setting("default device", _default_device, torch.set_default_device)
    yield _Setting("threads", torch.get_num_threads, torch.set_num_threads)
    yield _Setting("anomaly mode", torch.is_anomaly_enabled, torch.set_anomaly_enabled)
    yield _Setting("autocast cache", torch.is_autocast_cache_enabled, torch.set_autocast_cache_enabled)
    for device in ("cpu", "cuda"):
        yield from _autocast(device)


def _autocast(device: str) -> Iterator[_Setting]:
    yield _Setting(
        f"autocast on {device}", lambda: torch.is_autocast_enabled(device), lambda value: torch.set_autocast_enabled(device, value)
    )
    yield _Setting(
        f"autocast dtype on {device}", lambda: torch.get_autocast_dtype(device), lambda value: torch.set_autocast_dtype(device, value)
    )


def _default_device() -> torch.device | None:
    """The device that was set as default; ``None`` where none was, which is not the same as setting the CPU."""
    context = getattr(torch._GLOBAL_DEVICE_CONTEXT, "device_context", None)  # noqa: SLF001
    return None if context is None else context.device


def _generators() -> Iterator[_Setting]:
    yield _Setting("random", random.getstate, random.setstate)
    numpy: Any = sys.modules.get("numpy")
    if numpy is not None:
        yield _Setting("numpy.random", numpy.random.get_state, numpy.random.set_state)
    yield _Setting("torch's random state", torch.get_rng_state, torch.set_rng_state)
    if torch.cuda.is_available() and torch.cuda.is_initialized():  # type: ignore[no-untyped-call]
        yield _Setting("CUDA's random states", torch.cuda.get_rng_state_all, torch.cuda.set_rng_state_all)
    if torch.backends.mps.is_available():
        yield _Setting("MPS's random state", torch.mps.get_rng_state, torch.mps.set_rng_state)


def _same(one: Any, other: Any) -> bool:
    if isinstance(one, torch.Tensor) and isinstance(other, torch.Tensor):
        return torch.equal(one, other)
    if isinstance(one, (tuple, list)) and isinstance(other, (tuple, list)):
        return len(one) == len(other) and all(_same(first, second) for first, second in zip(one, other, strict=True))
    if type(one).__module__ == "numpy" and hasattr(one, "tobytes") and hasattr(other, "tobytes"):
        return bool(one.tobytes() == other.tobytes())
    return bool(one == other)


class Process:
    """A snapshot of the process: random states of Python, numpy and torch on every device in use, switches, modes, global hooks."""

    def __init__(self) -> None:
        self._known: list[tuple[_Setting, Any]] = []
        for setting in (*_switches(), *_modes(), *_generators()):
            try:
                self._known.append((setting, setting.get()))
            except RuntimeError:  # switches of which this build knows nothing, or that contradict one another
                continue
        module = torch.nn.modules.module
        self._hooks = {name: dict(getattr(module, name)) for name in _GLOBAL_HOOKS if isinstance(getattr(module, name, None), dict)}

    def restore(self) -> None:
        """Put everything back."""
        for setting, value in self._known:
            if not _same(setting.get(), value):
                setting.put(value)
        for name, hooks in self._hooks.items():
            now = getattr(torch.nn.modules.module, name)
            if list(now.items()) != list(hooks.items()):
                now.clear()
                now.update(hooks)

    def differences(self) -> list[str]:
        """What is not as it was, one sentence each."""
        found = [f"{setting.name}: differs" for setting, value in self._known if not _same(setting.get(), value)]
        now = {name: getattr(torch.nn.modules.module, name) for name in self._hooks}
        return found + [f"{name}: differs" for name, hooks in self._hooks.items() if list(now[name].items()) != list(hooks.items())]
