"""An earlier run is read back number by number; what is no run says so."""

from __future__ import annotations

import json
import math
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from normadvisor.api.compare import check_comparable, read_run
from normadvisor.errors import UsageError
from normadvisor.report import RenderOptions, render
from normadvisor.types import Confidence, Finding, LayerMeasurements, Location, Measurements, Report, Severity, Withdrawn

INF, NAN = math.inf, math.nan
HINT = "name a file that 'normadvisor probe ... --json FILE' wrote"


def run(target="net.py:Net", names=("conv", "bn"), **more):
    layers = tuple(
        LayerMeasurements(
            name=name, cls="Conv2d", op="conv", order=order, parameters=9, trainable=9, units=3, location=Location("/src/net.py", 4, 9),
            series={"grad_norm": (1.0, None, INF), "act_mean": (-INF, 0.25, 1e-300)}, facts={"dead_share": 0.5, "noise_scale": INF},
        )
        for order, name in enumerate(names)
    )  # fmt: skip
    values = {
        "layers": layers, "series": {"loss": (2.0, None, INF), "grad_norm": (0.0, 1.0, 2.0)}, "curves": {"overfit": (3.0, 0.5)},
        "facts": {"initial_loss": 2.0, "noise_scale": -INF, "nonfinite_layer": "conv", "real_data": False}, "setup": {"lr": 0.1, "device": "cpu"},
        "missing": {"overfit": "no time"}, "notes": ("said",),
    }  # fmt: skip
    return Measurements(target=target, **{**values, **more})


def written(path: Path, *measurements, **more):
    report = Report(measurements=measurements, probed=True, **more)
    path.write_text(render(report, "json", options=RenderOptions(root=Path("/src"))))
    return path


def test_what_is_written_is_read_back_number_by_number(tmp_path):
    path = written(tmp_path / "a.json", run(), run("other.py:B", ()))
    (first, second) = read_run(path)
    located = tuple(layer.location for layer in first.layers)
    assert located == (Location("net.py", 4, 9),) * 2  # paths are shown below the root
    assert [layer.series for layer in first.layers] == [layer.series for layer in run().layers]
    assert [layer.facts for layer in first.layers] == [layer.facts for layer in run().layers]
    assert (first.series, first.curves, first.facts, first.setup, first.missing, first.notes) == (
        run().series, run().curves, run().facts, run().setup, run().missing, run().notes,
    )  # fmt: skip
    assert second.target == "other.py:B"


def test_what_is_not_a_number_is_not_a_number_again(tmp_path):
    path = written(tmp_path / "a.json", run(series={"loss": (NAN, 1.0)}, facts={"overfit_last": NAN}))
    json.loads(path.read_text(), parse_constant=pytest.fail)  # JSON has no such number
    (found,) = read_run(path)
    assert math.isnan(found.series["loss"][0])
    assert math.isnan(found.facts["overfit_last"])


def test_the_json_has_measurements_and_withdrawn_findings_beside_the_findings(tmp_path):
    finding = Finding(
        rule="NA201", name="small-batch", severity=Severity.WARNING, confidence=Confidence.SUSPECTED, message="m", path="/src/net.py", line=4
    )
    path = written(tmp_path / "a.json", run(), findings=(finding,), withdrawn=(Withdrawn(finding=finding, reason="it does not move"),))
    data = json.loads(path.read_text())
    assert sorted(data) == ["findings", "models", "probe", "schema", "summary", "tool"]
    assert [item["rule"] for item in data["findings"]] == ["NA201"]
    assert sorted(data["probe"]) == ["measurements", "withdrawn"]
    assert [(item["finding"]["path"], item["reason"]) for item in data["probe"]["withdrawn"]] == [("net.py", "it does not move")]
    assert data["probe"]["measurements"][0]["layers"][0]["series"]["grad_norm"] == [1.0, None, "inf"]
    assert "probe" not in json.loads(render(Report(), "json", options=RenderOptions()))


