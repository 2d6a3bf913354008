import argparse
import functools
import os

import torch
import torch.distributed as dist
from torch.distributed.fsdp import FullyShardedDataParallel as FSDP, MixedPrecision
from torch.distributed.fsdp.wrap import transformer_auto_wrap_policy
from torch.utils.data import DataLoader, DistributedSampler
from transformers import T5ForConditionalGeneration, T5Tokenizer
from transformers.models.t5.modeling_t5 import T5Block

from summarization_dataset import wikihow


def train(args, model, rank, train_loader, optimizer, epoch, sampler):
    model.train()
    stats = torch.zeros(2, device=rank)
    sampler.set_epoch(epoch)
    for batch in train_loader:
        batch = {k: v.to(rank) for k, v in batch.items()}
        optimizer.zero_grad()
        loss = model(input_ids=batch["source_ids"], attention_mask=batch["source_mask"], labels=batch["target_ids"]).loss
        loss.backward()
        optimizer.step()
        stats += torch.stack([loss.detach(), torch.ones_like(loss.detach())])
    dist.all_reduce(stats)
    return (stats[0] / stats[1]).item()


def validation(model, rank, val_loader):
    model.eval()
    stats = torch.zeros(2, device=rank)
    with torch.no_grad():
        for batch in val_loader:
            batch = {k: v.to(rank) for k, v in batch.items()}
            loss = model(input_ids=batch["source_ids"], attention_mask=batch["source_mask"], labels=batch["target_ids"])["loss"]
            stats += torch.stack([loss, torch.ones_like(loss)])
    dist.all_reduce(stats)
    return (stats[0] / stats[1]).item()


def fsdp_main(args):
    rank, world = int(os.environ['LOCAL_RANK']), int(os.environ['WORLD_SIZE'])
    dist.init_process_group("nccl")
    torch.cuda.set_device(rank)
    tokenizer = T5Tokenizer.from_pretrained(args.model)
    model = T5ForConditionalGeneration.from_pretrained(args.model)
    sets = [wikihow(tokenizer, kind, None, 512, 150, False) for kind in ("train", "validation")]
    samplers = [DistributedSampler(s, rank=rank, num_replicas=world) for s in sets]
    train_loader, val_loader = [DataLoader(s, batch_size=4, sampler=sp) for s, sp in zip(sets, samplers)]
    policy = functools.partial(transformer_auto_wrap_policy, transformer_layer_cls={T5Block})
    bf16 = MixedPrecision(param_dtype=torch.bfloat16, reduce_dtype=torch.bfloat16, buffer_dtype=torch.bfloat16)
    model = FSDP(model, auto_wrap_policy=policy, mixed_precision=bf16, device_id=rank)
    optimizer = torch.optim.Adam(model.parameters(), lr=args.lr)
    best = float("inf")
    for epoch in range(args.epochs):
        tr = train(args, model, rank, train_loader, optimizer, epoch, samplers[0])
        va = validation(model, rank, val_loader)
        if rank == 0:
            print(epoch, tr, va)
        if va < best:
            best = va
            state = model.state_dict()
            if rank == 0:
                torch.save(state, "t5.pt")
    dist.destroy_process_group()


if __name__ == '__main__':
    p = argparse.ArgumentParser()
    p.add_argument("--model", default="t5-base")
    p.add_argument("--lr", type=float, default=2e-3)
    p.add_argument("--epochs", type=int, default=2)
    fsdp_main(p.parse_args())
