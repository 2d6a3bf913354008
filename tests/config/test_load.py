from __future__ import annotations

import pickle
import subprocess
import sys
from pathlib import Path

import pytest
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

from normadvisor.config import FORMATS, ModelConfig, Settings, load_settings
from normadvisor.config.plain import MODEL_KEYS, MODEL_PROBE_KEYS, PROBE_KEYS, TABLE_KEYS
from normadvisor.errors import ConfigError
from normadvisor.report import format_names
from normadvisor.types import Location, ProbeOptions, RunContext, Severity

FULL = """\
[project]
name = "x"

[tool.normadvisor]
select = ["NA1", "NA201"]
ignore = ["NA101"]
extend-select = ["NA7"]
severity = {NA102 = "error", NA104 = "off"}
rules = ["lint/rules"]
exclude = ["vendored/*"]
baseline = "known.json"
fail-on = "error"
format = "github"
timeout = 5
memory = 1024
batch_size = 32
task = "detection"

[tool.normadvisor.per-file-ignores]
"tests/*" = ["NA1"]

[[tool.normadvisor.models]]
target = "src/net.py:Net"
inputs = "2x3x64x64"
batch-size = 2

[[tool.normadvisor.models]]
target = "pkg.net:build(depth=18)"
inputs = ["2x16:int64", "mask=2x16:bool"]
loss = "nll"
"""


def test_every_setting(in_folder):
    path = in_folder / "pyproject.toml"
    path.write_text(FULL)

    def at(line: int, column: int = 1) -> Location:
        return Location("pyproject.toml", line, column)

    assert load_settings(in_folder) == Settings(
        select=("NA1", "NA201"),
        ignore=("NA101",),
        extend_select=("NA7",),
        severity={"NA102": Severity.ERROR, "NA104": "off"},
        rules=(in_folder / "lint/rules",),
        exclude=("vendored/*",),
        baseline=in_folder / "known.json",
        fail_on=Severity.ERROR,
        format="github",
        timeout=5.0,
        memory=1024,
        context=RunContext(batch_size=32, task="detection"),
        per_file_ignores={"tests/*": ("NA1",)},
        models=(
            ModelConfig(target="src/net.py:Net", inputs=("2x3x64x64",), context=RunContext(batch_size=2), location=at(23)),
            ModelConfig(
                target="pkg.net:build(depth=18)", inputs=("2x16:int64", "mask=2x16:bool"), context=RunContext(loss="nll"), location=at(28)
            ),
        ),
        root=in_folder,
        source=path,
        locations={
            "select": at(5),
            "ignore": at(6),
            "extend_select": at(7),
            "severity": at(8),
            "severity.NA102": at(8, 13),
            "severity.NA104": at(8, 30),
            "rules": at(9),
            "exclude": at(10),
            "baseline": at(11),
            "fail_on": at(12),
            "format": at(13),
            "timeout": at(14),
            "memory": at(15),
            "per_file_ignores": at(19, 19),
            "per_file_ignores.tests/*": at(20),
            "models": at(22, 20),
        },
    )


def test_settings_can_be_sent_to_a_worker(in_folder):
    (in_folder / "pyproject.toml").write_text(FULL)
    loaded = load_settings(in_folder)
    assert pickle.loads(pickle.dumps(loaded)) == loaded


def test_every_key_is_a_field():
    assert set(TABLE_KEYS) == set(Settings.__dataclass_fields__) - {"context", "root", "source", "locations"}
    assert set(MODEL_KEYS) == set(ModelConfig.__dataclass_fields__) - {"context", "location", "probe"} | set(MODEL_PROBE_KEYS)
    assert set(PROBE_KEYS) == set(ProbeOptions.__dataclass_fields__) - {"memory", "static_only"}
    assert set(PROBE_KEYS) - set(MODEL_PROBE_KEYS) == {"batch_size", "precision"}  # these are context of a model


def test_formats_are_those_there_are():
    assert sorted(FORMATS) == sorted(format_names())


