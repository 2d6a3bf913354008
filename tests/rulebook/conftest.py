"""A small rule that other tests change one thing of."""

from __future__ import annotations

import pytest

RULE = """\
id: AC001
name: small-rule
severity: warning
scope: graph
summary: A convolution before a norm
why: Because.
references:
  - title: A book
pattern:
  node: conv
  op: conv
  where: conv.bias
  precedes:
    - node: bn
      op: [batch_norm]
      through: identity_like
message: "{conv.module} stands before {bn.module}"
examples:
  bad:
    - code: x = 1
      expect: [1]
  good:
    - code: y = 1
"""


@pytest.fixture
def rule_text() -> str:
    return RULE
