from __future__ import annotations

import errno
import fcntl
import os
import stat
import threading
import time

import pytest

from normadvisor.files.replace import FileChangedError, replace_file, replacing, sweep


def _names(folder):
    return sorted(path.name for path in folder.iterdir())


def _others(folder):
    return [name for name in _names(folder) if name.startswith(".normadvisor")]


def test_a_new_file_follows_the_umask_and_an_old_one_keeps_its_mode(tmp_path):
    old_mask = os.umask(0o027)
    try:
        replace_file(tmp_path / "new.py", b"1")
        path = tmp_path / "old.py"
        path.write_bytes(b"0")
        path.chmod(0o4751)
        replace_file(path, b"1")
    finally:
        os.umask(old_mask)
    modes = [stat.S_IMODE((tmp_path / name).stat().st_mode) for name in ("new.py", "old.py")]
    assert (modes, _others(tmp_path)) == ([0o640, 0o4751], [])


def test_a_private_file_is_private_while_it_is_written(tmp_path):
    path = tmp_path / "secret.py"
    path.write_bytes(b"0")
    path.chmod(0o644)
    seen = []
    real = os.write

    def write(descriptor, data):
        seen.append(stat.S_IMODE(os.fstat(descriptor).st_mode))
        return real(descriptor, data[:2])

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(os, "write", write)
        replace_file(path, b"12345")
    assert (seen, path.read_bytes(), stat.S_IMODE(path.stat().st_mode)) == ([0o600] * 3, b"12345", 0o644)


def test_a_link_stays_a_link_and_a_hard_link_is_told(tmp_path):
    path, link, hard = (tmp_path / name for name in ("a.py", "link.py", "hard.py"))
    path.write_bytes(b"0")
    link.symlink_to("a.py")
    assert replace_file(link, b"1") == []
    assert (link.is_symlink(), path.read_bytes()) == (True, b"1")
    os.link(path, hard)
    assert replace_file(link, b"2", b"1") == ["had 2 names (hard links): the others keep the old contents"]
    assert (path.read_bytes(), hard.read_bytes()) == (b"2", b"1")


def test_extended_attributes_are_kept(tmp_path):
    path = tmp_path / "a.py"
    path.write_bytes(b"0")
    try:
        os.setxattr(path, "user.origin", b"here")
    except OSError as error:
        assert error.errno == errno.ENOTSUP
        pytest.skip("the file system has no extended attributes")
    assert replace_file(path, b"1", b"0") == []
    assert os.getxattr(path, "user.origin") == b"here"


@pytest.mark.skipif(os.geteuid() != 0, reason="only root may give files away")
def test_the_owner_is_kept(tmp_path):
    path = tmp_path / "a.py"
    path.write_bytes(b"0")
    os.chown(path, 12345, 23456)
    path.chmod(0o4755)
    replace_file(path, b"1", b"0")
    found = path.stat()
    assert (found.st_uid, found.st_gid, stat.S_IMODE(found.st_mode)) == (12345, 23456, 0o4755)


def test_other_contents_than_expected_are_left(tmp_path):
    path = tmp_path / "a.py"
    path.write_bytes(b"02")
    for expected in (b"0", b"022", b""):
        with pytest.raises(FileChangedError, match="has changed since it was read"):
            replace_file(path, b"1", expected)
    with pytest.raises(FileNotFoundError):
        replace_file(tmp_path / "b.py", b"1", b"0")
    assert (path.read_bytes(), _names(tmp_path)) == (b"02", ["a.py"])


@pytest.mark.parametrize("how", ["write", "replace", "same"])
def test_a_change_after_preparing_is_seen(tmp_path, how):
    path = tmp_path / "a.py"
    path.write_bytes(b"0")
    with replacing(path, b"1", b"0") as replacement:
        if how == "write":
            path.write_bytes(b"2")
        else:
            other = tmp_path / "other"
            other.write_bytes(b"2" if how == "replace" else b"0")
            other.replace(path)
        with pytest.raises(FileChangedError):
            replacement.commit()
    assert (path.read_bytes(), _others(tmp_path)) == (b"0" if how == "same" else b"2", [])


