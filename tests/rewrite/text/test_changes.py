from __future__ import annotations

import os
import subprocess
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from normadvisor.errors import RewriteError
from normadvisor.rewrite.text.changes import FileChange, changed_files, diff, patch
from normadvisor.types import Edit


def git(folder: Path, *arguments: str, data: bytes = b"") -> subprocess.CompletedProcess[bytes]:
    environment = {"PATH": os.environ["PATH"], "GIT_CONFIG_GLOBAL": os.devnull, "GIT_CONFIG_SYSTEM": os.devnull, "HOME": str(folder)}
    return subprocess.run(["git", *arguments], cwd=folder, input=data, capture_output=True, check=False, env=environment)


@pytest.fixture
def tree(tmp_path):
    """An empty git work tree."""
    assert git(tmp_path, "init", "-q").returncode == 0
    return tmp_path


def test_edits_are_gathered_by_file(tmp_path):
    first, second, same = (tmp_path / name for name in ("b.py", "a.py", "c.py"))
    first.write_bytes(b"b = 1\r\n")
    second.write_bytes(b"a = 1\n")
    same.write_bytes(b"c = 1\n")
    link = tmp_path / "link.py"
    link.symlink_to(first)
    edits = [
        Edit(str(first), 1, 5, 1, 6, "2"),
        Edit(str(second), 1, 5, 1, 6, "3"),
        Edit(str(link), 1, 1, 1, 1, "x\n"),
        Edit(str(same), 1, 5, 1, 6, "1"),
    ]
    expected = [FileChange(second, b"a = 1\n", b"a = 3\n"), FileChange(first, b"b = 1\r\n", b"x\r\nb = 2\r\n")]
    assert changed_files(edits) == expected
    assert first.read_bytes() == b"b = 1\r\n"


def test_a_diff_for_people(tmp_path):
    before = b"".join(b"line_%d = %d\r\n" % (i, i) for i in range(20)) + b"# coding \xc3\xa4"
    after = before.replace(b"line_1 = 1\r\n", b"").replace(b"\xc3\xa4", b"\xc3\xb6\r\n")
    change = FileChange(tmp_path / "models" / "net.py", before, after)
    expected = """\
--- a/models/net.py
+++ b/models/net.py
@@ -1,5 +1,4 @@
 line_0 = 0
-line_1 = 1
 line_2 = 2
 line_3 = 3
 line_4 = 4
@@ -18,4 +17,4 @@
 line_17 = 17
 line_18 = 18
 line_19 = 19
-# coding ä
\\ No newline at end of file
+# coding ö
"""
    assert diff(change, root=tmp_path) == expected
    assert diff(FileChange(change.path, before, before), root=tmp_path) == ""
    assert diff(change, root=tmp_path / "other").splitlines()[0] == f"--- a{tmp_path}/models/net.py"


def test_a_diff_in_colour_lets_no_control_characters_through(tmp_path):
    change = FileChange(tmp_path / "a.py", b"--x\n'\x1b[2J\t\x0c'\n", b"++x\n'\x1b[2J\t\x0c'\n")
    expected = (
        "\x1b[1m--- a/a.py\x1b[0m\n\x1b[1m+++ b/a.py\x1b[0m\n\x1b[36m@@ -1,2 +1,2 @@\x1b[0m\n"
        "\x1b[31m---x\x1b[0m\n\x1b[32m+++x\x1b[0m\n '\\x1b[2J\t\\x0c'\n"
    )
    assert diff(change, root=tmp_path, color=True) == expected


