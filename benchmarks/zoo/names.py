"""The models each family offers, by the names the installed version lists."""

from __future__ import annotations

from dataclasses import dataclass

__all__ = ["FAMILIES", "Entry", "entries"]


@dataclass(frozen=True, slots=True)
class Entry:
    """One model of a zoo: its name there, and the target that ``normadvisor check`` takes for it."""

    family: str
    name: str
    target: str


def _torchvision() -> list[Entry]:
    from torchvision.models import list_models  # noqa: PLC0415 - only the family asked for is imported

    return [Entry("torchvision", name, f'torchvision.models:get_model("{name}")') for name in list_models()]


def _timm() -> list[Entry]:
    from timm import list_models  # noqa: PLC0415 - only the family asked for is imported

    return [Entry("timm", name, f'timm:create_model("{name}")') for name in list_models()]


def _transformers() -> list[Entry]:
    from transformers.models.auto.modeling_auto import MODEL_MAPPING_NAMES  # noqa: PLC0415 - only the family asked for is imported

    found = []
    for model_type, classes in MODEL_MAPPING_NAMES.items():
        name = classes if isinstance(classes, str) else classes[0]
        found.append(Entry("transformers", model_type, f"transformers:{name}"))
    return found


FAMILIES = {"torchvision": _torchvision, "timm": _timm, "transformers": _transformers}


def entries(family: str) -> list[Entry]:
    """Every model of a family, in the family's own order."""
    return FAMILIES[family]()
