"""What came of fixing, told in lines."""

from __future__ import annotations

from pathlib import Path

import pytest

from normadvisor.api.fixing import Applied, FixRun, Proven, RolledBack, Skipped
from normadvisor.api.options import Checked
from normadvisor.cli.outcome import key_map_files, summary_lines
from normadvisor.config import Settings
from normadvisor.rewrite.keys import KeyMap
from normadvisor.rewrite.proof.result import Proof
from normadvisor.rewrite.text.changes import FileChange
from normadvisor.rewrite.text.write import Written
from normadvisor.types import Applicability, Confidence, Edit, Finding, Fix, Report, Severity


def fix(path="net.py", applicability=Applicability.SAFE, **others):
    edits = () if applicability is Applicability.DISPLAY or "refused" in others else (Edit(path, 1, 1, 1, 2, "x"),)
    return Fix(applicability, "Leave it out.", edits, "leave it out", **others)


def finding(path="net.py", line=1, **others):
    return Finding(
        rule="NA102", name="some-rule", severity=Severity.WARNING, confidence=Confidence.CONFIRMED, message="wrong", path=path, line=line, **others
    )  # fmt: skip


def proven(model, worst=1e-15, draws=3, what="outputs, gradients and buffers"):
    return Proven(model, Proof(equal=True, modes=("train", "eval"), draws=draws, worst=worst, what=what))


def run(**parts):
    found = Checked(report=Report(findings=(finding(),)), settings=Settings(), rules={})
    return FixRun(before=found, after=found, **parts)


def lines(found, written=None, *, unsafe=False):
    return list(summary_lines(found, written, unsafe=unsafe))


def test_counts():
    safe, unsafe, other = fix(), fix(applicability=Applicability.UNSAFE), fix("other.py")
    found = run(
        applied=(Applied(finding(), safe), Applied(finding(line=2), unsafe), Applied(finding("other.py"), other)),
        changes=(FileChange(Path("net.py"), b"a", b"b"), FileChange(Path("other.py"), b"a", b"b")),
    )
    assert lines(found) == ["Would fix 3 findings in 2 files (2 safe, 1 unsafe)."]
    assert lines(found, Written(written=(Path("net.py"), Path("other.py")))) == ["Fixed 3 findings in 2 files (2 safe, 1 unsafe)."]
    half = Written(written=(Path("net.py"),), failed=((Path("other.py").resolve(), "is read-only"),))
    assert lines(found, half) == ["Fixed 2 findings in 1 file (1 safe, 1 unsafe)."]
    none = Written(failed=((Path("net.py"), "is read-only"), (Path("other.py"), "is read-only")))
    assert lines(found, none) == ["Nothing was fixed."]


def test_what_was_not_fixed_and_why():
    words, refused = fix(applicability=Applicability.DISPLAY), fix(applicability=Applicability.UNSAFE, refused="built in a loop")
    found = run(
        rolled_back=(RolledBack(finding(line=3, column=5), fix(), "outputs differ:\n  by 0.5"),),
        skipped=(
            Skipped(finding(line=4, fix=words), "the fix is to be made by hand"),
            Skipped(finding(line=5, fix=refused), "built in a loop"),
            Skipped(finding(line=5, fix=words, alternatives=(fix(applicability=Applicability.UNSAFE),)), "there are several ways"),
            Skipped(finding(line=6, fix=fix(applicability=Applicability.UNSAFE)), "only with unsafe fixes", unsafe=True),
        ),
    )
    told = [
        "rolled back: net.py:3:5 NA102: outputs differ: by 0.5",
        "not fixed: net.py:5 NA102: built in a loop",
        "Nothing would be fixed, 1 rolled back.",
    ]
    choose = "1 more finding can be fixed in several ways: choose one with -i"
    assert lines(found) == [*told, "1 more finding can be fixed with --unsafe-fixes", choose]
    assert lines(found, unsafe=True) == [*told, choose]


def test_nothing_to_say():
    clean = Checked(report=Report(), settings=Settings(), rules={})
    assert lines(FixRun(before=clean, after=clean), Written()) == []


def test_one_line_for_what_was_proven_alike():
    models = [proven(f"net.py:Net{number}", worst=number * 1e-15, draws=4 - number) for number in range(1, 4)]
    parts = [proven("net.py:Part", what="outputs of parts")]
    assert lines(run(applied=(Applied(finding(), fix()),), proofs=(*models, *parts)))[1:] == [
        "proven: outputs, gradients and buffers equal in float64, train and eval, 1 draw, worst 3e-15 (net.py:Net1, net.py:Net2, net.py:Net3)",
        "proven: outputs of parts equal in float64, train and eval, 3 draws, worst 1e-15 (net.py:Part)",
    ]
    many = run(applied=(Applied(finding(), fix()),), proofs=tuple(proven(f"m{number}") for number in range(6)))
    assert lines(many)[1].endswith("(m0, m1, m2, m3 and 2 more)")


def test_changed_keys_are_named_up_to_a_number():
    found = run(applied=(Applied(finding(), fix()),), key_maps={"net.py:Net": KeyMap(dropped=tuple("abcdefghij"))})
    assert lines(found)[1:] == ["state_dict of net.py:Net:", *(f"  {key} (dropped)" for key in "abcdefgh"), "  and 2 more; --key-map FILE saves them all"]


def test_of_many_models_some_are_named():
    maps = {f"m{number}": KeyMap(dropped=("a",)) for number in range(6)} | {"same": KeyMap()}
    named = [line for number in range(4) for line in (f"state_dict of m{number}:", "  a (dropped)")]
    assert lines(run(applied=(Applied(finding(), fix()),), key_maps=maps))[1:] == [*named, "and the keys of 2 more models"]


@pytest.mark.parametrize(
    ("targets", "files"),
    [
        ([], ["keys.json"]),
        (["net.py:Net"], ["keys.json"]),
        (["net.py:Net", "src/a b.py:Net(1, x='é')"], ["keys.net.py-Net.json", "keys.src-a-b.py-Net-1-x-é.json"]),
        (["a:b", "a/b", "c"], ["keys.a-b.json", "keys.a-b-2.json", "keys.c.json"]),
    ],
)
def test_files_of_key_maps(targets, files):
    maps = {target: KeyMap(dropped=(target,)) for target in targets} | {"same": KeyMap()}
    found = key_map_files(maps, Path("keys.json"))
    assert [str(file) for _target, file, _map in found] == files
    assert [target for target, _file, _map in found] == (targets or [""])
    assert [key_map.dropped for _target, _file, key_map in found] == ([(target,) for target in targets] or [()])
