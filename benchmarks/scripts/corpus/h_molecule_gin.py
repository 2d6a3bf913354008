import argparse
import torch
import torch.nn.functional as F
from ogb.graphproppred import Evaluator, PygGraphPropPredDataset
from ogb.graphproppred.mol_encoder import AtomEncoder
from torch_geometric.loader import DataLoader
from torch_geometric.nn import GINConv, global_mean_pool
from tqdm import tqdm

cls_criterion = torch.nn.BCEWithLogitsLoss()


class GIN(torch.nn.Module):
    def __init__(self, emb, layers, tasks, drop_ratio):
        super().__init__()
        self.drop_ratio = drop_ratio
        self.atom = AtomEncoder(emb)
        self.convs, self.bns = torch.nn.ModuleList(), torch.nn.ModuleList()
        for _ in range(layers):
            mlp = torch.nn.Sequential(torch.nn.Linear(emb, 2 * emb), torch.nn.BatchNorm1d(2 * emb), torch.nn.ReLU(), torch.nn.Linear(2 * emb, emb))
            self.convs.append(GINConv(mlp))
            self.bns.append(torch.nn.BatchNorm1d(emb))
        self.pred = torch.nn.Linear(emb, tasks)

    def forward(self, batched):
        h = self.atom(batched.x)
        for conv, bn in zip(self.convs, self.bns):
            h = F.dropout(F.relu(bn(conv(h, batched.edge_index))), self.drop_ratio, training=self.training)
        return torch.sigmoid(self.pred(global_mean_pool(h, batched.batch)))


def train(model, device, loader, optimizer):
    model.train()
    for step, batch in enumerate(tqdm(loader, desc="Iteration")):
        batch = batch.to(device)
        if batch.x.shape[0] == 1 or batch.batch[-1] == 0:
            pass
        else:
            pred = model(batch)
            optimizer.zero_grad()
            # ignore nan targets (unlabeled)
            is_labeled = batch.y == batch.y
            loss = cls_criterion(pred.to(torch.float32)[is_labeled], batch.y.to(torch.float32)[is_labeled])  # expect: NA502
            loss.backward()
            optimizer.step()


def eval(model, device, loader, evaluator):
    model.eval()
    y_true, y_pred = [], []
    for step, batch in enumerate(tqdm(loader, desc="Iteration")):
        batch = batch.to(device)
        if batch.x.shape[0] == 1:
            continue
        with torch.no_grad():
            pred = model(batch)
        y_true.append(batch.y.view(pred.shape).detach().cpu())
        y_pred.append(pred.detach().cpu())
    return evaluator.eval({"y_true": torch.cat(y_true, dim=0).numpy(), "y_pred": torch.cat(y_pred, dim=0).numpy()})


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument('--drop_ratio', type=float, default=0.5)
    parser.add_argument('--num_layer', type=int, default=5)
    parser.add_argument('--epochs', type=int, default=100)
    parser.add_argument('--dataset', type=str, default="ogbg-molhiv")
    args = parser.parse_args()
    device = torch.device("cuda")
    dataset = PygGraphPropPredDataset(name=args.dataset)
    idx = dataset.get_idx_split()
    evaluator = Evaluator(args.dataset)
    tl = DataLoader(dataset[idx["train"]], batch_size=32, shuffle=True)
    vl = DataLoader(dataset[idx["valid"]], batch_size=32)
    model = GIN(300, args.num_layer, dataset.num_tasks, args.drop_ratio).to(device)
    optimizer = torch.optim.Adam(model.parameters(), lr=0.001)
    curve = []
    for epoch in range(1, args.epochs + 1):
        train(model, device, tl, optimizer)
        curve.append(eval(model, device, vl, evaluator)[dataset.eval_metric])
        print({'Validation': curve[-1]})


if __name__ == "__main__":
    main()
