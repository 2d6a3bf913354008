"""Build every model of torchvision, timm and transformers once, on no device, and note which layers depend on the mode.

Writes the tables that ``normadvisor.script.knowledge`` looks models up in::

    python benchmarks/knowledge.py torchvision timm transformers --jobs 2
"""

from __future__ import annotations

import argparse
import contextlib
import json
import logging
import multiprocessing
import warnings
from collections import Counter
from pathlib import Path
from typing import Any

import torch
from torch import nn

FOLDER = Path(__file__).parents[1] / "normadvisor" / "script" / "knowledge" / "data"
DROPOUT = (nn.modules.dropout._DropoutNd,)  # noqa: SLF001 - the common base has no public name


def rate(module: nn.Module) -> float:
    """The highest probability of dropout that a module itself applies."""
    if isinstance(module, nn.RReLU):
        return 1.0
    if isinstance(module, nn.RNNBase) and module.num_layers == 1:
        return 0.0
    found = [0.0]
    for name, value in vars(module).items():
        named = "drop" in name or (name == "p" and (isinstance(module, DROPOUT) or "Depth" in type(module).__name__))
        named = named or (name in {"prob", "layerdrop"} and "Drop" in type(module).__name__)
        if named and isinstance(value, float | int) and not isinstance(value, bool):
            found.append(float(value))
    return max(found)


def contents(model: nn.Module) -> str:
    """Counts of what depends on the mode, and of the other norm layers: ``B BatchNorm2d 53; D Dropout 1; N LayerNorm 2``."""
    counts: dict[str, Counter[str]] = {"B": Counter(), "D": Counter(), "O": Counter(), "N": Counter()}
    for module in model.modules():
        name = type(module).__name__
        if isinstance(module, nn.modules.instancenorm._InstanceNorm):  # noqa: SLF001
            counts["O" if module.track_running_stats else "N"][name] += 1
        elif isinstance(module, nn.modules.batchnorm._BatchNorm):  # noqa: SLF001
            counts["B" if module.track_running_stats else "N"][name] += 1
        elif "Norm" in name and isinstance(getattr(module, "weight", None), torch.Tensor) and not list(module.children()):
            counts["N"][name] += 1
        elif rate(module) > 0:
            counts["D"][name] += 1
    parts = {kind: ", ".join(f"{name} {number}" for name, number in sorted(found.items())) for kind, found in counts.items()}
    return "; ".join(f"{kind} {part}" for kind, part in parts.items() if part)


def built(build: Any, *names: Any, device: str = "meta", **arguments: Any) -> str | None:
    """Contents of what a call builds; ``None`` if it raises."""
    with warnings.catch_warnings(), torch.device(device), torch.no_grad():
        warnings.simplefilter("ignore")
        try:
            return contents(build(*names, **arguments))
        except Exception as error:  # noqa: BLE001 - any model may refuse for a reason of its own
            if not arguments:
                print(f"{names}: {type(error).__name__}: {error}"[:200], flush=True)
            return None


def torchvision_one(name: str) -> tuple[str, str | None, str]:
    """One model of torchvision, with its default arguments."""
    from torchvision import models  # noqa: PLC0415 - only what is asked for
    from torchvision.models import _api  # noqa: PLC0415 - only what is asked for

    _api.WeightsEnum.get_state_dict = lambda *_, **__: {}
    nn.Module.load_state_dict = lambda *_, **__: None
    build = models.get_model_builder(name)
    return name, built(build) or built(build, device="cpu"), ""  # some constructors read values, which nothing on meta has


def timm_one(name: str) -> tuple[str, str | None, str]:
    """One model of timm, with its default arguments; which rates it takes notice of."""
    import timm  # noqa: PLC0415 - only what is asked for

    default = built(timm.create_model, name)
    flags = ""
    if default is not None and "D " not in default:
        for flag, argument in (("r", "drop_rate"), ("p", "drop_path_rate")):
            found = built(timm.create_model, name, **{argument: 0.1})
            flags += flag if found is not None and "D " in found else ""
    return name, default, flags


def transformers_one(name: str) -> tuple[str, str | None, str]:
    """The base model of one model type of transformers, from its default configuration, made shallow."""
    import transformers  # noqa: PLC0415 - only what is asked for

    transformers.logging.set_verbosity_error()
    config = transformers.CONFIG_MAPPING[name]()
    for part in (config, *(value for value in vars(config).values() if isinstance(value, transformers.PretrainedConfig))):
        for attribute in ("num_hidden_layers", "num_layers", "encoder_layers", "decoder_layers", "n_layer", "n_layers"):
            with contextlib.suppress(Exception):
                if isinstance(getattr(part, attribute, None), int):
                    setattr(part, attribute, min(getattr(part, attribute), 2))
    return name, built(lambda: transformers.AutoModel.from_config(config)), ""


def guarded(job: tuple[Any, str]) -> tuple[str, str | None, str]:
    """Run one job; a failure is a model without an entry."""
    one, name = job
    torch.set_num_threads(1)
    logging.disable()
    try:
        return one(name)
    except Exception as error:  # noqa: BLE001
        print(f"{name}: {type(error).__name__}: {error}"[:200], flush=True)
        return name, None, ""


def listed(library: str) -> tuple[Any, list[str], str]:
    """How to build one model of a library, the names of all, and its version."""
    if library == "torchvision":
        import torchvision  # noqa: PLC0415 - only what is asked for

        return torchvision_one, torchvision.models.list_models(), torchvision.__version__
    if library == "timm":
        import timm  # noqa: PLC0415 - only what is asked for

        return timm_one, timm.list_models(), timm.__version__
    import transformers  # noqa: PLC0415 - only what is asked for

    return transformers_one, sorted(transformers.CONFIG_MAPPING.keys()), transformers.__version__


def classes_of(name: str) -> str:
    """Prefix of the class names of a model type of transformers: ``Bert``."""
    import transformers  # noqa: PLC0415 - only what is asked for

    with contextlib.suppress(Exception):
        return type(transformers.CONFIG_MAPPING[name]()).__name__.removesuffix("Config")
    return ""


def main() -> None:
    """Build and write."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("libraries", nargs="+", choices=["torchvision", "timm", "transformers"])
    parser.add_argument("--jobs", type=int, default=2)
    parser.add_argument("--folder", type=Path, default=FOLDER)
    options = parser.parse_args()
    options.folder.mkdir(parents=True, exist_ok=True)
    for library in options.libraries:
        one, names, version = listed(library)
        groups: dict[str, list[str]] = {}
        with multiprocessing.get_context("fork").Pool(options.jobs, maxtasksperchild=60) as pool:
            for name, found, flags in pool.imap_unordered(guarded, [(one, name) for name in names], chunksize=4):
                if found is not None:
                    shown = classes_of(name) if library == "transformers" else name
                    if shown:
                        groups.setdefault(found, []).append(f"{shown}:{flags}" if flags else shown)
        lines = {key: " ".join(sorted(set(groups[key]))) for key in sorted(groups)}
        table = {"library": library, "version": version.partition("+")[0], "groups": lines}
        (options.folder / f"{library}.json").write_text(json.dumps(table, indent=0) + "\n", encoding="utf-8")
        print(f"{library} {version}: {sum(map(len, groups.values()))} of {len(names)} models in {len(groups)} groups")


if __name__ == "__main__":
    main()