def test_how_models_are_measured(in_folder):
    (in_folder / "normadvisor.toml").write_text(
        'loss = "mse"\n[probe]\nsteps = 3\nbatch-size = 8\ndata = "d.py:f"\nprecision = "bf16"\n'
        '[[models]]\ntarget = "a.py:A"\nloss = "l.py:f"\nlr = 1\nbatch_size = 4\n[[models]]\ntarget = "a.py:B"\nloss = "l1"\n'
    )
    found = load_settings(in_folder)
    assert found.probe == {"steps": 3, "batch_size": 8, "data": "d.py:f", "precision": "bf16"}
    assert [(model.probe, model.context) for model in found.models] == [
        ({"lr": 1, "loss": "l.py:f"}, RunContext(batch_size=4)), ({}, RunContext(loss="l1")),
    ]  # fmt: skip
    assert (found.context, found.locations["probe.data"].line) == (RunContext(loss="mse"), 5)


def test_defaults_without_a_file(in_folder):
    start = in_folder / "model.py"
    start.touch()
    assert load_settings(start) == Settings(root=in_folder)


def test_nearest_file_wins_and_other_projects_are_passed_over(in_folder):
    inner = in_folder / "a" / "b"
    inner.mkdir(parents=True)
    (in_folder / "pyproject.toml").write_text("[tool.normadvisor]\nmemory = 100\n")
    (in_folder / "a" / "pyproject.toml").write_text("[tool.ruff]\nline-length = 100\n")
    found = load_settings(inner)
    assert (found.memory, found.root) == (100, in_folder)
    (in_folder / "a" / "normadvisor.toml").write_text("memory = 200\n")
    found = load_settings(inner)
    assert (found.memory, found.root, found.source) == (200, in_folder / "a", in_folder / "a" / "normadvisor.toml")


def test_own_file_takes_precedence_in_a_folder(in_folder):
    (in_folder / "pyproject.toml").write_text("[tool.normadvisor]\nmemory = 100\n")
    (in_folder / "normadvisor.toml").write_text("memory = 200\n")
    assert load_settings(in_folder).memory == 200


def test_explicit_file_of_any_name(in_folder):
    (in_folder / "normadvisor.toml").write_text("memory = 200\n")
    (in_folder / "ci").mkdir()
    (in_folder / "ci" / "strict.toml").write_text('rules = ["r"]\n')
    found = load_settings(in_folder, Path("ci/strict.toml"))
    assert (found.memory, found.rules, found.root) == (8192, (in_folder / "ci" / "r",), in_folder / "ci")


def test_byte_order_mark_and_windows_line_endings(in_folder):
    (in_folder / "normadvisor.toml").write_bytes(b'\xef\xbb\xbfmemory = 200\r\nfail-on = "info"\r\n')
    found = load_settings(in_folder)
    assert (found.memory, found.fail_on, found.locations["fail_on"]) == (200, Severity.INFO, Location("normadvisor.toml", 2, 1))


