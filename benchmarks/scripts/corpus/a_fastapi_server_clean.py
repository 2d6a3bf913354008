from contextlib import asynccontextmanager
from functools import lru_cache

import torch
from fastapi import FastAPI, File, UploadFile
from PIL import Image
from pydantic import BaseModel
from torchvision.models import EfficientNet_B0_Weights, efficientnet_b0


class Prediction(BaseModel):
    label: str
    score: float


state: dict = {}


@lru_cache(maxsize=1)
def load_model() -> torch.nn.Module:
    weights = EfficientNet_B0_Weights.DEFAULT
    model = efficientnet_b0(weights=weights)
    return model.eval()


@asynccontextmanager
async def lifespan(app: FastAPI):
    weights = EfficientNet_B0_Weights.DEFAULT
    state["model"] = load_model()
    state["preprocess"] = weights.transforms()
    state["categories"] = weights.meta["categories"]
    yield
    state.clear()


app = FastAPI(lifespan=lifespan)


@app.get("/health")
async def health() -> dict:
    return {"ok": "model" in state}


@app.post("/predict", response_model=list[Prediction])
async def predict(file: UploadFile = File(...), k: int = 5):
    image = Image.open(file.file).convert("RGB")
    batch = state["preprocess"](image).unsqueeze(0)
    with torch.inference_mode():
        probs = state["model"](batch).softmax(-1)[0]
    values, indices = probs.topk(k)
    return [Prediction(label=state["categories"][i], score=float(v)) for v, i in zip(values, indices)]