BROKEN = {
    "half": ('{"probe": {', "--compare: not valid JSON: Expecting property name enclosed in double quotes", HINT),
    "empty": ("", "--compare: not valid JSON: Expecting value", HINT),
    "deep": ("[" * 100_000, "--compare: {path} is not valid JSON", HINT),
    "list": ("[1, 2]", "--compare: {path} holds no measurements", HINT),
    "other": ('{"findings": []}', "--compare: {path} holds no measurements", HINT),
    "strange": ('{"probe": {"measurements": 3}}', "--compare: {path} holds no measurements", HINT),
    "none": ('{"probe": {"measurements": []}}', "--compare: nothing was measured in the run of {path}", HINT),
    "entry": (
        '{"probe": {"measurements": [3]}}',
        "--compare: measurements in {path} cannot be read (TypeError: 'int' object is not subscriptable)", f"{HINT}, of this version",
    ),
    "keys": (
        '{"probe": {"measurements": [{"target": "x"}]}}', "--compare: measurements in {path} cannot be read (KeyError: 'facts')",
        f"{HINT}, of this version",
    ),
}  # fmt: skip


@pytest.mark.parametrize("name", BROKEN)
def test_a_file_that_is_no_run_says_so(tmp_path, name):
    text, message, hint = BROKEN[name]
    path = tmp_path / "b.json"
    path.write_text(text)
    with pytest.raises(UsageError) as caught:
        read_run(path)
    assert (caught.value.message, caught.value.hint) == (message.format(path=path), hint)


def test_a_file_that_cannot_be_read_says_so(tmp_path):
    (tmp_path / "latin.json").write_bytes(b"\xff\xfe{")
    cases = {"gone.json": "--compare: there is no file {path}", ".": "--compare: cannot read {path}: Is a directory", "latin.json": "--compare: {path} is not UTF-8"}
    for name, message in cases.items():
        path = tmp_path / name
        with pytest.raises(UsageError) as caught:
            read_run(path)
        assert caught.value.message == message.format(path=path)


def test_numbers_that_are_words_are_refused_where_they_mean_nothing(tmp_path):
    data = json.loads(written(tmp_path / "a.json", run()).read_text())
    data["probe"]["measurements"][0]["series"]["loss"] = ["many"]
    (tmp_path / "b.json").write_text(json.dumps(data))
    with pytest.raises(UsageError, match="could not convert string to float: 'many'"):
        read_run(tmp_path / "b.json")


def test_runs_of_the_same_model_or_a_version_of_it_can_be_compared():
    path = Path("b.json")
    assert check_comparable([run()], [run("other.py:Net"), run()], path) is None
    assert check_comparable([], [run()], path) is None
    assert check_comparable([run("mended.py:Net", ("conv", "bn", "relu"))], [run()], path) == (
        "mended.py:Net is compared with net.py:Net: 2 of their 3 and 2 layers have the same name"
    )


def test_a_run_of_another_model_is_refused():
    with pytest.raises(UsageError) as caught:
        check_comparable([run()], [run("vit.py:ViT", ("attention", "mlp"))], Path("b.json"))
    assert str(caught.value) == "--compare: b.json is a run of another model: vit.py:ViT (measured now: net.py:Net)"


json_values = st.recursive(
    st.none() | st.booleans() | st.integers(-3, 3) | st.floats() | st.sampled_from(["inf", "nan", "x", "net.py:Net", ""]),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.sampled_from(["name", "loss", "path", "line", "x"]), inner, max_size=3), max_leaves=6,
)  # fmt: skip


@settings(max_examples=300, suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow], deadline=None)
@given(st.data())
def test_whatever_stands_in_the_file_it_is_a_run_or_one_error(tmp_path, data):
    """A run in which one value is another: it is read, or one message says what is wrong."""
    whole = json.loads(render(Report(measurements=(run(),), probed=True), "json", options=RenderOptions()))
    place = whole["probe"]
    while True:
        keys = list(place) if isinstance(place, dict) else list(range(len(place)))
        key = data.draw(st.sampled_from(keys))
        if isinstance(place[key], dict | list) and place[key] and data.draw(st.booleans()):
            place = place[key]
            continue
        place[key] = data.draw(json_values)
        break
    (tmp_path / "a.json").write_text(json.dumps(whole))
    try:
        found = read_run(tmp_path / "a.json")
    except UsageError as error:
        assert error.message.startswith("--compare: ")
    else:
        check_comparable(found, found, tmp_path / "a.json")
