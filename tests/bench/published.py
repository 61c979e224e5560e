"""Networks that packages publish, with random weights: `BUILDERS[name]()` gives a module and example inputs.

Of pytorchcv and timm whole definitions, of transformers small configurations. The first two ask for torchvision, which
does not load beside this torch: what they take of it is stood in for, as none of these networks computes with it.
"""

import importlib
import importlib.abc
import importlib.machinery
import sys
import types
from collections.abc import Callable
from functools import partial

import torch
from torch import nn

Inputs = tuple[torch.Tensor, ...] | dict[str, torch.Tensor]
Built = tuple[nn.Module, Inputs]

OF_PYTORCHCV = {
    "alexnet": "alexnet",
    "vgg16": "vgg",
    "bn_vgg16": "vgg",
    "resnet18": "resnet",
    "resnet50": "resnet",
    "mobilenet_w1": "mobilenet",
    "mobilenetv2_w1": "mobilenetv2",
    "mobilenetv3_large_w1": "mobilenetv3",
    "densenet121": "densenet",
    "squeezenet_v1_1": "squeezenet",
    "shufflenet_g3_wd4": "shufflenet",
    "resnext26_32x4d": "resnext",
    "seresnet18": "seresnet",
    "resnet20_cifar10": "resnet_cifar",
    "wrn16_10_cifar10": "wrn_cifar",
    "inceptionv3": "inceptionv3",
    "xception": "xception",
    "dla34": "dla",
    "ghostnet": "ghostnet",
    "hrnet_w18_small_v1": "hrnet",
    "regnetx002": "regnet",
    "efficientnet_b0": "efficientnet",
    "shufflenetv2_wd2": "shufflenetv2",
    "vovnet27s": "vovnet",
    "cbam_resnet18": "cbamresnet",
    "mixnet_s": "mixnet",
    "hardnet39ds": "hardnet",
    "preresnet18": "preresnet",
    "resnesta18": "resnesta",
    "dpn68": "dpn",
}
"""Each definition and the module of pytorchcv that has it."""

FIFTEEN = tuple(OF_PYTORCHCV)[:15]
"""Those that every part of an import was measured with first."""

OF_TIMM = (
    "resnet18",
    "mobilenetv4_conv_small",
    "repvgg_a0",
    "regnety_002",
    "rexnet_100",
    "repvit_m0_9",
    "poolformer_s12",
    "convnext_atto",
    "vit_tiny_patch16_224",
    "mixer_s32_224",
)

SIDES = {"inceptionv3": 299, "xception": 299}
"""The sides of images that are not 224."""


class _Anything(type):
    """A class that has whatever attribute is asked for."""

    def __getattr__(cls, name):
        if name.startswith("__"):
            raise AttributeError(name)
        setattr(cls, name, _Anything(name, (), {}))
        return cls.__dict__[name]


class _StandIn(types.ModuleType):
    __path__ = ()

    def __getattr__(self, name):
        if name.startswith("__"):
            raise AttributeError(name)
        setattr(self, name, _Anything(name, (), {}))
        return self.__dict__[name]


class _Finder(importlib.abc.MetaPathFinder, importlib.abc.Loader):
    """Finds an empty torchvision."""

    def find_spec(self, name, path=None, target=None):  # noqa: ARG002
        ours = name.split(".")[0] == "torchvision"
        return importlib.machinery.ModuleSpec(name, self, is_package=True) if ours else None

    def create_module(self, spec):
        return _StandIn(spec.name)

    def exec_module(self, module):
        pass


def of_pytorchcv(name: str) -> Built:
    """A whole definition with random weights and statistics, and two images for it."""
    model = getattr(importlib.import_module(f"pytorchcv.models.{OF_PYTORCHCV[name]}"), name)()
    side = 32 if "cifar" in name else SIDES.get(name, 224)
    return with_statistics(model), (torch.randn(2, 3, side, side),)


def of_timm(name: str) -> Built:
    """A whole definition with random weights and statistics, and two images for it."""
    if not any(isinstance(finder, _Finder) for finder in sys.meta_path):
        sys.meta_path.append(_Finder())
    timm = importlib.import_module("timm")
    return with_statistics(timm.create_model(name)), (torch.randn(2, 3, 224, 224),)


def with_statistics(model: nn.Module) -> nn.Module:
    """A model whose batch normalisation has seen something, and nothing of which begins at 0."""
    for part in model.modules():
        if isinstance(part, nn.BatchNorm2d):
            part.running_mean.normal_(0, 0.1)
            part.running_var.uniform_(0.5, 1.5)
            nn.init.uniform_(part.weight, 0.5, 1.5)
        if isinstance(part, nn.Linear) and not part.weight.any():
            nn.init.normal_(part.weight, std=0.02)
    return model


