# mistakes: NA102 through cfg["use_bias"] shared with a layer that needs its bias, NA110 dropout of a disabled option; models: Model(); input: 4x3x16x16
from typing import Any, Dict, Final

import torch
from torch import nn

DEFAULTS: Final[Dict[str, Any]] = {
    "channels": [8, 16],
    "use_bias": True,
    "dropout": 0.1,
    "use_dropout": False,
}


class Model(nn.Module):
    def __init__(self, cfg: Dict[str, Any] | None = None) -> None:
        super().__init__()
        self.cfg = {**DEFAULTS, **(cfg or {})}
        c0, c1 = self.cfg["channels"]
        self.proj = nn.Conv2d(3, c0, 1, bias=self.cfg["use_bias"])
        self.conv = nn.Conv2d(c0, c1, 3, padding=1, bias=self.cfg["use_bias"])
        self.norm = nn.BatchNorm2d(c1)
        self.dropout = nn.Dropout(self.cfg["dropout"])
        self.head = nn.Linear(c1, 2, bias=self.cfg["use_bias"])

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        x = torch.nn.functional.gelu(self.proj(x))
        x = torch.nn.functional.gelu(self.norm(self.conv(x)))
        x = x.mean(dim=(-2, -1))
        if self.cfg["use_dropout"]:
            x = self.dropout(x)
        return self.head(x)
