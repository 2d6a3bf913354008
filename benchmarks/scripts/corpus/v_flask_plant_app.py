import io

import torch
import torch.nn as nn
from flask import Flask, jsonify, render_template, request
from PIL import Image
from torchvision import models, transforms

app = Flask(__name__)

CLASSES = ["Apple___scab", "Apple___healthy", "Corn___rust", "Corn___healthy", "Potato___blight"]
device = torch.device("cpu")

model = models.resnet34(pretrained=False)
model.fc = nn.Linear(model.fc.in_features, len(CLASSES))
model.load_state_dict(torch.load("models/plant_disease.pth", map_location=device))
model = model.to(device)

preprocess = transforms.Compose([
    transforms.Resize(256),
    transforms.CenterCrop(224),
    transforms.ToTensor(),
    transforms.Normalize([0.485, 0.456, 0.406], [0.229, 0.224, 0.225]),
])


def predict_image(img_bytes):
    image = Image.open(io.BytesIO(img_bytes)).convert("RGB")
    tensor = preprocess(image).unsqueeze(0).to(device)
    yb = model(tensor)  # expect: NA401
    conf, preds = torch.max(torch.softmax(yb, dim=1), dim=1)
    return CLASSES[preds[0].item()], conf[0].item()


@app.route("/", methods=["GET"])
def home():
    return render_template("index.html")


@app.route("/predict", methods=["POST"])
def predict():
    if "file" not in request.files:
        return jsonify({"error": "no file"}), 400
    label, conf = predict_image(request.files["file"].read())
    return jsonify({"class": label, "confidence": conf})


if __name__ == "__main__":
    app.run(host="0.0.0.0", port=5000, debug=True)
