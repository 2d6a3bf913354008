import torch
from torch import nn, optim
from torch.nn import functional as F


class ActorCritic(nn.Module):
    """Policy head already returns probabilities; REINFORCE uses log of them, behaviour cloning does not."""

    def __init__(self, n_obs, n_act):
        super().__init__()
        self.shared = nn.Sequential(nn.Linear(n_obs, 128), nn.ReLU())
        self.actor = nn.Linear(128, n_act)
        self.critic = nn.Linear(128, 1)

    def forward(self, obs):
        h = self.shared(obs)
        return F.softmax(self.actor(h), dim=-1), self.critic(h)


class Cloner:
    def __init__(self, net, lr):
        self.net = net
        self.criterion = nn.CrossEntropyLoss()
        self.optimizer = optim.Adam(net.parameters(), lr=lr)

    def loss(self, obs, act):
        probs, _ = self.net(obs)
        return self.criterion(probs, act)  # expect: NA501

    def update(self, obs, act):
        loss = self.loss(obs, act)
        self.optimizer.zero_grad()
        loss.backward()
        self.optimizer.step()
        return loss.item()


class Reinforce:
    def __init__(self, net, lr):
        self.net, self.optimizer = net, optim.Adam(net.parameters(), lr=lr)

    def update(self, obs, act, ret):
        probs, value = self.net(obs)
        dist = torch.distributions.Categorical(probs)
        adv = ret - value.squeeze(-1)
        loss = -(dist.log_prob(act) * adv.detach()).mean() + .5 * adv.pow(2).mean() - .01 * dist.entropy().mean()
        self.optimizer.zero_grad()
        loss.backward()
        self.optimizer.step()


def main():
    from expert import demonstrations, rollouts
    net = ActorCritic(8, 4)
    cloner = Cloner(net, 1e-3)
    for obs, act in demonstrations():
        cloner.update(obs, act)
    rl = Reinforce(net, 3e-4)
    for obs, act, ret in rollouts(net, 1000):
        rl.update(obs, act, ret)
    torch.save(net.state_dict(), 'lander.pt')


if __name__ == '__main__':
    main()
