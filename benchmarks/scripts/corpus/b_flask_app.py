import io
import os

import torch
import torch.nn as nn
from flask import Flask, jsonify, render_template, request
from PIL import Image
from torchvision import models, transforms

app = Flask(__name__)
DEVICE = 'cuda' if torch.cuda.is_available() else 'cpu'
CLASSES = ['Apple scab', 'Black rot', 'Cedar rust', 'Healthy']


def get_model():
    checkpoint_path = os.environ.get('MODEL_PATH', 'plant_disease.pt')
    model = models.densenet121(pretrained=True)
    model.classifier = nn.Linear(1024, len(CLASSES))
    model.load_state_dict(torch.load(checkpoint_path, map_location='cpu'), strict=False)
    return model.to(DEVICE)


def get_tensor(image_bytes):
    my_transforms = transforms.Compose([
        transforms.Resize(255),
        transforms.CenterCrop(224),
        transforms.ToTensor(),
        transforms.Normalize([0.485, 0.456, 0.406], [0.229, 0.224, 0.225])])
    image = Image.open(io.BytesIO(image_bytes)).convert('RGB')
    return my_transforms(image).unsqueeze(0)


model = get_model()


def get_prediction(image_bytes):
    tensor = get_tensor(image_bytes).to(DEVICE)
    outputs = model.forward(tensor)  # expect: NA401
    _, prediction = outputs.max(1)
    return CLASSES[prediction.item()]


@app.route('/', methods=['GET'])
def index():
    return render_template('index.html')


@app.route('/predict', methods=['POST'])
def predict():
    if 'file' not in request.files:
        return jsonify({'error': 'no file'}), 400
    img_bytes = request.files['file'].read()
    try:
        label = get_prediction(img_bytes)
    except OSError:
        return jsonify({'error': 'not an image'}), 415
    return jsonify({'class_name': label})


if __name__ == '__main__':
    app.run(debug=True, port=int(os.getenv('PORT', 4555)))
