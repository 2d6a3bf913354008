"""General-purpose test script for image-to-image translation."""
import os

from data import create_dataset
from models.pix2pix_model import Pix2PixModel
from options import TestOptions
from util import save_images

if __name__ == '__main__':
    opt = TestOptions().parse()
    opt.isTrain = False
    dataset = create_dataset(opt)
    model = Pix2PixModel(opt)
    model.setup(opt)
    # pix2pix uses batch normalisation and dropout as a source of noise at test time;
    # pass --eval to compare with the deterministic network
    if opt.eval:
        model.eval()
    for i, data in enumerate(dataset):
        if i >= opt.num_test:
            break
        model.set_input(data)
        model.test()
        save_images(os.path.join(opt.results_dir, str(i)), model.get_current_visuals())
