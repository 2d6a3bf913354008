"""Whatever a target does becomes one message for it; the others are checked as if nothing had happened."""

from __future__ import annotations

import os
import signal
import sys
import threading
import time
from pathlib import Path

import psutil
import pytest
from hostile import CASES, HARMLESS, HEAD, NET, net

from normadvisor.api import launch
from normadvisor.api.job import Limits
from normadvisor.api.plan import Planner
from normadvisor.api.pool import WorkerPool
from normadvisor.config import Settings
from normadvisor.rulebook import load_rules
from normadvisor.types import RunContext

HANGING = Limits(timeout=4, memory=1024)
"""For what hangs; it comes to that point in a twentieth of the time."""
PATIENT = Limits(timeout=1000, memory=1024)


def test_every_misbehaviour_is_one_message_and_the_others_go_on(files):
    files.write({f"{name}.py": case.code for name, case in CASES.items()} | {"aa_good.py": net(), "zz_good.py": net()})
    names = ["aa_good.py", *(f"{name}.py" for name in CASES), "zz_good.py"]
    found = files.check(*(name for name in names if not name.startswith("hangs")), limits=PATIENT)
    found |= files.check(*(name for name in names if name.startswith("hangs")), limits=HANGING)
    assert sorted(found) == sorted([*(f"{name}.py" for name in CASES), "aa_good.py", "zz_good.py"])
    for good in ("aa_good.py", "zz_good.py"):
        assert [finding.rule for outcome in found[good] for finding in outcome.findings] == ["NA102"]
    wrong = {}
    for name, case in CASES.items():
        target = f"{name}.py" if case.whole_file else f"{name}.py:Net"
        expected = (target, case.message.format(name=target), case.hint, case.line)
        actual = [
            (problem.target, problem.message, problem.hint, problem.location and problem.location.line)
            for outcome in found[f"{name}.py"]
            for problem in outcome.problems
        ]
        if actual != [expected]:
            wrong[name] = actual, expected
    assert wrong == {}


def test_what_does_no_harm_is_checked(files):
    files.write({f"{name}.py": code for name, code in HARMLESS.items()})
    found = files.check(limits=Limits(timeout=20))
    assert {label: [problem.message for outcome in outcomes for problem in outcome.problems] for label, outcomes in found.items()} == {
        f"{name}.py": [] for name in HARMLESS
    }
    assert {label: sum(len(outcome.findings) for outcome in outcomes) for label, outcomes in found.items()} == {
        f"{name}.py": 1 for name in HARMLESS
    }


def test_nothing_a_target_started_is_left(files, fresh_pool):
    mark = f"normadvisor-orphan-{os.getpid()}"
    sleeper = f"subprocess.Popen([sys.executable, '-c', 'import time; time.sleep(1000)', '{mark}'])"
    detached = sleeper.replace("])", "], start_new_session=True)")
    files.write({
        "crash.py": net(top=f"{sleeper}\nos.abort()"),
        "daemon.py": net(top=detached),
        "forks.py": net(top="for _ in range(20):\n    if os.fork() == 0: time.sleep(1000)"),
        "hang.py": net(top=f"{sleeper}\ntime.sleep(1000)"),
    })  # fmt: skip
    pool = fresh_pool(jobs=2)
    zygote = pool._launcher.process.pid
    pool.limits = HANGING
    pool.run(files.plan().jobs, [])
    deadline = time.monotonic() + 100
    while time.monotonic() < deadline:
        # Dead processes that nobody has asked about yet are no orphans.
        children = [child for child in psutil.Process(zygote).children(recursive=True) if child.status() != psutil.STATUS_ZOMBIE]
        if not children:
            break
        time.sleep(0.05)
    assert children == []
    pool.close()
    assert [process.pid for process in psutil.process_iter(["cmdline"]) if mark in (process.info["cmdline"] or [])] == []
    assert not psutil.pid_exists(zygote)


def test_a_crash_in_one_model_does_not_lose_the_others_of_its_file(files):
    good = NET.format(init="", forward="")
    bad = NET.format(init="        os.abort()\n", forward="")
    code = HEAD + "".join(
        text.replace("class Net", f"class {name}") for name, text in (("A", good), ("B", bad), ("C", good), ("D", bad), ("E", good))
    )
    files.write({"many.py": code})
    outcomes = files.check("many.py")["many.py"]
    assert [(outcome.summary.target, len(outcome.findings), [problem.target for problem in outcome.problems]) for outcome in outcomes] == [
        ("many.py:A", 1, []),
        ("many.py:B", 0, ["many.py:B"]),
        ("many.py:C", 1, []),
        ("many.py:D", 0, ["many.py:D"]),
        ("many.py:E", 1, []),
    ]


def test_a_file_that_cannot_be_imported_is_one_problem_however_many_models_it_has(files):
    files.write({"two.py": net(top="raise ValueError('x')") + NET.format(init="", forward="").replace("Net", "Other")})
    outcomes = files.check("two.py")["two.py"]
    assert [(outcome.summary.target, [problem.message for problem in outcome.problems]) for outcome in outcomes] == [
        ("two.py", ["importing two.py raised ValueError: x"])
    ]


def test_a_target_that_kills_the_worker_is_blamed_and_the_others_are_checked(files, fresh_pool):
    files.write({"a.py": net(), "kills.py": net(top="os.kill(os.getppid(), signal.SIGKILL)\ntime.sleep(1000)"), "z.py": net()})
    pool = fresh_pool(jobs=3)
    found = pool.run(files.plan().jobs, [rule for rule in load_rules() if rule.id == "NA102"])
    assert [(outcome.summary.target, outcome.summary.error, len(outcome.findings)) for outcomes in found for outcome in outcomes] == [
        ("a.py:Net", None, 1),
        ("kills.py", "importing kills.py took the worker process down with it", 0),
        ("z.py:Net", None, 1),
    ]


