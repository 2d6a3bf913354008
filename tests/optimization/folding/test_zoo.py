"""Real models: everything that brute force or torch's own tool would fold, and more, is."""

from __future__ import annotations

from collections import Counter

import pytest
import torch

timm = pytest.importorskip("timm")
torchvision = pytest.importorskip("torchvision")

CONV = "conv2d + batch_norm -> conv2d"
MODELS = {
    "efficientnet_b0": (64, {CONV: 49}, 0),
    "densenet121": (32, {CONV: 59}, 62),
    "levit_128s": (224, {"linear + batch_norm -> linear": 46, CONV: 4, "batch_norm + linear -> linear": 2}, 0),
    "repvgg_a0": (
        64, {CONV: 44, "sum of parallel batch_norm and conv2d -> conv2d": 17, "sum of parallel conv2d -> conv2d": 5}, 17,
    ),
    "convnext_atto": (64, {"conv2d + scale -> conv2d": 12}, 0),
}  # fmt: skip


@pytest.mark.slow
@pytest.mark.parametrize("name", MODELS)
def test_folds_real_models(helpers, name):
    from normadvisor.optimization.candidate import Candidate
    from normadvisor.rewrite.model.journal import Journal

    side, expected, left = MODELS[name]
    torch.manual_seed(0)
    model = timm.create_model(name).eval()
    x = torch.randn(1, 3, side, side)
    before = helpers.outputs(model, x)
    found = list(helpers.found_in(model, x, stages=("cleanup", "fold", "merge"), apply=lambda candidate: candidate.apply(model, Journal())))
    rows = Counter(item.group.removeprefix("NA701 ") for item in found if isinstance(item, Candidate) if "dropout" not in item.pattern)
    refused = sum(not isinstance(item, Candidate) for item in found)
    assert (dict(rows), refused) == ({key: count for key, count in expected.items() if count}, left)
    assert helpers.difference(helpers.outputs(model, x), before) < 1e-5
