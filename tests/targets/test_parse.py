from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from normadvisor.errors import TargetError
from normadvisor.targets.parse import Target, TargetKind, parse_target, public_names


@pytest.fixture
def folder(tmp_path):
    (tmp_path / "model.py").write_text("class Net: pass\n")
    (tmp_path / "nets").mkdir()
    (tmp_path / "nets" / "unet.py").write_text("x = 1\n")
    (tmp_path / "notes.txt").write_text("")
    return tmp_path


def test_file_and_folder(folder):
    assert parse_target("model.py", folder) == Target(text="model.py", kind=TargetKind.FILE, path=folder / "model.py")
    assert parse_target("nets", folder) == Target(text="nets", kind=TargetKind.FOLDER, path=folder / "nets")


@pytest.mark.parametrize(
    ("text", "name", "args", "kwargs", "called"),
    [
        ("model.py:Net", "Net", (), {}, False),
        ("model.py:Net.inner", "Net.inner", (), {}, False),
        ("model.py:Net()", "Net", (), {}, True),
        ("model.py:Net(18, 'a:b', num_classes=10)", "Net", (18, "a:b"), {"num_classes": 10}, True),
        ("model.py:make.big(-1, [1, (2, 3)], sizes={'a': None})", "make.big", (-1, [1, (2, 3)]), {"sizes": {"a": None}}, True),
    ],
)
def test_object_of_a_file(folder, text, name, args, kwargs, called):
    expected = Target(text=text, kind=TargetKind.OBJECT, path=folder / "model.py", name=name, args=args, kwargs=kwargs, called=called)
    assert parse_target(text, folder) == expected


def test_object_of_a_module(folder):
    text = "torchvision.models:resnet18(num_classes=10)"
    expected = Target(
        text=text, kind=TargetKind.OBJECT, module="torchvision.models", name="resnet18", kwargs={"num_classes": 10}, called=True
    )
    assert parse_target(text, folder) == expected


def test_drive_letter_is_not_a_separator(folder):
    with pytest.raises(TargetError) as caught:
        parse_target(r"C:\work\x.py:Name", folder)
    assert caught.value.message == r"no file or folder 'C:\\work\\x.py'"


def test_absolute_path(folder):
    assert parse_target(f"{folder}/model.py:Net", folder.parent).path == folder / "model.py"


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("", "an empty target"),
        ("modle.py", "did you mean 'model.py'?"),
        ("modle.py:Net(1)", "did you mean 'model.py:Net(1)'?"),
        ("unet.py", "did you mean 'nets/unet.py'?"),
        ("model", "did you mean 'model.py'?"),
        ("torchvision.models", "say 'torchvision.models:Name'"),
        ("nets/:Net", "is a folder"),
        ("notes.txt", "is neither a Python file nor a notebook"),
        ("model.py:", "'' is not a name or a call"),
        ("model.py:3", "'3' is not a name or a call"),
        ("model.py:Net(nn.ReLU)", "'nn.ReLU', which is not a literal"),
        ("model.py:Net(**{'a': 1})", "only plain arguments"),
        ("model.py:Net(*[1])", "not a literal"),
        ("model.py:Net(1", "is not a name or a call"),
        ("model.py:Net(1)(2)", "is not one call of a name"),
        ("model.py:Net(a=1, a=2)", "argument 'a' is given twice"),
        ("model.py:Net(" + "(" * 1500 + ")" * 1500 + ")", "cannot be parsed"),
        ("x" * 5000, "too long"),
        ("a\0b", "NUL"),
    ],
)
def test_errors_say_what_is_wrong(folder, text, words):
    with pytest.raises(TargetError) as caught:
        parse_target(text, folder)
    assert words in str(caught.value)


def test_arguments_are_never_evaluated(folder):
    with pytest.raises(TargetError):
        parse_target("model.py:Net(__import__('os').mkdir('made'))", folder)
    assert not (folder / "made").exists()


def test_public_names(tmp_path):
    path = tmp_path / "a.py"
    path.write_text("import os\nclass A: pass\ndef b(): pass\nC = 1\nD: int = 2\n_e = 3\n")
    assert public_names(path) == ["A", "b", "C", "D"]


@given(st.text(max_size=60))
def test_any_text_parses_or_is_a_target_error(text):
    from pathlib import Path

    try:
        parse_target(text, Path("/nonexistent-folder"))
    except TargetError as error:
        assert error.message


@given(st.text(alphabet="model.py:Net()[]{}'\",=1*\\ \n", max_size=60))
def test_texts_like_targets_parse_or_are_target_errors(tmp_path_factory, text):
    folder = tmp_path_factory.getbasetemp()
    (folder / "model.py").touch()
    try:
        parse_target("model.py:" + text, folder)
    except TargetError as error:
        assert error.message
