"""Measuring in workers: one model at a time, on the threads it may use, each phase with its clock, and what was found before is kept."""

from __future__ import annotations

import pytest
from hostile import HEAD, NET, net

from normadvisor.api.job import Job, Limits, Probing
from normadvisor.api.measure import place, resolve_device
from normadvisor.api.plan import Planner
from normadvisor.config import Settings
from normadvisor.errors import UsageError
from normadvisor.rulebook import load_rules
from normadvisor.types import ProbeOptions, RunContext

SHORT = {"steps": 2, "budget": 600.0, "device": "cpu", "batch_size": 4}
SMALL = net().replace("nn.Conv2d(3, 8, 3)", "nn.Linear(6, 8)").replace("BatchNorm2d(8)", "BatchNorm1d(8)")


@pytest.fixture
def measured(files, pool):
    """Outcomes of measuring targets, by target."""

    def run(*targets, limits=None, workers=None, settings=None, progress=None, **options):
        planner = Planner(texts=targets or ["."], cwd=files.folder)
        plan = planner.plan(settings or Settings(root=files.folder), flags=RunContext(), probing={**SHORT, **options})
        assert plan.problems == []
        workers = workers or pool
        workers.limits = limits or Limits(probing=900, threads=1)
        rules = [rule for rule in load_rules() if rule.id in {"NA102", "NA605"}]
        found = workers.run(plan.jobs, rules, progress)
        return {outcome.summary.target: outcome for outcomes in found for outcome in outcomes}

    return run


def test_a_measured_model_has_its_findings_and_its_numbers(files, measured):
    files.write({"a.py": SMALL})
    (outcome,) = measured("a.py").values()
    assert outcome.problems == ()
    assert [(finding.rule, finding.modules, str(finding.confidence)) for finding in outcome.findings] == [("NA102", ("conv",), "confirmed")]
    assert (outcome.measurements.target, outcome.measurements.steps, outcome.measurements.facts["restored"]) == ("a.py:Net", 2, True)
    assert [(layer.name, layer.location.line) for layer in outcome.measurements.layers] == [("conv", 10), ("bn", 11)]


def test_without_fork_the_numbers_are_the_same(files, measured, fresh_pool):
    files.write({"a.py": SMALL})
    (forked,) = measured("a.py").values()
    (fresh,) = measured("a.py", workers=fresh_pool(fork=False)).values()
    assert fresh.problems == ()
    assert forked.measurements.series["loss"] == fresh.measurements.series["loss"]


def test_models_are_measured_one_at_a_time_unless_they_may_run_side_by_side(files, measured, fresh_pool):
    files.write({"a.py": SMALL, "b.py": SMALL, "c.py": SMALL})

    def most_at_once(limits):
        running, most = set(), 0

        def progress(step):
            nonlocal most
            if step.phase == "done":
                running.discard(step.target)
            elif step.target:
                running.add(step.target.partition(":")[0])
                most = max(most, len(running))

        measured("a.py", "b.py", "c.py", limits=limits, workers=fresh_pool(jobs=3), progress=progress)
        return most

    assert most_at_once(Limits(probing=900, threads=1)) == 1
    assert most_at_once(Limits(probing=900, threads=1, side_by_side=True)) > 1


def test_torch_computes_on_the_threads_it_may_use(files, measured):
    files.write({"a.py": SMALL.replace("def forward(self, x):\n", "def forward(self, x):\n        x = x * torch.get_num_threads()\n", 1)})
    first = [measured("a.py", limits=Limits(probing=900, threads=threads))["a.py:Net"].measurements for threads in (1, 3)]
    mean = [next(layer for layer in item.layers if layer.name == "conv").series["act_abs_max"][0] for item in first]
    assert mean[1] > 1.5 * mean[0]


def test_progress_tells_phases_and_steps(files, measured):
    files.write({"a.py": SMALL, "data.py": "import torch\n\ndef f():\n    return [torch.randn(3, 6)]\n"})
    steps = []
    data = {"data": "data.py:f"}
    measured("a.py", progress=steps.append, **data)
    phases = list(dict.fromkeys(step.phase for step in steps if step.target))
    assert phases == ["importing", "loading the data for", "building", "tracing", "matching", "writing", "probing", "done"]
    assert any(step.phase == "probing" and "of 2" in step.part for step in steps)


def test_what_was_found_before_survives_whatever_measuring_does(files, measured):
    crash = SMALL.replace("        return self.bn", "        if not x.is_meta and type(x) is torch.Tensor: {act}\n        return self.bn")
    acts = {
        "segfault": ("ctypes.string_at(0)", "probing {name} crashed with a segmentation fault (SIGSEGV)"),
        "leaves": ("os._exit(5)", "probing {name} ended the process with exit code 5"),
        "killed": ("os.kill(os.getpid(), 9)", "probing {name} was killed from outside, perhaps because the machine ran out of memory (SIGKILL)"),
        "hangs": ("time.sleep(1000)", "probing {name} took longer than 5 s"),
        "floods": ("[print('x' * 99999) for _ in range(9999)]", "probing {name} printed more than 64 MiB"),
    }
    files.write({f"{name}.py": crash.replace("{act}", act) for name, (act, _) in acts.items()})
    found = measured(*(f"{name}.py" for name in acts if name != "hangs"), limits=Limits(probing=900, timeout=600, threads=1))
    found |= measured("hangs.py", limits=Limits(probing=5, timeout=600, threads=1))
    for name, (_, message) in acts.items():
        outcome = found[f"{name}.py:Net"]
        (problem,) = outcome.problems
        assert problem.message.startswith(message.format(name=f"{name}.py:Net")), problem
        assert [finding.rule for finding in outcome.findings] == ["NA102"]
        assert (outcome.measurements, outcome.summary.error) == (None, None)


