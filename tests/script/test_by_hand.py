from __future__ import annotations

import ast
import textwrap
from pathlib import Path

import pytest

from normadvisor.script.by_hand import why_not
from normadvisor.script.edits import edits_for
from normadvisor.script.events import Event
from normadvisor.script.project.modules import Project, SourceModule
from normadvisor.types import Location

RETURNED = """
    def forward(self, x, y=None):
        p = torch.sigmoid(self.head(x))
        if y is not None:
            return self.loss(p, y), p
        return p
"""
SEVERAL = """
    def step(x, y):
        p = torch.sigmoid(net(x))
        loss = criterion(p, y)
        a = p.mean()
        b = p.min()
        c = p.max()
        return p, loss
"""
PACKED = """
    def step(x, y):
        loss = criterion(*outputs(x), y)
        return torch.sigmoid(loss)
"""


def _place(module: SourceModule, text: str) -> Location:
    return next(module.location(node) for node in ast.walk(module.tree) if isinstance(node, ast.expr) and module.segment(node) == text)


@pytest.mark.parametrize(
    ("source", "loss", "through_model", "expected"),
    [
        (
            RETURNED,
            "self.loss(p, y)",
            False,
            "`p`, the output of the sigmoid of line 2, is used in lines 4, 5 as well; give the loss what goes into the sigmoid under a name of its own",
        ),
        (
            SEVERAL,
            "criterion(p, y)",
            False,
            (
                "`p`, the output of the sigmoid of line 2, is used in lines 4, 5, 6 and further down as well; "
                "give the loss what goes into the sigmoid under a name of its own"
            ),
        ),
        (
            PACKED,
            "criterion(*outputs(x), y)",
            False,
            "the source does not show how to take the sigmoid of line 3 out for this loss alone; give the loss what goes into the sigmoid",
        ),
        (
            RETURNED,
            "self.loss(p, y)",
            True,
            (
                "the source does not show that the sigmoid of line 2 serves this loss alone; "
                "give the loss what goes into the sigmoid, and apply it where probabilities are read"
            ),
        ),
    ],
)
def test_what_keeps_an_edit_from_being_made(tmp_path: Path, source: str, loss: str, through_model: bool, expected: str) -> None:
    path = tmp_path / "script.py"
    path.write_text(textwrap.dedent(source).lstrip("\n"))
    module = Project([tmp_path]).load(path)
    applied = next(text for text in ("torch.sigmoid(self.head(x))", "torch.sigmoid(net(x))", "torch.sigmoid(loss)") if text in source)
    attributes = {"activation": "sigmoid", "loss": "bce_with_logits", "through_model": through_model}
    event = Event("loss_call", _place(module, loss), attributes, {"activation": (_place(module, applied), "")}, loss)
    assert why_not("remove_activation", event, module) == expected
    if not through_model:
        assert edits_for("remove_activation", event, module) == ()
    assert why_not("insert_eval", event, module) == ""
