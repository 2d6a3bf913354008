"""Watches a training of Lightning: the numbers go to the trainer's own logger, and training stops where rules find something that makes it useless."""

import torch
from torch import nn


class Regressor(nn.Module):
    """Learns the sine of a sum."""

    def __init__(self) -> None:
        super().__init__()
        self.layers = nn.Sequential(nn.Linear(8, 64), nn.LayerNorm(64), nn.GELU(), nn.Linear(64, 64), nn.LayerNorm(64), nn.GELU(), nn.Linear(64, 1))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.layers(x).squeeze(1)


def main() -> None:
    import lightning

    from normadvisor.integrations.lightning import NormAdvisorCallback

    class Training(lightning.LightningModule):
        def __init__(self, model: nn.Module) -> None:
            super().__init__()
            self.model = model

        def training_step(self, batch: list[torch.Tensor]) -> torch.Tensor:
            inputs, targets = batch
            return nn.functional.mse_loss(self.model(inputs), targets)

        def configure_optimizers(self) -> torch.optim.Optimizer:
            return torch.optim.AdamW(self.parameters(), lr=1e-3)

    lightning.seed_everything(0)
    inputs = torch.randn(2048, 8)
    data = torch.utils.data.TensorDataset(inputs, torch.sin(inputs.sum(1)))
    watching = NormAdvisorCallback(every=25, stop_on="error")
    trainer = lightning.Trainer(max_epochs=2, accelerator="cpu", gradient_clip_val=1.0, callbacks=[watching], logger=False, enable_checkpointing=False)
    trainer.fit(Training(Regressor()), torch.utils.data.DataLoader(data, batch_size=32, shuffle=True))
    print(watching.report())


if __name__ == "__main__":
    main()
