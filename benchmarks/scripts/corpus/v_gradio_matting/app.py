import gradio as gr
import numpy as np
import torch

from inference import Predictor


def remove_background(image, threshold):
    predictor = Predictor.get("weights/matting.pth")
    x = torch.from_numpy(image).permute(2, 0, 1).float().div(255).unsqueeze(0)
    alpha = predictor(x)[0, 0].numpy()
    alpha[alpha < threshold] = 0
    return np.dstack([image, (alpha * 255).astype(np.uint8)])


demo = gr.Interface(fn=remove_background, inputs=[gr.Image(type="numpy"), gr.Slider(0, 1, 0.1)], outputs=gr.Image(type="numpy"))

if __name__ == "__main__":
    demo.queue().launch()
