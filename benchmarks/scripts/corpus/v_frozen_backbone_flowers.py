import argparse
import json

import torch
from torch import nn, optim
from torchvision import datasets, models, transforms


def get_loaders(root):
    norm = transforms.Normalize([0.485, 0.456, 0.406], [0.229, 0.224, 0.225])
    train = transforms.Compose([transforms.RandomResizedCrop(224), transforms.RandomHorizontalFlip(), transforms.ToTensor(), norm])
    test = transforms.Compose([transforms.Resize(255), transforms.CenterCrop(224), transforms.ToTensor(), norm])
    train_set = datasets.ImageFolder(root + "/train", transform=train)
    return (torch.utils.data.DataLoader(train_set, batch_size=64, shuffle=True),
            torch.utils.data.DataLoader(datasets.ImageFolder(root + "/valid", transform=test), batch_size=64), train_set.class_to_idx)


def build_model(hidden, n_out):
    model = models.resnet50(pretrained=True)
    for param in model.parameters():
        param.requires_grad = False
    model.fc = nn.Sequential(nn.Linear(2048, hidden), nn.ReLU(), nn.Dropout(0.2), nn.Linear(hidden, n_out), nn.LogSoftmax(dim=1))
    return model


def main():
    ap = argparse.ArgumentParser()
    ap.add_argument("data_directory")
    ap.add_argument("--hidden_units", type=int, default=512)
    ap.add_argument("--epochs", type=int, default=5)
    ap.add_argument("--gpu", action="store_true")
    args = ap.parse_args()
    device = "cuda" if args.gpu else "cpu"
    trainloader, validloader, class_to_idx = get_loaders(args.data_directory)
    model = build_model(args.hidden_units, 102).to(device)
    criterion = nn.NLLLoss()
    optimizer = optim.Adam(model.fc.parameters(), lr=0.003)
    running_loss, steps, print_every = 0, 0, 20
    for epoch in range(args.epochs):
        for inputs, labels in trainloader:
            steps += 1
            inputs, labels = inputs.to(device), labels.to(device)
            optimizer.zero_grad()
            logps = model(inputs)  # expect: NA210:info
            loss = criterion(logps, labels)
            loss.backward()
            optimizer.step()
            running_loss += loss.item()
            if steps % print_every == 0:
                model.eval()
                accuracy = 0
                with torch.no_grad():
                    for inputs, labels in validloader:
                        ps = torch.exp(model(inputs.to(device)))
                        top_p, top_class = ps.topk(1, dim=1)
                        accuracy += (top_class.cpu() == labels.view(*top_class.shape)).float().mean().item()
                print(f"{epoch + 1} loss {running_loss / print_every:.3f} acc {accuracy / len(validloader):.3f}")
                running_loss = 0
                model.train()
    torch.save({"state_dict": model.state_dict(), "class_to_idx": class_to_idx}, "checkpoint.pth")
    print(json.dumps({"classes": len(class_to_idx)}))


if __name__ == "__main__":
    main()