def test_order_is_that_of_the_targets_whichever_finishes_first(files, fresh_pool):
    files.write({"a.py": net(top="time.sleep(1.5)"), "b.py": net(), "c.py": net(top="time.sleep(0.7)"), "d.py": net()})
    found = fresh_pool(jobs=4).run(files.plan("c.py", "a.py", "d.py", "b.py").jobs, [])
    assert [outcome.summary.target for outcomes in found for outcome in outcomes] == ["c.py:Net", "a.py:Net", "d.py:Net", "b.py:Net"]


def test_a_target_that_takes_the_way_out_away_does_not_become_a_second_zygote(files, fresh_pool):
    files.write({"a.py": net(init="time.sleep(1.5)"), "b.py": net(top="os._exit = None\nos.write = None")})
    found = fresh_pool(jobs=2).run(files.plan().jobs, [])
    assert [outcome.summary.error for outcomes in found for outcome in outcomes] == [None, None]


def test_prints_are_kept_when_asked_for(files):
    files.write({"prints.py": net(top="print('one')\nprint('two')")})
    (outcome,) = files.check("prints.py", keep_prints=True)["prints.py"]
    assert (outcome.printed_lines, outcome.printed) == (2, "one\ntwo\n")


def test_garbage_on_every_descriptor_is_no_answer(files):
    write = "for descriptor in range(1, 1024):\n    try: os.write(descriptor, b'{\"kind\": \"end\"}\\n[1,2\\n{\"kind\":\"model\",\"model\":0}\\n')\n    except OSError: pass"
    files.write({"garbage.py": net(top=write)})
    outcomes = files.check("garbage.py")["garbage.py"]
    # Whatever is believed of it, it is not a clean model.
    assert [outcome.summary.error is None and not outcome.findings for outcome in outcomes] == [False]


def test_without_fork_the_result_is_the_same(files, fresh_pool):
    files.write({"crash.py": net(top="os.abort()"), "good.py": net(top="print('hello')"), "hang.py": net(top="time.sleep(1000)")})
    pool = fresh_pool(fork=False, limits=PATIENT)
    rules = [rule for rule in load_rules() if rule.id == "NA102"]
    found = pool.run(files.plan("crash.py", "good.py").jobs, rules, keep_prints=True)
    pool.limits = Limits(timeout=2)
    found += pool.run(files.plan("hang.py").jobs, rules, keep_prints=True)
    assert [
        (outcome.summary.target, outcome.summary.error, len(outcome.findings), outcome.printed) for outcomes in found for outcome in outcomes
    ] == [
        ("crash.py", "importing crash.py aborted the process (SIGABRT)", 0, ""),
        ("good.py:Net", None, 1, "hello\n"),
        ("hang.py", "importing hang.py took longer than 2 s", 0, ""),
    ]


@pytest.mark.parametrize("fork", [True, False])
def test_without_torch_every_target_says_so(files, fresh_pool, monkeypatch, fork):
    broken = files.folder / "broken"
    files.write({"broken/torch.py": "raise OSError('libtorch is damaged')", "a.py": net(), "b.py": net()})
    monkeypatch.setenv("PYTHONPATH", str(broken))
    found = fresh_pool(fork=fork).run(files.plan("a.py", "b.py").jobs, [])
    message = "torch cannot be imported, so no model can be checked: OSError: libtorch is damaged"
    hint = "install it (pip install torch) into the environment that runs normadvisor"
    assert [(problem.target, problem.message, problem.hint) for outcomes in found for outcome in outcomes for problem in outcome.problems] == [
        ("a.py", message, hint),
        ("b.py", message, hint),
    ]


def test_progress_tells_every_phase_and_counts(files):
    files.write({"a.py": net()})
    steps = []
    files.check("a.py", progress=steps.append)
    assert [(step.done, step.total, step.target, step.phase) for step in steps] == [
        (0, 1, "", "starting"),
        (0, 1, "a.py:Net", "importing"),
        (0, 1, "a.py:Net", "building"),
        (0, 1, "a.py:Net", "tracing"),
        (0, 1, "a.py:Net", "matching"),
        (0, 1, "a.py:Net", "writing"),
        (1, 1, "a.py", "done"),
    ]


def test_the_parent_never_imports_torch():
    import subprocess

    code = (
        "import sys\nfrom normadvisor.api import check\n"
        "report = check('torch.nn:Linear(3, 4)')\nassert report.problems == (), report.problems\nassert 'torch' not in sys.modules"
    )
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0


def test_closing_ends_a_pool_that_is_still_importing_torch(monkeypatch):
    """Without waiting until it listens."""
    monkeypatch.setattr(launch, "_STOPPING", 1000.0)
    pool = WorkerPool()
    process = pool._launcher.process
    pool.close()
    assert process.poll() == -signal.SIGKILL


def test_an_interrupt_leaves_no_process(files, fresh_pool):
    files.write({"hang.py": net(top="time.sleep(1000)")})
    pool = fresh_pool()
    zygote = pool._launcher.process

    def interrupt(step):
        if step.phase == "importing":
            threading.Timer(0.2, signal.raise_signal, (signal.SIGINT,)).start()

    with pytest.raises(KeyboardInterrupt), pool:
        pool.run(files.plan("hang.py").jobs, [], interrupt)
    assert zygote.poll() is not None


def test_a_planner_needs_no_worker_for_files_without_models(tmp_path: Path):
    (tmp_path / "script.py").write_text("print('hello')\n")
    planner = Planner(texts=["script.py"], cwd=tmp_path)
    assert not planner.needs_torch()
    assert planner.plan(Settings(root=tmp_path), flags=RunContext()).jobs == []
