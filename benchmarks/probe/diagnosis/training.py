"""``python -m benchmarks.probe.diagnosis.training``: trains every network for a while, and writes how well each did.

That is the evidence for the ground truth: a plant counts as a trouble only where the network learns clearly less than its healthy twin,
whichever of several optimizers is best for each, and a healthy network has to learn. What rules or baselines say plays no part.
"""

from __future__ import annotations

import argparse
import json
import math
import warnings
from collections.abc import Iterator, Sequence
from functools import cache
from multiprocessing import get_context
from pathlib import Path
from typing import Any

import torch

from benchmarks.probe.diagnosis import families, plants
from benchmarks.probe.diagnosis.network import Network, Setup, networks

__all__ = ["LEAST_SKILL", "MOST_OF_TWIN", "TRUTH", "borne_out", "known", "train"]

TRUTH = Path(__file__).with_name("truth.json")
"""What training made of each network."""

STEPS = 300
BATCH = 64
_RECIPES = (("momentum", 0.02), ("adamw", 1e-3), ("adamw", 5e-3))
"""Beside the network's own."""
LEAST_SKILL = 0.3
"""A healthy network reaches this share of the way from guessing to knowing."""
MOST_OF_TWIN = 0.75
"""A planted network reaches at most this share of what its twin reaches."""
_ENOUGH = 0.85
"""No other optimizer is tried for a healthy network that reached this much."""
_EVALUATION = 16
"""Samples per batch at evaluation, alike ones side by side: no healthy network minds."""
_POINTS = 10
_REGISTERED = (families, plants)


def _losses(setup: Setup, optimizer: torch.optim.Optimizer, seed: int) -> Iterator[float]:
    setup.model.train()
    for *inputs, target in setup.task.batches(1000 + seed, STEPS, BATCH):
        optimizer.zero_grad()
        loss = setup.task.loss(setup.model(*inputs), target)
        loss.backward()
        optimizer.step()
        yield loss.item()
        if not math.isfinite(loss.item()):
            return


def _tested(setup: Setup) -> float:
    setup.model.eval()
    *inputs, target = setup.task.test()
    with torch.no_grad():
        parts = [setup.model(*(one[start : start + _EVALUATION] for one in inputs)) for start in range(0, len(target), _EVALUATION)]
        return float(setup.task.loss(torch.cat(parts), target))


def train(network: Network, enough: float = _ENOUGH) -> dict[str, Any]:
    """Skill at evaluation with the best optimizer, which one it was, and its losses in training; all are tried until one is ``enough``."""
    best: dict[str, Any] = {"name": network.name, "skill": -math.inf}
    own = network.setup()
    for recipe in dict.fromkeys([(own.optimizer, own.lr), *_RECIPES]):
        setup = network.setup()
        try:
            losses = list(_losses(setup, setup.new_optimizer(*recipe, fused=True), network.seed))
            skill = setup.task.skill(_tested(setup)) if math.isfinite(losses[-1]) else -1.0
        except ValueError:  # Some norms refuse what is not a number.
            losses, skill = [math.nan], -1.0
        if skill > best["skill"]:
            width = max(1, len(losses) // _POINTS)
            curve = [sum(losses[start : start + width]) / width for start in range(0, width * min(_POINTS, len(losses)), width)]
            rounded = [float(f"{value:.4g}") if math.isfinite(value) else None for value in curve]
            best |= {"skill": round(skill, 4), "optimizer": f"{recipe[0]} {recipe[1]:g}", "curve": rounded}
        if best["skill"] >= enough:
            break
    return best


def _train_pair(work: tuple[str, float | None, Sequence[str]]) -> list[dict[str, Any]]:
    """A healthy network, if its skill is not known, and planted ones, which need no further trial once they reach too much of that."""
    twin, skill, planted = work
    by_name = {one.name: one for network in networks() for one in (network.twin, network)}
    trained = []
    if skill is None:
        trained.append(train(by_name[twin]))
        skill = trained[0]["skill"]
    if skill >= LEAST_SKILL:
        trained += [train(by_name[name], MOST_OF_TWIN * skill + 1e-9) for name in planted]
    return trained


@cache
def known() -> dict[str, dict[str, Any]]:
    """What was written, by name of the network."""
    return {row["name"]: row for row in json.loads(TRUTH.read_text(encoding="utf-8"))}


def borne_out(network: Network) -> bool:
    """Whether training bore out what the network is said to be."""
    rows = known()
    healthy, own = (rows.get(one.name, {"skill": -1.0}) for one in (network.twin, network))
    if healthy["skill"] < LEAST_SKILL:
        return False  # Its planted ones were not trained either.
    return network.plant is None or (network.name in rows and own["skill"] <= MOST_OF_TWIN * healthy["skill"])


def _worker() -> None:
    torch.set_num_threads(1)
    warnings.simplefilter("ignore")


def main() -> None:
    """Train those that are not known yet."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.probe.diagnosis.training", description=__doc__)
    parser.add_argument("--jobs", type=int, default=2)
    parser.add_argument("--only", default="", help="families whose name contains this")
    arguments = parser.parse_args()
    work: dict[str, dict[str, None]] = {}
    for network in networks():
        planted = work.setdefault(network.twin.name, {})
        if network.plant:
            planted[network.name] = None
    names = {*work, *(name for planted in work.values() for name in planted)}
    rows = {name: row for name, row in known().items() if name in names} if TRUTH.exists() else {}
    wanted = []
    for twin, planted in work.items():
        skill = rows[twin]["skill"] if twin in rows else None
        missing = tuple(name for name in planted if name not in rows)
        if arguments.only in twin.partition("/")[0] and (skill is None or (missing and skill >= LEAST_SKILL)):
            wanted.append((twin, skill, missing))
    built = {network.twin.name: network.twin for network in networks()}
    wanted.sort(key=lambda each: (len(each[2]), len(list(built[each[0]].setup().model.modules()))))  # Quick ones first.
    with get_context("spawn").Pool(arguments.jobs, _worker) as pool:
        for done, trained in enumerate(pool.imap_unordered(_train_pair, wanted), 1):
            rows |= {row["name"]: row for row in trained}
            lines = ",\n".join(json.dumps(rows[name]) for name in sorted(rows))
            TRUTH.write_text(f"[\n{lines}\n]\n", encoding="utf-8")
            print(f"{done} of {len(wanted)}  " + ", ".join(f"{row['name']} {row['skill']:.3f}" for row in trained), flush=True)


if __name__ == "__main__":
    main()
