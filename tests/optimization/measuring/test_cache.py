import json
from dataclasses import replace

import pytest

from normadvisor.optimization.measuring.cache import RatioCache
from normadvisor.types.optimization import Ratio

RATIO = Ratio(median=1.5, low=1.4, high=1.6, pairs=9, before=0.3, after=0.2)


def test_what_was_put_is_there_in_the_next_run(tmp_path):
    first = RatioCache(tmp_path / "new")
    first.put("a", RATIO)
    first.save()
    second = RatioCache(tmp_path / "new")
    assert (second.get("a"), second.get("b"), second.notes) == (replace(RATIO, cached=True), None, [])


def test_what_was_put_in_this_run_is_not_called_cached(tmp_path):
    cache = RatioCache(tmp_path)
    cache.put("a", RATIO)
    assert cache.get("a") == RATIO


def test_two_runs_at_once_keep_what_both_found(tmp_path):
    one, other = RatioCache(tmp_path), RatioCache(tmp_path)
    one.put("a", RATIO)
    other.put("b", RATIO)
    one.save()
    other.save()
    cache = RatioCache(tmp_path)
    assert cache.get("a") == cache.get("b") == replace(RATIO, cached=True)


def test_without_a_folder_nothing_is_kept(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    cache = RatioCache(None)
    cache.put("a", RATIO)
    cache.save()
    assert (cache.get("a"), list(tmp_path.iterdir())) == (RATIO, [])


def test_the_folder_of_the_user_is_that_of_the_environment(tmp_path, monkeypatch):
    monkeypatch.setenv("NORMADVISOR_CACHE_DIR", str(tmp_path))
    cache = RatioCache.of_user()
    cache.put("a", RATIO)
    cache.save()
    assert [path.name for path in tmp_path.iterdir()] == ["optimize-ratios.json"]


@pytest.mark.parametrize(
    "content",
    [
        b"", b"{", b"[]", b"null", b"\xff\xfe", b'{"schema": 1}', b'{"schema": 1, "ratios": {"a": 3}}',
        b'{"schema": 1, "ratios": {"a": {"median": "x"}}}', b"[" * 100_000,
        json.dumps({"schema": 1, "ratios": {"a": {**RATIO.to_dict(), "median": -1.0}}}).encode(),
        json.dumps({"schema": 1, "ratios": {"a": {**RATIO.to_dict(), "more": 1}}}).encode(),
    ],
)  # fmt: skip
def test_a_damaged_file_is_ignored_with_a_note_and_replaced(tmp_path, content):
    path = tmp_path / "optimize-ratios.json"
    path.write_bytes(content)
    cache = RatioCache(tmp_path)
    assert cache.get("a") is None
    assert [note.partition(" (")[0] for note in cache.notes] == [f"{path} cannot be read"]
    cache.put("b", RATIO)
    cache.save()
    assert RatioCache(tmp_path).get("b") == replace(RATIO, cached=True)


def test_a_file_of_another_version_is_ignored_without_a_note(tmp_path):
    (tmp_path / "optimize-ratios.json").write_text('{"schema": 99, "ratios": {}}', encoding="utf-8")
    assert RatioCache(tmp_path).notes == []


def test_a_folder_that_cannot_be_written_is_no_error(tmp_path):
    (tmp_path / "file").write_bytes(b"")
    cache = RatioCache(tmp_path / "file" / "below")
    cache.put("a", RATIO)
    cache.save()
    assert cache.get("a") == RATIO
