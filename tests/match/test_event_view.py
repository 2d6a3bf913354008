"""What expressions of rules see of an event beside its attributes."""

from __future__ import annotations

import pytest

from normadvisor.match.event_view import view_of
from normadvisor.script.events import Event
from normadvisor.types import Location
from normadvisor.types.events import EVENTS, REASONS

BN, SECOND, DROPOUT, NORM = "BatchNorm2d at /a/b/net.py:14", "BatchNorm2d at /a/b/net.py:20", "Dropout at C:\\a\\net.py:16", "LayerNorm"


def seen(**attributes):
    return view_of(Event("model_call", Location("/a/b/net.py", 3), attributes, {"built": (Location("/a/b/net.py", 1), "built")}, "net(x)"))


@pytest.mark.parametrize(
    ("layers", "expected"),
    [
        ([], (None, None, None)),
        ([BN], ("BatchNorm2d at net.py:14", "BatchNorm2d at net.py:14", None)),
        ([BN, BN], ("BatchNorm2d at net.py:14", "BatchNorm2d at net.py:14", None)),
        ([BN, SECOND], ("BatchNorm2d at net.py:14 and 1 more", "BatchNorm2d at net.py:14 and 1 more", None)),
        ([DROPOUT, BN], ("BatchNorm2d at net.py:14 and Dropout at net.py:16", "BatchNorm2d at net.py:14", "Dropout at net.py:16")),
        (
            [DROPOUT, BN, SECOND, NORM],
            ("BatchNorm2d at net.py:14, Dropout at net.py:16 and 2 more", "BatchNorm2d at net.py:14 and 1 more", "Dropout at net.py:16 and 1 more"),
        ),
    ],
)
def test_layers_for_messages(layers, expected):
    view = seen(layers=layers)
    assert (view["some_layers"], view["batchnorm_layers"], view["other_layers"]) == expected
    assert view["layers"] == list(dict.fromkeys(layer.replace("/a/b/", "").replace("C:\\a\\", "") for layer in layers))


def test_layers_of_an_optimizer():
    assert seen(norm_layers=[NORM, BN])["some_layers"] == "BatchNorm2d at net.py:14 and LayerNorm"


def test_the_rest():
    view = seen(deliberate="monte_carlo_dropout")
    assert (view["op"], view["places"], view["text"], str(view), view["reason"]) == ("model_call", ["built"], "net(x)", "net(x)", "Monte Carlo dropout")
    assert seen(deliberate=None)["reason"] is None


def test_every_reason_has_words():
    named = {
        word for attributes in EVENTS.values() for word in attributes.get("deliberate", "").split("`")[1::2]
    }  # fmt: skip
    assert named == set(REASONS)
