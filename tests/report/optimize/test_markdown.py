from optimize_samples import REPORT

from normadvisor.report import RenderOptions
from normadvisor.report.optimize import markdown_optimize
from normadvisor.types import Report


def test_tables_in_markdown():
    lines = markdown_optimize(REPORT, RenderOptions()).splitlines()
    assert lines[0] == "## `net.py:Net`"
    assert lines[4].startswith("**1\\.12 times as fast: a pass takes 89.3 ms instead of 100 ms.** half of 9 paired runs between")
    assert lines[6].startswith("Alone: times as fast, the operations by themselves; whole model:")
    assert lines[8:13] == [
        "| | replacement | where | alone | whole model | memory | error | verdict |",
        "| --- | --- | --- | ---: | ---: | ---: | ---: | --- |",
        "| NA701 | 5 x conv2d + batch_norm -\\> conv2d | `conv1, layer{1-4}.conv; without head.conv, slower at their shapes` | 1\\.31x | 1\\.12x | 0\\.90x | 3e-7 -\\> 4e-7 | **kept** |",
        "| NA706 | contiguous maps -\\> channels_last maps | `the whole model` | \u2013 | 1\\.01x | 1\\.00x | 3e-7 -\\> 4e-7 | no gain: less than 3% faster here: left out |",
        "| NA705 | gelu written out -\\> F.gelu | `act` | 0\\.80x | \u2013 | \u2013 | \u2013 | slower: at none of its shapes is it faster |",
    ]
    assert "- NA702 `bn{1,2} (2 modules)`: on cpu torch's own is faster" in lines
    assert "| torch.compile | 1\\.40x | 21\\.0 s | 3\\.6e-7 |" in lines
    assert lines[-1] == "- **could not optimize** `bad.py:Net`: it raised ValueError (mend it)"


def test_without_models_there_is_a_sentence():
    assert markdown_optimize(Report(optimized=True), RenderOptions()) == "No model was optimized.\n"
