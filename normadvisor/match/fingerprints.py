"""What makes a finding the same after its file changed elsewhere."""

from __future__ import annotations

import hashlib
from collections import Counter
from collections.abc import Sequence
from dataclasses import replace

from normadvisor.types import Finding

__all__ = ["fingerprinted"]


def fingerprinted(findings: Sequence[Finding]) -> list[Finding]:
    """Replace the identities that stand in ``fingerprint`` by hashes; equal ones are told apart by their order in the file."""
    seen: Counter[str] = Counter()
    done: list[Finding] = []
    for finding in findings:
        ordinal = seen[finding.fingerprint]
        seen[finding.fingerprint] += 1
        digest = hashlib.sha256(f"{finding.fingerprint}\n{ordinal}".encode("utf-8", "surrogatepass")).hexdigest()
        done.append(replace(finding, fingerprint=digest[:16]))
    return done
