import numpy as np
import streamlit as st
import torch
import torch.nn as nn
from PIL import Image
from torchvision import models, transforms

st.set_page_config(page_title="Pneumonia detector")
LABELS = ("NORMAL", "PNEUMONIA")


def build_model(num_classes=2):
    net = models.densenet121(weights=None)
    net.classifier = nn.Sequential(nn.Linear(net.classifier.in_features, 256), nn.ReLU(), nn.Dropout(0.3), nn.Linear(256, num_classes))
    return net


@st.cache_resource
def load_model(path):
    net = build_model()
    checkpoint = torch.load(path, map_location="cpu")
    net.load_state_dict(checkpoint["model"] if "model" in checkpoint else checkpoint)
    net.eval()
    return net


def transform_image(image):
    tf = transforms.Compose([transforms.Resize((224, 224)), transforms.ToTensor()])
    return tf(image.convert("RGB")).unsqueeze(0)


def grad_cam(net, x, index):
    feats = {}
    layer = net.features.denseblock4
    h1 = layer.register_forward_hook(lambda m, i, o: feats.update(act=o))
    h2 = layer.register_full_backward_hook(lambda m, gi, go: feats.update(grad=go[0]))
    out = net(x)
    net.zero_grad()
    out[0, index].backward()
    h1.remove()
    h2.remove()
    weights = feats["grad"].mean(dim=(2, 3), keepdim=True)
    cam = torch.relu((weights * feats["act"]).sum(1)).squeeze()
    return (cam / (cam.max() + 1e-8)).detach().numpy()


def main():
    st.title("Chest X-ray classifier")
    file = st.file_uploader("Upload an image", type=["png", "jpg", "jpeg"])
    if file is None:
        return
    image = Image.open(file)
    net = load_model("weights/densenet.pt")
    x = transform_image(image)
    with torch.no_grad():
        probs = torch.softmax(net(x), dim=1)[0]
    index = int(probs.argmax())
    st.image(image)
    st.write("%s (%.1f%%)" % (LABELS[index], 100 * probs[index]))
    if st.checkbox("Explain"):
        st.image(np.uint8(255 * grad_cam(net, x, index)))


if __name__ == "__main__":
    main()
