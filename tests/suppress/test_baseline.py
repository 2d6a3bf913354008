from __future__ import annotations

import json
import os
import stat
from dataclasses import replace
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from normadvisor.errors import ConfigError
from normadvisor.suppress import Baseline, BaselineEntry
from normadvisor.types import Confidence, Finding, Severity, Suppression

ROOT = Path("/project")


def finding(fingerprint, path="/project/a.py", rule="NA102", message="m", **others):
    return Finding(
        rule=rule, name="n", severity=Severity.WARNING, confidence=Confidence.CONFIRMED, message=message, path=path,
        fingerprint=fingerprint, **others,
    )  # fmt: skip


def test_what_is_written(tmp_path):
    found = [finding("ff", "/project/b/\u00fc.py"), finding("aa"), finding("aa"), finding("bb", rule="NA101"), finding("cc", "/else/c.py")]
    Baseline.from_findings(found, root=ROOT).write(tmp_path / "base.json")
    assert (tmp_path / "base.json").read_text(encoding="utf-8") == """\
{
  "schema": 1,
  "tool": "normadvisor",
  "findings": [
    {
      "path": "/else/c.py",
      "rule": "NA102",
      "message": "m",
      "count": 1,
      "fingerprint": "cc"
    },
    {
      "path": "a.py",
      "rule": "NA101",
      "message": "m",
      "count": 1,
      "fingerprint": "bb"
    },
    {
      "path": "a.py",
      "rule": "NA102",
      "message": "m",
      "count": 2,
      "fingerprint": "aa"
    },
    {
      "path": "b/\u00fc.py",
      "rule": "NA102",
      "message": "m",
      "count": 1,
      "fingerprint": "ff"
    }
  ]
}
"""


def test_each_entry_swallows_as_many_as_it_counts():
    baseline = Baseline.from_findings([finding("aa"), finding("aa"), finding("bb")], root=ROOT)
    found = [finding("aa", line=9), finding("aa", "/project/renamed.py"), finding("aa"), finding("cc")]
    result = baseline.apply(found, root=ROOT)
    assert [item.suppressed for item in result.findings] == [Suppression.BASELINE, Suppression.BASELINE, None, None]
    assert [replace(item, suppressed=None) for item in result.findings] == found
    assert result.stale == (BaselineEntry(path="a.py", rule="NA102", message="m", fingerprint="bb", count=1),)


def test_what_is_left_of_an_entry_is_stale():
    baseline = Baseline.from_findings([finding("aa")] * 3, root=ROOT)
    assert [entry.count for entry in baseline.apply([finding("aa")], root=ROOT).stale] == [2]


def test_entries_of_files_that_were_not_checked_are_not_stale():
    baseline = Baseline.from_findings([finding("aa"), finding("bb", "/project/b.py")], root=ROOT)
    assert [entry.path for entry in baseline.apply([], root=ROOT, files=["/project/b.py"]).stale] == ["b.py"]
    assert [entry.path for entry in baseline.apply([], root=ROOT, files=[Path("a.py")]).stale] == ["a.py"]
    assert baseline.apply([], root=ROOT, files=[]).stale == ()


def test_note_about_stale_entries():
    baseline = Baseline.from_findings([finding("aa")] * 2, root=ROOT)
    path = Path("base.json")
    assert baseline.apply([finding("aa")] * 2, root=ROOT).note(path) is None
    assert baseline.apply([finding("aa")], root=ROOT).note(path) == (
        "1 finding of the baseline base.json is gone: NA102 in a.py; write it anew with --write-baseline"
    )
    many = Baseline.from_findings([finding(str(number), f"{number}.py") for number in range(5)], root=ROOT)
    assert many.apply([], root=ROOT).note(path) == (
        "5 findings of the baseline base.json are gone: NA102 in 0.py, NA102 in 1.py, NA102 in 2.py and 2 more; "
        "write it anew with --write-baseline"
    )


def test_findings_suppressed_otherwise_use_up_nothing_and_are_not_written():
    noqa = finding("aa", suppressed=Suppression.NOQA)
    assert Baseline.from_findings([noqa], root=ROOT) == Baseline()
    result = Baseline.from_findings([finding("aa")], root=ROOT).apply([noqa, finding("aa")], root=ROOT)
    assert [item.suppressed for item in result.findings] == [Suppression.NOQA, Suppression.BASELINE]


def test_writing_anew_keeps_what_the_old_baseline_silenced():
    first = Baseline.from_findings([finding("aa")], root=ROOT)
    assert Baseline.from_findings(first.apply([finding("aa")], root=ROOT).findings, root=ROOT) == first


def test_without_fingerprint_the_words_decide():
    baseline = Baseline.from_findings([finding("", message="one")], root=ROOT)
    result = baseline.apply([finding("", message="two"), finding("", message="one")], root=ROOT)
    assert [item.suppressed for item in result.findings] == [None, Suppression.BASELINE]


findings = st.lists(st.builds(finding, st.sampled_from("abc"), st.sampled_from(["x.py", "y.py"]), message=st.text(max_size=5)), max_size=8)


