import gradio as gr
import numpy as np
import torch
import torch.nn.functional as F
from torch import nn


class Digits(nn.Module):
    def __init__(self):
        super().__init__()
        self.c1 = nn.Conv2d(1, 32, 3)
        self.c2 = nn.Conv2d(32, 64, 3)
        self.d1 = nn.Dropout(0.25)
        self.d2 = nn.Dropout(0.5)
        self.f1 = nn.Linear(9216, 128)
        self.f2 = nn.Linear(128, 10)

    def forward(self, x):
        x = F.relu(self.c2(F.relu(self.c1(x))))
        x = torch.flatten(self.d1(F.max_pool2d(x, 2)), 1)
        x = self.d2(F.relu(self.f1(x)))
        return F.log_softmax(x, dim=1)


class Demo:
    def __init__(self, path="mnist_cnn.pt"):
        self.device = "cuda" if torch.cuda.is_available() else "cpu"
        self.net = Digits()
        self.net.load_state_dict(torch.load(path, map_location=self.device))
        self.net.to(self.device)

    def __call__(self, img: np.ndarray) -> dict:
        x = torch.from_numpy(img).float().div(255).view(1, 1, 28, 28).to(self.device)
        with torch.no_grad():
            logp = self.net(x)  # expect: NA401
        return {str(i): float(v) for i, v in enumerate(logp.exp()[0])}


if __name__ == "__main__":
    gr.Interface(fn=Demo(), inputs="sketchpad", outputs="label").launch()
