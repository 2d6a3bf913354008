"""``python -m benchmarks.fixing``: plant mistakes in model files, fix them, print what share is mended, proven and rolled back."""

from __future__ import annotations

import argparse
import json
import random
import re
import sys
import time
import traceback
from collections import Counter
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from benchmarks.fixing.files import Source, own_sources, package_sources, rule_sources, script_sources
from benchmarks.fixing.measure import Row, known_findings, measure, measure_all
from benchmarks.fixing.plant import Plant, plants
from benchmarks.report import header

_STANDING = ("corpus", "example")
"""Mistakes that stand in a file as its author wrote it: there is no sound file to compare with."""
_STATUSES = ("fixed", "rolled back", "refused", "in words")


def main() -> int:
    """Run and print; 0 if no file was left that does not parse, differs outside the edits, or is fixed twice."""
    arguments = _arguments()
    tasks = list(_sources(arguments.families))
    if arguments.only:
        tasks = [source for source in tasks if arguments.only in source.name]
    random.Random(arguments.seed).shuffle(tasks)  # what a time limit cuts off is then a fair share of everything
    until = time.monotonic() + 60 * arguments.minutes
    kept = _kept(arguments.rows)
    reached = 0

    def work(source: Source) -> list[Row]:
        nonlocal reached
        if source.name not in kept and time.monotonic() > until:
            return []
        reached += 1
        if source.name not in kept:
            kept[source.name] = _of_source(source, arguments.plants, arguments.seed)
            if arguments.rows:
                with arguments.rows.open("a", encoding="utf-8") as file:
                    file.write(json.dumps({"source": source.name, "rows": [row.to_dict() for row in kept[source.name]]}) + "\n")
        return kept[source.name]

    with ThreadPoolExecutor(arguments.jobs) as pool:
        rows = [row for found in pool.map(work, tasks) for row in found]
    command = "python -m benchmarks.fixing " + " ".join(sys.argv[1:])
    text = header("Fixes on planted mistakes", command.strip()) + _text(rows, reached, len(tasks))
    print(text)
    if arguments.write:
        arguments.write.write_text(text, encoding="utf-8")
    return int(any(not (row.parses and row.exact and row.idempotent) for row in rows))


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.fixing", description=__doc__)
    parser.add_argument("families", nargs="*", default=["corpus", "rules", "scripts", "torchvision", "timm"], help="default: all five")
    parser.add_argument("--plants", type=int, default=4, help="mistakes planted in each sound file, at most one of a kind")
    parser.add_argument("--jobs", type=int, default=3, help="files worked on side by side")
    parser.add_argument("--minutes", type=float, default=1e6, help="begin no further source after that long; sources come in random order")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--only", help="sources whose name holds this")
    parser.add_argument("--rows", type=Path, help="keep what was measured, and go on from there")
    parser.add_argument("--write", type=Path, help="keep the report in a file as well")
    return parser.parse_args()


def _kept(path: Path | None) -> dict[str, list[Row]]:
    """What an earlier run measured, by source."""
    if path is None or not path.is_file():
        return {}
    lines = [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()]
    return {line["source"]: [Row(**row) for row in line["rows"]] for line in lines}


def _sources(families: Sequence[str]) -> Iterator[Source]:
    for family in families:
        own = {"corpus": own_sources, "rules": rule_sources, "scripts": script_sources}
        yield from own[family]() if family in own else package_sources(family)


def _of_source(source: Source, most: int, seed: int) -> list[Row]:
    """Rows of one source; a failure of the measurement itself is a row that says so."""
    try:
        if source.path is not None:
            return measure_all(source)
        if source.rule:
            return [measure(source, None, frozenset(), source.inputs)]
        known, inputs = known_findings(source)
        rows = []
        for plant in _chosen(source, most, seed):
            row = measure(source, plant, known, inputs)
            print(f"{row.source} {row.rule} {row.kind}: {row.status} {row.reason or row.difference}", file=sys.stderr)
            rows.append(row)
    except Exception as error:  # noqa: BLE001 - the others go on
        traceback.print_exc()
        reason = f"{type(error).__name__}: {error}"[:200]
        return [Row(source=source.name, rule=source.rule or "-", kind="-", status="failed", reason=reason)]
    return rows


