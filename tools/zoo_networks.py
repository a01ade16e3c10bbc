"""The networks of the survey, as data: every torchvision builder, and timm's families.

Weights are random and images as small as each network allows, since only structure is at stake.
"""

import importlib.util
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from torch import nn


@dataclass(frozen=True)
class Network:
    """A network of the survey.

    Attributes:
        name: Name in the survey; timm's have ``timm:`` in front.
        source: ``torchvision``, ``segmentation`` or ``timm``.
        pixels: Height and width of its images.
        arguments: What its builder is given.
    """

    name: str
    source: str
    pixels: int
    arguments: Mapping[str, Any] = field(default_factory=dict)

    @property
    def installed(self) -> bool:
        """Whether the library that builds it is there: timm is an extra."""
        return self.source != "timm" or importlib.util.find_spec("timm") is not None

    def build(self) -> "nn.Module":
        """The network with random weights; nothing is downloaded."""
        if self.source == "timm":
            import timm

            name = self.name.removeprefix("timm:")
            return timm.create_model(name, pretrained=False, **self.arguments)
        from torchvision import models

        if self.source == "segmentation":
            return models.get_model(
                self.name, weights=None, weights_backbone=None, **self.arguments
            )
        return models.get_model(self.name, weights=None, **self.arguments)


def _names(text: str) -> tuple[str, ...]:
    return tuple(text.split())


CLASSIFIERS = _names("""
alexnet
convnext_tiny convnext_small convnext_base convnext_large
densenet121 densenet161 densenet169 densenet201
efficientnet_b0 efficientnet_b1 efficientnet_b2 efficientnet_b3
efficientnet_b4 efficientnet_b5 efficientnet_b6 efficientnet_b7
efficientnet_v2_s efficientnet_v2_m efficientnet_v2_l
googlenet inception_v3
maxvit_t
mnasnet0_5 mnasnet0_75 mnasnet1_0 mnasnet1_3
mobilenet_v2 mobilenet_v3_large mobilenet_v3_small
regnet_x_400mf regnet_x_800mf regnet_x_1_6gf regnet_x_3_2gf
regnet_x_8gf regnet_x_16gf regnet_x_32gf
regnet_y_400mf regnet_y_800mf regnet_y_1_6gf regnet_y_3_2gf
regnet_y_8gf regnet_y_16gf regnet_y_32gf regnet_y_128gf
resnet18 resnet34 resnet50 resnet101 resnet152
resnext50_32x4d resnext101_32x8d resnext101_64x4d
shufflenet_v2_x0_5 shufflenet_v2_x1_0 shufflenet_v2_x1_5 shufflenet_v2_x2_0
squeezenet1_0 squeezenet1_1
swin_t swin_s swin_b swin_v2_t swin_v2_s swin_v2_b
vgg11 vgg11_bn vgg13 vgg13_bn vgg16 vgg16_bn vgg19 vgg19_bn
vit_b_16 vit_b_32 vit_l_16 vit_l_32 vit_h_14
wide_resnet50_2 wide_resnet101_2
""")

SEGMENTERS = _names("""
fcn_resnet50 fcn_resnet101
deeplabv3_mobilenet_v3_large deeplabv3_resnet50 deeplabv3_resnet101
lraspp_mobilenet_v3_large
""")

SMALL = 64
"""Pixels that most networks take: 32 times two."""

PIXELS = {
    # Its auxiliary head has no smaller feature map.
    "inception_v3": 299,
    # Its windows of 7 must divide the feature maps of all four stages.
    "maxvit_t": 224,
    "vit_b_32": 128,
    "vit_l_32": 128,
    "vit_h_14": 56,
}

ARGUMENTS: dict[str, dict[str, Any]] = {
    # Drawing from a truncated normal takes longer than all the rest.
    "googlenet": {"init_weights": False},
    "inception_v3": {"init_weights": False},
    **{name: {"image_size": PIXELS.get(name, SMALL)} for name in CLASSIFIERS if "vit_" in name[:4]},
}

FAMILIES = _names("""
cspresnet50 res2net50_26w_4s tiny_vit_5m_224 fastvit_t8 dm_nfnet_f0 nfnet_l0 eca_nfnet_l0
poolformer_s12 mixnet_s mobilevit_xxs mobilevitv2_050 pvt_v2_b0 dpn68 rexnet_100 hrnet_w18_small
dla34 resnest14d ese_vovnet19b_dw ghostnet_050 repvgg_a0 mobilenetv4_conv_small
mobilenetv3_small_050 convnextv2_atto edgenext_xx_small xcit_nano_12_p16_224 twins_svt_small
twins_pcpvt_small regnetx_002 regnety_002 regnetz_b16 tresnet_m selecsls42b skresnet18
inception_next_atto hardcorenas_a efficientvit_b0 efficientvit_m0 focalnet_tiny_srf davit_tiny
hgnetv2_b0 convmixer_768_32 crossvit_tiny_240 resnetv2_50 gernet_s seresnet18 xception41
densenet121 mvitv2_tiny repvit_m0_9 mambaout_femto starnet_s1 swiftformer_xs repghostnet_050
tinynet_e lcnet_035 fbnetc_100 mnasnet_small tf_efficientnetv2_b0 mobileone_s0 nextvit_small
caformer_s18 cs3darknet_s darknet17 vgg11 resnext50_32x4d rdnet_tiny fasternet_t0 sequencer2d_s
lambda_resnet26t gcresnet33ts shvit_s1 iformer_t efficientvim_m1
""")
"""One small network of each family of timm, for images of 64 pixels."""

SIZED_FAMILIES = _names("""
vit_tiny_patch16_224 deit3_small_patch16_224 levit_128s mixer_s32_224
swinv2_tiny_window8_256 swin_tiny_patch4_window7_224 visformer_tiny efficientformerv2_s0 coat_tiny
coatnet_nano_rw_224 maxvit_rmlp_pico_rw_256 maxxvit_rmlp_nano_rw_256 cait_xxs24_224
beit_base_patch16_224 gmlp_ti16_224 resmlp_12_224 nest_tiny botnet26t_256 pit_ti_224 convit_tiny
tnt_s_patch16_224 volo_d1_224 hiera_tiny_224 vitamin_small_224 flexivit_small gcvit_xxtiny
""")
"""The same for families whose builders must be told the size of the images."""

OTHER_FAMILIES: dict[str, tuple[int, dict[str, Any]]] = {
    "efficientformer_l1": (224, {}),
    "inception_v4": (96, {}),
    "halonet26t": (256, {}),
    # Without a head the network gives its features, and outputs are never cut.
    "eva02_tiny_patch14_224": (56, {"img_size": 56, "num_classes": 1000}),
}
"""The same for families that need something else: pixels and arguments."""


def _timm() -> tuple[Network, ...]:
    return (
        *(Network(f"timm:{name}", "timm", SMALL) for name in FAMILIES),
        *(Network(f"timm:{name}", "timm", SMALL, {"img_size": SMALL}) for name in SIZED_FAMILIES),
        *(Network(f"timm:{name}", "timm", *given) for name, given in OTHER_FAMILIES.items()),
    )


def _torchvision(name: str, source: str) -> Network:
    return Network(name, source, PIXELS.get(name, SMALL), ARGUMENTS.get(name, {}))


NETWORKS: dict[str, Network] = {
    network.name: network
    for network in (
        *(_torchvision(name, "torchvision") for name in CLASSIFIERS),
        *(_torchvision(name, "segmentation") for name in SEGMENTERS),
        *_timm(),
    )
}
"""Every network of the survey by name."""
