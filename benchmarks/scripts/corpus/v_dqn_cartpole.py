import math
import random
from collections import deque, namedtuple
from itertools import count

import gymnasium as gym
import torch
import torch.nn as nn
import torch.nn.functional as F
import torch.optim as optim

env = gym.make("CartPole-v1")
device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
Transition = namedtuple("Transition", ("state", "action", "next_state", "reward"))
memory = deque([], maxlen=10000)


class DQN(nn.Module):
    def __init__(self, n_observations, n_actions):
        super(DQN, self).__init__()
        self.layer1 = nn.Linear(n_observations, 128)
        self.norm = nn.LayerNorm(128)
        self.layer2 = nn.Linear(128, n_actions)

    def forward(self, x):
        return self.layer2(F.relu(self.norm(self.layer1(x))))


state, _ = env.reset()
policy_net = DQN(len(state), env.action_space.n).to(device)
target_net = DQN(len(state), env.action_space.n).to(device)
target_net.load_state_dict(policy_net.state_dict())
optimizer = optim.AdamW(policy_net.parameters(), lr=1e-4, amsgrad=True, weight_decay=0)
steps_done = 0


def select_action(state):
    global steps_done
    eps = 0.05 + 0.85 * math.exp(-steps_done / 1000)
    steps_done += 1
    if random.random() > eps:
        with torch.no_grad():
            return policy_net(state).max(1).indices.view(1, 1)
    return torch.tensor([[env.action_space.sample()]], device=device)


def optimize_model():
    if len(memory) < 128:
        return
    batch = Transition(*zip(*random.sample(memory, 128)))
    mask = torch.tensor([s is not None for s in batch.next_state], device=device)
    q = policy_net(torch.cat(batch.state)).gather(1, torch.cat(batch.action))
    nxt = torch.zeros(128, device=device)
    with torch.no_grad():
        nxt[mask] = target_net(torch.cat([s for s in batch.next_state if s is not None])).max(1).values
    loss = F.smooth_l1_loss(q, (nxt * 0.99 + torch.cat(batch.reward)).unsqueeze(1))
    optimizer.zero_grad()
    loss.backward()
    torch.nn.utils.clip_grad_value_(policy_net.parameters(), 100)
    optimizer.step()


for episode in range(600):
    state, _ = env.reset()
    state = torch.tensor(state, device=device).unsqueeze(0)
    for t in count():
        action = select_action(state)
        obs, reward, terminated, truncated, _ = env.step(action.item())
        nxt = None if terminated else torch.tensor(obs, device=device).unsqueeze(0)
        memory.append(Transition(state, action, nxt, torch.tensor([reward], device=device)))
        state = nxt
        optimize_model()
        for k, v in target_net.state_dict().items():
            v.copy_(0.005 * policy_net.state_dict()[k] + 0.995 * v)
        if terminated or truncated:
            print(episode, t + 1)
            break