def test_what_is_not_committed_is_dropped(tmp_path):
    path = tmp_path / "a.py"
    path.write_bytes(b"0")

    def interrupted():
        with replacing(path, b"1", b"0"):
            assert len(_others(tmp_path)) == 1
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        interrupted()
    assert (path.read_bytes(), _names(tmp_path)) == (b"0", ["a.py"])


@pytest.mark.parametrize("call", ["write", "fsync", "fchmod"])
def test_a_full_disk_leaves_the_old_file(tmp_path, monkeypatch, call):
    path = tmp_path / "a.py"
    path.write_bytes(b"0")

    def fail(*_arguments):
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr(os, call, fail)
    with pytest.raises(OSError, match="No space left on device"):
        replace_file(path, b"1", b"0")
    assert (path.read_bytes(), _names(tmp_path)) == (b"0", ["a.py"])


def test_sweeping_takes_what_was_abandoned_and_nothing_else(tmp_path):
    stale = tmp_path / ".normadvisor-00.tmp"
    stale.write_bytes(b"half")
    mine = tmp_path / ".normadvisor-notes.txt"
    mine.write_bytes(b"")
    link = tmp_path / ".normadvisor-link.tmp"
    link.symlink_to(mine)
    os.mkfifo(tmp_path / ".normadvisor-pipe.tmp")
    (tmp_path / ".normadvisor-folder.tmp").mkdir()
    path = tmp_path / "a.py"
    path.write_bytes(b"0")
    with replacing(path, b"1", b"0") as replacement:
        assert sweep(tmp_path) == [stale]
        replacement.commit()
    assert path.read_bytes() == b"1"
    expected = [".normadvisor-folder.tmp", ".normadvisor-link.tmp", ".normadvisor-notes.txt", ".normadvisor-pipe.tmp"]
    assert (_others(tmp_path), sweep(tmp_path), sweep(tmp_path / "absent")) == (expected, [], [])


def test_without_locks_only_old_files_are_swept(tmp_path, monkeypatch):
    def fail(*_arguments):
        raise OSError(errno.ENOLCK, os.strerror(errno.ENOLCK))

    monkeypatch.setattr(fcntl, "flock", fail)
    old, new, path = tmp_path / ".normadvisor-00.tmp", tmp_path / ".normadvisor-01.tmp", tmp_path / "a.py"
    for file in (old, new, path):
        file.write_bytes(b"0")
    os.utime(old, (time.time() - 90_000,) * 2)
    assert sweep(tmp_path) == [old]
    replace_file(path, b"1", b"0")
    assert (path.read_bytes(), _others(tmp_path)) == (b"1", [new.name])


def test_the_second_of_two_waits_and_finds_the_file_changed(tmp_path):
    path = tmp_path / "a.py"
    path.write_bytes(b"0")
    outcome = []

    def second():
        try:
            replace_file(path, b"2", b"0")
        except FileChangedError as error:
            outcome.append(error.strerror)

    thread = threading.Thread(target=second)
    with replacing(path, b"1", b"0") as replacement:
        thread.start()
        time.sleep(0.1)
        assert thread.is_alive()
        replacement.commit()
    thread.join(100)
    assert (outcome, path.read_bytes()) == (["has changed since it was read"], b"1")


def test_whoever_holds_the_file_too_long_is_told(tmp_path, monkeypatch):
    monkeypatch.setattr("normadvisor.files.replace._PATIENCE", 0.05)
    path = tmp_path / "a.py"
    path.write_bytes(b"0")
    with replacing(path, b"1", b"0"), pytest.raises(OSError, match="is being replaced by another process"):
        replace_file(path, b"2", b"0")
    assert path.read_bytes() == b"0"
