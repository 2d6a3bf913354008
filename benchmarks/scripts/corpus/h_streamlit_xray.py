import numpy as np
import pandas as pd
import streamlit as st
import torch
import torchvision.transforms as T
from PIL import Image
from torch import nn
from torchvision.models import densenet121

st.set_page_config(page_title="Chest X-ray demo", layout="wide")
FINDINGS = ["Atelectasis", "Cardiomegaly", "Effusion", "Infiltration", "Mass", "Nodule", "Pneumonia", "Pneumothorax"]


class CheXNet(nn.Module):
    def __init__(self, n):
        super().__init__()
        self.densenet = densenet121()
        self.densenet.classifier = nn.Sequential(nn.Linear(1024, n), nn.Sigmoid())

    def forward(self, x):
        return self.densenet(x)


@st.cache_resource
def load_model(path: str):
    model = CheXNet(len(FINDINGS))
    state = torch.load(path, map_location="cpu")
    model.load_state_dict(state)
    for p in model.parameters():
        p.requires_grad = False
    return model


@st.cache_data
def preprocess(raw):
    tf = T.Compose([T.Resize(256), T.CenterCrop(224), T.Grayscale(3), T.ToTensor()])
    return tf(raw)


def scores(model, x: torch.Tensor) -> pd.Series:
    with torch.no_grad():
        p = model(x[None])[0]  # expect: NA401
    return pd.Series(p.numpy(), index=FINDINGS).sort_values(ascending=False)


def main():
    st.title("Chest X-ray")
    st.caption("Not for clinical use.")
    upload = st.sidebar.file_uploader("Image", type=["png", "jpg"])
    threshold = st.sidebar.slider("Threshold", 0.0, 1.0, 0.5)
    if upload is None:
        st.info("Upload an image to begin")
        st.stop()
    image = Image.open(upload)
    left, right = st.columns(2)
    left.image(np.asarray(image), use_column_width=True)
    result = scores(load_model("chexnet.pt"), preprocess(image))
    right.bar_chart(result)
    right.write([f for f, s in result.items() if s > threshold] or "nothing found")


if __name__ == "__main__":
    main()
