"""Every model of torchvision, timm and transformers, checked one by one in a process of its own; shared by coverage and precision."""
