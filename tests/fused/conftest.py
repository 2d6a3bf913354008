"""How kernels are tested.

Files ``kernels_*.py`` test what kernels compute. They are not collected by themselves: ``test_kernels.py`` runs those of each folder in a
process of its own, in Triton's interpreter (which has to be chosen before Triton is imported) and, where there is a GPU, once more on that.
By hand: ``TRITON_INTERPRET=1 pytest tests/fused/group_norm/kernels_forward.py``.
Files ``test_*.py`` test everything else in the usual process: fallbacks, layers, ahead-of-time compilation.
"""

from __future__ import annotations

import inspect
import os
import re
import shutil
import subprocess
import warnings
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest
import torch

INTERPRETED = os.environ.get("TRITON_INTERPRET") == "1"


def pytest_configure(config: pytest.Config) -> None:
    if any("kernels_" in str(argument) for argument in config.args) and not INTERPRETED and not torch.cuda.is_available():
        raise pytest.UsageError("no GPU: run files kernels_*.py with TRITON_INTERPRET=1")


def pytest_sessionstart() -> None:
    if INTERPRETED:
        _prepare_the_interpreter_once()


def _prepare_the_interpreter_once() -> None:
    """Triton's interpreter puts its own operations in place again for every call of a function inside a kernel: most of its time."""
    from triton import language
    from triton.runtime import interpreter

    prepare = interpreter._patch_lang
    prepared: set[tuple[bool, bool]] = set()

    def prepare_once(function: Any) -> Any:
        values = [value for value in function.__globals__.values() if inspect.ismodule(value)]
        modules = (language in values, language.core in values)
        if modules in prepared:
            return None  # This is the call of a function, which takes nothing back.
        scope = prepare(function)
        if not prepared:  # This is the launch of a kernel.
            take_back = scope.restore
            scope.restore = lambda: (prepared.clear(), take_back())
        prepared.add(modules)
        return scope

    if hasattr(interpreter, "_LangPatchScope"):  # Older versions take it back in another way.
        interpreter._patch_lang = prepare_once


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    for item in items:
        if INTERPRETED and "kernels_" in item.path.name:
            # The interpreter computes with numpy, which warns of what a GPU does silently: infinities, and 0 / 0 in masked lanes. That of
            # old versions of Triton uses functions that numpy will remove.
            item.add_marker(pytest.mark.filterwarnings("ignore::RuntimeWarning", "ignore::DeprecationWarning"))


@pytest.fixture(scope="session")
def device() -> torch.device:
    """Where kernels run in this process."""
    return torch.device("cpu" if INTERPRETED else "cuda")


@dataclass
class Canary:
    """Guard bands around buffers: a store outside of a tensor is found."""

    band: int = 64
    guarded: list[tuple[torch.Tensor, torch.Tensor]] = field(default_factory=list)

    def guard(self, tensor: torch.Tensor) -> torch.Tensor:
        """The same values, strides and need of gradients, in the middle of a larger buffer."""
        place = self.allocate(tensor.detach(), tensor.dtype)
        place.copy_(tensor.detach())
        return place.requires_grad_(tensor.requires_grad)

    def allocate(self, like: torch.Tensor, dtype: torch.dtype) -> torch.Tensor:
        """A buffer of the shape and strides of ``like``, all NaN: what is not written shows."""
        pattern = torch.empty_like(like, dtype=dtype)
        buffer = torch.full((pattern.numel() + 2 * self.band,), self._poison(dtype), dtype=dtype, device=like.device)
        self.guarded.append((buffer, buffer.clone()))
        return buffer.as_strided(pattern.shape, pattern.stride(), self.band)

    @staticmethod
    def _poison(dtype: torch.dtype) -> float:
        return float("nan") if dtype.is_floating_point else 77

    def check(self) -> None:
        """Every band is as it was."""
        for buffer, before in self.guarded:
            for found, expected in ((buffer[: self.band], before[: self.band]), (buffer[-self.band :], before[-self.band :])):
                assert torch.equal(found.view(torch.uint8), expected.view(torch.uint8)), "stored outside of a buffer"


