"""The command line, run in this process with workers that stay, or as a program of its own."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

import normadvisor.api.pool
from normadvisor.api.pool import WorkerPool
from normadvisor.cli.run import run


@dataclass(frozen=True)
class Result:
    """What came of a command line."""

    code: int
    out: str
    err: str


@pytest.fixture(scope="session")
def pool() -> Iterator[WorkerPool]:
    with WorkerPool() as shared:
        yield shared


@pytest.fixture
def shared_workers(pool: WorkerPool, monkeypatch: pytest.MonkeyPatch) -> None:
    """Let every check of this process use the same workers: importing torch for each would take seconds."""

    class Shared:
        def __init__(self, *, jobs: int | None = None, fork: bool | None = None) -> None:
            del jobs, fork

        def __enter__(self) -> WorkerPool:
            return pool

        def __exit__(self, *_error: object) -> None:
            pass

    monkeypatch.setattr(normadvisor.api.pool, "WorkerPool", Shared)


@pytest.fixture
def cli(shared_workers: None, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Callable[..., Result]:
    """Run a command line in an empty folder."""
    monkeypatch.chdir(tmp_path)

    def call(*arguments: str | Path) -> Result:
        capsys.readouterr()
        code = run([str(argument) for argument in arguments])
        out, err = capsys.readouterr()
        return Result(code, out, err)

    return call


@pytest.fixture
def program(tmp_path: Path) -> Callable[..., Result]:
    """Run the program itself in an empty folder."""

    def call(*arguments: str | Path) -> Result:
        done = subprocess.run(
            [sys.executable, "-m", "normadvisor", *map(str, arguments)], cwd=tmp_path, capture_output=True, check=False
        )  # fmt: skip
        return Result(done.returncode, done.stdout.decode(), done.stderr.decode())

    return call


@pytest.fixture
def started(tmp_path: Path) -> Iterator[Callable[..., subprocess.Popen[bytes]]]:
    """Start the program in an empty folder; what still runs when the test is over is killed."""
    processes: list[subprocess.Popen[bytes]] = []

    def start(*arguments: str | Path, **options: object) -> subprocess.Popen[bytes]:
        command = [sys.executable, "-m", "normadvisor", *map(str, arguments)]
        processes.append(subprocess.Popen(command, cwd=tmp_path, stdout=subprocess.PIPE, stderr=subprocess.PIPE, **options))
        return processes[-1]

    yield start
    for process in processes:
        if process.poll() is None:
            process.kill()
        process.wait()
        for stream in (process.stdout, process.stderr):
            stream.close()
