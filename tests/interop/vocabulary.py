"""Eight small models of what people build by hand: streams of tokens, attention, tables, norms, images and audio."""

import torch
from torch import nn
from torch.nn import functional


def heads_of(tensor, count):
    """(batch, tokens, count * width) as (batch, count, tokens, width)."""
    return tensor.unflatten(-1, (count, -1)).transpose(1, 2)


def joined(heads):
    """The way back."""
    return heads.transpose(1, 2).flatten(2)


class TokenMlp(nn.Module):
    """A normed feed-forward layer beside a stream of tokens, and the mean over tokens."""

    def __init__(self):
        super().__init__()
        self.stem, self.norm, self.up = nn.Linear(6, 16), nn.LayerNorm(16), nn.Linear(16, 32)
        self.down, self.head = nn.Linear(32, 16), nn.Linear(16, 3)

    def forward(self, x):
        x = self.stem(x)
        return self.head((x + self.down(functional.gelu(self.up(self.norm(x))))).mean(1))


class Encoder(nn.Module):
    """Attention of a normed stream, added to it, under whatever mask is given."""

    def __init__(self, width=16, heads=4):
        super().__init__()
        self.heads, self.norm = heads, nn.LayerNorm(width)
        self.q, self.k, self.v, self.out = (nn.Linear(width, width) for _ in range(4))

    def forward(self, x, mask=None):
        y = self.norm(x)
        q, k, v = (heads_of(layer(y), self.heads) for layer in (self.q, self.k, self.v))
        return x + self.out(joined(functional.scaled_dot_product_attention(q, k, v, attn_mask=mask)))


class HandWritten(nn.Module):
    """One matrix for queries, keys and values, products, a softmax, and a causal mask that is filled in."""

    def __init__(self, width=16, heads=2, tokens=9):
        super().__init__()
        self.heads, self.qkv, self.out = heads, nn.Linear(width, 3 * width), nn.Linear(width, width)
        self.register_buffer("ahead", torch.ones(tokens, tokens).triu(1).bool())

    def forward(self, x):
        q, k, v = self.qkv(x).chunk(3, -1)
        q, k, v = heads_of(q, self.heads), heads_of(k, self.heads), heads_of(v, self.heads)
        scores = (q @ k.transpose(-2, -1)) / q.shape[-1] ** 0.5
        return self.out(joined(scores.masked_fill(self.ahead, -torch.inf).softmax(-1) @ v))


class LlamaLike(nn.Module):
    """Root mean squares, grouped queries, rotary positions, and a gated feed-forward layer."""

    def __init__(self, width=16):
        super().__init__()
        self.first, self.second = nn.RMSNorm(width), nn.RMSNorm(width)
        self.q, self.k, self.v, self.out = (nn.Linear(width, count, bias=False) for count in (16, 8, 8, width))
        self.gate, self.up, self.down = nn.Linear(width, 24), nn.Linear(width, 24), nn.Linear(24, width)

    @staticmethod
    def turned(heads):
        angles = torch.arange(heads.shape[-2])[:, None] * torch.tensor([1.0, 0.1])
        other = torch.cat([-heads[..., 2:], heads[..., :2]], -1)
        return heads * angles.cos().repeat(1, 2) + other * angles.sin().repeat(1, 2)

    def forward(self, x):
        y = self.first(x)
        q, k, v = self.turned(heads_of(self.q(y), 4)), self.turned(heads_of(self.k(y), 2)), heads_of(self.v(y), 2)
        x = x + self.out(joined(functional.scaled_dot_product_attention(q, k, v, is_causal=True, enable_gqa=True)))
        y = self.second(x)
        return x + self.down(functional.silu(self.gate(y)) * self.up(y))


class PatchVit(nn.Module):
    """Patches of an image between tokens of their own, with positions, and the first token read at the end."""

    def __init__(self, before=1, after=0, trained=True, width=16, heads=4):
        super().__init__()
        self.patches, self.encoder, self.head = nn.Conv2d(3, width, 4, 4), Encoder(width, heads), nn.Linear(width, 3)
        make = nn.Parameter if trained else lambda tensor: tensor
        self.first, self.last = (make(torch.randn(1, count, width)) for count in (before, after))
        self.positions = nn.Parameter(torch.randn(1, 4 + before + after, width))

    def forward(self, x):
        tokens = self.patches(x).flatten(2).transpose(1, 2)
        first, last = (part.expand(x.size(0), -1, -1) for part in (self.first, self.last))
        return self.head(self.encoder(torch.cat([first, tokens, last], 1) + self.positions)[:, 0])


class NextToken(nn.Module):
    """The next token by a table of embeddings that is the output matrix, too."""

    def __init__(self):
        super().__init__()
        self.table, self.block, self.head = nn.Embedding(20, 16), HandWritten(), nn.Linear(16, 20, bias=False)
        self.head.weight = self.table.weight

    def forward(self, ids):
        return self.head(self.block(self.table(ids)))


class GroupNormNet(nn.Module):
    """Maps that are normed in groups, beside a skip."""

    def __init__(self):
        super().__init__()
        self.first, self.norm = nn.Conv2d(3, 8, 3, padding=1), nn.GroupNorm(4, 8)
        self.second, self.other, self.head = nn.Conv2d(8, 8, 3, padding=1), nn.GroupNorm(2, 8), nn.Linear(8, 3)

    def forward(self, x):
        x = functional.silu(self.norm(self.first(x)))
        return self.head(functional.silu(x + self.other(self.second(x))).mean((2, 3)))


class Audio(nn.Module):
    """A series under strided kernels, normed map by map, with slopes that train."""

    def __init__(self):
        super().__init__()
        self.first, self.norm, self.slopes = nn.Conv1d(1, 8, 9, 4), nn.InstanceNorm1d(8, affine=True), nn.PReLU(8)
        self.second, self.head = nn.Conv1d(8, 12, 3), nn.Linear(12, 4)

    def forward(self, x):
        return self.head(self.second(self.slopes(self.norm(self.first(x)))).mean(-1))


def between_linear_maps(block):
    """A block with a stream whose units are its own."""
    return nn.Sequential(nn.Linear(16, 16), block, nn.Linear(16, 3))


VOCABULARY = {
    "token MLP": (TokenMlp, lambda: torch.randn(2, 5, 6)),
    "encoder": (lambda: between_linear_maps(Encoder()), lambda: torch.randn(2, 7, 16)),
    "hand-written attention": (HandWritten, lambda: torch.randn(2, 9, 16)),
    "like Llama": (lambda: between_linear_maps(LlamaLike()), lambda: torch.randn(2, 6, 16)),
    "patches": (PatchVit, lambda: torch.randn(2, 3, 8, 8)),
    "next token": (lambda: NextToken(), lambda: torch.randint(0, 20, (2, 9))),
    "group norm": (GroupNormNet, lambda: torch.randn(2, 3, 8, 8)),
    "audio": (Audio, lambda: torch.randn(2, 1, 80)),
}


def made(case):
    """A module whose norms are not neutral, and a batch of two samples for it."""
    torch.manual_seed(0)
    make, draw = VOCABULARY[case]
    module = make().eval()
    for part in module.modules():
        if isinstance(part, nn.LayerNorm | nn.RMSNorm | nn.GroupNorm | nn.InstanceNorm1d):
            for parameter in part.parameters():
                nn.init.normal_(parameter, 1.0, 0.5)
    return module, draw()
