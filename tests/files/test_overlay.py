from __future__ import annotations

import os

from normadvisor.files.overlay import overlaid, overlay_number, overlay_of, overlay_paths, set_overlay
from normadvisor.files.source import read_bytes, read_source


def test_an_overlay_is_read_instead_of_the_disk_by_every_spelling_of_a_path(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    path = tmp_path / "net.py"
    path.write_bytes(b"a = 1\n")
    link = tmp_path / "link.py"
    link.symlink_to(path)
    absent = tmp_path / "absent.py"
    with overlaid({link: b"b = 2\r\n", absent: b"c = 3\n"}):
        spellings = [path, link, tmp_path / "x" / ".." / "net.py", type(path)("net.py")]
        assert [read_bytes(spelling) for spelling in spellings] == [b"b = 2\r\n"] * 4
        assert read_source(path).text == "b = 2\n"
        assert read_bytes(absent) == b"c = 3\n"
        assert overlay_paths() == {path, absent}
    assert read_bytes(path) == b"a = 1\n"
    assert overlay_paths() == frozenset()


def test_overlays_nest_and_can_stay(tmp_path):
    first, second = tmp_path / "a.py", tmp_path / "b.py"
    set_overlay({first: b"1", second: b"2"})
    with overlaid({second: b"3"}):
        assert (overlay_of(first), overlay_of(second)) == (b"1", b"3")
    assert (overlay_of(os.fspath(first)), overlay_of(second)) == (b"1", b"2")
    set_overlay({})
    assert (overlay_of(first), overlay_of("<string>\0")) == (None, None)


def test_overlays_are_told_apart(tmp_path):
    numbers = [overlay_number()]
    for data in (b"1", b"2"):
        with overlaid({tmp_path / "a.py": data}):
            numbers.append(overlay_number())
            with overlaid({}):
                numbers.append(overlay_number())
            assert overlay_number() == numbers[-2]
    assert (numbers[0], overlay_number(), len(set(numbers))) == (0, 0, 5)
