"""Imports torch once, and forks the ranks of every test from there; it serves the place where they meet, as torchrun does.

Reads one JSON line per test: the code, the number of ranks, seconds; writes one with what every rank made of it.
"""

import contextlib
import importlib
import json
import os
import signal
import sys
import tempfile
import time
import traceback
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
    agent = request.get("agent", True)
    store = TCPStore("127.0.0.1", 0, is_master=True, wait_for_workers=False, timeout=timedelta(seconds=30))
    port = store.port
    if not agent:
        del store
    environment = {"WORLD_SIZE": str(world), "LOCAL_WORLD_SIZE": str(world), "MASTER_ADDR": "127.0.0.1", "MASTER_PORT": str(port)}
    if agent:
        environment["TORCHELASTIC_USE_AGENT_STORE"] = "True"
    begin = time.monotonic()
    running = {}
    for rank in range(world):
        pid = os.fork()
        if pid == 0:
            become(rank, environment, request["code"], folder)
        running[pid] = rank
    statuses: dict[int, int | str] = {}
    seconds: dict[int, float] = {}
    until = request["until"]
    while running and time.monotonic() - begin < request["seconds"] and (until is None or until not in statuses):
        pid, status = os.waitpid(-1, os.WNOHANG)
        if pid:
            rank = running.pop(pid)
            statuses[rank], seconds[rank] = os.waitstatus_to_exitcode(status), time.monotonic() - begin
        else:
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
        path.write_text(code)
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
