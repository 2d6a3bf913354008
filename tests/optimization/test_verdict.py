import pytest

from normadvisor.optimization.verdict import judged
from normadvisor.types.optimization import VERDICTS, Ratio


def ratio(median, low=None, high=None):
    return Ratio(median=median, low=low or median, high=high or median, pairs=9, before=1.0, after=1 / median)


@pytest.mark.parametrize(
    ("kernel", "whole", "verdict"),
    [
        (ratio(1.03), ratio(1.0), "kept"),
        (ratio(1.5), ratio(0.98, 0.97, 1.01), "kept"),
        (ratio(1.5), ratio(0.99, 0.98, 0.995), "slower"),
        (ratio(1.5), ratio(0.97, 0.9, 1.2), "slower"),
        (ratio(1.02), ratio(1.2), "no gain"),
        (ratio(0.99), ratio(1.2), "slower"),
        (None, ratio(1.03, 1.01, 1.05), "kept"),
        (None, ratio(1.05, 0.99, 1.1), "no gain"),
        (None, ratio(1.02, 1.01, 1.03), "no gain"),
        (None, ratio(0.97), "slower"),
        (None, ratio(0.99, 0.97, 1.01), "no gain"),
    ],
)
def test_a_replacement_is_kept_where_it_is_faster_and_the_model_is_not_slower(kernel, whole, verdict):
    assert judged(kernel, whole, 1.03)[0] == verdict


def test_a_gain_alone_that_makes_the_model_slower_is_explained():
    assert judged(ratio(1.5), ratio(0.9), 1.03) == ("slower", "the operations alone are 1.50 times as fast, but the whole model is slower")


def test_verdicts_are_those_that_reports_explain():
    found = {judged(kernel, whole, 1.03)[0] for kernel in (None, ratio(0.9), ratio(1.0), ratio(2.0)) for whole in (ratio(0.9), ratio(2.0))}
    assert found <= VERDICTS.keys()
