from __future__ import annotations

import json

import pytest

from normadvisor.fused.common import launch as tables
from normadvisor.fused.common.launch import Launch, all_launches, launch, load_launches, overridden, register_launches


@pytest.fixture(autouse=True)
def table(monkeypatch):
    monkeypatch.setattr(tables, "_tables", {})
    monkeypatch.setattr(tables, "_overrides", {})
    monkeypatch.setattr(tables, "_loaded", {})
    monkeypatch.delenv(tables.ENVIRONMENT, raising=False)
    register_launches("norm", {"rows": Launch(tile=1024, num_warps=4)})


def test_registered():
    assert launch("norm.rows") == Launch(tile=1024, num_warps=4, num_stages=1, programs=8, limit=0)
    assert all_launches() == {"norm.rows": {"tile": 1024, "num_warps": 4, "num_stages": 1, "programs": 8, "limit": 0}}
    with pytest.raises(KeyError, match=r"norm\.columns"):
        launch("norm.columns")


def test_overridden_inside_and_as_before_afterwards():
    with overridden({"norm.rows": {"tile": 64}}):
        with overridden({"norm.rows": {"num_warps": 8}}):
            assert launch("norm.rows") == Launch(tile=64, num_warps=8)
        assert launch("norm.rows") == Launch(tile=64, num_warps=4)
    assert launch("norm.rows") == Launch(tile=1024, num_warps=4)


def test_file(tmp_path):
    file = tmp_path / "launches.json"
    file.write_text(json.dumps({"norm.rows": {"num_stages": 3}}))
    load_launches(file)
    assert launch("norm.rows") == Launch(tile=1024, num_warps=4, num_stages=3)


def test_file_of_the_environment(tmp_path, monkeypatch):
    file = tmp_path / "launches.json"
    file.write_text(json.dumps({"norm.rows": {"limit": 7}}))
    monkeypatch.setenv(tables.ENVIRONMENT, str(file))
    assert launch("norm.rows") == Launch(tile=1024, num_warps=4, limit=7)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("[]", "expected a mapping of regimes, got list"),
        ('{"norm.rows": 3}', "expected a mapping for regime 'norm.rows'"),
        ('{"norm.rows": {"tiles": 3}}', "regime 'norm.rows' has no parameter 'tiles': expected limit, num_stages, num_warps, programs, tile"),
        ('{"norm.rows": {"limit": "3"}}', "norm.rows.limit must be a whole number, got '3'"),
        ('{"norm.rows": {"limit": -1}}', "norm.rows.limit must be a whole number, got -1"),
        ('{"norm.rows": {"limit": true}}', "norm.rows.limit must be a whole number, got True"),
        ('{"norm.rows": {"tile": 100}}', "norm.rows.tile must be a power of two, got 100"),
        ('{"norm.rows": {"num_warps": 0}}', "norm.rows.num_warps must be a power of two, got 0"),
        ("{", "Expecting property name enclosed in double quotes: line 1 column 2 (char 1)"),
    ],
)
def test_wrong_files(tmp_path, text, message):
    file = tmp_path / "launches.json"
    file.write_text(text)
    with pytest.raises(ValueError) as error:
        load_launches(file)
    assert str(error.value) == f"{file}: {message}"
    assert launch("norm.rows") == Launch(tile=1024, num_warps=4)
