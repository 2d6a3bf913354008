"""Plants one mistake, looks whether it is found, tries every fix that is offered, and compares with the file as it was."""

from __future__ import annotations

import ast
import re
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

from benchmarks.fixing.files import Source
from benchmarks.fixing.plant import Plant
from normadvisor.api.check import CheckOptions
from normadvisor.api.fixing import Candidate, Choice, Fixer, FixOptions, Trial
from normadvisor.config import Settings, load_settings, parse_context
from normadvisor.types import Applicability, Edit, Finding

__all__ = ["Row", "known_findings", "measure", "measure_all"]

_TIMEOUT = 240.0
_COMPARING = 300


@dataclass(slots=True, kw_only=True)
class Row:
    """What came of one mistake."""

    source: str
    rule: str
    kind: str
    status: str
    """``not shown`` (the model does not run the changed line, or no longer runs), ``in words`` (the rule's fix is one for people),
    ``refused``, ``rolled back``, ``fixed``."""
    reason: str = ""
    safe: bool = False
    proven: bool = False
    restored: bool | None = None
    """Whether the fixed file builds the function of the original; ``None`` if that was not asked."""
    difference: str = ""
    parses: bool = True
    exact: bool = True
    """Whether every byte outside the edits is as it was."""
    idempotent: bool = True
    seconds: float = 0.0

    def to_dict(self) -> dict[str, Any]:
        """As JSON."""
        return asdict(self)


def _settings(start: Path) -> Settings:
    return replace(load_settings(start), timeout=_TIMEOUT)


def _fixer(path: Path, source: Source, context: dict[str, str]) -> Fixer:
    numbers = {key: int(value) if value.isdigit() else value == "True" if value in {"True", "False"} else value
               for key, value in {**dict(source.context), **context}.items()}  # fmt: skip
    check = CheckOptions(inputs=source.inputs, context=parse_context(numbers), jobs=1, static=source.script)
    target = f"{path}:{source.target}" if source.target and not source.script else str(path)
    return Fixer([target], _settings, FixOptions(check=check))


def known_findings(source: Source) -> tuple[frozenset[str], tuple[str, ...]]:
    """Fingerprints of what is found in a sound file, and the inputs its model was given."""
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "model.py"
        path.write_text(source.text, encoding="utf-8")
        with _fixer(path, source, {}) as fixer:
            report = fixer.check().report
    if report.problems:
        raise RuntimeError(report.problems[0].message)
    return frozenset(_key(finding) for finding in report.active), tuple((report.models[0].inputs or "").split())


def _key(finding: Finding) -> str:
    return f"{finding.rule} {','.join(finding.modules)}"


def measure(source: Source, plant: Plant | None, known: frozenset[str], inputs: Sequence[str]) -> Row:
    """One mistake, planted in a sound file, or the one that the author of a bad example put there."""
    begin = time.monotonic()
    rule = plant.rule if plant else source.rule
    row = Row(source=source.name, rule=rule, kind=plant.kind if plant else "example", status="not shown")
    with tempfile.TemporaryDirectory() as folder:
        path, original = Path(folder) / "model.py", Path(folder) / "original.py"
        path.write_text(plant.text if plant else source.text, encoding="utf-8")
        original.write_text(source.text, encoding="utf-8")
        compared = (lambda changed: _compare(original, changed, source.target, inputs)) if plant else None
        with _fixer(path, source, plant.context if plant else {}) as fixer:
            report = fixer.check().report
            row.reason = report.problems[0].message if report.problems else ""
            found = [finding for finding in report.active if finding.rule == rule and _key(finding) not in known]
            if found:
                _try(fixer, found, row, path, compared)
    row.seconds = time.monotonic() - begin
    return row


def measure_all(source: Source) -> list[Row]:
    """Every finding of a file or folder whose author put mistakes there, each tried alone; then all together, twice."""
    if source.path is None:
        raise AssertionError
    rows = []
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / source.path.name
        (shutil.copytree if source.path.is_dir() else shutil.copyfile)(source.path, path)
        with Fixer([str(path)], _settings, FixOptions(check=CheckOptions(jobs=1))) as fixer:
            for candidate in fixer.candidates():
                begin = time.monotonic()
                row = Row(source=source.name, rule=candidate.finding.rule, kind="corpus", status="in words", reason=candidate.reason)
                if any(fix.refused for fix in candidate.others):
                    row.status = "refused"
                for fix in candidate.fixes:
                    trial = fixer.try_choices([Choice(candidate.finding, fix)])
                    if trial.held:
                        _judge(row, trial, trial.changes[0].before, [edit for edit in fix.edits if edit.path == str(trial.changes[0].path)])
                        break
                    row.status, row.reason = "rolled back", trial.rolled_back[0].reason if trial.rolled_back else "waits for another"
                row.seconds = time.monotonic() - begin
                rows.append(row)
            run = fixer.fix_all(unsafe=True)
        run.write()
        with Fixer([str(path)], _settings, FixOptions(check=CheckOptions(jobs=1))) as fixer:
            again = fixer.fix_all(unsafe=True)
        if again.changes and rows:
            rows[0].idempotent = False
    return rows


