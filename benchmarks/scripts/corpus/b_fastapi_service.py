"""Image tagging service. The model is loaded once at startup and shared by all requests."""
from __future__ import annotations

import asyncio
import io
from contextlib import asynccontextmanager
from functools import lru_cache

import torch
from fastapi import Depends, FastAPI, File, HTTPException, UploadFile
from PIL import Image, UnidentifiedImageError
from pydantic import BaseModel
from torch import nn
from torchvision import models
from torchvision.models import EfficientNet_B0_Weights


class Settings(BaseModel):
    weights: str = "tagger.pt"
    threshold: float = 0.35
    device: str = "cpu"


class Tag(BaseModel):
    name: str
    score: float


@lru_cache
def get_settings() -> Settings:
    return Settings()


class Tagger:
    def __init__(self, settings: Settings) -> None:
        ckpt = torch.load(settings.weights, map_location=settings.device)
        self.names: list[str] = ckpt["names"]
        net = models.efficientnet_b0()
        net.classifier = nn.Sequential(nn.Dropout(0.2), nn.Linear(1280, len(self.names)))
        net.load_state_dict(ckpt["model"])
        self._net = net.to(settings.device).eval()
        self._tf = EfficientNet_B0_Weights.DEFAULT.transforms()
        self._threshold = settings.threshold
        self._lock = asyncio.Lock()

    def _infer(self, image: Image.Image) -> list[Tag]:
        x = self._tf(image).unsqueeze(0)
        with torch.inference_mode():
            scores = self._net(x)[0].sigmoid()
        keep = (scores > self._threshold).nonzero().flatten().tolist()
        return [Tag(name=self.names[i], score=float(scores[i])) for i in keep]

    async def __call__(self, image: Image.Image) -> list[Tag]:
        async with self._lock:
            return await asyncio.get_running_loop().run_in_executor(None, self._infer, image)


state: dict[str, Tagger] = {}


@asynccontextmanager
async def lifespan(_: FastAPI):
    state["tagger"] = Tagger(get_settings())
    yield
    state.clear()


app = FastAPI(lifespan=lifespan)


def tagger() -> Tagger:
    return state["tagger"]


@app.post("/tags", response_model=list[Tag])
async def tags(file: UploadFile = File(...), model: Tagger = Depends(tagger)) -> list[Tag]:
    try:
        image = Image.open(io.BytesIO(await file.read())).convert("RGB")
    except UnidentifiedImageError as exc:
        raise HTTPException(415, "not an image") from exc
    return await model(image)


@app.get("/healthz")
def healthz() -> dict[str, bool]:
    return {"ok": "tagger" in state}
