"""The mode of a model as a whole: of its parts taken together."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

from normadvisor.script.library.models import ancestors, children, contents_of, descendants, own_contents, own_mode, root_of
from normadvisor.script.library.parts import part_names, part_of
from normadvisor.script.state import Mode, Training, joined_training

if TYPE_CHECKING:
    from normadvisor.script.project.contents import Contents, Held
    from normadvisor.script.protocol import Machine
    from normadvisor.script.state import State
    from normadvisor.script.values import Place, Ref, Thing

__all__ = ["from_elsewhere", "mode_of"]


def mode_of(machine: Machine, state: State, thing: Thing, depth: int = 6, known: dict[int, Mode] | None = None) -> Mode:
    """The mode of a model, of its parts taken together. Parts that hold nothing that depends on the mode do not count.

    Building something around a module does not change its mode: what was handed to a model counts with the mode it is in.
    """
    known = {} if known is None else known
    if thing.address not in known:
        known[thing.address] = own_mode(machine, state, thing)  # of a model that holds itself
        known[thing.address] = _mode(machine, state, thing, depth, known)
    return known[thing.address]


def _mode(machine: Machine, state: State, thing: Thing, depth: int, known: dict[int, Mode]) -> Mode:
    base = own_mode(machine, state, thing)
    if not depth or not any(
        part.address in state.modes or from_elsewhere(machine, thing, part) for part in descendants(machine, state, thing)
    ):
        return base
    met = children(machine, state, thing)
    batchnorm: list[tuple[Training, bool]] = []
    rest: list[tuple[Training, bool]] = []
    evaluated, frozen, switched = base.evaluated, base.frozen, base.switched
    for ref in met.values():
        part = machine.things[ref.address]
        contents = contents_of(machine, state, part)
        mode = mode_of(machine, state, part, depth - 1, known)
        if contents.batchnorm != "no":
            batchnorm.append((mode.batchnorm, contents.batchnorm == "yes"))
            if mode.batchnorm == "eval" and base.both == "train":
                frozen = frozen or mode.frozen or _aimed(machine, thing, part, mode)
                evaluated = evaluated or mode.evaluated
        if contents.dropout != "no" or contents.other != "no":
            rest.append((mode.rest, "yes" in {contents.dropout, contents.other}))
        switched = switched or mode.switched
    for kind, found, own in (("batchnorm", batchnorm, base.batchnorm), ("rest", rest, base.rest)):
        if (held := _held_beside(machine, state, thing, set(met), kind)) != "no":
            found.append((own, held == "yes"))
    if all(mode == "eval" for mode, _ in batchnorm) and not _has_more(machine, state, thing, met):
        frozen = base.frozen  # the whole of it is in eval mode
    # One layer that drops at random makes the output random, whatever the others do.
    together = _together(batchnorm), "train" if ("train", True) in rest else _together(rest)
    return replace(
        base,
        # Of what the parts do not hold, the mode does not matter.
        batchnorm=together[0] or together[1] or base.batchnorm,
        rest=together[1] or together[0] or base.rest,
        frozen=frozen,
        evaluated=evaluated,
        switched=switched,
    )


def _aimed(machine: Machine, thing: Thing, part: Thing, mode: Mode) -> Place | None:
    """Where a part was put into eval mode, if that may be meant to freeze its BatchNorm layers: not where it was built or loaded."""
    known = part.kind != "opaque" and root_of(machine, part).facts.get("checkpoint") is None
    known = known or not from_elsewhere(machine, thing, part)
    built = mode.switched is not None and mode.switched.location == part.place.location
    return mode.switched if known and not built else None


def from_elsewhere(machine: Machine, thing: Thing, part: Thing) -> bool:
    """Whether a part was built outside of the model."""
    return all(whole is not thing for whole in ancestors(machine, part))


def _together(found: list[tuple[Training, bool]]) -> Training | None:
    """The mode of several parts; what some are sure to do is not in doubt because of others of which nothing is known."""
    if any(sure and mode == "train" for mode, sure in found):
        found = [(mode, sure) for mode, sure in found if mode != "unknown"]
    if not found:
        return None
    result = found[0][0]
    for mode, _ in found[1:]:
        result = joined_training(result, mode)
    return result


def _held_beside(machine: Machine, state: State, thing: Thing, met: set[str], which: str) -> Held:
    """Whether a model holds layers that are asked for beside the parts that were met."""
    if thing.facts.get("container") or "children()" in met:
        return "no"
    names = part_names(machine, thing)
    if names is None:
        own = own_contents(machine, thing)
        return "unknown" if own is None else _held(own, which)
    found: set[Held] = set()
    for name in names:
        ref = part_of(machine, state, thing, name) if name not in met else None
        if ref is not None:
            found.add(_held(contents_of(machine, state, machine.things[ref.address]), which))
    return "yes" if "yes" in found else "unknown" if "unknown" in found else "no"


def _held(contents: Contents, which: str) -> Held:
    kinds = {contents.batchnorm} if which == "batchnorm" else {contents.dropout, contents.other}
    return "yes" if "yes" in kinds else "unknown" if "unknown" in kinds else "no"


def _has_more(machine: Machine, state: State, thing: Thing, met: dict[str, Ref]) -> bool:
    """Whether a model has parts beside those in eval mode."""
    names = part_names(machine, thing)
    if any(mode_of(machine, state, machine.things[ref.address], 2).both != "eval" for ref in met.values()):
        return True
    if thing.facts.get("container"):
        return False
    return names is None or any(name not in met and part_of(machine, state, thing, name) is not None for name in names)
