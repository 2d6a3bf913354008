from types import SimpleNamespace

import pytest

from normadvisor.optimization.forward import local_graphs


def given(*args, **kwargs):
    return SimpleNamespace(args=args, kwargs=kwargs)


@pytest.fixture
def traced():
    """The local graph of a model itself, or the reason why there is none."""

    def trace(model, *args, name="", **kwargs):
        refused = []
        for local in local_graphs(model, given(*args, **kwargs), refused):
            if local.name == name:
                return local
        return next(each.reason for each in refused if each.name == name)

    return trace
