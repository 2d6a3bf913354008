"""Targets that misbehave: file name, source, and what the one message about it must say."""

from __future__ import annotations

from dataclasses import dataclass
from textwrap import dedent

HEAD = "import ctypes, os, signal, subprocess, sys, threading, time\nimport torch\nfrom torch import nn\n\n"
NET = """

class Net(nn.Module):
    def __init__(self):
        super().__init__()
        self.conv = nn.Conv2d(3, 8, 3)
        self.bn = nn.BatchNorm2d(8)
{init}
    def forward(self, x):
{forward}
        return self.bn(self.conv(x))
"""


def net(*, top: str = "", init: str = "", forward: str = "") -> str:
    """A file with one good model, and code put where it hurts."""
    indented = {name: "".join(f"        {line}\n" for line in dedent(code).splitlines()) for name, code in (("init", init), ("forward", forward))}
    return HEAD + dedent(top) + NET.format(**indented)


@dataclass(frozen=True)
class Case:
    """One misbehaving file."""

    code: str
    message: str
    """With ``{name}`` for the target."""
    hint: str | None = None
    whole_file: bool = True
    """Whether the problem is that of the file rather than of the model."""
    line: int | None = None


SCRIPT = "move what runs as a script under if __name__ == '__main__':"
DEBUG = "--debug shows where"
SEGFAULT = "ctypes.string_at(0)"

CASES = {
    "segfault_import": Case(net(top=SEGFAULT), "importing {name} crashed with a segmentation fault (SIGSEGV)", DEBUG, line=5),
    "segfault_init": Case(net(init=SEGFAULT), "building {name} crashed with a segmentation fault (SIGSEGV)", DEBUG, False, 12),
    "segfault_forward": Case(net(forward=SEGFAULT), "tracing {name} crashed with a segmentation fault (SIGSEGV)", DEBUG, False, 14),
    "abort": Case(net(top="os.abort()"), "importing {name} aborted the process (SIGABRT)", DEBUG, line=5),
    "killed": Case(
        net(init="os.kill(os.getpid(), signal.SIGKILL)"),
        "building {name} was killed from outside, perhaps because the machine ran out of memory (SIGKILL)", DEBUG, False,
    ),
    "group_killed": Case(
        net(init="os.kill(0, signal.SIGKILL)"),
        "building {name} was killed from outside, perhaps because the machine ran out of memory (SIGKILL)", DEBUG, False,
    ),
    "hangs_import": Case(net(top="while True: pass"), "importing {name} took longer than 4 s", f"{SCRIPT}, or raise the limit with --timeout", line=5),
    "hangs_init": Case(net(init="time.sleep(1000)"), "building {name} took longer than 4 s", "raise the limit with --timeout", False, 12),
    "hangs_forward": Case(net(forward="while True: pass"), "tracing {name} took longer than 4 s", "raise the limit with --timeout", False, 14),
    "hangs_deaf": Case(
        net(top="for number in range(1, 32):\n    if number not in (9, 19): signal.signal(number, signal.SIG_IGN)\nwhile True: time.sleep(1)"),
        "importing {name} took longer than 4 s", f"{SCRIPT}, or raise the limit with --timeout", line=7,
    ),
    "exits": Case(net(top="sys.exit('no')"), "importing {name} called sys.exit('no')", SCRIPT, line=5),
    "exits_in_forward": Case(net(forward="sys.exit(3)"), "forward of {name} called sys.exit(3)", None, False),
    "leaves": Case(net(top="os._exit(0)"), "importing {name} ended the process with exit code 0", SCRIPT),
    "leaves_in_init": Case(net(init="os._exit(7)"), "building {name} ended the process with exit code 7", None, False),
    "floods": Case(
        net(top="while True: print('x' * 9999)"), "importing {name} printed more than 64 MiB", "is there a loop without end that prints?"
    ),
    "hoards": Case(
        net(top="hoard = []\nwhile True: hoard.append(bytearray(50_000_000))"),
        "importing {name} needs more memory than allowed", "raise the limit with --memory", line=6,
    ),
    "hoards_in_children": Case(
        net(top="""
            for _ in range(3):
                if os.fork() == 0:
                    block = b'x' * 700_000_000
                    time.sleep(1000)
            time.sleep(1000)
        """),
        "importing {name} takes more than 1024 MiB of memory", "raise the limit with --memory, or name a smaller configuration",
    ),
    "missing": Case(net(top="import torhcvision_missing"), "importing {name} needs 'torhcvision_missing', which is not installed",
                    "pip install torhcvision_missing, or run where that module can be imported", line=5),
    "raises": Case(net(top="raise LookupError('no such thing')"), "importing {name} raised LookupError: no such thing", line=5),
    "raises_base": Case(
        net(top="class Odd(BaseException): pass\nraise Odd('quite')"), "importing {name} raised Odd: quite", line=6
    ),
    "raises_in_init": Case(net(init="raise LookupError('no such thing')"), "building {name} raised LookupError: no such thing", None, False, 12),
    "closes_everything": Case(net(top="os.closerange(0, 65536)\nos._exit(0)"), "importing {name} ended the process with exit code 0", SCRIPT),
    "interrupts": Case(net(init="raise KeyboardInterrupt"), "{name} raised KeyboardInterrupt", None, False),
}  # fmt: skip

HARMLESS = {
    "good": net(),
    "prints": net(top="for i in range(1000): print(i)", forward="sys.stderr.write('hello')"),
    "reads_stdin": net(top="assert sys.stdin.read() == ''"),
    "changes_folder": net(top="os.chdir('/')"),
    "patches_torch": net(top="torch.nn.Linear = None\ntorch.relu = None"),
    "patches_os": net(top="os.write = None\nos._exit = None\nsys.stdout = None\nsys.stderr = None"),
    "patches_json": net(top="import json\njson.dumps = None"),
    "deletes_itself": net(top="os.unlink(__file__)"),
    "leaves_threads": net(top="threading.Thread(target=time.sleep, args=(1000,)).start()"),
    "leaves_exit_handlers": net(top="import atexit\natexit.register(time.sleep, 1000)"),
    "leaves_children": net(top="subprocess.Popen([sys.executable, '-c', 'import time; time.sleep(1000)'])"),
    "leaves_daemons": net(top="if os.fork() == 0:\n    os.setsid()\n    if os.fork() == 0: time.sleep(1000)\n    os._exit(0)"),
}
