"""An optimized model as reports get it."""

from normadvisor.types import Problem, Report
from normadvisor.types.optimization import Errors, Left, Optimization, Ratio, Replacement, Variant


def ratio(median, low=None, high=None, *, before=0.1, cached=False):
    return Ratio(median=median, low=low or median, high=high or median, pairs=9, before=before, after=before / median, cached=cached)


ERROR = Errors(before=3e-7, after=3.6e-7, between=4e-7)
FOLD = Replacement(
    rule="NA701", stage="fold", pattern="conv2d + batch_norm", replacement="conv2d",
    modules=("conv1", *(f"layer{index}.conv" for index in range(1, 5))), left_out=("head.conv",), kernel=ratio(1.31, 1.25, 1.4, cached=True),
    end_to_end=ratio(1.12, 1.1, 1.13), memory=0.9, error=ERROR, proof="outputs equal in float64, eval, 3 draws, worst 7e-15", verdict="kept",
)  # fmt: skip
FORMAT = Replacement(
    rule="NA706", stage="layout", pattern="contiguous maps", replacement="channels_last maps", modules=("",),
    end_to_end=ratio(1.01, 0.99, 1.02), memory=1.0, error=ERROR, proof="outputs equal in float64, eval, 3 draws, worst 1e-15",
    verdict="no gain",
)  # fmt: skip
ACTIVATION = Replacement(
    rule="NA705", stage="upgrade", pattern="gelu written out", replacement="F.gelu", modules=("act",), kernel=ratio(0.8, 0.7, 0.9),
    verdict="slower", reason="at none of its shapes is it faster",
)  # fmt: skip
FOUND = Optimization(
    target="net.py:Net", mode="inference", device="cpu (Test CPU, 4 threads)", dtype="float32", inputs="2x3x224x224",
    replacements=(FOLD, FORMAT, ACTIVATION), left=(Left(rule="NA702", modules=("bn1", "bn2"), reason="on cpu torch's own is faster"),),
    variants=(
        Variant(name="torch.compile", end_to_end=ratio(1.4), cold_start=21.0, error=ERROR),
        Variant(name="torch.compile + freezing", reason="it cannot be compiled: RuntimeError: no C++ compiler"),
    ),
    end_to_end=ratio(1.12, 1.1, 1.13), memory=0.9, error=ERROR, keys={"conv1.weight": "from conv1.weight, bn1.weight", "bn1.weight": "dropped"},
    saved="/tmp/net.safetensors", notes=("measured twice",),
)  # fmt: skip
NOTHING = Optimization(target="other.py:Net", mode="training", device="cpu (Test CPU, 4 threads)", dtype="float32", inputs="")
REPORT = Report(
    optimizations=(FOUND, NOTHING), optimized=True, problems=(Problem(target="bad.py:Net", message="it raised ValueError", hint="mend it"),)
)
