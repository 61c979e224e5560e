"""Decoders of Hugging Face, and their surgery by hand: slices of their weights, in PyTorch alone."""

import copy

import torch
import transformers
from torch import nn

HEADS, WORDS, PADDING, LONGEST = 12, 1000, 0, 64
TOKENS = {"vocab_size": WORDS, "bos_token_id": 1, "eos_token_id": None, "pad_token_id": PADDING}
TOKENS |= {"initializer_range": 0.1}


def _gpt2(width):
    config = transformers.GPT2Config(n_embd=width, n_layer=2, n_head=HEADS, n_positions=LONGEST, **TOKENS)
    return transformers.GPT2LMHeadModel(config)


def _gptj(width):
    sizes = {"n_embd": width, "n_layer": 2, "n_head": HEADS, "n_positions": LONGEST, "rotary_dim": width // HEADS // 2}
    return transformers.GPTJForCausalLM(transformers.GPTJConfig(**sizes, **TOKENS))


def _llama(width, keys, kind="Llama"):
    config = getattr(transformers, f"{kind}Config")(
        hidden_size=width,
        num_hidden_layers=2,
        num_attention_heads=HEADS,
        num_key_value_heads=keys,
        head_dim=width // HEADS,
        intermediate_size=8 * width // 3,
        max_position_embeddings=LONGEST,
        **TOKENS,
    )
    return getattr(transformers, f"{kind}ForCausalLM")(config)


MODELS = {
    "GPT-2": _gpt2,
    "GPT-J": _gptj,
    "Llama, 12 heads on 12 keys": lambda width: _llama(width, HEADS),
    "Llama, 12 heads on 4 keys": lambda width: _llama(width, 4),
    "Qwen3, 12 heads on 4 keys": lambda width: _llama(width, 4, "Qwen3"),
}
"""By name, what makes a model of a width, of two blocks and random weights."""


def built(name, width):
    """The model, in evaluation."""
    torch.manual_seed(0)
    model = MODELS[name](width).eval()
    for part in model.modules():  # which begin at 1 or 0
        if "Norm" in type(part).__name__:
            nn.init.normal_(part.weight, 1, 0.1)
    return model


def keys_of(model):
    """How many keys the heads of each block read."""
    return getattr(model.config, "num_key_value_heads", HEADS)


def blocks_of(model):
    inner = model.base_model
    return inner.layers if hasattr(inner, "layers") else inner.h


def attention_of(block):
    return block.self_attn if hasattr(block, "self_attn") else block.attn


def hidden_of(block):
    """The maps into and out of the hidden units of a feed-forward layer."""
    mlp = block.mlp
    for first, last in ((("c_fc",), "c_proj"), (("fc_in",), "fc_out"), (("gate_proj", "up_proj"), "down_proj")):
        if hasattr(mlp, last):
            return [getattr(mlp, name) for name in first], getattr(mlp, last)
    raise LookupError(type(mlp))


def matrix(part):
    """The matrix of a linear map, (outputs, inputs); that of a Conv1D is transposed."""
    return part.weight.data if isinstance(part, nn.Linear) else part.weight.data.T


def sliced(part, given=None, read=None):
    """Keep some of the outputs, or of the inputs, of a linear map."""
    weight = matrix(part)
    weight = weight if given is None else weight[given]
    weight = weight if read is None else weight[:, read]
    part.weight = nn.Parameter((weight if isinstance(part, nn.Linear) else weight.T).contiguous())
    if part.bias is not None and given is not None:
        part.bias = nn.Parameter(part.bias.data[given])
    if not isinstance(part, nn.Linear):
        part.nf = len(weight)


def units_of(heads, each):
    return [each * head + at for head in heads for at in range(each)]


def by_hand(model, heads, hidden):
    """The model without some heads and some hidden units of each block.

    Where a group of heads that share a key loses some, each that is left gets a copy of the key and the value.
    """
    model, keys = copy.deepcopy(model), keys_of(model)
    for block, gone, dead in zip(blocks_of(model), heads, hidden, strict=True):
        first, last = hidden_of(block)
        alive = [unit for unit in range(matrix(last).shape[1]) if unit not in dead]
        for part in first:
            sliced(part, given=alive)
        sliced(last, read=alive)
        attention, left = attention_of(block), [head for head in range(HEADS) if head not in gone]
        units = units_of(left, attention.head_dim)
        if hasattr(attention, "c_attn"):  # of queries, keys and values in one
            whole = HEADS * attention.head_dim
            sliced(attention.c_attn, given=[third * whole + unit for third in range(3) for unit in units])
            attention.split_size, attention.num_heads = len(units), len(left)
            sliced(attention.c_proj, read=units)
            continue
        read = [head * keys // HEADS for head in left]
        if all(read.count(key) == HEADS // keys for key in read):
            read = sorted(set(read))
        else:
            attention.num_key_value_groups = 1
        sliced(attention.q_proj, given=units)
        for part in (attention.k_proj, attention.v_proj):
            sliced(part, given=units_of(read, attention.head_dim))
        sliced(attention.o_proj if hasattr(attention, "o_proj") else attention.out_proj, read=units)
    return model
