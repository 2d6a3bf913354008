#!/usr/bin/env python
import sys
from pathlib import Path

import numpy as np
import torch
from PIL import Image
from transformers import AutoModel, AutoTokenizer, CLIPModel, CLIPProcessor

device = "cuda" if torch.cuda.is_available() else "cpu"
clip = CLIPModel.from_pretrained("openai/clip-vit-base-patch32").to(device)
processor = CLIPProcessor.from_pretrained("openai/clip-vit-base-patch32")
tokenizer = AutoTokenizer.from_pretrained("sentence-transformers/all-MiniLM-L6-v2")
encoder = AutoModel.from_pretrained("sentence-transformers/all-MiniLM-L6-v2").to(device)


def embed_images(paths):
    for p in paths:
        inputs = processor(images=Image.open(p), return_tensors="pt").to(device)
        with torch.no_grad():
            yield clip.get_image_features(**inputs).cpu().numpy()[0]


@torch.no_grad()
def embed_text(sentences):
    enc = tokenizer(sentences, padding=True, truncation=True, return_tensors="pt").to(device)
    hidden = encoder(**enc).last_hidden_state
    mask = enc.attention_mask[..., None]
    return ((hidden * mask).sum(1) / mask.sum(1)).cpu().numpy()


if __name__ == "__main__":
    files = sorted(Path(sys.argv[1]).rglob("*.png"))
    np.save("images.npy", np.stack(list(embed_images(files))))
    np.save("texts.npy", embed_text([f.stem.replace("_", " ") for f in files]))