NAMES = ["net.py", "my net.py", 'quo"te.py', "tab\tin.py", "back\\slash.py", "n\u00e4me.py", "new\nline.py", os.fsdecode(b"latin-\xe4.py"), "a/b/c.py"]
CONTENTS = [
    (b"a = 1\nb = 2\n", b"a = 1\nb = 3\n"),
    (b"a = 1\r\nb = 2\r\n", b"a = 1\r\nc = 3\r\nb = 2\r\n"),
    (b"a = 1\rb = 2\r", b"a = 1\rb = 3\r"),
    (b"a = 1", b"a = 2"),
    (b"a = 1", b"a = 1\n"),
    (b"a = 1\n", b"a = 1"),
    (b"# coding: latin-1\nx = '\xe4'\n", b"# coding: latin-1\nx = '\xf6'\n"),
    (b"\xef\xbb\xbfa = 1\n", b"\xef\xbb\xbfa = 2\n"),
    (b"a = 1\n", b""),
    (b"", b"a = 1\n"),
    (b"a = 1 \t\n\x0c\nb\x1c\xe2\x80\xa8\n", b"a = 1 \t\n\x0c\nc\x1c\xe2\x80\xa8 \n"),
]


@pytest.mark.parametrize("name", NAMES)
def test_git_applies_a_patch_whatever_the_name(tree, name):
    path = tree / name
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(b"a = 1\n")
    made = patch([FileChange(path, b"a = 1\n", b"a = 2\n")], tree)
    check = git(tree, "apply", "--check", data=made)
    assert (check.returncode, check.stderr) == (0, b"")
    assert git(tree, "apply", data=made).returncode == 0
    assert path.read_bytes() == b"a = 2\n"


@pytest.mark.parametrize(("before", "after"), CONTENTS)
def test_git_applies_a_patch_byte_for_byte(tree, before, after):
    first, second = tree / "a.py", tree / "folder" / "b.py"
    second.parent.mkdir()
    for path in (first, second):
        path.write_bytes(before)
    made = patch([FileChange(path, before, after) for path in (first, second)], second.parent)
    assert git(tree, "apply", "--check", data=made).returncode == 0
    # From a folder below, git would leave out what is not in it.
    assert git(tree, "apply", data=made).returncode == 0
    # Git removes what becomes empty only if the patch says so.
    assert [path.read_bytes() for path in (first, second)] == [after, after]
    assert git(tree, "apply", "--reverse", data=made).returncode == 0
    assert [path.read_bytes() for path in (first, second)] == [before, before]


def test_a_patch_without_a_work_tree_is_relative_to_the_root(tmp_path):
    path = tmp_path / "net.py"
    path.write_bytes(b"a = 1\r\n")
    link = tmp_path / "link.py"
    link.symlink_to(path)
    expected = b"diff --git a/net.py b/net.py\n--- a/net.py\n+++ b/net.py\n@@ -1 +1 @@\n-a = 1\r\n+a = 2\r\n"
    assert patch([FileChange(link, b"a = 1\r\n", b"a = 2\r\n")], tmp_path) == expected
    assert git(tmp_path, "apply", data=expected).returncode == 0
    assert path.read_bytes() == b"a = 2\r\n"


def test_nothing_changed_is_an_empty_patch(tmp_path):
    assert patch([FileChange(tmp_path / "a.py", b"a", b"a")], tmp_path) == b""


def test_a_file_outside_cannot_be_named(tmp_path):
    (tmp_path / "inner").mkdir()
    with pytest.raises(RewriteError) as caught:
        patch([FileChange(tmp_path / "a.py", b"a", b"b")], tmp_path / "inner")
    assert caught.value.message == f"{tmp_path}/a.py lies outside of {tmp_path}/inner, so a patch cannot name it"


_LINES = st.lists(st.tuples(st.sampled_from([b"a", b"b", b"\xe4", b"", b"-x", b"+", b"\\ No", b"@@ -1 +1 @@"]), st.sampled_from([b"\n", b"\r\n", b"\r"])), max_size=12)


@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow])
@given(_LINES, _LINES, st.booleans(), st.booleans())
def test_git_applies_any_patch(tree, before, after, before_ends, after_ends):
    old = b"".join(line + end for line, end in before) + (b"" if before_ends else b"last")
    new = b"".join(line + end for line, end in after) + (b"" if after_ends else b"last")
    path = tree / "a.py"
    path.write_bytes(old)
    made = patch([FileChange(path, old, new)], tree)
    if old != new:
        result = git(tree, "apply", data=made)
        assert (result.returncode, path.read_bytes()) == (0, new), result.stderr
