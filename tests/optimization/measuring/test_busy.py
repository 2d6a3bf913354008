import os
import subprocess
import sys
import time

import psutil
import pytest
import torch

from normadvisor.optimization.measuring.busy import Mark, Watch, busy_gpu


@pytest.mark.parametrize(
    ("cores", "threads", "allowed"),
    [(4, 4, 0.6), (8, 4, 4.6), (4, 8, 0.6), (1, 1, 0.15)],
)
def test_others_may_use_the_cores_that_are_left(cores, threads, allowed):
    assert Watch(threads, cores=cores).allowed == pytest.approx(allowed)


def test_foreign_work_is_that_of_the_machine_without_our_own():
    marks = iter([Mark(12.0, 108.0, 5.0)])
    watch = Watch(4, cores=4, mark=lambda: next(marks))
    assert watch.foreign(Mark(10.0, 100.0, 1.0)) == pytest.approx(2.0)


def test_no_time_and_counters_that_lag_are_no_work_of_others():
    marks = iter([Mark(10.0, 100.0, 1.0), Mark(11.0, 100.5, 2.0)])
    watch = Watch(4, cores=4, mark=lambda: next(marks))
    assert [watch.foreign(Mark(10.0, 100.0, 1.0)), watch.foreign(Mark(10.0, 100.0, 1.0))] == [0.0, 0.0]


def test_the_real_counters_see_another_process_and_not_this_one():
    watch = Watch(1, cores=os.cpu_count())
    since = watch.mark()
    with subprocess.Popen([sys.executable, "-c", "while True: pass"]) as other:
        try:
            used = psutil.Process(other.pid).cpu_times
            while used().user + used().system < 0.5:
                time.sleep(0.05)
        finally:
            other.kill()
        seconds = watch.mark().at - since.at
        # The counters go by hundredths of a second.
        assert watch.foreign(since) * seconds > 0.4


def test_a_cpu_is_no_gpu():
    assert busy_gpu(torch.device("cpu")) == ""


@pytest.mark.parametrize(("percent", "said"), [(5, ""), (80, "the GPU is busy: other processes use it 80% of the time")])
def test_a_gpu_that_works_for_others_is_busy(monkeypatch, percent, said):
    monkeypatch.setattr(torch.cuda, "synchronize", lambda device: None)
    monkeypatch.setattr(torch.cuda, "utilization", lambda device: percent)
    monkeypatch.setattr("normadvisor.optimization.measuring.busy._IDLE", 0.0)
    assert busy_gpu(torch.device("cuda")) == said


def test_a_gpu_that_cannot_be_asked_counts_as_idle(monkeypatch):
    def silent(device):
        raise ModuleNotFoundError("pynvml")

    monkeypatch.setattr(torch.cuda, "synchronize", lambda device: None)
    monkeypatch.setattr(torch.cuda, "utilization", silent)
    monkeypatch.setattr("normadvisor.optimization.measuring.busy._IDLE", 0.0)
    assert busy_gpu(torch.device("cuda")) == ""
