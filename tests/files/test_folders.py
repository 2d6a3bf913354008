from __future__ import annotations

from normadvisor.files.folders import is_excluded, python_files


def test_only_what_the_user_wrote(tmp_path):
    wanted = ["a.py", "sub/b.py", "sub/deep/c.py"]
    unwanted = [
        ".hidden/x.py", "venv/x.py", "env3/lib/x.py", "sub/site-packages/x.py", "node_modules/x.py", "build/x.py", "sub/__pycache__/x.py",
        "a.txt", "pkg.egg-info/x.py",
    ]  # fmt: skip
    for name in [*wanted, *unwanted]:
        path = tmp_path / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.touch()
    (tmp_path / "env3" / "pyvenv.cfg").touch()
    assert python_files(tmp_path) == [tmp_path / name for name in wanted]


def test_excludes(tmp_path):
    for name in ("a.py", "gen/b.py", "sub/gen/c.py", "sub/test_d.py"):
        path = tmp_path / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.touch()

    def left(*exclude):
        return [path.relative_to(tmp_path).as_posix() for path in python_files(tmp_path, exclude)]

    assert left("gen") == ["a.py", "sub/test_d.py"]
    assert left("gen/*.py") == ["a.py", "sub/gen/c.py", "sub/test_d.py"]
    assert left("./sub/") == ["a.py", "gen/b.py"]
    assert left("test_*.py", "a.py") == ["gen/b.py", "sub/gen/c.py"]


def test_a_folder_named_like_a_skipped_one_is_searched_when_named(tmp_path):
    (tmp_path / "build").mkdir()
    (tmp_path / "build" / "a.py").touch()
    assert python_files(tmp_path / "build") == [tmp_path / "build" / "a.py"]


def test_absolute_globs(tmp_path):
    assert is_excluded(tmp_path / "a.py", tmp_path, [f"{tmp_path.as_posix()}/*.py"])