def test_a_crash_while_measuring_does_not_lose_the_other_models(files, measured):
    crash = SMALL.replace("        return self.bn", "        if not x.is_meta and type(x) is torch.Tensor: os._exit(3)\n        return self.bn")
    second = SMALL.partition("class Net")[2]
    files.write({"two.py": crash + "\nclass Other" + second})
    found = measured("two.py")
    assert [(name, len(outcome.problems), outcome.measurements is None) for name, outcome in found.items()] == [
        ("two.py:Net", 1, True), ("two.py:Other", 0, False),
    ]  # fmt: skip


def test_a_batch_that_does_not_fit_is_made_smaller(files, measured):
    hungry = HEAD + NET.format(init="", forward="").replace("nn.Conv2d(3, 8, 3)", "nn.Linear(6, 8)").replace("BatchNorm2d(8)", "BatchNorm1d(8)").replace(
        "return self.bn(self.conv(x))",
        "h = self.bn(self.conv(x))\n        return h + (h.repeat(1, 500_000) * 2)[:, :8]",
    )  # fmt: skip
    files.write({"hungry.py": hungry})
    outcome = measured("hungry.py", limits=Limits(probing=900, threads=1, memory=1500), batch_size=64, memory=1500, budget=20.0)["hungry.py:Net"]
    assert outcome.problems == ()
    assert outcome.measurements.setup["batch_size"] < 64
    assert any("batch" in note for note in outcome.measurements.notes), outcome.measurements.notes


def test_pretrained_weights_are_left_out_and_said(files, measured):
    files.write({"a.py": SMALL + "\ndef make():\n    model = Net()\n    model.load_state_dict(torch.hub.load_state_dict_from_url('https://example.org/w.pt'))\n    return model\n"})
    outcome = measured("a.py:make")["a.py:make"]
    assert outcome.problems == ()
    assert [note for note in outcome.measurements.notes if "pretrained" in note] == ["pretrained weights were left out (1 download not made)"]


def test_weights_on_the_meta_device_cannot_be_measured(files, measured):
    files.write({"a.py": SMALL + "\nwith torch.device('meta'):\n    model = Net()\n"})
    (problem,) = measured("a.py:model")["a.py:model"].problems
    assert (problem.message, problem.hint) == (
        "weights of a.py:model are on the meta device, where they have no values", "build it in real memory"
    )


def test_a_model_that_cannot_be_traced_is_measured_with_batches_of_the_user(files, measured):
    odd = SMALL.replace("def forward(self, x):", "def forward(self, x, extra):\n        assert extra['shift'].sum().item() == 3").replace(
        "return self.bn(self.conv(x))", "return self.bn(self.conv(x)) + extra['shift']"
    )
    files.write({"a.py": odd, "data.py": "import torch\n\ndef f():\n    return [{'x': torch.randn(4, 6), 'extra': {'shift': torch.tensor(3.0)}}] * 2\n"})
    outcome = measured("a.py", data="data.py:f")["a.py:Net"]
    assert outcome.problems == ()
    assert outcome.measurements.steps == 2


def test_a_job_can_be_sent(files):
    import pickle

    planner = Planner(texts=["."], cwd=files.folder)
    files.write({"a.py": SMALL})
    (job,) = planner.plan(Settings(root=files.folder), flags=RunContext(), probing=SHORT).jobs
    assert isinstance(job, Job)
    assert pickle.loads(pickle.dumps(job)) == job
    assert job.models[0].probing == Probing(options=ProbeOptions(**SHORT))


@pytest.mark.parametrize("wanted", ["tpu", "meta", "", "cuda:x"])
def test_what_is_no_device_is_refused(wanted):
    with pytest.raises(UsageError, match="--device"):
        resolve_device(wanted)


def test_a_model_goes_where_it_is_asked_to():
    import torch

    model = torch.nn.Linear(2, 2)
    assert place(model, "cpu") is model
    assert resolve_device("auto") is None
    assert str(resolve_device("cpu")) == "cpu"


@pytest.mark.gpu
def test_a_model_goes_to_the_gpu_by_itself(files, measured):
    import torch

    if not torch.cuda.is_available():
        pytest.skip("NOT CHECKED: there is no CUDA device here, so nothing was measured on one")
    files.write({"a.py": SMALL})
    outcome = measured("a.py", device="auto", limits=Limits(probing=900))["a.py:Net"]
    assert (outcome.problems, outcome.measurements.setup["device"].partition(":")[0]) == ((), "cuda")