TABLE = "[tool.normadvisor]\n"


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (TABLE + 'slect = ["NA1"]', "2:1: unknown key 'slect' (did you mean 'select'?)"),
        ("[tool]\nnormadvisor.ignored = 1", "2:13: unknown key 'ignored' (did you mean 'ignore'?)"),
        ("tool.normadvisor = {memory = 99, memroy = 1}", "1:34: unknown key 'memroy' (did you mean 'memory'?)"),
        (TABLE + "extend-select = []\nextend_select = []", "3:1: 'extend_select' and 'extend-select' are the same key"),
        (TABLE + 'severity = {NA1 = "off", NA2 = "warn"}', "2:26: 'severity.NA2' cannot be 'warn' (did you mean 'warning'?)"),
        (TABLE + "severity = {NA1 = 3}", "2:13: 'severity.NA1' cannot be 3 (one of 'info', 'warning', 'error', 'off')"),
        (TABLE + 'format = "jsno"', "2:1: 'format' cannot be 'jsno' (did you mean 'json'?)"),
        (TABLE + 'select = ["NA1",\n  3]', "3:3: 'select[1]' must be text in quotes, not 3"),
        (TABLE + 'ignore = "NA1"', "2:1: 'ignore' must be a list, not 'NA1'"),
        (TABLE + "select = []", "2:1: 'select' is empty (leave it out for the default)"),
        (TABLE + "timeout = 0", "2:1: 'timeout' must be greater than 0, not 0"),
        (TABLE + "timeout = nan", "2:1: 'timeout' must be at most 86400, not nan"),
        (TABLE + "timeout = inf", "2:1: 'timeout' must be at most 86400, not inf"),
        (TABLE + "memory = 1.5", "2:1: 'memory' must be a whole number, not 1.5"),
        (TABLE + "memory = 1", "2:1: 'memory' must be at least 64, not 1"),
        (TABLE + "task = 3", "2:1: 'task' cannot be 3 (one of 'classification',"),
        (TABLE + 'memory = "x"\ntimeout = "y"', "2:1: 'memory' must be a whole number, not 'x'"),
        ('[tool.normadvisor.models]\ntarget = "x"', "1:19: 'models' must be a list, not a table (write [[tool.normadvisor.models]]"),
        ("tool.normadvisor.models = [3]", "1:28: 'models[0]' must be a table, not 3"),
        ("[[tool.normadvisor.models]]\nname = 1", "2:1: unknown key 'name' (known are 'target', 'inputs',"),
        ('[[tool.normadvisor.models]]\ntarget = "x"\n[[tool.normadvisor.models]]', "3:20: 'models[1].target' is missing (add target = ...)"),
        ("[[tool.normadvisor.models]]\ntarget = 1", "2:1: 'models[0].target' must be text in quotes, not 1"),
        (TABLE + "probe = 3", "2:1: 'probe' must be a table, not 3"),
        (TABLE + "[tool.normadvisor.probe]\nsteps = 0", "3:1: 'probe.steps' must be at least 1, not 0"),
        (TABLE + '[tool.normadvisor.probe]\nsteps = "3"', "3:1: 'probe.steps' must be a whole number, not '3'"),
        (TABLE + '[tool.normadvisor.probe]\noptimizer = "adamm"', "3:1: 'probe.optimizer' cannot be 'adamm' (did you mean 'adam'?)"),
        (TABLE + "[tool.normadvisor.probe]\nlr = 0", "3:1: 'probe.lr' must be greater than 0, not 0"),
        (TABLE + "[tool.normadvisor.probe]\nlr = nan", "3:1: 'probe.lr' must be at most 1e+06, not nan"),
        (TABLE + '[tool.normadvisor.probe]\nbudget = "60s"', "3:1: 'probe.budget' must be a number, not '60s'"),
        (TABLE + "[tool.normadvisor.probe]\nstepz = 3", "3:1: unknown key 'stepz' (did you mean 'steps'?)"),
        (TABLE + "[tool.normadvisor.probe]\nbatch-size = 1\nbatch_size = 2", "4:1: 'batch_size' and 'batch-size' are the same key"),
        ('[[tool.normadvisor.models]]\ntarget = "x"\nlr = "fast"', "3:1: 'models[0].lr' must be a number, not 'fast'"),
        ('[[tool.normadvisor.models]]\ntarget = "x"\nloss = "mes"', "3:1: 'loss' cannot be 'mes' (did you mean 'mse'?)"),
        ('[[tool.normadvisor.models]]\ntarget = "x"\ntask = "rll"', "3:1: 'task' cannot be 'rll' (did you mean 'rl'?)"),
        ("tool.normadvisor = 3", "1:6: 'tool.normadvisor' must be a table (write [tool.normadvisor])"),
        ("a = 1\nb = [", "2:6: not valid TOML: "),
        ("a = 1\na = 2", "2:6: not valid TOML: cannot overwrite a value"),
        ("a = é", "1:5: not valid TOML: invalid value"),
    ],
)
def test_mistakes_are_named_with_place_and_way_out(in_folder, content, message):
    (in_folder / "pyproject.toml").write_text(content, encoding="utf-8")
    with pytest.raises(ConfigError) as caught:
        load_settings(in_folder)
    assert str(caught.value).startswith(f"pyproject.toml:{message}")


def test_table_header_in_our_own_file(in_folder):
    (in_folder / "normadvisor.toml").write_text("[tool.normadvisor]\nmemory = 100\n")
    with pytest.raises(ConfigError) as caught:
        load_settings(in_folder)
    assert str(caught.value) == (
        "normadvisor.toml:1:7: 'normadvisor.toml' holds a [tool.normadvisor] table "
        "(outside pyproject.toml the keys stand at the top level, without the table's header)"
    )


