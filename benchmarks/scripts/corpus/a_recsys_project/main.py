import json
import sys

from data import load
from engine import Engine
from models.registry import build_model


def main(path):
    config = json.load(open(path))
    train_loader, test_data, n_users, n_items = load(config)
    engine = Engine(build_model(config["model"], n_users=n_users, n_items=n_items, **config.get("kwargs", {})), config)
    best = 0
    for epoch in range(config["epochs"]):
        loss = engine.train_an_epoch(train_loader)
        hr, ndcg = engine.evaluate(test_data)
        print(f"epoch {epoch} loss {loss:.4f} HR {hr:.4f} NDCG {ndcg:.4f}")
        best = max(best, hr)
    return best


if __name__ == "__main__":
    main(sys.argv[1])
