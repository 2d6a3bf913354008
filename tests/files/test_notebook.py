from __future__ import annotations

import ast
import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from normadvisor.errors import TargetError
from normadvisor.files.folders import python_files
from normadvisor.files.magics import as_python
from normadvisor.files.notebook import ForeignNotebookError, notebook_in
from normadvisor.files.source import read_source, read_text
from normadvisor.types import Location


def notebook(*cells, **metadata):
    """JSON of a notebook; a cell is its source, text cells begin with '# #'."""
    kinds = [{"cell_type": "markdown" if str(cell).startswith("# #") else "code", "source": cell} for cell in cells]
    return json.dumps({"cells": kinds, "metadata": metadata, "nbformat": 4, "nbformat_minor": 5})


def test_lines_know_their_cells(tmp_path):
    path = tmp_path / "a.ipynb"
    path.write_text(notebook("import torch", "# # Title", ["x = 1\n", "y = 2"], "", "z = (\n  3)"))
    source = read_source(path)
    assert source.text == "import torch\n\nx = 1\ny = 2\n\n\n\nz = (\n  3)\n"
    book = source.notebook
    assert [cell.number for cell in book.cells] == [1, 3, 4, 5]
    places = [book.place(node.lineno) for node in source.tree.body]
    assert places == [(1, 1), (3, 1), (3, 2), (5, 1)]
    assert [book.line(*place) for place in places] == [node.lineno for node in source.tree.body]
    assert book.source(3) == ("x = 1", "y = 2")
    assert (book.line(2, 1), book.line(3, 3), book.line(9, 1), book.source(2)) == (None, None, None, ())
    assert book.located(Location("a", 8, 3, 9, 4)) == Location("a", 1, 3, 2, 4, cell=5)
    assert book.located(Location("a", 1, 1, 9, 4)) == Location("a", 1, 1, cell=1)
    assert str(book.located(Location("a.ipynb", 4, 2))) == "a.ipynb:cell 3:2:2"


def test_older_formats():
    cells = [{"cell_type": "code", "input": ["a = 1\n", "b = 2"], "language": "python"}, {"cell_type": "heading", "source": "x", "level": 1}]
    others = [{"cell_type": "code", "input": "cat(1)", "language": "R"}, {"cell_type": "code", "input": "c = 3"}]
    data = {"nbformat": 3, "metadata": {"name": ""}, "worksheets": [{"cells": cells}, {"cells": others}]}
    book = notebook_in(json.dumps(data), "a.ipynb")
    assert (book.text, [cell.number for cell in book.cells]) == ("a = 1\nb = 2\n\nc = 3\n", [1, 4])


@pytest.mark.parametrize(
    ("cell", "python"),
    [
        ("x = 1\n%matplotlib inline\n!ls -l", "x = 1\npass\npass"),
        ("if x:\n    !pip install torch \\\n      timm\ny = 2", "if x:\n    pass\n\ny = 2"),
        ("files = !ls\nout = %timeit -o f()\na, b = %magic 3\nx == 3", "files = get_ipython()\nout = get_ipython()\na, b = get_ipython()\nx == 3"),
        ("%time model(x)\n%timeit -n 10 -r3 model(x)\n%time is python", "if 1: model(x)\nif 1:             model(x)\npass"),
        ("model?\n?model.forward\ntorch.nn.*Norm*?\nx.y[0]??  # look", "pass\npass\npass\npass"),
        ("x = (1\n% 3)\n%cd ..", "x = (1\n% 3)\npass"),
        ("x = '''\n!ls\n'''\n!ls 'it", "x = '''\n!ls\n'''\npass"),
        ("x = 5 \\\n%3\n!ls", "x = 5 \\\n%3\npass"),
        ("%%time\nmodel(x)\n%pwd", "\nmodel(x)\npass"),
        ("\n%%bash\nrm -r {x", "\n\n"),
        ("%%html\n<b>", "\n"),
        ("%%writefile a.py\nimport torch", "\n"),
        ("x = a if b else c  # really?", "x = a if b else c  # really?"),
        ("await f()\nasync for x in y:\n    pass", "await f()\nasync for x in y:\n    pass"),
        ("s = 'a'; t = \"it's\" # '''\n!ls", "s = 'a'; t = \"it's\" # '''\npass"),
        ("x = 'a\\\n!b'\n!c", "x = 'a\\\n!b'\npass"),
    ],
)
def test_commands_become_python(cell, python):
    result = "\n".join(as_python(cell.split("\n")))
    assert result == python
    ast.parse(result)


