"""``python -m benchmarks.probe.diagnosis``: networks with a known trouble, and healthy ones, beside two other tools.

Each network is probed with real batches of its task, its own loss and optimizer, through ``normadvisor.probe``; the baselines are given the
same steps. What training made of each network is in ``truth.json`` (``python -m benchmarks.probe.diagnosis.training``). Thresholds of rules
were chosen by the development half alone, networks of even seeds.
"""

from __future__ import annotations

import argparse
import json
from functools import partial
from multiprocessing import get_context
from pathlib import Path

from benchmarks.probe.diagnosis.measure import chosen, measure
from benchmarks.probe.diagnosis.network import KINDS
from benchmarks.probe.diagnosis.table import lines
from benchmarks.report import header


def main() -> None:
    """Measure, print, and write."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.probe.diagnosis", description=__doc__)
    parser.add_argument("--only", choices=(*KINDS, "healthy"), help="networks with this trouble")
    parser.add_argument("--half", choices=("development", "held-out"), help="one half alone")
    parser.add_argument("--name", default="", help="networks whose name contains this")
    parser.add_argument("--jobs", type=int, default=4)
    parser.add_argument("--keep", type=Path, help="folder for the measurements as JSON")
    parser.add_argument("--rows", type=Path, help="file that keeps what was measured and said, so that an interrupted run goes on")
    parser.add_argument("--write", type=Path, help="markdown file to write")
    arguments = parser.parse_args()
    wanted = [
        network.name
        for network in chosen()
        if arguments.name in network.name
        and arguments.only in (None, network.kind)
        and arguments.half in (None, "development" if network.development else "held-out")
    ]
    rows = json.loads(arguments.rows.read_text(encoding="utf-8")) if arguments.rows and arguments.rows.exists() else []
    rows = [row for row in rows if row["name"] in wanted]
    known = {row["name"] for row in rows}
    if arguments.keep:
        arguments.keep.mkdir(parents=True, exist_ok=True)
    with get_context("spawn").Pool(arguments.jobs) as pool:
        for row in pool.imap_unordered(partial(measure, keep=arguments.keep), [name for name in wanted if name not in known]):
            rows.append(row)
            if arguments.rows:
                arguments.rows.write_text("[\n" + ",\n".join(map(json.dumps, rows)) + "\n]\n", encoding="utf-8")
            print(f"{len(rows)} of {len(wanted)}  {row['name']}  {' '.join(row['normadvisor']) or '-'}  {row['problem']}", flush=True)
    rows.sort(key=lambda row: row["name"])
    text = "\n".join(lines(rows))
    print(text)
    if arguments.write:
        words = (__doc__ or "").partition("\n\n")[2].strip().replace("``", "`")
        command = "python -m benchmarks.probe.diagnosis"
        arguments.write.write_text(f"{header('Diagnoses by a probe', command)}{words}\n\n{text}\n", encoding="utf-8")


if __name__ == "__main__":
    main()
