"""What was read once is not read again, until something it depends on changes."""

from __future__ import annotations

import json
import os
import threading
import time
from dataclasses import replace

import pytest

import normadvisor.api.static.cache
from normadvisor.api.static import cache as cache_module
from normadvisor.api.static.cache import ResultCache
from normadvisor.api.static.check import read_scripts
from normadvisor.types import RunContext, Severity

DROPOUT = "import torch.nn.functional as F\nclass Net:\n    def forward(self, x):\n        return F.dropout(x)\n"


@pytest.fixture
def check(tmp_path, fake, setup):
    """Read files with a cache: findings as (file, line), and the files that were read."""

    def check(*names, folder=None, **changes):
        fake.read.clear()
        paths = [tmp_path / name for name in names]
        reading = read_scripts(paths, setup(**changes), jobs=1, timeout=60, cache=folder or tmp_path / "cache", told=None)
        return [(finding.path.rpartition("/")[2], finding.line) for finding in reading.findings()], list(fake.read)

    return check


def write(path, text):
    """Write a file as it would have been before the run."""
    path.write_text(text)
    before = time.time_ns() - 10**9
    os.utime(path, ns=(before, before))


def entries(tmp_path):
    return sorted((tmp_path / "cache" / "v1").glob("*.json"))


def test_a_second_run_reads_nothing(tmp_path, check):
    write(tmp_path / "a.py", DROPOUT)
    write(tmp_path / "b.py", "x = 1\n")
    first = check("a.py", "b.py")
    assert first == ([("a.py", 4)], ["a.py", "b.py"])
    assert check("a.py", "b.py") == (first[0], [])
    write(tmp_path / "b.py", "x = 2\n" + DROPOUT)
    assert check("a.py", "b.py") == ([("a.py", 4), ("b.py", 5)], ["b.py"])
    assert len(entries(tmp_path)) == 2


def test_contents_count_and_times_do_not(tmp_path, check):
    write(tmp_path / "a.py", DROPOUT)
    check("a.py")
    os.utime(tmp_path / "a.py")
    assert check("a.py")[1] == []


def test_a_dependency_that_changes_or_goes(tmp_path, check):
    write(tmp_path / "a.py", DROPOUT + "# uses b.py\n")
    write(tmp_path / "b.py", "x = 1\n")
    check("a.py")
    assert check("a.py")[1] == []
    write(tmp_path / "b.py", "x = 2\n")
    assert check("a.py")[1] == ["a.py"]
    (tmp_path / "b.py").unlink()
    assert check("a.py")[1] == ["a.py"]


def test_a_new_module_may_be_what_an_import_means(tmp_path, check):
    write(tmp_path / "a.py", "import models\n")
    check("a.py")
    (tmp_path / "notes.txt").touch()
    assert check("a.py")[1] == []
    (tmp_path / "models").mkdir()
    assert check("a.py")[1] == ["a.py"]
    assert check("a.py")[1] == []
    write(tmp_path / "models.py", "")
    assert check("a.py")[1] == ["a.py"]


def test_rules_settings_and_versions_count(tmp_path, check, rules, monkeypatch):
    write(tmp_path / "a.py", DROPOUT)
    check("a.py")
    rule = rules["NA509"]
    assert check("a.py", rules=(replace(rule, severity=Severity.INFO),))[1] == ["a.py"]
    assert check("a.py", rules=(rule, rules["NA401"]))[1] == ["a.py"]
    assert check("a.py", flags=RunContext(batch_size=2))[1] == ["a.py"]
    assert check("a.py", context=RunContext(batch_size=2))[1] == ["a.py"]
    assert check("a.py", survey=True)[1] == ["a.py"]
    assert check("a.py")[1] == []
    monkeypatch.setattr(cache_module, "__version__", "0.0.0")
    assert check("a.py")[1] == ["a.py"]
    monkeypatch.undo()


def test_a_changed_program_counts(tmp_path, check, monkeypatch):
    write(tmp_path / "a.py", DROPOUT)
    check("a.py")
    monkeypatch.setattr(cache_module, "_own_code", lambda: "other")
    check("a.py")
    assert len(entries(tmp_path)) == 2