def test_an_indented_cell_keeps_its_columns():
    book = notebook_in(notebook("x = 1", "  y = 2\n  z = 3"), "a.ipynb")
    assert book.text == "x = 1\nif True:\n  y = 2\n  z = 3\n"
    assert [book.place(line) for line in (1, 3, 4)] == [(1, 1), (2, 1), (2, 2)]
    assert notebook_in(notebook("  y = 2"), "a.ipynb").text == "if True:\n  y = 2\n"


@pytest.mark.parametrize(
    ("text", "place", "words"),
    [
        ('{"cells": [', "a.ipynb:1:12", "not valid JSON"),
        ("", "a.ipynb:1:1", "not valid JSON"),
        ("[1]", "a.ipynb:1:1", "holds no JSON object"),
        ("{}", "a.ipynb:1:1", "no 'cells'"),
        ('{"cells": 3}', "a.ipynb:1:1", "must be a list"),
        ("[" * 100_000, "a.ipynb:1:1", "not valid JSON"),
        ('{"n": ' + "9" * 5000 + "}", "a.ipynb:1:1", "not valid JSON"),
        ("version https://git-lfs.github.com/spec/v1\n", "a.ipynb:1:1", "git lfs pull"),
        (notebook("x = 1", "# # T", "y = 1\nz = ("), "a.ipynb:cell 3:2:5", "'(' was never closed"),
        (notebook("x = 1", language_info={"name": "R"}), "a.ipynb:1:1", "are in R, not in Python"),
        (notebook("x = 1", kernelspec={"language": "julia"}), "a.ipynb:1:1", "are in julia"),
    ],
)
def test_what_is_no_notebook_is_one_located_error(tmp_path, monkeypatch, text, place, words):
    monkeypatch.chdir(tmp_path)
    path = tmp_path / "a.ipynb"
    path.write_text(text)
    with pytest.raises(TargetError) as caught:
        read_source(path.relative_to(tmp_path))
    assert str(caught.value).startswith(f"{place}: ")
    assert words in str(caught.value)
    assert isinstance(caught.value, ForeignNotebookError) == ("not in Python" in words or "julia" in words)


def test_odd_notebooks_are_read():
    data = {"cells": [3, {"cell_type": "code"}, {"cell_type": "code", "source": 3}, {"cell_type": "code", "source": ["x = 1", 3, "\0"]}]}
    assert notebook_in(json.dumps(data), "a.ipynb").text == "\n\nx = 1 \n"
    assert notebook_in('{"cells": [{"cell_type": "code", "source": "x = \\"\\ud800\\""}]}', "a.ipynb").text == 'x = "?"\n'
    vscode = {"cell_type": "code", "source": "ls", "metadata": {"vscode": {"languageId": "shellscript"}}}
    assert notebook_in(json.dumps({"cells": [vscode]}), "a.ipynb").cells == ()
    assert notebook_in('{"cells": []}', "a.ipynb").place(7) == (1, 1)


def test_folders_hold_notebooks_but_not_their_checkpoints(tmp_path):
    for name in ("a.ipynb", "b.py", ".ipynb_checkpoints/a-checkpoint.ipynb", "c.md"):
        path = tmp_path / name
        path.parent.mkdir(exist_ok=True)
        path.touch()
    assert [path.name for path in python_files(tmp_path)] == ["a.ipynb", "b.py"]


JSON = st.recursive(st.none() | st.booleans() | st.integers() | st.text(max_size=8), lambda inner: st.lists(inner, max_size=3) | st.dictionaries(
    st.sampled_from(["cells", "cell_type", "source", "metadata", "worksheets", "language_info", "name", "input", "language"]), inner, max_size=4
), max_leaves=12)  # fmt: skip


@given(JSON | st.lists(st.text(max_size=20), max_size=3).map(lambda cells: json.loads(notebook(*cells))))
def test_any_json_is_a_notebook_or_a_target_error(tmp_path_factory, data):
    path = tmp_path_factory.getbasetemp() / "any.ipynb"
    path.write_text(json.dumps(data))
    try:
        text = read_text(path)
        source = read_source(path)
    except TargetError as error:
        assert error.message
    else:
        for line in range(1, text.count("\n") + 2):
            source.notebook.place(line)


@given(st.text("%!?x= '\"()\\\n#;a", max_size=40))
def test_any_cell_keeps_its_lines(cell):
    lines = cell.split("\n")
    assert len(as_python(lines)) == len(lines)
