"""Models that come from code out of reach."""

from __future__ import annotations

import pytest


@pytest.mark.parametrize(
    "source",
    [
        pytest.param(
            """
            from models import CNN, get_model, build_thing, load_net
            def main(loader, args):
                net = CNN().to("cuda")
                net.load_state_dict(torch.load("a.pt"))
                with torch.no_grad():
                    for x, y in loader:
                        net(x).argmax(1)  # NA401?
            """,
            id="class",
        ),
        pytest.param(
            """
            from models import CNN, get_model, build_thing, load_net
            def main(loader, args):
                net = CNN().to("cuda")
                net.load_state_dict(torch.load("a.pt"))
                net.eval()
                with torch.no_grad():
                    for x, y in loader:
                        net(x).argmax(1)
            """,
            id="class in eval mode",
        ),
        pytest.param(
            """
            from models import CNN, get_model, build_thing, load_net
            def main(loader, args):
                net = get_model(args.name, 10)
                net.load_state_dict(torch.load("a.pt"))
                with torch.no_grad():
                    for x, y in loader:
                        net(x).argmax(1)  # NA401?
            """,
            id="factory",
        ),
        pytest.param(
            """
            from models import CNN, get_model, build_thing, load_net
            def main(loader, args):
                net = get_model(args.name, 10).cuda()
                net.load_state_dict(torch.load("a.pt"))
                with torch.no_grad():
                    for x, y in loader:
                        net(x).argmax(1)  # NA401?
            """,
            id="factory, moved",
        ),
        pytest.param(
            """
            from models import CNN, get_model, build_thing, load_net
            def main(loader, args):
                net = get_model(args.name, 10)
                net.load_state_dict(torch.load("a.pt"))
                net.eval()
                with torch.no_grad():
                    for x, y in loader:
                        net(x).argmax(1)
            """,
            id="factory in eval mode",
        ),
        pytest.param(
            """
            from models import *
            def main(loader, args):
                net = CNN().to("cuda")
                net.load_state_dict(torch.load("a.pt"))
                with torch.no_grad():
                    for x, y in loader:
                        net(x).argmax(1)  # NA401?
            """,
            id="star import",
        ),
        pytest.param(
            """
            from models import *
            def main(loader, args):
                net = get_net(10)
                net.load_state_dict(torch.load("a.pt"))
                with torch.no_grad():
                    for x, y in loader:
                        net(x).argmax(1)  # NA401?
            """,
            id="factory of a star import",
        ),
        pytest.param(
            """
            from models import CNN, get_model, build_thing, load_net
            def main(loader, args):
                net = get_model(args.name)
                net.load_state_dict(torch.load("a.pt"))
                build_thing(net)
                with torch.no_grad():
                    for x, y in loader:
                        net(x).argmax(1)
            """,
            id="used by other code",
        ),
        pytest.param(
            """
            from models import CNN, get_model, build_thing, load_net
            def main(loader, args):
                net = load_net("best.pt").to("cuda")
                with torch.no_grad():
                    for x, y in loader:
                        net(x).argmax(1)
            """,
            id="loads by itself",
        ),
        pytest.param(
            """
            from models import CNN, get_model, build_thing, load_net
            def main(loader, args):
                net = get_model(args, training=False)
                net.load_state_dict(torch.load("a.pt"))
                with torch.no_grad():
                    for x, y in loader:
                        net(x).argmax(1)
            """,
            id="is asked for a mode",
        ),
        pytest.param(
            """
            from models import CNN, get_model, build_thing, load_net
            def main(loader, args):
                net = CNN().to("cuda")
                with torch.no_grad():
                    for x, y in loader:
                        net(x).argmax(1)
            """,
            id="only moved",
        ),
        pytest.param(
            """
            from models import CNN, get_model, build_thing, load_net
            def main(loader, args):
                net = build_thing(args)
                with torch.no_grad():
                    for x, y in loader:
                        net(x).argmax(1)
            """,
            id="nothing shows that it is a model",
        ),
        pytest.param(
            """
            from models import Net
            class Test:
                def __init__(self, net, n):
                    self.net = net(n)
                    self.net.load_state_dict(torch.load("a.pt"))
                def run(self, loader):
                    with torch.no_grad():
                        for x, y in loader:
                            self.net(x).argmax(1)  # NA401?
            Test(Net, 3).run(torch.utils.data.DataLoader(torchvision.datasets.MNIST("."), batch_size=4))
            """,
            id="given as an argument",
        ),
        pytest.param(
            """
            from sklearn.linear_model import LogisticRegression
            from stuff import Scaler, load_tokenizer, make_processor, build_vocab
            def main(loader, args):
                scaler, tokenizer, vocab = Scaler(), load_tokenizer(args), build_vocab(args)
                process = make_processor(args)
                model = LogisticRegression()
                with torch.no_grad():
                    for x, y in loader:
                        model.fit(x, y)
                        model.predict(tokenizer(vocab(scaler(process(x)))))
                        scaler.transform(x)
            """,
            id="other things",
        ),
        pytest.param(
            """
            from net import resnet18
            def main(loader):
                model = resnet18().cuda()
                optimizer = torch.optim.SGD(model.parameters(), 0.1)
                for epoch in range(3):
                    pass
                    for x, y in loader:
                        F.cross_entropy(model(x), y).backward()
                        optimizer.step()
                    with torch.no_grad():
                        for x, y in loader.test:
                            model(x).argmax(1)  # NA401?
            """,
            id="is trained",
        ),
        pytest.param(
            """
            from net import resnet18
            def main(loader):
                model = resnet18().cuda()
                optimizer = torch.optim.SGD(model.parameters(), 0.1)
                for epoch in range(3):
                    pass
                    for x, y in loader:
                        F.cross_entropy(model(x), y).backward()
                        optimizer.step()
                    model.eval()  # NA402?
                    with torch.no_grad():
                        for x, y in loader.test:
                            model(x).argmax(1)
            """,
            id="is left in eval mode",
        ),
        pytest.param(
            """
            from net import resnet18
            def main(loader):
                model = resnet18()
                for m in model.modules():
                    if isinstance(m, nn.BatchNorm2d):
                        m.eval()
                optimizer = torch.optim.SGD(model.parameters(), 0.1)
                for epoch in range(3):
                    model.train()  # NA406?
                    for x, y in loader:
                        F.cross_entropy(model(x), y).backward()
                        optimizer.step()
            """,
            id="is thawed",
        ),
        pytest.param(
            """
            from pytorch_grad_cam import GradCAM
            def main(loader):
                model = torchvision.models.resnet18(weights="DEFAULT")
                cam = GradCAM(model=model, target_layers=[model.layer4])
                with torch.no_grad():
                    for x, y in loader:
                        model(x).argmax(1)
            """,
            id="explains with a model",
        ),
        pytest.param(
            """
            from detectron2.checkpoint import DetectionCheckpointer
            from engine import build_model
            def main(loader, cfg):
                model = build_model(cfg)
                optimizer = torch.optim.SGD(model.parameters(), 0.1)
                DetectionCheckpointer(model).load("a.pt")
                with torch.no_grad():
                    for x, y in loader:
                        model(x).argmax(1)
            """,
            id="loads a checkpoint into a model",
        ),
        pytest.param(
            """
            from engine import Classifier
            def main(loader):
                model = torchvision.models.resnet18(weights="DEFAULT")
                net = Classifier(model, 10).cuda()
                net.load_state_dict(torch.load("a.pt"))
                with torch.no_grad():
                    for x, y in loader:
                        net(x).argmax(1)  # NA401?
            """,
            id="a network around a model",
        ),
    ],
)
def test_unseen(source, reported):
    marked, found = reported(source)
    assert found == marked
