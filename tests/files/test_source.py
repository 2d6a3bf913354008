from __future__ import annotations

import sys

import pytest
from hypothesis import given
from hypothesis import strategies as st

from normadvisor.errors import TargetError
from normadvisor.files.source import MAX_BYTES, read_source, read_text
from normadvisor.targets.discover import discover


def test_encodings_and_line_ends(tmp_path):
    path = tmp_path / "a.py"
    path.write_bytes(b"# -*- coding: latin-1 -*-\r\nname = '\xe4'\r\n")
    assert read_text(path) == "# -*- coding: latin-1 -*-\nname = 'ä'\n"
    path.write_bytes(b"#!python\r# -*- coding: latin-1 -*-\rname = '\xe4'\r")
    assert read_text(path) == "#!python\n# -*- coding: latin-1 -*-\nname = 'ä'\n"
    path.write_bytes(b"\xef\xbb\xbfname = 1\r")
    assert read_text(path) == "name = 1\n"


@pytest.mark.parametrize(
    ("data", "line", "words"),
    [
        (b"x = 1\ny = '\xe4'\n", 2, "byte 0xe4 is not valid utf-8"),
        (b"# coding: no-such\n", 1, "unknown encoding"),
        (b"x = 1\n\n\0", 3, "NUL bytes"),
        (b"x = 1\nclass (:\n", 2, "not valid Python"),
        (b"x = " + b"(" * 5000 + b")" * 5000, 1, "not valid Python: too many nested parentheses"),
        (b"x = " + b"-" * 100000 + b"1", 1, "nested too deeply"),
        (b"\xff\xfex\0=\0", 1, "NUL bytes"),
    ],
)
def test_what_is_not_python_is_one_located_error(tmp_path, data, line, words):
    path = tmp_path / "a.py"
    path.write_bytes(data)
    with pytest.raises(TargetError) as caught:
        read_source(path)
    assert (caught.value.location.path, caught.value.location.line) == (str(path), line)
    assert words in caught.value.message


def test_huge_and_missing_files(tmp_path):
    path = tmp_path / "a.py"
    path.write_bytes(b"#" * (MAX_BYTES + 1))
    with pytest.raises(TargetError, match="larger than 16 MiB"):
        read_source(path)
    with pytest.raises(TargetError, match="cannot read"):
        read_source(tmp_path / "b.py")


@given(st.binary(max_size=200))
def test_any_bytes_are_read_or_are_a_target_error(tmp_path_factory, data):
    path = tmp_path_factory.getbasetemp() / "bytes.py"
    path.write_bytes(data)
    try:
        assert discover(path) == []
    except TargetError as error:
        assert error.message


@pytest.mark.parametrize(
    ("text", "version"),
    [("try:\n    pass\nexcept A, B:\n    pass\n", "3.14"), ('x = t"hello {y}"\n', "3.14"), ("type X = int\n", "3.12"), ("def f[T](x: T): ...\n", "3.12")],
)
def test_newer_python_is_named(tmp_path, text, version):
    """Syntax of a later Python is told from mistakes; on that Python itself it is none."""
    path = tmp_path / "new.py"
    path.write_text(text)
    if sys.version_info >= tuple(map(int, version.split("."))):
        assert read_source(path).text == text
        return
    with pytest.raises(TargetError) as caught:
        read_source(path)
    own = f"{sys.version_info.major}.{sys.version_info.minor}"
    assert caught.value.hint == f"this looks like Python {version}; files are read by the Python that normadvisor runs on, which is {own}"
