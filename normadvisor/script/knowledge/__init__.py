"""What is known of models that libraries build: the mode they come in, and which layers they hold. Nothing of these libraries is imported.

The tables of torchvision, timm and transformers were made by building every model once (``benchmarks/knowledge.py``); the rest is what the
libraries' documentation says.
"""

from __future__ import annotations

from normadvisor.script.knowledge.known import UNDECIDED, Known, KnownContents
from normadvisor.script.knowledge.lookup import lookup

__all__ = ["UNDECIDED", "Known", "KnownContents", "lookup"]
