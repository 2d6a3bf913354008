"""What came of fixing, in a few lines for standard error."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

from normadvisor.types import Applicability, Finding

if TYPE_CHECKING:
    from normadvisor.api.fixing import Applied, FixRun, Proven
    from normadvisor.rewrite.keys import KeyMap
    from normadvisor.rewrite.text.write import Written

__all__ = ["key_map_files", "proof_words", "summary_lines"]

_MOST_KEYS = 8
"""Changed keys of one model that are named."""
_MOST_MODELS = 4
"""Models that are named."""


def summary_lines(run: FixRun, written: Written | None, *, unsafe: bool) -> Iterator[str]:
    """What was fixed, what was not and why, what was proven, and which keys changed.

    Args:
        run: what came of fixing.
        written: which files were written; ``None`` where none was to be.
        unsafe: whether unsafe fixes were applied as well.

    """
    from normadvisor.report.clean import one_line
    from normadvisor.report.tally import counted

    for item in run.rolled_back:
        yield f"rolled back: {place_words(item.finding)}: {one_line(item.reason)}"
    chosen = sum(not item.unsafe and _can_be_chosen(item.finding) for item in run.skipped)
    for skipped in run.skipped:
        if not (skipped.unsafe or _can_be_chosen(skipped.finding)) and _is_refused(skipped.finding):
            yield f"not fixed: {place_words(skipped.finding)}: {one_line(skipped.reason)}"
    if run.before.report.active or run.applied:
        yield _headline(run, written)
    more = sum(item.unsafe for item in run.skipped)
    if more and not unsafe:
        yield f"{counted(more, 'more finding')} can be fixed with --unsafe-fixes"
    if chosen:
        yield f"{counted(chosen, 'more finding')} can be fixed in several ways: choose one with -i"
    yield from _proof_lines(run.proofs)
    changed = [(target, key_map) for target, key_map in run.key_maps.items() if key_map]
    for target, key_map in changed[:_MOST_MODELS]:
        yield from _key_lines(target, key_map)
    if len(changed) > _MOST_MODELS:
        yield f"and the keys of {counted(len(changed) - _MOST_MODELS, 'more model')}"


def _can_be_chosen(finding: Finding) -> bool:
    """Whether some fix can be applied, though none is taken unasked."""
    return any(fix is not None and fix.edits for fix in (finding.fix, *finding.alternatives))


def _is_refused(finding: Finding) -> bool:
    """Whether something kept an edit from being made, rather than the fix being one in words."""
    return any(fix is not None and fix.applicability is not Applicability.DISPLAY for fix in (finding.fix, *finding.alternatives))


def _headline(run: FixRun, written: Written | None) -> str:
    from normadvisor.report.tally import counted

    applied: Sequence[Applied] = run.applied
    if written is not None and written.failed:
        missing = {path.resolve() for path, _reason in written.failed}
        applied = [item for item in applied if not missing & {Path(edit.path).resolve() for edit in item.fix.edits}]
    if not applied:
        words = "Nothing would be fixed" if written is None else "Nothing was fixed"
    else:
        verb = "Would fix" if written is None else "Fixed"
        kinds = Counter(item.fix.applicability.value for item in applied)
        files = len(run.changes) if written is None else len(written.written)
        safety = ", ".join(f"{number} {kind}" for kind, number in sorted(kinds.items()))
        words = f"{verb} {counted(len(applied), 'finding')} in {counted(files, 'file')} ({safety})"
    back = f", {len(run.rolled_back)} rolled back" if run.rolled_back else ""
    return f"{words}{back}."


def place_words(finding: Finding) -> str:
    """``net.py:8:21 NA102``."""
    from normadvisor.report.clean import one_line
    from normadvisor.report.paths import place_of_finding

    return one_line(f"{place_of_finding(finding, Path.cwd())} {finding.rule}")


def proof_words(proven: Sequence[Proven]) -> str:
    """What was shown of models that are the same function as before, with the largest difference; empty where there are none.

    ``outputs, gradients and buffers equal in float64, train and eval, 3 draws, worst 3e-15``
    """
    if not proven:
        return ""
    proofs = [item.proof for item in proven]
    return str(replace(proofs[0], worst=max(proof.worst for proof in proofs), draws=min(proof.draws for proof in proofs)))


def _proof_lines(proven: Sequence[Proven]) -> Iterator[str]:
    """One line for all models of which the same was shown."""
    groups: dict[tuple[str, tuple[str, ...]], list[Proven]] = {}
    for item in proven:
        groups.setdefault((item.proof.what, item.proof.modes), []).append(item)
    for group in groups.values():
        yield f"proven: {proof_words(group)} ({_some([item.model for item in group], _MOST_MODELS)})"


def _some(names: Sequence[str], most: int) -> str:
    from normadvisor.report.clean import one_line

    rest = len(names) - most
    shown = ", ".join(one_line(name) for name in names[:most])
    return f"{shown} and {rest} more" if rest > 0 else shown


def _key_lines(target: str, key_map: KeyMap) -> Iterator[str]:
    lines = str(key_map).splitlines()
    from normadvisor.report.clean import one_line

    yield f"state_dict of {one_line(target)}:"
    yield from (f"  {one_line(line)}" for line in lines[:_MOST_KEYS])
    if len(lines) > _MOST_KEYS:
        yield f"  and {len(lines) - _MOST_KEYS} more; --key-map FILE saves them all"


def key_map_files(key_maps: Mapping[str, KeyMap], path: Path) -> list[tuple[str, Path, KeyMap]]:
    """Target, file and map of each model whose keys changed: ``path`` itself for one, ``keys.net.py-Net.json`` and so on for several.

    Where no key of any model changed, one map that says so, without a target.
    """
    from normadvisor.rewrite.keys import KeyMap

    changed = {target: key_map for target, key_map in key_maps.items() if key_map}
    if not changed:
        return [("", path, KeyMap())]
    if len(changed) == 1:
        return [(target, path, key_map) for target, key_map in changed.items()]
    files = []
    names: Counter[str] = Counter()
    for target, key_map in changed.items():
        name = re.sub(r"[^\w.]+", "-", target).strip("-.")[:100]
        names[name] += 1
        number = f"-{names[name]}" if names[name] > 1 else ""
        files.append((target, path.with_name(f"{path.stem}.{name}{number}{path.suffix}"), key_map))
    return files
