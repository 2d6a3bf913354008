# -*- coding: latin-1 -*- mistakes: NA102 at the stem, NA106 between fc1 and fc2; models: Modele(); input: 4x20
# Auteur: André Lefèvre
from torch.nn import Module, Linear, BatchNorm1d, Sequential, ReLU


class Modele(Module):
    """Réseau pour données tabulaires."""
    def __init__(self, entrées=20, classes=3):
        super().__init__()
        self.tete = Sequential(Linear(entrées, 64), BatchNorm1d(64), ReLU())  # tête
        self.fc1 = Linear(64, 128)
        self.fc2 = Linear(128, classes)   # sortie

    def forward(self, x):
        x = self.tete(x)
        x = self.fc1(x)   # étape 1
        x = self.fc2(x)
        return x