def _try(fixer: Fixer, found: list[Finding], row: Row, path: Path, compared: Callable[[Path], str] | None) -> None:
    keys = {_key(finding) for finding in found}
    candidates = [candidate for candidate in fixer.candidates() if candidate.finding.rule == row.rule and _key(candidate.finding) in keys]
    row.status, row.reason = "in words", candidates[0].reason if candidates else "there is no fix"
    if candidates and any(fix.refused for candidate in candidates for fix in candidate.others):
        row.status = "refused"
    for candidate in candidates:
        for fix in sorted(candidate.fixes, key=lambda item: item is not candidate.default):
            before = path.read_bytes()
            trial = fixer.try_choices([Choice(candidate.finding, fix)])
            if not trial.held:
                if row.status != "fixed":
                    row.status = "rolled back"
                    row.reason = trial.rolled_back[0].reason if trial.rolled_back else "waits for another"
                continue
            _judge(row, trial, before, fix.edits)
            if compared is not None:
                changed = path.with_name("changed.py")
                changed.write_bytes(trial.changes[0].after)
                row.difference = compared(changed)
                row.restored = not row.difference
            if compared is None or row.restored:
                _again(fixer, trial, row, candidate)
                return


def _judge(row: Row, trial: Trial, before: bytes, edits: Sequence[Edit]) -> None:
    after = trial.changes[0].after
    row.status, row.reason = "fixed", ""
    row.safe = trial.held[0].fix.applicability is Applicability.SAFE
    row.proven = bool(trial.held[0].proofs) and all(proven.proof.equal for proven in trial.held[0].proofs)
    try:
        ast.parse(after)
    except (SyntaxError, ValueError):
        row.parses = False
    row.exact = _exact(_text(before), _text(after), edits) and _endings(before) >= _endings(after)


def _text(data: bytes) -> str:
    """Every byte as one character where the file is not UTF-8; line endings are looked at apart."""
    try:
        text = data.decode("utf-8-sig")
    except UnicodeDecodeError:
        text = data.decode("latin-1")
    return text.replace("\r\n", "\n").replace("\r", "\n")


def _endings(data: bytes) -> set[bytes]:
    """The kinds of line endings in a file."""
    return set(re.findall(rb"\r\n|\r|\n", data))


def _exact(before: str, after: str, edits: Sequence[Edit]) -> bool:
    """Whether what stands between the edits is still there, in order, at the right distance."""
    starts = [0]
    for line in before.split("\n"):
        starts.append(starts[-1] + len(line) + 1)
    rebuilt, position = "", 0
    for edit in sorted(set(edits), key=lambda item: (item.line, item.column)):
        begin, end = starts[edit.line - 1] + edit.column - 1, starts[edit.end_line - 1] + edit.end_column - 1
        rebuilt += before[position:begin] + edit.text
        position = end
    return rebuilt + before[position:] == after


def _again(fixer: Fixer, trial: Trial, row: Row, candidate: Candidate) -> None:
    """A second run has nothing left to do there: as many findings as before but one, for a script may hold several of a rule."""
    before = _alike(fixer, candidate)
    fixer.keep(trial)
    row.idempotent = _alike(fixer, candidate) < before


def _alike(fixer: Fixer, candidate: Candidate) -> int:
    return sum(_key(other.finding) == _key(candidate.finding) for other in fixer.candidates() if other.fixes)


def _compare(original: Path, changed: Path, target: str, inputs: Sequence[str]) -> str:
    command = [sys.executable, "-m", "benchmarks.fixing.compare", str(original), str(changed), target, *inputs]
    try:
        done = subprocess.run(command, capture_output=True, text=True, timeout=_COMPARING, check=False)
    except subprocess.TimeoutExpired:
        return f"not compared within {_COMPARING} s"
    lines = done.stdout.strip().splitlines() if done.returncode == 0 else done.stderr.strip().splitlines()[-1:]
    return "" if done.returncode == 0 and lines[-1:] == ["equal"] else (lines or ["no answer"])[-1]
