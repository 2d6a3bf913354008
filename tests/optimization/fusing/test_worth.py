import pytest
import torch

from normadvisor.optimization.candidate import Setting
from normadvisor.optimization.fusing.worth import pointless


def setting(device, *, force=False):
    return Setting(mode="training", device=torch.device(device), dtype=torch.float32, inputs=None, force=force)


def test_only_nvidia_gpus_gain():
    assert pointless(setting("cpu")) == "on cpu torch's own operations are the faster ones: the fused ones are kernels for NVIDIA GPUs"
    assert pointless(setting("mps")) == "on mps torch's own operations are the faster ones: the fused ones are kernels for NVIDIA GPUs"
    assert pointless(setting("cpu", force=True)) == ""


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="NOT CHECKED: needs a CUDA device")
def test_a_gpu_gains():
    assert pointless(setting("cuda")) == ""
