"""``python -m benchmarks.scripts.packages``: check the sources of installed packages and list every warning and error.

Exit code 1 if one has no judgement, or is judged wrong. Packages that are not installed beside the checker are put into a folder of their
own, which nothing is imported from::

    python -m benchmarks.scripts.packages --folder /tmp/packages --install

Judgements are written by a person after reading the code at the site; they stand in ``judgements.yaml`` beside this file.
"""

from __future__ import annotations

import argparse
import os
import re
import subprocess
import sys
import sysconfig
import time
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from fnmatch import fnmatch
from importlib.metadata import distributions
from pathlib import Path
from typing import Any

import yaml

from benchmarks.scripts.findings import Finding, Report, check
from benchmarks.scripts.results import write_section

__all__ = ["Hit", "Judgement", "Package", "judge", "main", "packages_in", "sweep"]

_JUDGEMENTS = Path(__file__).with_name("judgements.yaml")
_SECONDS = 20
"""Time one file may take; a file that takes longer counts as not checked."""
INSTALLED = ("timm", "torch", "torchvision", "transformers")
"""Packages the checker's own environment holds."""
EXTRA = (
    "accelerate",
    "catalyst",
    "diffusers",
    "easyocr",
    "fastai",
    "kornia",
    "lightning",
    "monai",
    "open_clip_torch",
    "peft",
    "pytorch-forecasting",
    "pytorch-ignite",
    "pytorch-metric-learning",
    "segmentation-models-pytorch",
    "sentence-transformers",
    "skorch",
    "stable-baselines3",
    "torch-geometric",
    "torchmetrics",
    "trl",
    "ultralytics",
)
"""Packages put into a folder of their own: trainers, model collections, losses."""


@dataclass(frozen=True, slots=True)
class Package:
    """A folder of sources below a folder of packages."""

    name: str
    root: Path
    version: str


@dataclass(frozen=True, slots=True)
class Judgement:
    """What a person found at the sites of one rule in files that match a glob, on lines that hold a text."""

    rule: str
    path: str
    code: str
    right: bool
    reason: str

    def holds(self, hit: Hit) -> bool:
        """Whether it speaks of a hit."""
        finding = hit.finding
        return self.rule == finding.rule and fnmatch(finding.path, self.path) and self.code in hit.code


@dataclass(frozen=True, slots=True)
class Hit:
    """A finding and the line it points at."""

    finding: Finding
    code: str


def _name(text: str) -> str:
    return re.sub(r"[-_.]+", "_", text).lower()


def packages_in(root: Path, names: Sequence[str] = ()) -> list[Package]:
    """The packages below a folder, with the versions their metadata tells; only the named ones if there are names."""
    wanted, found = {_name(name) for name in names}, {}
    for distribution in distributions(path=[str(root)]):
        name = _name(distribution.metadata["Name"])
        if wanted and name not in wanted:
            continue
        for file in distribution.files or ():
            if len(file.parts) > 1 and file.suffix == ".py" and (root / file.parts[0]).is_dir():
                found[file.parts[0]] = Package(file.parts[0], root, distribution.version)
    return [found[name] for name in sorted(found) if not name.startswith(".")]


def sweep(package: Package, jobs: int) -> tuple[Report, float, int, int]:
    """Check one package: report, seconds, files, lines."""
    files = [path for path in (package.root / package.name).rglob("*.py") if "__pycache__" not in path.parts]
    lines = sum(path.read_bytes().count(b"\n") for path in files)
    started = time.perf_counter()
    report = check(package.root, [package.name], ["--jobs", str(jobs), "--timeout", str(_SECONDS)])
    return report, time.perf_counter() - started, len(files), lines


def _hit(package: Package, finding: Finding) -> Hit:
    try:
        lines = (package.root / finding.path).read_text(encoding="utf-8", errors="replace").splitlines()
    except OSError:
        lines = []
    return Hit(finding, lines[finding.line - 1].strip() if 0 < finding.line <= len(lines) else "")


def _judgements() -> list[Judgement]:
    raw: list[dict[str, Any]] = yaml.safe_load(_JUDGEMENTS.read_text(encoding="utf-8")) or []
    return [Judgement(one["rule"], one["path"], one.get("code", ""), one["right"], one["reason"]) for one in raw]


