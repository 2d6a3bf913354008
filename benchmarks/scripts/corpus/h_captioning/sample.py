import argparse
import pickle

import torch
from PIL import Image
from torchvision import transforms

from model import DecoderRNN, EncoderCNN

device = torch.device('cuda' if torch.cuda.is_available() else 'cpu')


def load_image(path, transform):
    return transform(Image.open(path).convert('RGB').resize([224, 224])).unsqueeze(0)


def main(args):
    transform = transforms.Compose([transforms.ToTensor(), transforms.Normalize((0.485, 0.456, 0.406), (0.229, 0.224, 0.225))])
    with open(args.vocab_path, 'rb') as f:
        vocab = pickle.load(f)
    encoder = EncoderCNN(args.embed_size).to(device)
    decoder = DecoderRNN(args.embed_size, args.hidden_size, len(vocab), args.num_layers).to(device)
    encoder.load_state_dict(torch.load(args.encoder_path))
    decoder.load_state_dict(torch.load(args.decoder_path))
    decoder.eval()

    feature = encoder(load_image(args.image, transform).to(device))  # expect: NA401
    sampled_ids = decoder.sample(feature)[0].cpu().numpy()
    words = []
    for word_id in sampled_ids:
        word = vocab.idx2word[word_id]
        words.append(word)
        if word == '<end>':
            break
    print(' '.join(words))


if __name__ == '__main__':
    parser = argparse.ArgumentParser()
    parser.add_argument('--image', type=str, required=True)
    parser.add_argument('--encoder_path', type=str, default='models/encoder-5-3000.pkl')
    parser.add_argument('--decoder_path', type=str, default='models/decoder-5-3000.pkl')
    parser.add_argument('--vocab_path', type=str, default='data/vocab.pkl')
    parser.add_argument('--embed_size', type=int, default=256)
    parser.add_argument('--hidden_size', type=int, default=512)
    parser.add_argument('--num_layers', type=int, default=1)
    main(parser.parse_args())