@given(findings)
@settings(max_examples=100)
def test_round_trip_swallows_everything(tmp_path_factory, found):
    path = tmp_path_factory.getbasetemp() / "round-trip.json"
    baseline = Baseline.from_findings(found, root=ROOT)
    baseline.write(path)
    loaded = Baseline.load(path)
    result = loaded.apply(found, root=ROOT)
    assert all(item.suppressed is Suppression.BASELINE for item in result.findings)
    assert result.stale == ()
    before = path.read_bytes()
    Baseline.from_findings(found[::-1], root=ROOT).write(path)
    assert path.read_bytes() == before


def test_permissions_and_links_are_kept(tmp_path):
    real = tmp_path / "real.json"
    real.write_text("{}")
    real.chmod(0o640)
    link = tmp_path / "link.json"
    link.symlink_to(real)
    Baseline().write(link)
    assert link.is_symlink()
    assert stat.S_IMODE(real.stat().st_mode) == 0o640
    assert json.loads(real.read_text())["findings"] == []
    assert {item.name for item in tmp_path.iterdir()} == {"link.json", "real.json"}


def test_a_new_file_follows_the_umask(tmp_path):
    before = os.umask(0o027)
    try:
        Baseline().write(tmp_path / "new.json")
    finally:
        os.umask(before)
    assert stat.S_IMODE((tmp_path / "new.json").stat().st_mode) == 0o640


def test_a_write_that_fails_leaves_the_old_file(tmp_path, monkeypatch):
    path = tmp_path / "base.json"
    path.write_text("old")
    monkeypatch.setattr(os, "fsync", lambda _: (_ for _ in ()).throw(OSError(28, "No space left on device")))
    with pytest.raises(ConfigError, match="No space left on device"):
        Baseline().write(path)
    assert (path.read_text(), list(tmp_path.iterdir())) == ("old", [path])


def test_folders_that_are_not_there(tmp_path):
    with pytest.raises(ConfigError) as caught:
        Baseline().write(tmp_path / "no" / "base.json")
    assert str(caught.value) == f"cannot write the baseline {tmp_path}/no/base.json: No such file or directory"
    with pytest.raises(ConfigError) as caught:
        Baseline.load(tmp_path / "base.json")
    assert str(caught.value) == f"there is no baseline {tmp_path}/base.json (make one with --write-baseline)"
    with pytest.raises(ConfigError, match="cannot read the baseline"):
        Baseline.load(tmp_path)


ENTRY = '{"path": "a", "rule": "r", "message": "m", "count": 1, "fingerprint": "f"}'


@pytest.mark.parametrize(
    ("text", "place", "message"),
    [
        ("", "1:1", "the baseline is not valid JSON: Expecting value"),
        ('{\n "schema" 1}', "2:11", "the baseline is not valid JSON: Expecting ':' delimiter"),
        ("[" * 100_000, "1:1", "the baseline is not valid JSON"),
        ("[]", "1:1", "the file is no baseline"),
        ('{"schema": 1}', "1:1", "the file is no baseline"),
        ('{"findings": [],\n "schema": 2}', "2:12", "the baseline has schema 2, this version reads 1"),
        ('{"findings": []}', "1:1", "the baseline has schema null, this version reads 1"),
        ('{"schema": true, "findings": []}', "1:12", "the baseline has schema true, this version reads 1"),
        ('{"schema": 1,\n "findings": 3}', "2:14", "'findings' must be a list"),
        (f'{{"schema": 1, "findings": [{ENTRY},\n 4]}}', "2:2", "an entry of 'findings' must be an object"),
        (f'{{"schema": 1, "findings": [\n  {ENTRY.replace("path", "pth")}]}}', "2:3", "an entry of 'findings' has no 'path'"),
        (f'{{"schema": 1, "findings": [\n{ENTRY.replace("1", "1.5")}]}}', "2:53", "'count' must be a whole number"),
        (f'{{"schema": 1, "findings": [\n{ENTRY.replace("1", "0")}]}}', "2:53", "'count' must be at least 1"),
        (f'{{"schema": 1, "findings": [\n{ENTRY.replace(chr(34) + "f" + chr(34), "7")}]}}', "2:71", "'fingerprint' must be a string"),
    ],
)
def test_malformed(text, place, message, tmp_path):
    path = tmp_path / "base.json"
    path.write_text(text)
    with pytest.raises(ConfigError) as caught:
        Baseline.load(path)
    assert (str(caught.value.location), caught.value.message) == (f"{path}:{place}", message)


def test_not_utf8(tmp_path):
    path = tmp_path / "base.json"
    path.write_bytes(b'{"\xff": 1}')
    with pytest.raises(ConfigError, match="the baseline is not UTF-8"):
        Baseline.load(path)


@given(st.one_of(st.binary(max_size=60), st.text(st.sampled_from('{}[]":,1 \nnul"schema""findings"'), max_size=60).map(str.encode)))
@settings(max_examples=300)
def test_any_bytes_load_or_say_why(tmp_path_factory, data):
    path = tmp_path_factory.getbasetemp() / "any.json"
    path.write_bytes(data)
    try:
        Baseline.load(path)
    except ConfigError as error:
        assert error.message
