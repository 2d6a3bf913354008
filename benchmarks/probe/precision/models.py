"""What is probed: one model of each kind, the smallest where there are several sizes."""

from __future__ import annotations

from dataclasses import dataclass

__all__ = ["FAMILIES", "Entry", "entries"]

_IMAGE = "8x3x64x64"
"""Images of models that take any size: small, so that all measurements fit into the time of one."""
_SIZES = (64, 96, 112, 128)
"""Sides of images that models of a fixed size are built for, where they can be."""
_OPERATIONS = 6.0
"""Most billions of multiplications for one image, as torchvision states them, of a model that is probed."""
_DETECTORS = (
    "fasterrcnn_mobilenet_v3_large_320_fpn", "maskrcnn_resnet50_fpn", "retinanet_resnet50_fpn", "ssdlite320_mobilenet_v3_large",
    "fcos_resnet50_fpn",
)  # fmt: skip
_OF_ANY_SIZE = (
    "fcn", "deeplab", "lraspp", "resnet", "resnext", "convnext", "squeezenet", "mobilenet", "shufflenet", "regnet", "densenet",
    "efficientnet", "mnasnet",
)  # fmt: skip
_TIMM = (
    "bat_resnext26ts botnet26t_256 beit_base_patch16_224 cait_xxs24_224 coat_tiny convit_tiny convnext_atto convnextv2_atto "
    "crossvit_tiny_240 cs3darknet_s cspresnet50 darknet53 davit_tiny deit_tiny_distilled_patch16_224 densenet121 dla34 dm_nfnet_f0 "
    "eca_nfnet_l0 edgenext_xx_small efficientformer_l1 efficientnet_b0 efficientnetv2_rw_t efficientvit_b0 ese_vovnet19b_dw "
    "eva02_tiny_patch14_224 fastvit_t8 fbnetc_100 focalnet_tiny_srf gcvit_xxtiny gernet_s ghostnet_050 gmlp_s16_224 "
    "halonet26t hardcorenas_a hgnet_tiny hiera_tiny_224 hrnet_w18_small inception_next_tiny inception_v3 inception_v4 "
    "lambda_resnet26t lcnet_050 levit_128s maxvit_pico_rw_256 mixer_s32_224 mnasnet_small mobilenetv3_small_050 "
    "mobilenetv4_conv_small mobileone_s0 mobilevit_xxs mobilevitv2_050 mvitv2_tiny nest_tiny nfnet_f0 pit_ti_224 poolformer_s12 "
    "pvt_v2_b0 rdnet_tiny regnetx_002 regnety_002 repghostnet_050 repvgg_a0 repvit_m0_9 res2net50_26w_4s resmlp_12_224 resnest14d "
    "resnet18 resnet26d resnet50_gn resnetv2_50d_gn resnetv2_50x1_bit resnext26ts rexnet_100 selecsls42 sequencer2d_s seresnext26d_32x4d "
    "shvit_s1 skresnet18 spnasnet_100 starnet_s1 swin_tiny_patch4_window7_224 tiny_vit_5m_224 tinynet_e tnt_s_patch16_224 tresnet_m "
    "twins_pcpvt_small vgg11 vgg11_bn visformer_tiny vit_tiny_patch16_224 vitamin_small_224 volo_d1_224 vovnet39a xception41 "
    "xcit_nano_12_p16_224"
)


@dataclass(frozen=True, slots=True)
class Entry:
    """A model, the targets that ``normadvisor probe`` takes for it, and its input where that is not inferred."""

    family: str
    name: str
    target: str
    inputs: tuple[str, ...] = ()
    smaller: tuple[tuple[str, str], ...] = ()
    """Targets of the same model for smaller inputs, and these; the first that can be built and traced is probed instead."""


def _torchvision() -> list[Entry]:
    from torchvision import models  # noqa: PLC0415 - only the family asked for is imported

    cost = {name: models.get_model_weights(name).DEFAULT.meta["_ops"] for name in models.list_models(module=models)}
    kinds: dict[str, list[str]] = {}
    for name in sorted((name for name in cost if cost[name] <= _OPERATIONS), key=lambda name: cost[name]):
        kinds.setdefault(models.get_model_builder(name).__module__, []).append(name)
    found = [(name, "") for names in kinds.values() for name in (*names[:2], *(name for name in names[2:] if name == "resnet50"))]
    found += [(name, ", weights_backbone=None") for name in (*models.list_models(module=models.segmentation), *_DETECTORS)]
    return [
        Entry(
            "torchvision", name, f'torchvision.models:get_model("{name}"{backbone})', (_IMAGE,) if name.startswith(_OF_ANY_SIZE) else ()
        )
        for name, backbone in found
    ]  # fmt: skip


def _timm() -> list[Entry]:
    from timm.models import get_pretrained_cfg  # noqa: PLC0415 - only the family asked for is imported

    found = []
    for name in _TIMM.split():
        config = get_pretrained_cfg(name)
        fixed = config is None or config.fixed_input_size or not config.pool_size
        smaller = tuple((f'timm:create_model("{name}", img_size={size})', f"8x3x{size}x{size}") for size in _SIZES) if fixed else ()
        found.append(Entry("timm", name, f'timm:create_model("{name}")', () if fixed else (_IMAGE,), smaller))
    return found


def _transformers() -> list[Entry]:
    from benchmarks.probe.precision.small import SMALL  # noqa: PLC0415 - only the family asked for is imported

    return [Entry("transformers", name, f'benchmarks.probe.precision.small:build("{name}")') for name in sorted(SMALL)]


FAMILIES = {"torchvision": _torchvision, "timm": _timm, "transformers": _transformers}


def entries(family: str) -> list[Entry]:
    """What is probed of a family."""
    return FAMILIES[family]()
