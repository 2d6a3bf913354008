"""Rules that were read once are not read again, and nothing in the cache can hurt."""

from __future__ import annotations

import json
import subprocess
import sys

import pytest

from normadvisor.errors import RuleError
from normadvisor.rulebook import load_rules
from normadvisor.rulebook.store import FOLDER_VARIABLE, cache_folder, keep_rules, kept_rules, key_of


@pytest.fixture
def cache(tmp_path, monkeypatch):
    folder = tmp_path / "cache"
    monkeypatch.setenv(FOLDER_VARIABLE, str(folder))
    return folder


@pytest.fixture
def own(tmp_path, rule_text):
    path = tmp_path / "own.yaml"
    path.write_text(rule_text)
    return path


def test_the_second_run_reads_what_was_kept(cache, own):
    first = load_rules([own])
    assert [path.suffix for path in cache.iterdir()] == [".json"]
    again = load_rules([own])
    assert list(again.rules.values()) == list(first.rules.values())
    assert again.get("AC001").source == str(own)


def test_kept_rules_need_neither_yaml_nor_the_checks(cache):
    load_rules()
    code = (
        "import sys, normadvisor.rulebook as r; print(len(r.load_rules()) > 0, "
        "sorted({'torch', 'pydantic', 'simpleeval', 'yaml', 'normadvisor.rulebook.load'} & set(sys.modules)))"
    )
    assert subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout == "True []\n"


def test_a_changed_file_is_read_again(cache, own, rule_text):
    load_rules([own])
    own.write_text(rule_text.replace("severity: warning", "severity: error"))
    assert load_rules([own]).get("AC001").severity == "error"
    own.write_text(rule_text.replace("severity: warning", "severity: awful"))
    with pytest.raises(RuleError):
        load_rules([own])


@pytest.mark.parametrize(
    "damage",
    [
        lambda text: text[: len(text) // 2],
        lambda text: "",
        lambda text: "[1]",
        lambda text: "{}",
        lambda text: json.dumps([{**rule, "severity": "awful"} for rule in json.loads(text)]),
        lambda text: json.dumps([{**rule, "more": 1} for rule in json.loads(text)]),
        lambda text: "[" * 100_000,
        lambda text: "\udcff".encode("utf-8", "surrogateescape").decode("latin-1"),
    ],
)
def test_a_damaged_file_is_built_anew(cache, damage):
    whole = list(load_rules())
    (path,) = cache.iterdir()
    text = path.read_text(encoding="utf-8")
    path.write_text(damage(text), encoding="utf-8")
    assert list(load_rules()) == whole
    assert path.read_text(encoding="utf-8") == text


def test_a_folder_that_cannot_be_written_is_no_mistake(tmp_path, monkeypatch):
    (tmp_path / "file").write_text("")
    monkeypatch.setenv(FOLDER_VARIABLE, str(tmp_path / "file" / "cache"))
    assert len(load_rules()) > 0


def test_nothing_is_kept_where_the_user_wants_none(monkeypatch):
    monkeypatch.setenv(FOLDER_VARIABLE, "")
    assert cache_folder() is None
    assert kept_rules("x") is None
    keep_rules("x", [])
    assert len(load_rules()) > 0


def test_the_folder_is_the_users_cache(monkeypatch):
    monkeypatch.delenv(FOLDER_VARIABLE, raising=False)
    assert cache_folder() is not None
    assert cache_folder().name == "normadvisor"


def test_few_files_are_kept(cache):
    for number in range(12):
        keep_rules(f"{number}", [])
    assert len(list(cache.iterdir())) == 8


def test_the_key_is_the_content(own, tmp_path, rule_text):
    key = key_of([own])
    assert key == key_of([own])
    own.write_text(rule_text + "# more\n")
    assert key_of([own]) not in {key, None}
    assert key_of([tmp_path / "none.yaml"]) is None
    own.write_bytes(b"x" * 300_000)
    assert key_of([own]) is None
