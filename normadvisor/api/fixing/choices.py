"""What can be mended, what was chosen, and what came of it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

from normadvisor.api.options import Checked, CheckOptions
from normadvisor.rewrite.keys import KeyMap
from normadvisor.rewrite.proof.result import Proof
from normadvisor.types import Finding, Fix

if TYPE_CHECKING:
    from normadvisor.api.fixing.verdict import State
    from normadvisor.rewrite.text.changes import FileChange
    from normadvisor.rewrite.text.write import Written

__all__ = ["CONVERSIONS", "Applied", "Candidate", "Choice", "FixOptions", "FixRun", "Proven", "RolledBack", "Skipped", "Trial"]

CONVERSIONS = ("group_norm", "layer_norm", "sync_batch_norm", "frozen_batch_norm", "instance_norm")
"""What BatchNorm can be converted to."""

_BY_HAND = "the fix is to be made by hand"


@dataclass(frozen=True, slots=True, kw_only=True)
class FixOptions:
    """How to mend, beside how to check."""

    check: CheckOptions = field(default_factory=CheckOptions)
    to: str | None = None
    """One of :data:`CONVERSIONS`: every BatchNorm is converted to this, and the rules' own fixes are left alone."""
    layers: tuple[str, ...] = ("*",)
    """Globs over qualified names of the layers to convert; one that begins with ``!`` leaves layers out."""
    groups: int = 32
    """Groups of a GroupNorm at most."""
    draws: int = 3
    """Random inputs and weights that a safe fix is proven on, in each mode."""
    seed: int = 0
    rounds: int = 10
    """How often to look again for what can be mended, at most: fixes that overlap wait for the next round."""


@dataclass(frozen=True, slots=True)
class Candidate:
    """One finding, and the ways to mend it."""

    finding: Finding
    """With its fixes as all models agree on them."""
    fixes: tuple[Fix, ...] = ()
    """Those that can be applied: all have edits. The default comes first."""
    others: tuple[Fix, ...] = ()
    """Those that cannot: in words only, or with the reason in :attr:`Fix.refused`."""

    @property
    def reason(self) -> str:
        """Why there is nothing to apply; empty if there is something."""
        if self.fixes:
            return ""
        return next((fix.refused for fix in self.others if fix.refused), _BY_HAND)

    @property
    def default(self) -> Fix | None:
        """The fix that is applied unless another is chosen: the first safe one, else the rule's own; no unsafe alternative unasked."""
        return self.finding.mended_by(lambda fix: bool(fix.edits))


@dataclass(frozen=True, slots=True)
class Choice:
    """One fix of one finding, as a :class:`Candidate` lists it."""

    finding: Finding
    fix: Fix


@dataclass(frozen=True, slots=True)
class Proven:
    """A model that was shown to be the same function as before."""

    model: str
    """The target: ``net.py:Net``."""
    proof: Proof
    """``str(proof)`` is one line: what was compared, and how large differences were."""


@dataclass(frozen=True, slots=True)
class Applied:
    """A fix that held."""

    finding: Finding
    fix: Fix
    proofs: tuple[Proven, ...] = ()
    """The models that were shown to be the same function; empty for an unsafe fix, and for one of a script without models."""


@dataclass(frozen=True, slots=True)
class RolledBack:
    """A fix that was tried and taken back."""

    finding: Finding
    fix: Fix
    reason: str
    unprovable: bool = False
    """Whether it failed only because models could not be compared, which other fixes may change."""


@dataclass(frozen=True, slots=True)
class Skipped:
    """A finding that was left alone."""

    finding: Finding
    reason: str
    """``only with unsafe fixes: ...``, ``the fix is to be made by hand``, or why the source cannot be edited."""
    unsafe: bool = False
    """Whether unsafe fixes would have mended it."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Trial:
    """What came of trying some fixes together. Nothing was written."""

    held: tuple[Applied, ...] = ()
    rolled_back: tuple[RolledBack, ...] = ()
    waiting: tuple[Choice, ...] = ()
    """Fixes that change the same text as one that held: to be looked at again after :meth:`Fixer.keep`."""
    changes: tuple[FileChange, ...] = ()
    """Files as they are on the disk, and as they would be with what held, kept trials included."""
    proofs: tuple[Proven, ...] = ()
    """All models that were shown to be the same function."""
    after: Checked
    """The check with what held applied."""
    key_maps: Mapping[str, KeyMap] = field(default_factory=dict)
    """How the keys of ``state_dict`` changed, by target; models whose keys stay are left out."""
    state: State | None = field(default=None, repr=False, compare=False)
    """What :meth:`Fixer.keep` goes on from."""


@dataclass(frozen=True, slots=True, kw_only=True)
class FixRun:
    """What came of a whole run of fixing. Nothing was written before :meth:`write`."""

    before: Checked
    after: Checked
    """What remains: the check of the changed files."""
    applied: tuple[Applied, ...] = ()
    rolled_back: tuple[RolledBack, ...] = ()
    skipped: tuple[Skipped, ...] = ()
    proofs: tuple[Proven, ...] = ()
    """The last proof of every model that was shown to be the same function."""
    changes: tuple[FileChange, ...] = ()
    key_maps: Mapping[str, KeyMap] = field(default_factory=dict)
    """How the keys of ``state_dict`` changed over all rounds, by target; models whose keys stay are left out."""
    rounds: int = 0

    def write(self) -> Written:
        """Write the changed files, each as a whole or not at all, and only if it is still what was read.

        Files that one fix changes are written together or not at all.

        Returns:
            Which files were written, and which were not with the reason.

        """
        from normadvisor.rewrite.text.write import write

        return write(self.changes, together=[{Path(edit.path) for edit in item.fix.edits} for item in self.applied])

    def __str__(self) -> str:
        """A line for each fix, and what was proven."""
        lines = [f"{_place(item.finding)}: {item.finding.rule} fixed: {item.fix.description}" for item in self.applied]
        lines += [f"{_place(item.finding)}: {item.finding.rule} rolled back: {item.reason}" for item in self.rolled_back]
        lines += [f"{_place(item.finding)}: {item.finding.rule} skipped: {item.reason}" for item in self.skipped]
        files = len(self.changes)
        lines.append(f"{len(self.applied)} fixed in {files} file{'' if files == 1 else 's'}, {len(self.rolled_back)} rolled back")
        return "\n".join(lines)


def _place(finding: Finding) -> str:
    if finding.path is None:
        return finding.model or "the model"
    cell = "" if finding.cell is None else f"cell {finding.cell}:"
    return f"{finding.path}:{cell}{finding.line}:{finding.column}"