@pytest.fixture
def canary(monkeypatch: pytest.MonkeyPatch) -> Iterator[Canary]:
    """Puts guard bands around everything that fused operations allocate; checked when the test ends."""
    from normadvisor.fused.common import buffers

    bird = Canary()
    monkeypatch.setattr(buffers, "empty", lambda shape, dtype, device: bird.allocate(torch.empty(tuple(shape), device=device), dtype))
    monkeypatch.setattr(buffers, "empty_like", lambda like, dtype=None: bird.allocate(like, dtype or like.dtype))
    yield bird
    bird.check()


@dataclass(frozen=True)
class Compiled:
    """What the assembler of CUDA says of a kernel."""

    registers: int
    spills: int
    """Bytes stored to and loaded from local memory."""
    shared: int
    load: int
    """Bytes of the widest load from global memory that a thread does."""


@pytest.fixture(scope="session")
def assembled() -> dict[tuple[Any, ...], Compiled]:
    """What was compiled in this session: many tests launch the same kernels that add up partial sums."""
    return {}


@pytest.fixture
def compile_ahead(assembled: dict[tuple[Any, ...], Compiled], tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[..., Compiled]:
    """Compile a kernel for a GPU that need not be there.

    Arguments: the ``@triton.jit`` function; types of its run-time arguments by name (``{"x_ptr": "*bf16", "n": "i32"}``); values of its constexpr
    arguments; compute capability (80, 90, 100); warps; stages; names of the arguments that are multiples of 16.
    """
    if INTERPRETED:
        pytest.skip("nothing is compiled in the interpreter")
    triton = pytest.importorskip("triton")
    from triton.backends.compiler import GPUTarget
    from triton.backends.nvidia.compiler import CUDABackend
    from triton.compiler import ASTSource

    monkeypatch.setenv("TRITON_CACHE_DIR", str(tmp_path / "cache"))
    # The assembler runs once, below, where it says what it used.
    monkeypatch.setattr(CUDABackend, "make_cubin", lambda *_, **__: b"")

    def run(
        kernel: Any,
        signature: Mapping[str, str],
        constants: Mapping[str, Any],
        *,
        capability: int = 90,
        num_warps: int = 4,
        num_stages: int = 1,
        aligned: tuple[str, ...] = (),
    ) -> Compiled:
        key = (kernel, *map(_items, (signature, constants)), capability, num_warps, num_stages, aligned)
        if key in assembled:
            return assembled[key]
        names = list(kernel.arg_names)
        types = {name: "constexpr" if name in constants else signature[name] for name in names}
        constexprs = {(names.index(name),): value for name, value in constants.items()}
        if "constexprs" in inspect.signature(ASTSource).parameters:
            attributes = {(names.index(name),): [["tt.divisibility", 16]] for name in aligned}
            source = ASTSource(fn=kernel, signature=types, constexprs=constexprs, attrs=attributes)
        else:
            source = _source_of_triton_3_2(kernel, types, constants, aligned)
            if capability >= 100:
                pytest.skip("this version of Triton is older than the GPU")
        options = {"num_warps": num_warps, "num_stages": num_stages, "enable_fp_fusion": True}
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", DeprecationWarning)  # Older versions of Triton do not know the newest Python.
            built = triton.compile(source, target=GPUTarget("cuda", capability, 32), options=options)
        assembled[key] = _assemble(built.asm["ptx"], built.metadata.shared, tmp_path)
        return assembled[key]

    return run


def _items(values: Mapping[str, Any]) -> tuple[tuple[str, str], ...]:
    """As a key: numbers that are equal and of different types stay apart."""
    return tuple(sorted((name, repr(value)) for name, value in values.items()))


def _source_of_triton_3_2(kernel: Any, types: dict[str, str], constants: Mapping[str, Any], aligned: tuple[str, ...]) -> Any:
    from triton.backends.compiler import AttrsDescriptor
    from triton.compiler import ASTSource

    known = {"tt.divisibility": [kernel.arg_names.index(name) for name in aligned], "tt.equal_to": []}
    attributes = AttrsDescriptor.from_dict({"arg_properties": known, "cls": "AttrsDescriptor"})
    return ASTSource(fn=kernel, signature=types, constants=dict(constants), attrs=attributes)


@dataclass(frozen=True)
class Launched:
    """One launch of a kernel, and what it was compiled to."""

    kernel: str
    constants: Mapping[str, Any]
    arguments: Mapping[str, Any]
    num_warps: int
    programs: int
    compiled: Compiled


@pytest.fixture
def compile_launches(compile_ahead: Callable[..., Compiled], monkeypatch: pytest.MonkeyPatch) -> Callable[..., list[Launched]]:
    """Run a function on tensors of the meta device, as large as one likes, and compile every kernel that it launches as it is launched.

    Arguments: the function; compute capability. Launch parameters are chosen as for a GPU of 132 multiprocessors, such as an H100.
    """
    from triton.runtime.jit import JITFunction

    from normadvisor.fused.common import triton_support

    monkeypatch.setattr(triton_support, "_INTERPRETED_MULTIPROCESSORS", 132)
    calls: list[tuple[Any, dict[str, Any], dict[str, Any], tuple[int, ...]]] = []

    def record(self: Any, *args: Any, grid: tuple[int, ...], warmup: bool, **kwargs: Any) -> None:
        names = dict(zip(self.arg_names, args, strict=False))
        names.update({name: value for name, value in kwargs.items() if name in self.arg_names})
        calls.append((self, names, {name: value for name, value in kwargs.items() if name not in self.arg_names}, grid))

    monkeypatch.setattr(JITFunction, "run", record)

    def run(function: Callable[[], Any], capability: int = 90) -> list[Launched]:
        calls.clear()
        function()
        return [_launched(compile_ahead, *call, capability) for call in calls]

    return run


def _launched(
    compile_ahead: Callable[..., Compiled], kernel: Any, values: dict[str, Any], options: dict[str, Any], grid: tuple[int, ...], capability: int
) -> Launched:
    signature, constants, aligned = {}, {}, []
    for parameter in kernel.params:
        value = values[parameter.name]
        # As Triton itself: no tensor and the number one are constants, multiples of 16 are known as such.
        special = not parameter.do_not_specialize and type(value) is int
        if parameter.is_constexpr or value is None or (special and value == 1):
            constants[parameter.name] = value
        elif isinstance(value, torch.Tensor):
            signature[parameter.name] = f"*{_TYPES[value.dtype]}"
            aligned.append(parameter.name)
        elif isinstance(value, int):
            signature[parameter.name] = "i32" if -(2**31) <= value < 2**31 else "i64"
            aligned += [parameter.name] if special and value % 16 == 0 else []
        else:
            signature[parameter.name] = "fp32"
    warps, stages = options.get("num_warps", 4), options.get("num_stages", 3)
    built = compile_ahead(kernel, signature, constants, capability=capability, num_warps=warps, num_stages=stages, aligned=tuple(aligned))
    constexpr = {parameter.name: values[parameter.name] for parameter in kernel.params if parameter.is_constexpr}
    arguments = {name: value for name, value in values.items() if name not in constexpr}
    return Launched(kernel.__name__, constexpr, arguments, warps, int(torch.tensor(grid).prod()), built)


_TYPES = {torch.float32: "fp32", torch.float16: "fp16", torch.bfloat16: "bf16", torch.float64: "fp64", torch.int64: "i64", torch.int32: "i32"}


def _assemble(ptx: str, shared: int, folder: Path) -> Compiled:
    target = re.search(r"\.target (sm_\w+)", ptx)
    assert target
    (folder / "kernel.ptx").write_text(ptx)
    said = subprocess.run(
        [_assembler(), "-v", f"--gpu-name={target[1]}", str(folder / "kernel.ptx"), "-o", str(folder / "kernel.cubin")],
        capture_output=True,
        text=True,
        check=True,
    ).stderr
    spills = re.search(r"(\d+) bytes spill stores, (\d+) bytes spill loads", said)
    registers = re.search(r"Used (\d+) registers", said)
    assert spills, said
    assert registers, said
    loads = [int(count or 1) * int(bits) // 8 for count, bits in re.findall(r"ld\.global\S*?(?:\.v(\d))?\.b(\d+)", ptx)]
    return Compiled(int(registers[1]), int(spills[1]) + int(spills[2]), shared, max(loads, default=0))


def _assembler() -> str:
    """The newer of the two that Triton brings: it knows the version of PTX that Triton writes, for old GPUs too."""
    import triton

    folder = Path(triton.__file__).parent / "backends" / "nvidia" / "bin"
    found = [folder / name for name in ("ptxas-blackwell", "ptxas") if (folder / name).exists()]
    return str(found[0] if found else shutil.which("ptxas"))
