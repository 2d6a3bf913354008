from __future__ import annotations

import errno
import os
import random
import resource
import shutil
import signal
import subprocess
import sys
import textwrap
import time
from pathlib import Path

import pytest

from normadvisor.files.replace import sweep
from normadvisor.rewrite.text.changes import FileChange
from normadvisor.rewrite.text.write import Written, write

ROOT = Path(__file__).resolve().parents[3]


def _change(path: Path, before: bytes = b"old\n", after: bytes = b"new\n") -> FileChange:
    path.write_bytes(before)
    return FileChange(path, before, after)


def _names(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir())


def _start(code: str, *arguments: object) -> subprocess.Popen[str]:
    command = [sys.executable, "-c", textwrap.dedent(code), *map(str, arguments)]
    return subprocess.Popen(command, cwd=ROOT, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)


def test_every_file_is_written_that_still_is_what_was_read(tmp_path):
    good, same, changed, gone, folder = (tmp_path / name for name in ("good.py", "same.py", "changed.py", "gone.py", "folder"))
    changes = [_change(path) for path in (good, changed, gone)]
    changes.append(_change(same, b"x", b"x"))
    changed.write_bytes(b"old\nand more\n")
    gone.unlink()
    folder.mkdir()
    changes.append(FileChange(folder, b"", b"x"))
    failed = ((changed, "has changed since it was read"), (folder, "is no regular file"), (gone, "is gone"))
    assert write(changes) == Written((good,), failed)
    assert (good.read_bytes(), changed.read_bytes()) == (b"new\n", b"old\nand more\n")
    assert _names(tmp_path) == ["changed.py", "folder", "good.py", "same.py"]


def test_nothing_to_write(tmp_path):
    assert write([]) == Written()
    with pytest.raises(ValueError, match="written twice"):
        write([_change(tmp_path / "a.py"), _change(tmp_path / "a.py")])


def test_hard_links_are_noted(tmp_path):
    change = _change(tmp_path / "a.py")
    os.link(change.path, tmp_path / "b.py")
    assert write([change]) == Written((change.path,), (), ((change.path, "had 2 names (hard links): the others keep the old contents"),))


def test_a_read_only_file_is_left(tmp_path):
    change, other = _change(tmp_path / "a.py"), _change(tmp_path / "b.py")
    change.path.chmod(0o444)
    assert write([change, other]) == Written((other.path,), ((change.path, "is read-only"),))
    assert change.path.read_bytes() == b"old\n"


def test_files_that_go_together_are_written_together_or_not_at_all(tmp_path):
    paths = [tmp_path / f"{name}.py" for name in "abcde"]
    changes = [_change(path) for path in paths]
    a, b, c, d, e = paths
    c.chmod(0o444)
    why = f"was left as it is, since {c} goes with it and could not be written"
    expected = Written((d, e), ((a, why), (b, why), (c, "is read-only")))
    assert write(changes, together=[{a, b}, {b, c}, {d}, {tmp_path / "absent.py"}]) == expected
    assert [path.read_bytes() for path in paths] == [b"old\n"] * 3 + [b"new\n"] * 2
    assert _names(tmp_path) == [path.name for path in paths]


def test_a_file_that_fails_at_the_last_moment_takes_back_those_that_go_with_it(tmp_path, monkeypatch):
    changes = [_change(tmp_path / name) for name in ("a.py", "b.py")]
    real = Path.replace

    def fail(self, target):
        if target.name == "b.py":
            raise OSError(errno.EIO, "Input/output error")
        return real(self, target)

    monkeypatch.setattr(Path, "replace", fail)
    first, second = (change.path for change in changes)
    why = f"was left as it is, since {second} goes with it and could not be written"
    expected = Written((), ((first, why), (second, "cannot be written: Input/output error")))
    assert write(changes, together=[{first, second}]) == expected
    assert [path.read_bytes() for path in (first, second)] == [b"old\n"] * 2
    assert _names(tmp_path) == ["a.py", "b.py"]


WRITE_AS_NOBODY = """
    import os, sys
    from pathlib import Path
    from normadvisor.rewrite.text.changes import FileChange
    from normadvisor.rewrite.text.write import write
    path = Path(sys.argv[1])
    before = path.read_bytes()
    if os.geteuid() == 0:
        os.setgroups([])
        os.setgid(65534)
        os.setuid(65534)
    result = write([FileChange(path, before, b"new")])
    print([[str(path), reason] for path, reason in (*result.failed, *result.notes)])
    """


@pytest.mark.parametrize(
    ("folder_mode", "mode", "owner", "expected"),
    [
        (0o555, 0o666, 65534, "stands in a folder that is read-only"),
        (0o777, 0o444, 65534, "is read-only"),
        (0o777, 0o644, 0, "is read-only"),
        (0o777, 0o666, 0, "has another owner now, since only its owner may give it away"),
        (0o777, 0o644, 65534, None),
    ],
)
@pytest.mark.skipif(os.geteuid() != 0, reason="needs two users")
def test_permissions_are_those_of_the_user(folder_mode, mode, owner, expected):
    folder = Path("/tmp") / f"normadvisor-test-{os.getpid()}"
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir()
    try:
        path = folder / "a.py"
        path.write_bytes(b"old")
        os.chown(path, owner, owner)
        path.chmod(mode)
        folder.chmod(folder_mode)
        process = _start(WRITE_AS_NOBODY, path)
        out, error = process.communicate()
        written = expected is None or "owner" in expected
        assert (out, error) == (f"{[[str(path), expected]] if expected else []}\n", "")
        assert (path.read_bytes(), _names(folder)) == (b"new" if written else b"old", ["a.py"])
    finally:
        shutil.rmtree(folder)


