"""Real paths of many files."""

from __future__ import annotations

import os

import pytest

from normadvisor.files.real import RealPaths


def test_links_are_followed_wherever_they_stand(tmp_path):
    folder = tmp_path / "folder"
    folder.mkdir()
    (folder / "a.py").write_text("")
    (tmp_path / "link").symlink_to(folder)
    (tmp_path / "b.py").symlink_to(folder / "a.py")
    (tmp_path / "loop").symlink_to(tmp_path / "loop")
    real = RealPaths()
    for name in ("folder/a.py", "link/a.py", "b.py", "link/../b.py", "folder/missing.py", "missing/x.py", "link/.", "link/..", "loop/a.py", "loop"):
        path = os.path.join(tmp_path, name)  # noqa: PTH118
        assert [real.of(path), real.of(path)] == [os.path.realpath(path)] * 2
    assert real.of("a.py") == os.path.realpath("a.py")
    with pytest.raises(ValueError, match="null"):
        real.of("a\0/b")
