"""Seeds: the small sparse networks that growth starts from, and reference networks at full size."""

from nestgraph.seeds.chain import cnn, joint_mlp, lenet_5, lenet_300_100, mlp
from nestgraph.seeds.imagenet import ALEXNET, NEST_ALEXNET, NEST_VGG_16, VGG_16, alexnet, vgg16
from nestgraph.seeds.residual import densenet, resnet, resnet18

__all__ = [
    "ALEXNET",
    "NEST_ALEXNET",
    "NEST_VGG_16",
    "VGG_16",
    "alexnet",
    "cnn",
    "densenet",
    "joint_mlp",
    "lenet_5",
    "lenet_300_100",
    "mlp",
    "resnet",
    "resnet18",
    "vgg16",
]