@pytest.fixture
def small_disk(tmp_path):
    """A file system with room for a few blocks."""
    folder = tmp_path / "disk"
    folder.mkdir()
    command = ["mount", "-t", "tmpfs", "-o", "size=64k", "none", str(folder)]
    if shutil.which("mount") is None or subprocess.run(command, check=False, capture_output=True).returncode != 0:
        pytest.skip("file systems cannot be mounted here")
    yield folder
    subprocess.run(["umount", str(folder)], check=True)


def test_a_full_disk_leaves_every_file_whole(small_disk):
    large = _change(small_disk / "a.py", b"a" * 20_000, b"b" * 60_000)
    little = _change(small_disk / "b.py", b"a" * 10, b"b" * 10)
    expected = Written((little.path,), ((large.path, "cannot be written: No space left on device"),))
    assert write([large, little]) == expected
    assert (large.path.read_bytes(), little.path.read_bytes()) == (large.before, little.after)
    assert _names(small_disk) == ["a.py", "b.py"]


def test_a_limit_of_file_sizes_leaves_every_file_whole(tmp_path):
    change = _change(tmp_path / "a.py", b"a" * 1000, b"b" * 100_000)
    limits, handler = resource.getrlimit(resource.RLIMIT_FSIZE), signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    resource.setrlimit(resource.RLIMIT_FSIZE, (50_000, limits[1]))
    try:
        result = write([change])
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)
        signal.signal(signal.SIGXFSZ, handler)
    assert result == Written((), ((change.path, "cannot be written: File too large"),))
    assert (change.path.read_bytes(), _names(tmp_path)) == (change.before, ["a.py"])


def test_an_interrupt_leaves_every_file_whole(tmp_path, monkeypatch):
    changes = [_change(tmp_path / f"{name}.py") for name in "abc"]
    real, calls = os.fsync, []

    def interrupted(descriptor):
        calls.append(descriptor)
        if len(calls) == 3:  # a file, its folder, and the next file
            raise KeyboardInterrupt
        real(descriptor)

    monkeypatch.setattr(os, "fsync", interrupted)
    with pytest.raises(KeyboardInterrupt):
        write(changes)
    assert [change.path.read_bytes() for change in changes] == [b"new\n", b"old\n", b"old\n"]
    assert _names(tmp_path) == ["a.py", "b.py", "c.py"]


REWRITE_FOR_EVER = """
    import sys
    from pathlib import Path
    from normadvisor.rewrite.text.changes import FileChange
    from normadvisor.rewrite.text.write import write
    folder = Path(sys.argv[1])
    paths = sorted(folder.glob("*.py"))
    contents = [letter * 300_000 for letter in (b"a", b"b")]
    print("ready", flush=True)
    while True:
        for old, new in (contents, contents[::-1]):
            changes = [FileChange(path, old, new) for path in paths if path.read_bytes() == old]
            write(changes, together=[paths])
    """


def test_a_run_that_is_killed_at_any_moment_leaves_every_file_whole(tmp_path):
    rng = random.Random(0)
    paths = [tmp_path / f"{name}.py" for name in "abcd"]
    contents = {b"a" * 300_000, b"b" * 300_000}
    for path in paths:
        path.write_bytes(b"a" * 300_000)
    stale = rounds = 0
    # The kills have to hit runs that were writing.
    while rounds < 25 or not stale:
        rounds += 1
        assert rounds < 500
        process = _start(REWRITE_FOR_EVER, tmp_path)
        assert process.stdout.readline() == "ready\n"
        time.sleep(rng.uniform(0, 0.06 * max(1, rounds / 25)))
        process.kill()
        process.communicate()
        assert {path.read_bytes() for path in paths} <= contents
        stale += len(_names(tmp_path)) - len(paths)
    # A later run takes away what they left.
    before = paths[0].read_bytes()
    assert write([FileChange(paths[0], before, b"c")]).failed == ()
    assert _names(tmp_path) == [path.name for path in paths]


COUNT = """
    import sys
    from pathlib import Path
    from normadvisor.rewrite.text.changes import FileChange
    from normadvisor.rewrite.text.write import write
    from normadvisor.files import replace
    replace._PATIENCE = 1000
    path, rounds = Path(sys.argv[1]), int(sys.argv[2])
    done = 0
    while done < rounds:
        before = path.read_bytes()
        result = write([FileChange(path, before, b"%d" % (int(before) + 1))])
        done += len(result.written)
        for _, reason in result.failed:
            assert reason == "has changed since it was read", reason
    """


def test_runs_at_the_same_time_lose_nothing(tmp_path):
    path = tmp_path / "counter.py"
    path.write_bytes(b"0")
    processes = [_start(COUNT, path, 40) for _ in range(4)]
    outcomes = [(process.communicate(), process.returncode) for process in processes]
    assert outcomes == [(("", ""), 0)] * 4
    assert (path.read_bytes(), _names(tmp_path), sweep(tmp_path)) == (b"160", ["counter.py"], [])
