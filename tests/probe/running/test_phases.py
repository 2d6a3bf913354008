"""Measurements beside the steps: one that fails is missing, and the others are there."""

from torch import nn

ALL = {"static_only": False, "steps": 3}
SHAPE = (8, 3, 16, 16)


class BreaksInEval(nn.Module):
    def __init__(self, net):
        super().__init__()
        self.net = net

    def forward(self, x):
        if not self.training:
            raise ValueError("no class names were loaded")
        return self.net(x)


def test_a_phase_that_fails_leaves_the_others(probe, conv_net):
    measured = probe(BreaksInEval(conv_net()), SHAPE, options=ALL)
    assert "no class names were loaded" in measured.missing["train_eval_gap"]
    assert "train_eval_gap" not in measured.facts
    assert measured.facts["restored"] is True
    assert len(measured.series["loss"]) == 3
    assert measured.curves["overfit"]


def test_too_few_steps_for_a_judgement_are_said(probe, conv_net):
    said = "2 of the 3 steps were run that fading gradients and dead units are judged from"
    assert said in probe(conv_net(), SHAPE, options={"steps": 2}).notes
    assert said not in probe(conv_net(), SHAPE, options={"steps": 3}).notes
