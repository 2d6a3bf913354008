"""Settings from ``pyproject.toml`` or ``normadvisor.toml``, and the run context. Imports no torch, and pydantic only on demand."""

from normadvisor.config.context import CONTEXT_KEYS, parse_context
from normadvisor.config.load import CONFIG_FILE, load_settings
from normadvisor.config.settings import FORMATS, ModelConfig, Settings
from normadvisor.config.suggest import closest, did_you_mean

__all__ = [
    "CONFIG_FILE",
    "CONTEXT_KEYS",
    "FORMATS",
    "ModelConfig",
    "Settings",
    "closest",
    "did_you_mean",
    "load_settings",
    "parse_context",
]
