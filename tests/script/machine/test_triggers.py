"""What makes a text worth reading."""

from __future__ import annotations

import pytest

from normadvisor.script.machine.triggers import TRIGGERS, reads

TEXTS = {
    "net.eval()": ".eval(",
    "net.evaluate()": None,
    "net.training = False": ".training = ",
    "if net.training == False: pass": None,
    "F.dropout(x)": "dropout(",
    "self.dropout(x)": None,
    "nn.Dropout(0.5)(x)": "Dropout(0.5)(",
    "nn.Dropout(0.5)": None,
    "loss = across": None,
    "F.nll_loss(a, b)": "nll_loss",
    "nn.NLLLoss()": "NLLLoss",
    "init.zeros_(self.head.weight)": "zeros_(self.head.weight",
    "init.zeros_(self.head.bias)": None,
    "p.data.fill_(0)": "p.data.fill_(",
    "weight_decay = 1": "weight_decay =",
    "print(weight_decay)": None,
}


@pytest.mark.parametrize("text", list(TEXTS))
def test_triggers(text: str) -> None:
    """A word that is needed is not enough where the text around it says otherwise."""
    assert TRIGGERS.search(text) == TEXTS[text]


def test_reads_what_loads_weights() -> None:
    """A file that loads weights is worth reading too."""
    assert [reads("torch.load(path)"), reads("resnet18(weights=None)"), reads("print(weights)")] == [True, True, False]
