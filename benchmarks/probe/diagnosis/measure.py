"""What normadvisor and the baselines say about one network, from the same steps."""

from __future__ import annotations

import json
import time
import warnings
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import torch

from benchmarks.probe.diagnosis import families, plants
from benchmarks.probe.diagnosis.baselines import autotrainer, sagemaker
from benchmarks.probe.diagnosis.network import Network, networks
from benchmarks.probe.diagnosis.steps import STEPS, batches, record
from benchmarks.probe.diagnosis.training import borne_out

__all__ = ["MOST_PER_PLANT", "Row", "chosen", "measure"]

MOST_PER_PLANT = 2
"""Networks with one plant in each half: the first ones that training bears out."""
_REGISTERED = (families, plants)
_BUDGET = 600.0
"""Seconds: no phase of a probe is left out because the machine is busy."""
_ALARMS = ("warning", "error")


@dataclass(frozen=True, slots=True, kw_only=True)
class Row:
    """One network, and what was said about it."""

    name: str
    family: str
    plant: str
    kind: str
    development: bool
    normadvisor: tuple[str, ...]
    """Rules that warn."""
    information: tuple[str, ...]
    """Rules that inform; no alarm."""
    messages: tuple[str, ...]
    sagemaker: tuple[str, ...]
    autotrainer: tuple[str, ...]
    problem: str
    """Why it could not be measured."""
    same_loss: bool
    """The first loss is that which the baselines were given, or training draws anew each time."""
    seconds: float


def chosen() -> Iterator[Network]:
    """Networks that training bears out; of each plant a few, so that none outweighs the others."""
    taken: dict[tuple[str, bool], int] = {}
    for network in networks():
        if not borne_out(network):
            continue
        if network.plant is not None:
            key = network.plant.name, network.development
            taken[key] = taken.get(key, 0) + 1
            if taken[key] > MOST_PER_PLANT:
                continue
        yield network


def measure(name: str, keep: Path | None = None) -> dict[str, Any]:
    """Probe one network and judge it, by its name; the measurements are kept in a folder if one is given."""
    import normadvisor  # noqa: PLC0415 - costs seconds, in workers alone
    from normadvisor.types import LOSSES  # noqa: PLC0415 - as above

    torch.set_num_threads(1)
    warnings.simplefilter("ignore")
    network = next(one for one in networks() if one.name == name)
    recorded = record(network)
    setup = network.setup()
    named = {"loss": setup.task.loss_name} if setup.task.loss_name in LOSSES else {"loss_fn": setup.task.loss}
    start = time.perf_counter()
    result = normadvisor.probe(
        setup.model, data=batches(network, setup), optimizer=setup.new_optimizer(), steps=STEPS, budget=_BUDGET, **named
    )
    seconds = time.perf_counter() - start
    findings = [finding for finding in result.findings if finding.rule.startswith("NA6")]
    problems = [problem.message for problem in result.report.problems]
    losses = result.measurements[0].series.get("loss", ()) if result.measurements else ()
    if keep and result.measurements:
        path = keep / f"{network.kind}__{name.replace('/', '__')}.json"
        path.write_text(json.dumps(result.measurements[0].to_dict()), encoding="utf-8")
    row = Row(
        name=name,
        family=network.family.name,
        plant=network.plant.name if network.plant else "",
        kind=network.kind,
        development=network.development,
        normadvisor=tuple(sorted({finding.rule for finding in findings if finding.severity in _ALARMS})),
        information=tuple(sorted({finding.rule for finding in findings if finding.severity not in _ALARMS})),
        messages=tuple(f"{finding.rule} {finding.severity}: {finding.message}" for finding in findings),
        sagemaker=sagemaker.judge(recorded),
        autotrainer=autotrainer.judge(recorded),
        problem="; ".join(problems),
        same_loss=_random(network) or _same(recorded.losses, losses),
        seconds=round(seconds, 2),
    )
    return asdict(row)


def _random(network: Network) -> bool:
    """Whether two passes in train mode over one batch differ."""
    setup = network.setup()
    *inputs, _ = batches(network, setup)[0]
    first, second = setup.model(*inputs), setup.model(*inputs)
    return not torch.allclose(first, second, rtol=1e-4, atol=1e-6, equal_nan=True)


def _same(ours: list[float], theirs: tuple[float | None, ...]) -> bool:
    if not ours or not theirs or theirs[0] is None:
        return not ours
    return bool(torch.isclose(torch.tensor(ours[0]), torch.tensor(theirs[0]), rtol=1e-4, equal_nan=True))
