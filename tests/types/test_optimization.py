import json

import pytest

from normadvisor.types.optimization import Errors, Left, Optimization, Ratio, Replacement, Variant

RATIO = Ratio(median=1.5, low=1.4, high=1.6, pairs=9, before=0.3, after=0.2, cached=True)
KEPT = Replacement(
    rule="NA701", stage="fold", pattern="conv2d + batch_norm", replacement="conv2d", modules=("conv1", "conv2"), left_out=("conv3",),
    kernel=RATIO, end_to_end=RATIO, memory=0.5, error=Errors(before=1e-7, after=2e-7, between=3e-7), proof="equal", verdict="kept",
)  # fmt: skip
NOT = Replacement(rule="NA706", stage="layout", pattern="a", replacement="b", modules=("",), verdict="not measured", reason="busy")
FULL = Optimization(
    target="net.py:Net", mode="inference", device="cpu", dtype="float32", inputs="2x3", replacements=(KEPT, NOT),
    left=(Left(rule="NA702", modules=("a", "b"), reason="no"),),
    variants=(Variant(name="torch.compile", end_to_end=RATIO, cold_start=20.0, error=Errors(before=1.0, after=2.0, between=3.0)), Variant(name="x", reason="no")),
    end_to_end=RATIO, memory=0.5, error=Errors(before=1e-7, after=2e-7, between=3e-7), keys={"a": "dropped"}, saved="net.pt", notes=("n",),
)  # fmt: skip
EMPTY = Optimization(target="net", mode="training", device="cuda", dtype="bfloat16", inputs="")


@pytest.mark.parametrize("found", [FULL, EMPTY])
def test_what_is_written_can_be_read_back(found):
    assert Optimization.from_dict(json.loads(json.dumps(found.to_dict()))) == found


def test_what_was_kept_is_known():
    assert (KEPT.kept, NOT.kept, FULL.kept) == (True, False, (KEPT,))


@pytest.mark.parametrize(
    "change",
    [
        {"replacements": None}, {"replacements": [{}]}, {"end_to_end": {"median": 1}}, {"unknown": 1}, {"left": 3},
    ],
)  # fmt: skip
def test_what_is_none_is_refused(change):
    with pytest.raises((KeyError, TypeError, ValueError)):
        Optimization.from_dict({**FULL.to_dict(), **change})


def test_a_verdict_that_does_not_exist_is_refused():
    data = FULL.to_dict()
    data["replacements"][0]["verdict"] = "perhaps"
    with pytest.raises(ValueError, match=r"^perhaps$"):
        Optimization.from_dict(data)
