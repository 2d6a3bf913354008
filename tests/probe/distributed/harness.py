"""Imports torch once, and forks the ranks of every test from there; the place where they meet is served as torchrun does it.

Reads one JSON line per test: the code, the number of ranks, seconds; writes one with what every rank made of it.

This process never starts a thread: a lock that one held while another process is forked would stay locked there for ever. The store is
served by threads, which ask for names of hosts under a lock of the C library when a rank connects, while the next rank is being forked; so
it has a process to itself.
"""

import contextlib
import importlib
import json
import os
import random
import signal
import socket
import sys
import tempfile
import time
import traceback
from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path

import torch
from torch.distributed import TCPStore

torch.set_num_threads(1)
for name in ("torch._dynamo", "torch.distributed.fsdp.wrap", "torch.distributed.device_mesh", "torch.optim"):
    importlib.import_module(name)
for name in ("meeting", "live", "joining"):
    importlib.import_module(f"normadvisor.probe.distributed.{name}")
for name in ("run", "recorder", "keep"):
    with contextlib.suppress(Exception):
        importlib.import_module(f"normadvisor.probe.{name}")


def main() -> None:
    for line in sys.stdin:
        request = json.loads(line)
        with tempfile.TemporaryDirectory() as folder:
            answer = run(request, Path(folder))
        sys.stdout.write(json.dumps(answer) + "\n")
        sys.stdout.flush()


def run(request, folder):
    world = request["ranks"]
    environment = {"WORLD_SIZE": str(world), "LOCAL_WORLD_SIZE": str(world), "MASTER_ADDR": "127.0.0.1"}
    if not request["agent"]:
        return ranks(request, folder, environment | {"MASTER_PORT": str(free_port())})
    with served() as port:
        return ranks(request, folder, environment | {"MASTER_PORT": str(port), "TORCHELASTIC_USE_AGENT_STORE": "True"})


@contextlib.contextmanager
def served() -> Iterator[int]:
    """Serve a store in a process of its own; gives the port."""
    told, tell = os.pipe()
    harness = os.getpid()
    pid = fork()
    if pid == 0:
        try:
            store = TCPStore("127.0.0.1", 0, is_master=True, wait_for_workers=False, timeout=timedelta(seconds=30))
            os.write(tell, store.port.to_bytes(2, "big"))
            while os.getppid() == harness:  # an orphan has nobody left to end it
                time.sleep(1)
        finally:
            os._exit(1)
    try:
        os.close(tell)
        yield int.from_bytes(os.read(told, 2), "big")
    finally:
        os.close(told)
        os.kill(pid, signal.SIGKILL)
        os.waitpid(pid, 0)


def fork():
    """See above; where the system does not list threads nobody looks."""
    tasks = Path("/proc/self/task")
    threads = len(list(tasks.iterdir())) if tasks.exists() else 1
    if threads > 1:
        message = f"a process with {threads} threads is not to be forked"
        raise AssertionError(message)
    return os.fork()


def free_port():
    """A port for rank 0 to serve; not of those that the system gives to whoever connects somewhere meanwhile."""
    for port in random.Random(os.getpid() + time.monotonic_ns()).sample(range(10_000, 30_000), 100):
        with socket.socket() as tried, contextlib.suppress(OSError):
            tried.bind(("", port))
            return port
    message = "no port is free"
    raise OSError(message)


def ranks(request, folder, environment):
    """What came of every rank."""
    world = request["ranks"]
    (folder / "case.py").write_text(request["code"])
    begin = time.monotonic()
    running = {}
    for rank in range(world):
        pid = fork()
        if pid == 0:
            become(rank, environment, request["code"], folder)
        running[pid] = rank
    statuses: dict[int, int | str] = {}
    seconds: dict[int, float] = {}
    until = request["until"]
    while running and time.monotonic() - begin < request["seconds"] and (until is None or until not in statuses):
        ended = [(pid, status) for pid in running for found, status in [os.waitpid(pid, os.WNOHANG)] if found]
        for pid, status in ended:
            rank = running.pop(pid)
            statuses[rank], seconds[rank] = os.waitstatus_to_exitcode(status), time.monotonic() - begin
        if not ended:
            time.sleep(0.01)
    for pid, rank in running.items():
        os.kill(pid, signal.SIGKILL)
        os.waitpid(pid, 0)
        statuses[rank] = "late"
    return [
        {"status": statuses[rank], "seconds": seconds.get(rank), **json.loads(text(folder / f"{rank}.json") or "{}"), "printed": text(folder / f"{rank}.txt")}
        for rank in range(world)
    ]


def text(path):
    return path.read_text() if path.exists() else ""


def become(rank, environment, code, folder) -> None:
    status = 1
    try:
        log = os.open(folder / f"{rank}.txt", os.O_WRONLY | os.O_CREAT)
        os.dup2(log, 1), os.dup2(log, 2)
        os.environ.update(environment, RANK=str(rank), LOCAL_RANK=str(rank))
        torch.manual_seed(100 + rank)  # processes differ
        path = folder / "case.py"
        space = {"rank": rank, "world": int(environment["WORLD_SIZE"]), "__name__": "case"}
        answer = {}
        try:
            exec(compile(code, str(path), "exec"), space)
            answer["result"] = space.get("result")
            status = 0
        except Exception as error:  # noqa: BLE001 - the code of a test may raise anything
            traceback.print_exc()
            answer["error"] = [type(error).__name__, str(error)]
        (folder / f"{rank}.json").write_text(json.dumps(answer))
        sys.stdout.flush()
    finally:
        os._exit(status)


if __name__ == "__main__":
    main()
