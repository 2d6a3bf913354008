import time

from data import create_dataset
from models import create_model
from options.train_options import TrainOptions

if __name__ == "__main__":
    opt = TrainOptions().parse()
    dataset = create_dataset(opt)
    model = create_model(opt)
    model.setup(opt)
    for epoch in range(opt.epoch_count, opt.n_epochs + opt.n_epochs_decay + 1):
        start = time.time()
        for data in dataset:
            model.set_input(data)
            model.optimize_parameters()
        for scheduler in model.schedulers:
            scheduler.step()
        print("End of epoch %d \t Time Taken: %d sec" % (epoch, time.time() - start))
