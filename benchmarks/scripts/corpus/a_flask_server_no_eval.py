import io

import torch
import torch.nn as nn
import torchvision.models as models
import torchvision.transforms as transforms
from flask import Flask, jsonify, request
from PIL import Image

app = Flask(__name__)
LABELS = ['cat', 'dog', 'fox', 'wolf']

model = models.mobilenet_v2()
model.classifier[1] = nn.Linear(model.last_channel, len(LABELS))
model.load_state_dict(torch.load('weights/animals.pth', map_location='cpu'))


def transform_image(image_bytes):
    my_transforms = transforms.Compose([transforms.Resize(255),
                                        transforms.CenterCrop(224),
                                        transforms.ToTensor(),
                                        transforms.Normalize([0.485, 0.456, 0.406], [0.229, 0.224, 0.225])])
    image = Image.open(io.BytesIO(image_bytes))
    return my_transforms(image).unsqueeze(0)


def get_prediction(image_bytes):
    tensor = transform_image(image_bytes=image_bytes)
    outputs = model.forward(tensor)  # expect: NA401
    _, y_hat = outputs.max(1)
    return LABELS[y_hat.item()]


@app.route('/predict', methods=['POST'])
def predict():
    if request.method == 'POST':
        file = request.files['file']
        img_bytes = file.read()
        return jsonify({'class_name': get_prediction(image_bytes=img_bytes)})


if __name__ == '__main__':
    app.run()
