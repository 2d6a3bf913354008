"""General-purpose test script for image-to-image translation."""
import os

from data import create_dataset
from models import create_model
from options.test_options import TestOptions
from util.visualizer import save_images

if __name__ == "__main__":
    opt = TestOptions().parse()
    opt.num_threads = 0
    opt.batch_size = 1
    opt.serial_batches = True
    opt.no_flip = True
    dataset = create_dataset(opt)
    model = create_model(opt)
    model.setup(opt)
    web_dir = os.path.join(opt.results_dir, opt.name, "{}_{}".format(opt.phase, opt.epoch))
    # With [--eval], batchnorm and dropout use test behaviour. The original pix2pix keeps them as in training,
    # dropout being its only noise; CycleGAN has neither.
    if opt.eval:
        model.eval()
    for i, data in enumerate(dataset):
        if i >= opt.num_test:
            break
        model.set_input(data)
        model.test()  # allow: NA401
        save_images(web_dir, model.real_A, model.fake_B, i)