ENCODER = {
    "hidden_size": 64,
    "num_hidden_layers": 2,
    "num_attention_heads": 4,
    "intermediate_size": 128,
}
DECODER = ENCODER | {"num_key_value_heads": 2, "vocab_size": 200, "max_position_embeddings": 64, "head_dim": 16}


def of_transformers(model: str, config: str, options: dict, inputs: Callable[[], Inputs]) -> Built:
    """A model of a small configuration, and its inputs."""
    transformers = importlib.import_module("transformers")
    return getattr(transformers, model)(getattr(transformers, config)(**options)), inputs()


def _ids() -> tuple[torch.Tensor, ...]:
    return (torch.randint(2, 200, (2, 12)),)


def _images(side: int) -> tuple[torch.Tensor, ...]:
    return (torch.randn(2, 3, side, side),)


def _t5() -> Inputs:
    """Ids, and ids of the decoder."""
    return {"input_ids": torch.randint(2, 200, (2, 12)), "decoder_input_ids": torch.randint(2, 200, (2, 7))}


def _whisper() -> Inputs:
    """Features of sound, and ids of the decoder."""
    return {"input_features": torch.randn(2, 16, 40), "decoder_input_ids": torch.randint(2, 200, (2, 7))}


OF_TRANSFORMERS: dict[str, Callable[[], Built]] = {
    "BERT": partial(
        of_transformers, "BertForSequenceClassification", "BertConfig", ENCODER | {"vocab_size": 200}, _ids
    ),
    "DistilBERT": partial(
        of_transformers,
        "DistilBertForSequenceClassification",
        "DistilBertConfig",
        {"dim": 64, "n_layers": 2, "n_heads": 4, "hidden_dim": 128, "vocab_size": 200},
        _ids,
    ),
    "GPT-2": partial(
        of_transformers,
        "GPT2LMHeadModel",
        "GPT2Config",
        {
            "n_embd": 64,
            "n_layer": 2,
            "n_head": 4,
            "vocab_size": 200,
            "n_positions": 64,
            "bos_token_id": 1,
            "eos_token_id": 1,
        },
        _ids,
    ),
    "Llama": partial(of_transformers, "LlamaForCausalLM", "LlamaConfig", DECODER, _ids),
    "Qwen3": partial(of_transformers, "Qwen3ForCausalLM", "Qwen3Config", DECODER, _ids),
    "T5": partial(
        of_transformers,
        "T5ForConditionalGeneration",
        "T5Config",
        {"d_model": 64, "d_kv": 16, "d_ff": 128, "num_layers": 2, "num_heads": 4, "vocab_size": 200},
        _t5,
    ),
    "ViT": partial(
        of_transformers,
        "ViTForImageClassification",
        "ViTConfig",
        ENCODER | {"image_size": 32, "patch_size": 8},
        partial(_images, 32),
    ),
    "Whisper": partial(
        of_transformers,
        "WhisperForConditionalGeneration",
        "WhisperConfig",
        {
            "d_model": 64,
            "encoder_layers": 2,
            "decoder_layers": 2,
            "encoder_attention_heads": 4,
            "decoder_attention_heads": 4,
            "encoder_ffn_dim": 128,
            "decoder_ffn_dim": 128,
            "vocab_size": 200,
            "num_mel_bins": 16,
            "max_source_positions": 20,
            "max_target_positions": 20,
            "pad_token_id": 0,
            "bos_token_id": 1,
            "eos_token_id": 1,
            "decoder_start_token_id": 1,
        },
        _whisper,
    ),
    "wav2vec2": partial(
        of_transformers,
        "Wav2Vec2ForCTC",
        "Wav2Vec2Config",
        ENCODER
        | {
            "conv_dim": (32, 32, 32),
            "conv_stride": (5, 2, 2),
            "conv_kernel": (10, 3, 3),
            "num_conv_pos_embeddings": 16,
            "num_conv_pos_embedding_groups": 4,
        },
        lambda: (torch.randn(2, 1000),),
    ),
    "MobileNetV2": partial(
        of_transformers, "MobileNetV2ForImageClassification", "MobileNetV2Config", {}, partial(_images, 224)
    ),
    "ConvNeXt": partial(
        of_transformers,
        "ConvNextForImageClassification",
        "ConvNextConfig",
        {"hidden_sizes": [32, 64], "depths": [2, 2], "num_stages": 2},
        partial(_images, 64),
    ),
    "ResNet": partial(
        of_transformers,
        "ResNetForImageClassification",
        "ResNetConfig",
        {"embedding_size": 32, "hidden_sizes": [64, 128], "depths": [2, 2]},
        partial(_images, 64),
    ),
}

BUILDERS: dict[str, Callable[[], Built]] = {
    **{name: partial(of_pytorchcv, name) for name in OF_PYTORCHCV},
    **{f"timm {name}": partial(of_timm, name) for name in OF_TIMM},
    **{f"transformers {name}": built for name, built in OF_TRANSFORMERS.items()},
}
"""By name: what makes the module and its example inputs, of two samples."""
