from __future__ import annotations

import pytest

from normadvisor.errors import TargetError
from normadvisor.files.source import read_source
from normadvisor.targets.pragma import read_pragmas
from normadvisor.types import RunContext


def pragmas(tmp_path, text):
    path = tmp_path / "a.py"
    path.write_text(text)
    return read_pragmas(read_source(path))


def test_beside_above_and_for_the_file(tmp_path):
    found = pragmas(
        tmp_path,
        '''"""A file."""
# normadvisor: world_size=8

import torch

# normadvisor: batch_size=2 task=detection
# an ordinary comment
@decorated
class A:
    pass

class B(Base):  # normadvisor: batch_size=4
    pass

def make(
    x=1,  # NormAdvisor: fine_tune=true
):
    return B()

net = B()  # normadvisor: loss=mse
''',
    )
    assert found.file == RunContext(world_size=8)
    assert found.named == {
        "A": RunContext(batch_size=2, task="detection"),
        "B": RunContext(batch_size=4),
        "make": RunContext(fine_tune=True),
        "net": RunContext(loss="mse"),
    }
    assert found.context_of("A") == RunContext(batch_size=2, task="detection", world_size=8)
    assert found.context_of("other") == RunContext(world_size=8)


@pytest.mark.parametrize(
    ("comment", "words"),
    [
        ("batchsize=2", "a.py:3:11: unknown context key 'batchsize' (did you mean 'batch_size'"),
        ("batch_size=two", "a.py:3:11: 'batch_size' cannot be"),
        ("task=detecting", "'task' cannot be"),
        ("batch_size", "'batch_size' is not key=value"),
        ("batch_size=", "is not key=value"),
        ("", "is not key=value"),
        ("task=video task=audio", "'task' is given twice"),
    ],
)
def test_wrong_words_are_located(tmp_path, comment, words):
    with pytest.raises(TargetError) as caught:
        pragmas(tmp_path, f"import torch\n\nclass A:  # normadvisor: {comment}\n    pass\n")
    assert words in str(caught.value)


def test_beside_nothing(tmp_path):
    with pytest.raises(TargetError, match="stands beside no class"):
        pragmas(tmp_path, "import torch\n\n# normadvisor: batch_size=2\n\nclass A:\n    pass\n")


def test_strings_are_no_comments(tmp_path):
    found = pragmas(tmp_path, "text = '# normadvisor: nonsense'\n")
    assert (found.file, found.named) == (RunContext(), {})


def test_a_comment_that_silences_rules_gives_no_context(tmp_path):
    path = tmp_path / "a.py"
    path.write_text("# normadvisor: noqa: NA102\n# Normadvisor:NOQA\n# normadvisor: batch_size=2\n\nx = 1\n")
    assert read_pragmas(read_source(path)).file == RunContext(batch_size=2)
