"""Several ways to compute the same."""

from __future__ import annotations

import pytest

from normadvisor.fused.common.implementations import Implementation, find, present

OURS = Implementation(name="fused", run=max, refuses=str)
ABSENT = Implementation(name="other", run=max, refuses=str, package="no_package_of_this_name")
INSTALLED = Implementation(name="third", run=max, refuses=str, package="torch")


def test_only_what_is_installed_is_present():
    assert present((OURS, ABSENT, INSTALLED)) == (OURS, INSTALLED)
    assert (OURS.missing, ABSENT.missing, INSTALLED.missing) == ("", "no_package_of_this_name is not installed", "")


def test_is_found_by_name():
    assert find((OURS, INSTALLED), "third") is INSTALLED


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("other", "implementation 'other' is not there: no_package_of_this_name is not installed"),
        ("fast", "unknown implementation 'fast': expected one of fused, other"),
    ],
)
def test_what_is_not_there_is_said(name, message):
    with pytest.raises(ValueError, match=message):
        find((OURS, ABSENT), name)
