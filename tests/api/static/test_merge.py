"""What a script and the traced model show together is one finding."""

from __future__ import annotations

from normadvisor.api.static.merge import merged
from normadvisor.types import Confidence, Finding, Related, Severity


def finding(rule, path, line, *related, confidence=Confidence.CONFIRMED, severity=Severity.WARNING, **others):
    return Finding(
        rule=rule, name="n", severity=severity, confidence=confidence, message="m", path=path, line=line, column=1,
        related=tuple(Related(place, number, "r") for place, number in related), **others,
    )  # fmt: skip


def test_a_shared_place_is_one_event():
    script = finding("NA501", "train.py", 9, ("net.py", 7))
    traced = finding("NA501", "net.py", 4, ("net.py", 7), model="net.py:Net", modules=("act",))
    (found,) = merged([script], [traced])
    assert (found.path, found.line, found.model, found.modules) == ("train.py", 9, "net.py:Net", ("act",))
    assert found.related == (Related("net.py", 7, "r"), Related("net.py", 4, "the traced model shows it here"))


def test_the_more_certain_one_stays():
    script = finding("NA501", "train.py", 9, ("net.py", 4), confidence=Confidence.SUSPECTED)
    traced = finding("NA501", "net.py", 4, model="net.py:Net")
    (found,) = merged([script], [traced])
    assert (found.path, found.confidence, found.related) == ("net.py", Confidence.CONFIRMED, (Related("train.py", 9, "the script shows it here"),))
    (found,) = merged([finding("NA501", "train.py", 9, ("net.py", 4))], [finding("NA501", "net.py", 4, severity=Severity.ERROR)])
    assert found.severity is Severity.ERROR


def test_other_rules_and_places_stay_apart():
    script = finding("NA501", "train.py", 9, ("net.py", 7))
    others = [finding("NA502", "net.py", 7), finding("NA501", "net.py", 8), finding("NA501", None, None, model="net.py:Net")]
    assert merged([script], others) == [script, *others]
