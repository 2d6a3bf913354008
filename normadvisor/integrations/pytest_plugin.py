"""The pytest plugin: a fixture ``assert_model_healthy``. Loading it imports neither torch nor the rest of the package.

def test_model(assert_model_healthy):
    assert_model_healthy(Net(), (images, labels), nn.CrossEntropyLoss())
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

__all__ = ["assert_model_healthy"]


@pytest.fixture(name="assert_model_healthy")
def assert_model_healthy() -> Callable[..., Any]:
    """Check a model and probe a few steps of its training: ``assert_model_healthy(model, batch, loss_fn, fail_on="warning", ignore=())``.

    See :func:`normadvisor.integrations.healthy.assert_model_healthy`.
    """
    from normadvisor.integrations.healthy import assert_model_healthy as check  # noqa: PLC0415 - torch comes with it

    return check
