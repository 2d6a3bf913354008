from __future__ import annotations

import sys

import pytest

from normadvisor.errors import TargetError
from normadvisor.targets.load import load
from normadvisor.targets.parse import parse_target

NET = "from torch import nn\n\nclass Net(nn.Module):\n    def __init__(self):\n        super().__init__()\n"


def test_class_factory_and_instance(tmp_path, write):
    write("model.py", NET + "def make(): return Net()\nnet = nn.Sequential(Net())\n")
    for name, kind in (("Net", "type"), ("make", "function"), ("net", "Sequential")):
        assert type(load(parse_target(f"model.py:{name}", tmp_path)).obj).__name__ == kind


def test_defined_at(tmp_path, write):
    path = write("model.py", "import functools\n" + NET.replace("class Net", "@functools.cache\ndef make():\n    return Net()\n\nclass Net"))
    assert str(load(parse_target("model.py:Net", tmp_path)).defined_at.location) == f"{path}:8:1"
    assert str(load(parse_target("model.py:make", tmp_path)).defined_at.location) == f"{path}:5:1"


def test_dotted_names(tmp_path, write):
    write("model.py", NET + "    class Inner(nn.Module): pass\n")
    assert load(parse_target("model.py:Net.Inner", tmp_path)).obj.__qualname__ == "Net.Inner"
    assert load(parse_target("torch:nn.Linear", tmp_path)).obj.__name__ == "Linear"


def test_neighbours_are_imported_like_a_script_would(tmp_path, write):
    write("blocks_nearby.py", "size = 3\n")
    write("model.py", "from blocks_nearby import size\n" + NET)
    assert load(parse_target("model.py:Net", tmp_path)).obj.__name__ == "Net"


def test_files_of_the_same_name_do_not_meet(tmp_path, write):
    write("a/model.py", NET + "where = 'a'\n")
    write("b/model.py", NET + "where = 'b'\n")
    found = [sys.modules[load(parse_target(f"{folder}/model.py:Net", tmp_path)).obj.__module__].where for folder in "ab"]
    assert found == ["a", "b"]


def test_relative_imports_inside_a_package(tmp_path, write):
    write("pkg/__init__.py", "")
    write("pkg/sub/__init__.py", "")
    write("pkg/layers.py", "width = 5\n")
    write("pkg/sub/model.py", "from ..layers import width\n" + NET)
    assert load(parse_target("pkg/sub/model.py:Net", tmp_path)).obj.__module__ == "pkg.sub.model"


def test_relative_imports_without_init_files(tmp_path, write):
    write("plain/layers.py", "width = 5\n")
    write("plain/model.py", "from .layers import width\n" + NET)
    assert load(parse_target("plain/model.py:Net", tmp_path)).obj.__module__ == "plain.model"


@pytest.mark.parametrize(
    ("text", "line", "words"),
    [
        ("import torch\nimport not_there_at_all\n", 2, "needs 'not_there_at_all', which is not installed (pip install not_there_at_all"),
        ("import cv2_missing.sub\n", 1, "needs 'cv2_missing', which is not installed"),
        ("import torch.no_such_part\n", 1, "needs 'torch.no_such_part', which the installed 'torch' does not have"),
        ("from torch import NoSuchThing\n", 1, "cannot import name 'NoSuchThing' from 'torch'"),
        ("x = 1\nraise ValueError('the\\nreason')\n", 2, "raised ValueError: the"),
        ("import sys\n\nsys.exit(3)\n", 3, "called sys.exit(3) (move what runs as a script under if __name__"),
        ("import argparse\np = argparse.ArgumentParser()\np.add_argument('x')\np.parse_args()\n", 4, "called sys.exit(2)"),
        ("class Odd(BaseException): pass\nraise Odd\n", 2, "raised Odd"),
        ("def f(): f()\nf()\n", 1, "recurses without end"),
        ("x = (\n", 1, "not valid Python: '(' was never closed"),
        ("import urllib.request\nurllib.request.urlopen('http://example.invalid')\n", 2, "opens a network connection"),
    ],
)
def test_failures_while_importing(tmp_path, write, text, line, words):
    path = write("model.py", text)
    with pytest.raises(TargetError) as caught:
        load(parse_target("model.py:Net", tmp_path))
    assert words in str(caught.value)
    assert caught.value.location is None or (caught.value.location.path, caught.value.location.line) == (str(path), line)


def test_failure_in_a_neighbour_points_there(tmp_path, write):
    path = write("broken_neighbour.py", "x = 1\n1 / 0\n")
    write("model.py", "import broken_neighbour\n")
    with pytest.raises(TargetError) as caught:
        load(parse_target("model.py:Net", tmp_path))
    assert str(caught.value) == f"{path}:2:1: importing model.py:Net raised ZeroDivisionError: division by zero"


def test_circular_import(tmp_path, write):
    write("ring_a.py", "from ring_b import b\na = 1\n")
    write("ring_b.py", "from ring_a import a\nb = 1\n")
    write("model.py", "import ring_a\n")
    with pytest.raises(TargetError, match="circular import: cannot import name 'a' from partially initialized module 'ring_a'"):
        load(parse_target("model.py:Net", tmp_path))


@pytest.mark.parametrize(
    ("target", "words"),
    [
        ("model.py:Nett", "model.py has no 'Nett' (did you mean 'Net'?)"),
        ("model.py:Net.forwrad", "model.py.Net has no 'forwrad' (did you mean 'forward'?)"),
        ("model.py:number", "number is a value of type int, not a class, a factory or a torch.nn.Module"),
        ("model.py:nn", "nn is a Python module, not a class"),
        ("torchh:Net", "there is no module 'torchh' (did you mean 'torch'?)"),
        ("torch.nnn:Net", "torch has no module 'nnn' (did you mean 'torch.nn'?)"),
    ],
)
def test_objects_that_are_not_there(tmp_path, write, target, words):
    write("model.py", NET + "number = 3\n")
    with pytest.raises(TargetError) as caught:
        load(parse_target(target, tmp_path))
    assert words in str(caught.value)


def test_keyboard_interrupt_passes(tmp_path, write):
    write("model.py", "raise KeyboardInterrupt\n")
    with pytest.raises(KeyboardInterrupt):
        load(parse_target("model.py:Net", tmp_path))


def test_a_file_alone_names_no_object(tmp_path, write):
    write("model.py", NET)
    with pytest.raises(TargetError, match="names no object"):
        load(parse_target("model.py", tmp_path))
