from __future__ import annotations

import pytest

from normadvisor.config import closest, did_you_mean


@pytest.mark.parametrize(
    ("word", "nearest"),
    [("slect", "select"), ("Extend-Select", "extend_select"), ("ignored", "ignore"), ("zzz", None), ("", None), ("x" * 100_000, None)],
)
def test_closest(word, nearest):
    assert closest(word, ["select", "extend_select", "ignore"]) == nearest


def test_hint_names_the_nearest_or_all():
    assert did_you_mean("fsd", ["ddp", "fsdp"]) == "did you mean 'fsdp'?"
    assert did_you_mean("zzz", ["ddp", "fsdp"]) == "known are 'ddp', 'fsdp'"
