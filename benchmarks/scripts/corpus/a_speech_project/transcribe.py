import sys

import torch
import torchaudio

from data import features, greedy
from model import SpeechRecognitionModel


def load(path):
    model = SpeechRecognitionModel(3, 512, 29, 128, dropout=0)
    model.load_state_dict(torch.load(path, map_location='cpu'))
    return model.eval()


if __name__ == '__main__':
    asr = load('asr.pt')
    for wav in sys.argv[1:]:
        wave, rate = torchaudio.load(wav)
        with torch.inference_mode():
            print(wav, greedy(asr(features(wave, rate))))