def _chosen(source: Source, most: int, seed: int) -> list[Plant]:
    """Mistakes of different kinds, drawn at random but the same in every run."""
    draw = random.Random(f"{seed} {source.name}")  # not for secrets
    kinds: dict[str, list[Plant]] = {}
    for plant in plants(source.text):
        kinds.setdefault(plant.kind, []).append(plant)
    names = draw.sample(sorted(kinds), min(most, len(kinds)))
    return [draw.choice(kinds[name]) for name in names]


def _text(rows: Sequence[Row], reached: int, sources: int) -> str:
    planted = [row for row in rows if row.status in _STATUSES]
    fixable = [row for row in planted if row.status != "in words"]
    fixed = [row for row in fixable if row.status == "fixed"]
    planted_fixable = [row for row in fixable if row.kind not in _STANDING]
    compared = [row for row in fixed if row.restored is not None]
    safe = [row for row in fixed if row.safe]
    lines = [
        f"{reached} of {sources} sources; {len(planted)} findings, {len(fixable)} with a fix that can be applied.",
        "",
        f"- fixed: {_share(len(fixed), len(fixable))} of the fixable",
        f"- of the planted ones that were fixed, back to the function of the sound file: {_share(_count(compared), len(compared))}",
        f"- of all that were planted and have a fix: {_share(_count(compared), len(planted_fixable))}",
        f"- safe fixes that held and were proven: {_share(sum(row.proven for row in safe), len(safe))}",
        f"- rolled back: {_number(fixable, 'rolled back')}; refused with a reason: {_number(fixable, 'refused')}",
        f"- do not parse: {sum(not row.parses for row in fixed)}",
        f"- differ outside the edits: {sum(not row.exact for row in fixed)}",
        f"- not done after one run: {sum(not row.idempotent for row in fixed)}",
        f"- planted where the model does not show it: {_number(rows, 'not shown')}; not measured: {_number(rows, 'failed')}",
        "",
        "| rule | how planted | findings | fixed | back to the original | proven (safe) | rolled back | refused | in words |",
        "| --- | --- | --- | --- | --- | --- | --- | --- | --- |",
    ]
    for rule, kind in sorted({(row.rule, row.kind) for row in planted}):
        group = [row for row in planted if (row.rule, row.kind) == (rule, kind)]
        done = [row for row in group if row.status == "fixed"]
        back = [row for row in done if row.restored is not None]
        cells = [
            len(group), len(done), f"{_count(back)} of {len(back)}" if back else "-",
            f"{sum(row.proven for row in done if row.safe)} of {sum(row.safe for row in done)}" if any(row.safe for row in done) else "-",
            *(_number(group, status) for status in _STATUSES[1:]),
        ]  # fmt: skip
        lines.append(f"| {rule} | {kind} | {' | '.join(map(str, cells))} |")
    lines += ["", "Why fixes were not applied, and how fixed files differ from the sound ones:", ""]
    reasons = Counter(f"{row.rule}, {row.status}: {_brief(row.reason)}" for row in fixable if row.status != "fixed")
    reasons += Counter(f"{row.rule}, fixed otherwise ({row.kind}): {row.difference[:120]}" for row in compared if not row.restored)
    lines += [f"- {count} x {reason}" for reason, count in reasons.most_common()]
    return "\n".join(lines) + "\n"


def _brief(reason: str) -> str:
    """A reason without the temporary folder that the files stood in."""
    return re.sub(r"\S*/(?=\w+\.py)", "", " ".join(reason.split()))[:160]


def _number(rows: Sequence[Row], status: str) -> int:
    return sum(row.status == status for row in rows)


def _count(rows: Sequence[Row]) -> int:
    return sum(bool(row.restored) for row in rows)


def _share(part: int, whole: int) -> str:
    return f"{part} of {whole} ({part / whole:.1%})" if whole else "0 of 0"


if __name__ == "__main__":
    sys.exit(main())