@pytest.mark.parametrize(
    "damage",
    [
        lambda text: text[: len(text) // 2],
        lambda _text: "",
        lambda _text: "[]",
        lambda _text: "null",
        lambda _text: "[" * 100_000,
        lambda text: text.replace('"findings"', '"other"'),
        lambda text: text.replace('"line":4', '"line":"4"'),
        lambda text: text.replace('"line":4', '"line":4,"unknown":1'),
        lambda text: text.replace('"severity":"warning"', '"severity":"huge"'),
        lambda text: text.replace('"files":{', '"files":{"/etc/passwd":"0",'),
        lambda text: json.dumps({**json.loads(text), "files": [1]}),
        lambda text: json.dumps({**json.loads(text), "key": 3}),
    ],
)
def test_damaged_and_foreign_entries_are_not_there(tmp_path, check, damage):
    write(tmp_path / "a.py", DROPOUT)
    first = check("a.py")
    (entry,) = entries(tmp_path)
    damaged = damage(entry.read_text())
    assert damaged != entry.read_text()
    entry.write_text(damaged)
    assert check("a.py") == first
    assert check("a.py")[1] == []


def test_binary_garbage_and_folders_in_the_place_of_entries(tmp_path, check):
    write(tmp_path / "a.py", DROPOUT)
    first = check("a.py")
    (entry,) = entries(tmp_path)
    entry.write_bytes(b"\x80\x04\x95cos\nsystem\n\xff\xfe")
    assert check("a.py") == first
    entry.unlink()
    entry.mkdir()
    assert check("a.py") == first


def test_a_cache_that_cannot_be_written_is_none(tmp_path, check):
    write(tmp_path / "a.py", DROPOUT)
    write(tmp_path / "file", "")
    assert check("a.py", folder=tmp_path / "file" / "cache") == ([("a.py", 4)], ["a.py"])
    assert check("a.py", folder=tmp_path / "file") == ([("a.py", 4)], ["a.py"])
    assert (tmp_path / "file").read_text() == ""


@pytest.mark.skipif(not hasattr(os, "geteuid") or os.geteuid() == 0, reason="NOT CHECKED: for root every folder can be written to")
def test_a_folder_that_is_read_only(tmp_path, check):
    write(tmp_path / "a.py", DROPOUT)
    (tmp_path / "cache").mkdir(mode=0o500)
    assert check("a.py") == ([("a.py", 4)], ["a.py"])


def test_what_changes_while_it_is_read_is_not_kept(tmp_path, check):
    (tmp_path / "a.py").write_text(DROPOUT)
    os.utime(tmp_path / "a.py", (time.time() + 60, time.time() + 60))
    check("a.py")
    assert check("a.py")[1] == ["a.py"]


def test_problems_and_notes_are_kept_but_not_our_own_mistakes(tmp_path, check, fake, setup):
    write(tmp_path / "a.py", "def (:\n")
    write(tmp_path / "b.py", "x = 1  # slow\n")
    write(tmp_path / "c.py", "x = 1  # bug\n")
    names = ["a.py", "b.py", "c.py"]
    assert check(*names)[1] == ["b.py", "c.py"]
    reading = read_scripts([tmp_path / name for name in names], setup(), jobs=1, timeout=60, cache=tmp_path / "cache", told=None)
    assert fake.read == ["b.py", "c.py", "c.py"]
    assert [len(result.problems) for result in reading.results] == [1, 0, 1]
    assert list(reading.notes(lambda path: path.name, [])) == ["b.py: the budget ran out"]
    assert reading.results[2].problems[0].message.startswith("reading it failed: ZeroDivisionError")
    assert "Traceback" in reading.results[2].problems[0].details


def test_the_folder_explains_itself_to_git_and_to_backups(tmp_path, check):
    write(tmp_path / "a.py", DROPOUT)
    check("a.py")
    assert "*" in (tmp_path / "cache" / ".gitignore").read_text().splitlines()
    assert (tmp_path / "cache" / "CACHEDIR.TAG").read_text().startswith("Signature: 8a477f597d28d172789f06886806bc55")


def test_old_entries_and_leftovers_go(tmp_path, check, monkeypatch):
    for number in range(6):
        write(tmp_path / f"m{number}.py", f"x = {number}\n")
    monkeypatch.setattr(cache_module, "MOST_ENTRIES", 4)
    check(*(f"m{number}.py" for number in range(6)))
    assert len(entries(tmp_path)) == 4
    leftover, ancient = tmp_path / "cache" / "v1" / "a.json.0.tmp", tmp_path / "cache" / "v1" / "a.json"
    for path, age in ((leftover, 7200), (ancient, 40 * 24 * 3600)):
        path.touch()
        os.utime(path, (time.time() - age, time.time() - age))
    write(tmp_path / "m0.py", "x = 7\n")
    check("m0.py")
    assert not leftover.exists()
    assert not ancient.exists()


def test_runs_at_the_same_time(tmp_path, fake, setup):
    for number in range(20):
        write(tmp_path / f"m{number}.py", DROPOUT + f"# {number}\n")
    paths = [tmp_path / f"m{number}.py" for number in range(20)]
    results, errors = [], []

    def run():
        try:
            for _ in range(5):
                reading = read_scripts(paths, setup(), jobs=1, timeout=60, cache=tmp_path / "cache", told=None)
                results.append([(finding.path, finding.line) for finding in reading.findings()])
        except BaseException as error:
            errors.append(error)
            raise

    threads = [threading.Thread(target=run) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert errors == []
    assert len(results) == 20
    assert all(result == [(str(path), 4) for path in paths] for result in results)
    assert not list((tmp_path / "cache" / "v1").glob("*.tmp"))


def test_a_hit_reads_each_file_once(tmp_path, check, monkeypatch, setup):
    write(tmp_path / "shared.py", "x = 1\n")
    names = [f"m{number}.py" for number in range(5)]
    for name in names:
        write(tmp_path / name, DROPOUT + "# uses shared.py\n")
    check(*names)
    hashed = []
    original = normadvisor.api.static.cache._hashed
    monkeypatch.setattr(normadvisor.api.static.cache, "_hashed", lambda data: hashed.append(data) or original(data))
    cache = ResultCache(tmp_path / "cache", setup())
    assert all(cache.get(tmp_path / name) is not None for name in names)
    assert sum(data == b"x = 1\n" for data in hashed) == 1
