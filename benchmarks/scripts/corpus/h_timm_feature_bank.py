"""Find near duplicates: embed every photo with a pretrained network and search with faiss."""
import pathlib
import sqlite3

import click
import faiss
import numpy as np
import timm
import torch
from PIL import Image
from timm.data import create_transform, resolve_data_config


class Photos(torch.utils.data.Dataset):
    def __init__(self, folder, transform):
        self.files = sorted(pathlib.Path(folder).rglob("*.jpg"))
        self.transform = transform

    def __len__(self):
        return len(self.files)

    def __getitem__(self, i):
        return self.transform(Image.open(self.files[i]).convert("RGB")), i


class Extractor:
    def __init__(self, arch="resnetv2_50x1_bit", device="cuda"):
        self.device = device
        self.backbone = timm.create_model(arch, pretrained=True, num_classes=0)
        self.whitening = None
        self.backbone.to(device)

    @property
    def transform(self):
        return create_transform(**resolve_data_config({}, model=self.backbone))

    def __call__(self, loader):
        with torch.inference_mode():
            return torch.cat([self.backbone(x.to(self.device)).cpu() for x, _ in loader]).numpy()


class EfficientExtractor(Extractor):
    def __init__(self, device="cuda"):
        super().__init__("tf_efficientnetv2_s", device)

    def __call__(self, loader):
        out = []
        with torch.inference_mode(), torch.autocast(self.device):
            for x, _ in loader:
                out.append(self.backbone(x.to(self.device)).float().cpu())  # expect: NA401
        return torch.cat(out).numpy()


@click.command()
@click.argument("folder")
@click.option("--db", default="dups.sqlite")
@click.option("--threshold", default=0.95)
def main(folder, db, threshold):
    extractor = EfficientExtractor()
    ds = Photos(folder, extractor.transform)
    feats = extractor(torch.utils.data.DataLoader(ds, 64, num_workers=8))
    faiss.normalize_L2(feats)
    index = faiss.IndexFlatIP(feats.shape[1])
    index.add(feats)
    sims, nbrs = index.search(feats, 5)
    with sqlite3.connect(db) as con:
        con.execute("create table if not exists dup (a text, b text, sim real)")
        for i, (s, n) in enumerate(zip(sims, nbrs)):
            for k, j in zip(s, n):
                if i < j and k > threshold:
                    con.execute("insert into dup values (?, ?, ?)", (str(ds.files[i]), str(ds.files[j]), float(k)))
    print(np.sum(sims[:, 1] > threshold), "photos have a twin")


if __name__ == "__main__":
    main()
