from optimize_samples import NOTHING, REPORT

from normadvisor.report import RenderOptions
from normadvisor.report.optimize import render_optimize
from normadvisor.types import Report

WIDE = """\
net.py:Net
inference, cpu (Test CPU, 4 threads), float32, inputs 2x3x224x224
1.12 times as fast: a pass takes 89.3 ms instead of 100 ms.
half of 9 paired runs between 1.10 and 1.13 times; peak memory of a pass 0.90 times that before;
largest error against float64 3.6e-7, 3e-7 before; outputs differ by 4e-7

       replacement                            alone  whole model  memory         error  verdict
NA701  5 x conv2d + batch_norm -> conv2d      1.31x        1.12x   0.90x  3e-7 -> 4e-7  kept
       conv1, layer{1-4}.conv; without head.conv, slower at their shapes
       quartiles: alone 1.25 to 1.40, measured in an earlier run, whole model 1.10 to 1.13
NA706  contiguous maps -> channels_last maps      \u2013        1.01x   1.00x  3e-7 -> 4e-7  no gain
       less than 3% faster here: left out
       the whole model
       quartiles: whole model 0.99 to 1.02
NA705  gelu written out -> F.gelu             0.80x            \u2013       \u2013             \u2013  slower
       at none of its shapes is it faster
       act
       quartiles: alone 0.70 to 0.90
alone: times as fast, the operations by themselves; whole model: times as fast with them; memory:
peak of a pass in times of that before; error: against float64, before and after, relative to the
largest output

left as it is
NA702  bn{1,2} (2 modules): on cpu torch's own is faster

the optimized model run in other ways, against the original in eager mode
torch.compile              1.40x  first call 21.0 s, error 3.6e-7
torch.compile + freezing  it cannot be compiled: RuntimeError: no C++ compiler

state_dict: 1 changed value, 1 key gone; checkpoints of the original are carried over by
result.fold_map.apply(state_dict)
saved: /tmp/net.safetensors
load it with: model = normadvisor.load_optimized(model, 'net.safetensors')
note: measured twice

other.py:Net
training, cpu (Test CPU, 4 threads), float32
There is nothing to replace.

could not optimize bad.py:Net
  it raised ValueError
  help      mend it

Kept 1 replacement in 2 models; 1 target could not be optimized (12.3 s).
"""


def test_a_table_and_what_surrounds_it():
    assert render_optimize(REPORT, RenderOptions(elapsed=12.34)) == WIDE


def test_in_few_columns_numbers_stand_below_the_names():
    lines = render_optimize(REPORT, RenderOptions(width=72)).splitlines()
    assert max(map(len, lines)) <= 72
    start = lines.index("NA701  5 x conv2d + batch_norm -> conv2d")
    assert lines[start + 1].split() == ["1.31x", "1.12x", "0.90x", "3e-7", "->", "4e-7", "kept"]


def test_colours_say_the_verdict():
    text = render_optimize(REPORT, RenderOptions(color=True))
    assert "\x1b[1;32mkept\x1b[0m" in text
    assert "\x1b" not in render_optimize(REPORT, RenderOptions())


def test_ascii_is_enough():
    render_optimize(REPORT, RenderOptions(encoding="ascii")).encode("ascii")


def test_without_models_there_is_a_sentence():
    assert render_optimize(Report(optimized=True), RenderOptions()) == "No model was optimized.\n"
    assert render_optimize(Report(optimizations=(NOTHING,), optimized=True), RenderOptions()).endswith("Kept 0 replacements in 1 model.\n")