def test_not_utf8(in_folder):
    (in_folder / "normadvisor.toml").write_bytes("memory = 1\n# é".encode() + b"\xff")
    with pytest.raises(ConfigError) as caught:
        load_settings(in_folder)
    assert str(caught.value) == "normadvisor.toml:2:4: not UTF-8: byte 0xff (save the file in UTF-8)"


def test_explicit_file_that_cannot_be_used(in_folder):
    (in_folder / "pyproject.toml").write_text("[project]\n")
    (in_folder / "huge.toml").write_bytes(b"#" * (17 << 20))
    messages = []
    for name in ("no.toml", ".", "pyproject.toml", "huge.toml", "a\0b"):
        with pytest.raises(ConfigError) as caught:
            load_settings(in_folder, Path(name))
        messages.append(str(caught.value))
    assert messages == [
        "there is no configuration file 'no.toml' (check the path given with --config)",
        "'.' is a folder (name the configuration file in it)",
        "pyproject.toml:1:1: 'pyproject.toml' has no [tool.normadvisor] table (add one)",
        "'huge.toml' is longer than 16 MiB and no configuration file",
        "the configuration file 'a\\x00b' cannot be read: embedded null byte",
    ]


def test_file_that_cannot_be_opened(in_folder):
    loop = in_folder / "normadvisor.toml"
    loop.symlink_to(loop)
    with pytest.raises(ConfigError, match=r"normadvisor.toml' cannot be read: too many levels of symbolic links"):
        load_settings(in_folder, loop)
    assert load_settings(in_folder) == Settings(root=in_folder)


def test_loading_is_cheap_without_a_file(in_folder):
    code = (
        "import sys, pathlib; from normadvisor.config import load_settings; load_settings(pathlib.Path('.'));"
        "print(*sorted({'torch', 'pydantic', 'tomllib', 'difflib'} & sys.modules.keys()))"
    )
    done = subprocess.run([sys.executable, "-c", code], cwd=in_folder, capture_output=True, text=True, check=True)
    assert done.stdout == "\n"


WORDS = [*TABLE_KEYS, *MODEL_KEYS, "batch_size", "task", "tool", "normadvisor", "NA102", "warning", *FORMATS, "é", "a b"]
SCALARS = st.sampled_from(['"warning"', '"NA1"', "1", "-1", "2.5", "nan", "true", "1979-05-27", "[]", "{}", '["NA1"]', '{NA1 = "off"}', '[{target = "x"}]', "9" * 5000])
LINES = st.one_of(
    st.builds("{} = {}".format, st.sampled_from(WORDS), SCALARS),
    st.sampled_from(["[tool.normadvisor]", "[[tool.normadvisor.models]]", "[[models]]", "[severity]", "[tool]", "[", "'''", "]]"]),
    st.text(max_size=8),
)
CONTENT = st.one_of(
    st.binary(max_size=40),
    st.lists(LINES, max_size=6).map(lambda lines: "\n".join(lines).encode("utf-8", "surrogatepass")),
    st.lists(st.builds("{} = {}".format, st.sampled_from(WORDS), SCALARS), max_size=3).map(lambda lines: "\n".join(lines).encode()),
)


@settings(max_examples=500, suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow])
@given(content=CONTENT, name=st.sampled_from(["normadvisor.toml", "pyproject.toml"]), explicit=st.booleans())
@example(content=b"a = " + b"[" * 100_000, name="normadvisor.toml", explicit=False)
@example(content=b"memory = " + b"9" * 5000, name="normadvisor.toml", explicit=False)
@example(content=b"tool = 3", name="pyproject.toml", explicit=True)
def test_no_content_raises_anything_else(tmp_path, content, name, explicit):
    path = tmp_path / name
    path.write_bytes(content)
    try:
        found = load_settings(tmp_path, path if explicit else None)
    except ConfigError as error:
        assert error.location is not None
        assert "\n" not in str(error)
    else:
        assert found.root == tmp_path or (name == "pyproject.toml" and not explicit)
    finally:
        path.unlink()
