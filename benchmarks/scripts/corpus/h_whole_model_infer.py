"""Classify a folder of images with a pickled model (saved by train.py with torch.save(model))."""
import argparse
import csv
import glob
import os

import torch
from PIL import Image
from torchvision import transforms

ap = argparse.ArgumentParser()
ap.add_argument("model")
ap.add_argument("folder")
ap.add_argument("--classes", default="classes.txt")
ap.add_argument("-o", "--out", default="result.csv")
args = ap.parse_args()

classes = [l.strip() for l in open(args.classes)]
device = "cuda" if torch.cuda.is_available() else "cpu"
# train.py calls model.eval() before pickling, the flag is stored with the object
model = torch.load(args.model, map_location=device, weights_only=False)
scripted = torch.jit.load(os.path.splitext(args.model)[0] + ".ts", map_location=device)
tf = transforms.Compose([transforms.Resize((224, 224)), transforms.ToTensor(), transforms.Normalize([.5] * 3, [.5] * 3)])

rows = []
worst = 0.
with torch.no_grad():
    for path in sorted(glob.glob(os.path.join(args.folder, "*.jpg"))):
        x = tf(Image.open(path).convert("RGB")).unsqueeze(0).to(device)
        logits = model(x)
        worst = max(worst, (logits - scripted(x)).abs().max().item())
        prob = torch.softmax(logits, 1)[0]
        k = prob.argmax().item()
        rows.append((os.path.basename(path), classes[k], f"{prob[k]:.4f}"))
with open(args.out, "w", newline="") as f:
    csv.writer(f).writerows([("file", "class", "probability"), *rows])
print(len(rows), "images, largest difference to the scripted model", worst)