def judge(hit: Hit, judgements: Sequence[Judgement]) -> Judgement | None:
    """The first judgement that speaks of a hit."""
    return next((one for one in judgements if one.holds(hit)), None)


def _cell(text: str) -> str:
    return " ".join(text.split()).replace("|", "\\|")


def _hit_rows(hits: Sequence[Hit], judgements: Sequence[Judgement]) -> list[str]:
    lines = ["| severity | rule | site | code | message | judgement |", "| --- | --- | --- | --- | --- | --- |"]
    for hit in hits:
        verdict = judge(hit, judgements)
        said = "**not judged**" if verdict is None else f"{'Right' if verdict.right else '**Wrong**'}. {verdict.reason}"
        finding = hit.finding
        cells = (finding.severity, finding.rule, finding.place, f"`{hit.code[:100]}`", finding.message[:200], said)
        lines.append(f"| {' | '.join(map(_cell, cells))} |")
    return lines


def _print_hits(hits: Sequence[Hit]) -> None:
    for hit in hits:
        finding = hit.finding
        print(f"{finding.severity} {finding.rule} {finding.confidence} {finding.place}\n    {hit.code}\n    {finding.message}")
        for related in finding.related:
            print(f"      {related}")


def _chosen(arguments: argparse.Namespace) -> list[Package]:
    packages = packages_in(Path(sysconfig.get_path("purelib")), INSTALLED)
    packages = [package for package in packages if package.name in INSTALLED]
    if arguments.folder:
        arguments.folder.mkdir(parents=True, exist_ok=True)
        if arguments.install:
            pip = [sys.executable, "-m", "pip", "install", "--quiet", "--no-deps", "--no-compile"]
            subprocess.run([*pip, "--target", str(arguments.folder), *EXTRA], check=True)
        packages += packages_in(arguments.folder)
    return [package for package in packages if not arguments.packages or package.name in arguments.packages]


def main() -> None:
    """Sweep, judge, print, and write."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.scripts.packages", description=__doc__)
    parser.add_argument("packages", nargs="*", help="names of packages; all by default")
    parser.add_argument("--folder", type=Path, help="folder with further packages, which nothing is imported from")
    parser.add_argument("--install", action="store_true", help="put the further packages into that folder first")
    parser.add_argument("--jobs", type=int, default=min(2, os.cpu_count() or 1))
    parser.add_argument("--info", action="store_true", help="print information as well")
    parser.add_argument("--write", action="store_true", help="write the section into the results file")
    arguments = parser.parse_args()
    judgements = _judgements()
    table = ["| package | version | files | lines | seconds | errors | warnings | information | not checked |", "|" + " --- |" * 9]
    loud: list[Hit] = []
    for package in _chosen(arguments):
        report, seconds, files, lines = sweep(package, arguments.jobs)
        counts = Counter(finding.severity for finding in report.findings)
        numbers = (counts["error"], counts["warning"], counts["info"], len(report.problems))
        table.append(f"| {package.name} | {package.version} | {files:,} | {lines:,} | {seconds:.1f} | {' | '.join(map(str, numbers))} |")
        print(table[-1], *report.problems, sep="\n", flush=True)
        hits = [_hit(package, finding) for finding in report.findings]
        _print_hits([hit for hit in hits if hit.finding.loud or arguments.info])
        loud += [hit for hit in hits if hit.finding.loud]
    verdicts = [judge(hit, judgements) for hit in loud]
    missing = sum(verdict is None for verdict in verdicts)
    wrong = sum(verdict is not None and not verdict.right for verdict in verdicts)
    summary = f"{len(loud)} warnings and errors: {len(loud) - missing - wrong} right, {wrong} wrong, {missing} not judged."
    print(summary)
    if arguments.write:
        text = "\n".join([*table, "", summary, "", "### Every warning and error", "", *_hit_rows(loud, judgements)])
        write_section("Installed packages", "python -m benchmarks.scripts.packages --folder DIR --install --write", text)
    sys.exit(missing + wrong > 0)


if __name__ == "__main__":
    main()
