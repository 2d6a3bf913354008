from dataclasses import replace

import pytest
from optimize_samples import FOLD, FORMAT, FOUND, NOTHING, ratio

from normadvisor.report.optimize.sheet import Bar, LeftRow, VariantRow, sheet_of
from normadvisor.types.optimization import VERDICTS, Replacement


def test_everything_about_a_model_in_words():
    sheet = sheet_of(FOUND)
    assert (sheet.target, sheet.setup, sheet.gained) == (
        "net.py:Net", "inference, cpu (Test CPU, 4 threads), float32, inputs 2x3x224x224", True,
    )  # fmt: skip
    assert sheet.headline == "1.12 times as fast: a pass takes 89.3 ms instead of 100 ms."
    assert sheet.detail == (
        "half of 9 paired runs between 1.10 and 1.13 times; peak memory of a pass 0.90 times that before; "
        "largest error against float64 3.6e-7, 3e-7 before; outputs differ by 4e-7"
    )
    assert sheet.left == (LeftRow("NA702", "bn{1,2} (2 modules)", "on cpu torch's own is faster"),)
    assert sheet.variants == (
        VariantRow("torch.compile", "1.40x", "21.0 s", "3.6e-7", ""),
        VariantRow("torch.compile + freezing", "\u2013", "\u2013", "\u2013", "it cannot be compiled: RuntimeError: no C++ compiler"),
    )
    assert sheet.keys == (
        "state_dict: 1 changed value, 1 key gone; checkpoints of the original are carried over by result.fold_map.apply(state_dict)"
    )
    assert sheet.saved == (
        "saved: /tmp/net.safetensors", "load it with: model = normadvisor.load_optimized(model, 'net.safetensors')",
    )  # fmt: skip
    assert sheet.notes == ("measured twice",)


def test_a_row_tells_its_numbers_apart():
    row = sheet_of(FOUND).rows[0]
    assert (row.rule, row.what) == ("NA701", "5 x conv2d + batch_norm -> conv2d")
    assert row.where == "conv1, layer{1-4}.conv; without head.conv, slower at their shapes"
    assert row.cells == ("1.31x", "1.12x", "0.90x", "3e-7 -> 4e-7", "kept")
    assert row.spread == "alone 1.25 to 1.40, measured in an earlier run, whole model 1.10 to 1.13"
    assert (row.kept, row.plain, row.meaning) == (True, True, VERDICTS["kept"])


def test_places_of_the_forward_of_the_model_are_counted():
    row = replace(FOUND.replacements[0], rule="NA705", modules=("", "", "", "sw"), left_out=())
    row = sheet_of(replace(FOUND, replacements=(row,))).rows[0]
    assert (row.what, row.where) == ("4 x conv2d + batch_norm -> conv2d", "forward of the model, sw")


def test_what_was_not_kept_says_why():
    _, layout, activation = sheet_of(FOUND).rows
    assert (layout.where, layout.cells) == ("the whole model", ("\u2013", "1.01x", "1.00x", "3e-7 -> 4e-7", "no gain"))
    assert (layout.plain, layout.meaning) == (False, "less than 3% faster here: left out")
    assert (activation.cells, activation.meaning) == (
        ("0.80x", "\u2013", "\u2013", "\u2013", "slower"), "at none of its shapes is it faster",
    )  # fmt: skip


def test_bars_share_one_logarithmic_axis():
    fold, layout, activation = sheet_of(FOUND).rows
    assert activation.alone_bar == Bar(
        kind="loss", start=24.3, width=37.4, low=2.0, high=44.1, one=61.7, words="0.80 times, quartiles 0.70 and 0.90"
    )
    assert (fold.alone_bar.high, fold.alone_bar.one, layout.alone_bar) == (118.0, 61.7, None)
    assert fold.alone_bar.kind == "gain"


@pytest.mark.parametrize(
    ("change", "headline"),
    [
        ({"mode": "training"}, "1.12 times as fast: forward and backward takes 89.3 ms instead of 100 ms."),
        ({"end_to_end": None}, "1 replacement kept; the whole was not measured."),
        ({"replacements": (FORMAT,)}, "Nothing was kept of 1 replacement."),
        ({"replacements": ()}, "There is nothing to replace."),
        (
            {"replacements": tuple(Replacement(
                rule="NA701", stage="fold", pattern="a", replacement="b", modules=("c",), verdict="not measured",
                reason=f"the machine is busy: {cores} cores",
            ) for cores in (2, 3))},
            "Nothing could be measured, so nothing was kept: the machine is busy: 2 cores.",
        ),
        ({"end_to_end": ratio(1.12, 1.1, 1.13, before=0.05).__class__(
            median=1.12, low=1.1, high=1.13, pairs=9, before=0.1, after=0.11)}, "1.12 times as fast: a pass took about 100 ms before."),
    ],
)  # fmt: skip
def test_the_headline_says_what_came_of_it(change, headline):
    assert sheet_of(replace(FOUND, **change)).headline == headline


def test_a_reason_that_all_share_is_said_once():
    busy = replace(FOLD, kernel=None, verdict="not measured", reason="the machine is busy: 2 cores")
    sheet = sheet_of(replace(FOUND, replacements=(busy, busy)))
    assert [(row.plain, row.meaning) for row in sheet.rows] == [(True, "")] * 2


def test_a_program_is_loaded_by_torch():
    assert sheet_of(replace(FOUND, saved="net.pt2")).saved[1] == "load it with: model = torch.export.load('net.pt2').module()"


def test_nothing_is_little():
    sheet = sheet_of(NOTHING)
    assert (sheet.setup, sheet.detail, sheet.rows, sheet.keys, sheet.saved) == ("training, cpu (Test CPU, 4 threads), float32", "", (), "", ())


def test_words_of_strangers_are_one_line():
    sheet = sheet_of(replace(FOUND, target="a\nb\x1b[31m", notes=("c\nd",)))
    assert "\n" not in sheet.target + sheet.notes[0]
    assert "\x1b" not in sheet.target
