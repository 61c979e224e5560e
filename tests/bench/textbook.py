"""Networks as textbooks and papers write them, small: `BUILDERS[name]()` gives a module and example inputs.

Each is written as its authors would, without a thought of nestgraph.
"""

import math
from collections.abc import Callable

import torch
from torch import nn
from torch.nn import functional

Built = tuple[nn.Module, tuple[torch.Tensor, ...]]


class Attention(nn.Module):
    """`nn.MultiheadAttention` over its own input, then a head."""

    def __init__(self):
        super().__init__()
        self.enter, self.attention = nn.Linear(24, 64), nn.MultiheadAttention(64, 4, batch_first=True)
        self.norm, self.head = nn.LayerNorm(64), nn.Linear(64, 10)

    def forward(self, x):
        x = self.enter(x)
        return self.head(self.norm(x + self.attention(x, x, x, need_weights=False)[0]).mean(1))


class Encoder(nn.Module):
    """`nn.TransformerEncoder` over embedded ids with learned positions, for a class of each sequence."""

    def __init__(self):
        super().__init__()
        self.table, self.positions = nn.Embedding(200, 64), nn.Parameter(torch.randn(1, 24, 64) * 0.1)
        layer = nn.TransformerEncoderLayer(64, 4, 128, batch_first=True, activation="gelu", norm_first=True)
        self.encoder, self.head = nn.TransformerEncoder(layer, 2, enable_nested_tensor=False), nn.Linear(64, 5)

    def forward(self, ids):
        return self.head(self.encoder(self.table(ids) + self.positions).mean(1))


class M5(nn.Module):
    """Convolutions over raw audio (Dai and others, 2017)."""

    def __init__(self, width: int = 32):
        super().__init__()
        self.conv1, self.bn1, self.pool1 = nn.Conv1d(1, width, 80, 16), nn.BatchNorm1d(width), nn.MaxPool1d(4)
        self.conv2, self.bn2, self.pool2 = nn.Conv1d(width, width, 3), nn.BatchNorm1d(width), nn.MaxPool1d(4)
        self.conv3, self.bn3, self.pool3 = nn.Conv1d(width, 2 * width, 3), nn.BatchNorm1d(2 * width), nn.MaxPool1d(4)
        self.fc1 = nn.Linear(2 * width, 35)

    def forward(self, x):
        x = self.pool1(functional.relu(self.bn1(self.conv1(x))))
        x = self.pool2(functional.relu(self.bn2(self.conv2(x))))
        x = self.pool3(functional.relu(self.bn3(self.conv3(x))))
        x = functional.avg_pool1d(x, x.shape[-1]).permute(0, 2, 1)
        return functional.log_softmax(self.fc1(x), dim=2)


class Chomp(nn.Module):
    """Takes the places off the end that padding put there."""

    def __init__(self, size: int):
        super().__init__()
        self.size = size

    def forward(self, x):
        return x[:, :, : -self.size].contiguous()


class Temporal(nn.Module):
    """One block of a temporal convolutional network (Bai and others, 2018)."""

    def __init__(self, inputs: int, outputs: int, dilation: int):
        super().__init__()
        weight_norm, padding = nn.utils.parametrizations.weight_norm, 2 * dilation
        self.net = nn.Sequential(
            weight_norm(nn.Conv1d(inputs, outputs, 3, padding=padding, dilation=dilation)),
            Chomp(padding),
            nn.ReLU(),
            nn.Dropout(0.2),
            weight_norm(nn.Conv1d(outputs, outputs, 3, padding=padding, dilation=dilation)),
            Chomp(padding),
            nn.ReLU(),
            nn.Dropout(0.2),
        )
        self.downsample = nn.Conv1d(inputs, outputs, 1) if inputs != outputs else None

    def forward(self, x):
        return functional.relu(self.net(x) + (x if self.downsample is None else self.downsample(x)))


class Tcn(nn.Module):
    """Three blocks, read at the last place."""

    def __init__(self):
        super().__init__()
        self.network = nn.Sequential(Temporal(2, 25, 1), Temporal(25, 25, 2), Temporal(25, 25, 4))
        self.linear = nn.Linear(25, 10)

    def forward(self, x):
        return self.linear(self.network(x)[:, :, -1])


def keywords() -> nn.Module:
    """A depthwise-separable network of one extent, for keywords."""

    def block(inputs, outputs):
        return nn.Sequential(
            nn.Conv1d(inputs, inputs, 9, padding=4, groups=inputs, bias=False),
            nn.BatchNorm1d(inputs),
            nn.ReLU(),
            nn.Conv1d(inputs, outputs, 1, bias=False),
            nn.BatchNorm1d(outputs),
            nn.ReLU(),
        )

    stem = nn.Sequential(nn.Conv1d(40, 64, 3, stride=2, padding=1, bias=False), nn.BatchNorm1d(64), nn.ReLU())
    blocks = [block(64, 64), block(64, 96), block(96, 96)]
    return nn.Sequential(stem, *blocks, nn.AdaptiveAvgPool1d(1), nn.Flatten(), nn.Dropout(0.1), nn.Linear(96, 12))


class Transform(nn.Module):
    """PointNet's T-Net: a matrix of k x k for each cloud."""

    def __init__(self, k: int):
        super().__init__()
        self.k = k
        self.conv1, self.conv2, self.conv3 = nn.Conv1d(k, 64, 1), nn.Conv1d(64, 128, 1), nn.Conv1d(128, 256, 1)
        self.fc1, self.fc2, self.fc3 = nn.Linear(256, 128), nn.Linear(128, 64), nn.Linear(64, k * k)
        self.bn1, self.bn2, self.bn3 = nn.BatchNorm1d(64), nn.BatchNorm1d(128), nn.BatchNorm1d(256)
        self.bn4, self.bn5 = nn.BatchNorm1d(128), nn.BatchNorm1d(64)

    def forward(self, x):
        x = functional.relu(self.bn1(self.conv1(x)))
        x = functional.relu(self.bn2(self.conv2(x)))
        x = functional.relu(self.bn3(self.conv3(x)))
        x = torch.max(x, 2, keepdim=True)[0].view(-1, 256)
        x = functional.relu(self.bn5(self.fc2(functional.relu(self.bn4(self.fc1(x))))))
        identity = torch.eye(self.k, device=x.device).flatten().view(1, self.k * self.k).repeat(x.shape[0], 1)
        return (self.fc3(x) + identity).view(-1, self.k, self.k)


class PointNet(nn.Module):
    """Classes of clouds of points (Qi and others, 2017)."""

    def __init__(self):
        super().__init__()
        self.stn = Transform(3)
        self.conv1, self.conv2, self.conv3 = nn.Conv1d(3, 64, 1), nn.Conv1d(64, 128, 1), nn.Conv1d(128, 256, 1)
        self.bn1, self.bn2, self.bn3 = nn.BatchNorm1d(64), nn.BatchNorm1d(128), nn.BatchNorm1d(256)
        self.fc1, self.fc2, self.fc3 = nn.Linear(256, 128), nn.Linear(128, 64), nn.Linear(64, 10)

    def forward(self, x):
        turn = self.stn(x)
        x = torch.bmm(x.transpose(2, 1), turn).transpose(2, 1)
        x = functional.relu(self.bn1(self.conv1(x)))
        x = functional.relu(self.bn2(self.conv2(x)))
        x = torch.max(self.bn3(self.conv3(x)), 2, keepdim=True)[0].view(-1, 256)
        return functional.log_softmax(self.fc3(functional.relu(self.fc2(functional.relu(self.fc1(x))))), dim=1)


def volumes() -> nn.Module:
    """Convolutions over three extents."""
    return nn.Sequential(
        nn.Conv3d(1, 16, 3, padding=1),
        nn.BatchNorm3d(16),
        nn.ReLU(),
        nn.MaxPool3d(2),
        nn.Conv3d(16, 32, 3, padding=1),
        nn.BatchNorm3d(32),
        nn.ReLU(),
        nn.AdaptiveAvgPool3d(1),
        nn.Flatten(),
        nn.Linear(32, 4),
    )


def twice(inputs: int, outputs: int) -> nn.Sequential:
    """Two convolutions of a U-Net."""
    return nn.Sequential(
        nn.Conv2d(inputs, outputs, 3, padding=1, bias=False),
        nn.BatchNorm2d(outputs),
        nn.ReLU(inplace=True),
        nn.Conv2d(outputs, outputs, 3, padding=1, bias=False),
        nn.BatchNorm2d(outputs),
        nn.ReLU(inplace=True),
    )


class UNet(nn.Module):
    """Two levels (Ronneberger and others, 2015), going up by transposed convolutions or bilinearly."""

    def __init__(self, bilinear: bool, width: int = 16):
        super().__init__()
        self.enter, self.down1, self.down2 = twice(3, width), twice(width, 2 * width), twice(2 * width, 4 * width)
        if bilinear:
            self.up1 = nn.Upsample(scale_factor=2, mode="bilinear", align_corners=True)
            self.up2 = nn.Upsample(scale_factor=2, mode="bilinear", align_corners=True)
            self.join1, self.join2 = twice(6 * width, 2 * width), twice(3 * width, width)
        else:
            self.up1 = nn.ConvTranspose2d(4 * width, 2 * width, 2, stride=2)
            self.up2 = nn.ConvTranspose2d(2 * width, width, 2, stride=2)
            self.join1, self.join2 = twice(4 * width, 2 * width), twice(2 * width, width)
        self.pool, self.leave = nn.MaxPool2d(2), nn.Conv2d(width, 2, 1)

    def forward(self, x):
        first = self.enter(x)
        second = self.down1(self.pool(first))
        x = self._joined(second, self.up1(self.down2(self.pool(second))))
        return self.leave(self.join2(self._joined(first, self.up2(self.join1(x)))))

    @staticmethod
    def _joined(beside, x):
        high, wide = beside.size(2) - x.size(2), beside.size(3) - x.size(3)
        x = functional.pad(x, [wide // 2, wide - wide // 2, high // 2, high - high // 2])
        return torch.cat([beside, x], dim=1)


def generator() -> nn.Module:
    """DCGAN's half that makes images (Radford and others, 2016)."""
    return nn.Sequential(
        nn.ConvTranspose2d(32, 64, 4, 1, 0, bias=False),
        nn.BatchNorm2d(64),
        nn.ReLU(True),
        nn.ConvTranspose2d(64, 32, 4, 2, 1, bias=False),
        nn.BatchNorm2d(32),
        nn.ReLU(True),
        nn.ConvTranspose2d(32, 16, 4, 2, 1, bias=False),
        nn.BatchNorm2d(16),
        nn.ReLU(True),
        nn.ConvTranspose2d(16, 3, 4, 2, 1, bias=False),
        nn.Tanh(),
    )


def discriminator() -> nn.Module:
    """DCGAN's half that judges images."""
    return nn.Sequential(
        nn.Conv2d(3, 16, 4, 2, 1, bias=False),
        nn.LeakyReLU(0.2, inplace=True),
        nn.Conv2d(16, 32, 4, 2, 1, bias=False),
        nn.BatchNorm2d(32),
        nn.LeakyReLU(0.2, inplace=True),
        nn.Conv2d(32, 64, 4, 2, 1, bias=False),
        nn.BatchNorm2d(64),
        nn.LeakyReLU(0.2, inplace=True),
        nn.Conv2d(64, 1, 4, 1, 0, bias=False),
        nn.Sigmoid(),
    )


class Siren(nn.Module):
    """A field of sines (Sitzmann and others, 2020)."""

    def __init__(self):
        super().__init__()
        self.layers = nn.ModuleList([nn.Linear(2, 64), nn.Linear(64, 64), nn.Linear(64, 64)])
        self.last = nn.Linear(64, 3)
        for layer in self.layers:
            bound = math.sqrt(6 / layer.in_features) / 30
            nn.init.uniform_(layer.weight, -bound, bound)

    def forward(self, x):
        for layer in self.layers:
            x = torch.sin(30 * layer(x))
        return self.last(x)


def normed(norm: Callable[[int], nn.Module], activation: type[nn.Module]) -> nn.Module:
    """A perceptron whose layers are normalised."""
    parts = [nn.Linear(20, 64), norm(64), activation(), nn.Linear(64, 64), norm(64), activation()]
    return nn.Sequential(*parts, nn.Linear(64, 5))


def leaky() -> nn.Module:
    """Convolutions whose slopes train."""
    return nn.Sequential(
        nn.Conv2d(3, 24, 3, padding=1),
        nn.PReLU(24),
        nn.MaxPool2d(2),
        nn.Conv2d(24, 48, 3, padding=1),
        nn.PReLU(),
        nn.AdaptiveAvgPool2d(2),
        nn.Flatten(),
        nn.Linear(48 * 4, 64),
        nn.PReLU(),
        nn.Linear(64, 10),
    )


class Grouped(nn.Module):
    """A residual block normalised by groups."""

    def __init__(self, inputs: int, outputs: int, stride: int = 1):
        super().__init__()
        self.conv1, self.norm1 = nn.Conv2d(inputs, outputs, 3, stride, 1, bias=False), nn.GroupNorm(4, outputs)
        self.conv2, self.norm2 = nn.Conv2d(outputs, outputs, 3, 1, 1, bias=False), nn.GroupNorm(4, outputs)
        self.shortcut = nn.Sequential()
        if stride != 1 or inputs != outputs:
            self.shortcut = nn.Sequential(nn.Conv2d(inputs, outputs, 1, stride, bias=False), nn.GroupNorm(4, outputs))

    def forward(self, x):
        out = self.norm2(self.conv2(functional.relu(self.norm1(self.conv1(x)))))
        return functional.relu(out + self.shortcut(x))


def residual() -> nn.Module:
    """A residual network normalised by groups."""
    stem = [nn.Conv2d(3, 32, 3, 1, 1, bias=False), nn.GroupNorm(4, 32), nn.ReLU()]
    blocks = [Grouped(32, 32), Grouped(32, 64, 2), Grouped(64, 64)]
    return nn.Sequential(*stem, *blocks, nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(64, 10))


class TextCnn(nn.Module):
    """Windows of three widths over embedded words (Kim, 2014)."""

    def __init__(self):
        super().__init__()
        self.embed = nn.Embedding(300, 32)
        self.convs = nn.ModuleList([nn.Conv2d(1, 24, (width, 32)) for width in (3, 4, 5)])
        self.dropout, self.fc1 = nn.Dropout(0.5), nn.Linear(72, 4)

    def forward(self, x):
        x = self.embed(x).unsqueeze(1)
        found = [functional.relu(conv(x)).squeeze(3) for conv in self.convs]
        return self.fc1(self.dropout(torch.cat([functional.max_pool1d(i, i.size(2)).squeeze(2) for i in found], 1)))


class Recommender(nn.Module):
    """Neural collaborative filtering (He and others, 2017): tables of users and items, a product and a perceptron."""

    def __init__(self):
        super().__init__()
        self.user_product, self.item_product = nn.Embedding(100, 16), nn.Embedding(150, 16)
        self.user, self.item = nn.Embedding(100, 32), nn.Embedding(150, 32)
        self.layers = nn.Sequential(nn.Linear(64, 64), nn.ReLU(), nn.Linear(64, 32), nn.ReLU())
        self.last = nn.Linear(48, 1)

    def forward(self, user, item):
        product = self.user_product(user) * self.item_product(item)
        joined = self.layers(torch.cat([self.user(user), self.item(item)], -1))
        return torch.sigmoid(self.last(torch.cat([product, joined], -1))).squeeze(-1)


class Timed(nn.Module):
    """A residual block of a diffusion model, which the time shifts."""

    def __init__(self, inputs: int, outputs: int, time: int):
        super().__init__()
        self.norm1, self.conv1 = nn.GroupNorm(4, inputs), nn.Conv2d(inputs, outputs, 3, padding=1)
        self.time, self.norm2 = nn.Linear(time, outputs), nn.GroupNorm(4, outputs)
        self.conv2 = nn.Conv2d(outputs, outputs, 3, padding=1)
        self.skip = nn.Conv2d(inputs, outputs, 1) if inputs != outputs else nn.Identity()

    def forward(self, x, t):
        h = self.conv1(functional.silu(self.norm1(x)))
        h = h + self.time(functional.silu(t))[:, :, None, None]
        return self.conv2(functional.silu(self.norm2(h))) + self.skip(x)


class Diffusion(nn.Module):
    """A small U-Net that takes noise out, told the time (Ho and others, 2020)."""

    def __init__(self, width: int = 16):
        super().__init__()
        self.width = width
        self.time = nn.Sequential(nn.Linear(width, 4 * width), nn.SiLU(), nn.Linear(4 * width, 4 * width))
        self.enter, time = nn.Conv2d(3, width, 3, padding=1), 4 * width
        self.down1, self.shrink = Timed(width, width, time), nn.Conv2d(width, width, 3, stride=2, padding=1)
        self.down2, self.middle = Timed(width, 2 * width, time), Timed(2 * width, 2 * width, time)
        self.up, self.up1 = nn.Conv2d(2 * width, width, 3, padding=1), Timed(2 * width, width, time)
        self.norm, self.leave = nn.GroupNorm(4, width), nn.Conv2d(width, 3, 3, padding=1)

    def forward(self, x, t):
        steps = torch.exp(-math.log(10000) * torch.arange(self.width // 2, device=x.device) / (self.width // 2))
        angles = t[:, None].float() * steps[None]
        t = self.time(torch.cat([torch.sin(angles), torch.cos(angles)], dim=-1))
        first = self.down1(self.enter(x), t)
        x = self.middle(self.down2(self.shrink(first), t), t)
        x = self.up(functional.interpolate(x, scale_factor=2, mode="nearest"))
        return self.leave(functional.silu(self.norm(self.up1(torch.cat([x, first], 1), t))))


class Vae(nn.Module):
    """A variational autoencoder (Kingma and Welling, 2014) that gives its mean where it is evaluated."""

    def __init__(self):
        super().__init__()
        self.fc1, self.fc21, self.fc22 = nn.Linear(196, 100), nn.Linear(100, 20), nn.Linear(100, 20)
        self.fc3, self.fc4 = nn.Linear(20, 100), nn.Linear(100, 196)

    def forward(self, x):
        h = functional.relu(self.fc1(x.view(-1, 196)))
        mean, spread = self.fc21(h), self.fc22(h)
        z = mean + torch.randn_like(spread) * torch.exp(0.5 * spread) if self.training else mean
        return torch.sigmoid(self.fc4(functional.relu(self.fc3(z)))), mean, spread


class ActorCritic(nn.Module):
    """A policy and a value of one body."""

    def __init__(self):
        super().__init__()
        self.affine1, self.action_head, self.value_head = nn.Linear(8, 128), nn.Linear(128, 4), nn.Linear(128, 1)

    def forward(self, x):
        x = functional.relu(self.affine1(x))
        return functional.softmax(self.action_head(x), dim=-1), self.value_head(x)


class Dueling(nn.Module):
    """Values and advantages, put together (Wang and others, 2016)."""

    def __init__(self):
        super().__init__()
        self.feature = nn.Sequential(nn.Linear(8, 64), nn.ReLU())
        self.advantage = nn.Sequential(nn.Linear(64, 64), nn.ReLU(), nn.Linear(64, 4))
        self.value = nn.Sequential(nn.Linear(64, 64), nn.ReLU(), nn.Linear(64, 1))

    def forward(self, x):
        x = self.feature(x)
        advantage, value = self.advantage(x), self.value(x)
        return value + advantage - advantage.mean(dim=1, keepdim=True)


class Gcn(nn.Module):
    """Two graph convolutions (Kipf and Welling, 2017) over a dense adjacency that is an input."""

    def __init__(self):
        super().__init__()
        self.first, self.second, self.last = nn.Linear(12, 48), nn.Linear(48, 48), nn.Linear(48, 6)

    def forward(self, x, adjacency):
        x = functional.relu(adjacency @ self.first(x))
        x = functional.relu(adjacency @ self.second(x))
        return self.last(x.mean(1))


class DLinear(nn.Module):
    """Linear maps over time of a trend and of what is left (Zeng and others, 2023)."""

    def __init__(self):
        super().__init__()
        self.average = nn.AvgPool1d(25, 1)
        self.seasonal, self.trend = nn.Linear(96, 24), nn.Linear(96, 24)

    def forward(self, x):
        front, end = x[:, :1].repeat(1, 12, 1), x[:, -1:].repeat(1, 12, 1)
        trend = self.average(torch.cat([front, x, end], dim=1).permute(0, 2, 1)).permute(0, 2, 1)
        rest = x - trend
        return (self.seasonal(rest.permute(0, 2, 1)) + self.trend(trend.permute(0, 2, 1))).permute(0, 2, 1)


class Recurrent(nn.Module):
    """A recurrent layer, whose last state a perceptron reads."""

    def __init__(self, kind: type[nn.RNNBase]):
        super().__init__()
        self.rnn = kind(8, 16, batch_first=True)
        self.head = nn.Sequential(nn.Linear(16, 128), nn.ReLU(), nn.Linear(128, 64), nn.ReLU(), nn.Linear(64, 3))

    def forward(self, x):
        return self.head(self.rnn(x)[0][:, -1])


class TabNet(nn.Module):
    """Two decision steps, each of which attends to some features (Arik and Pfister, 2021), with a softmax as mask."""

    def __init__(self):
        super().__init__()
        self.norm, self.shared = nn.BatchNorm1d(16), nn.Linear(16, 64)
        self.steps = nn.ModuleList([nn.Linear(32, 64) for _ in range(3)])
        self.masks = nn.ModuleList([nn.Linear(32, 16) for _ in range(2)])
        self.head = nn.Linear(32, 3)

    def forward(self, x):
        x = self.norm(x)
        hidden = self.steps[0](functional.glu(self.shared(x)))
        total, prior = 0, torch.ones_like(x)
        for mask, step in zip(self.masks, self.steps[1:], strict=True):
            attention = torch.softmax(mask(hidden[:, 32:]) * prior, -1)
            prior = prior * (1.5 - attention)
            hidden = step(functional.glu(self.shared(attention * x)))
            total = total + functional.relu(hidden[:, :32])
        return self.head(total)


class Experts(nn.Module):
    """A mixture of experts, all of which are computed and weighed by a softmax (Jacobs and others, 1991)."""

    def __init__(self):
        super().__init__()
        self.gate = nn.Linear(16, 4)
        self.experts = nn.ModuleList([nn.Sequential(nn.Linear(16, 48), nn.ReLU(), nn.Linear(48, 32)) for _ in range(4)])
        self.head = nn.Linear(32, 5)

    def forward(self, x):
        weights = functional.softmax(self.gate(x), dim=-1)
        outputs = torch.stack([expert(x) for expert in self.experts], dim=1)
        return self.head((weights.unsqueeze(-1) * outputs).sum(dim=1))


class NeRF(nn.Module):
    """A radiance field with encoded positions, a skip and a view (Mildenhall and others, 2020)."""

    def __init__(self, width: int = 64):
        super().__init__()
        self.before = nn.ModuleList([nn.Linear(39, width), nn.Linear(width, width)])
        self.after = nn.ModuleList([nn.Linear(width + 39, width), nn.Linear(width, width)])
        self.density, self.feature = nn.Linear(width, 1), nn.Linear(width, width)
        self.view, self.color = nn.Linear(width + 27, width // 2), nn.Linear(width // 2, 3)

    @staticmethod
    def encode(x, levels):
        parts = [x]
        for level in range(levels):
            parts += [torch.sin(2.0**level * x), torch.cos(2.0**level * x)]
        return torch.cat(parts, dim=-1)

    def forward(self, x, view):
        encoded = self.encode(x, 6)
        h = encoded
        for layer in self.before:
            h = functional.relu(layer(h))
        h = torch.cat([encoded, h], -1)
        for layer in self.after:
            h = functional.relu(layer(h))
        h, density = self.feature(h), self.density(h)
        h = functional.relu(self.view(torch.cat([h, self.encode(view, 4)], -1)))
        return torch.cat([torch.sigmoid(self.color(h)), functional.relu(density)], -1)


def _ids(most: int, *shape: int) -> torch.Tensor:
    return torch.randint(0, most, shape)


BUILDERS: dict[str, Callable[[], Built]] = {
    "TransformerEncoder": lambda: (Encoder(), (_ids(200, 2, 24),)),
    "MultiheadAttention": lambda: (Attention(), (torch.randn(2, 12, 24),)),
    "M5": lambda: (M5(), (torch.randn(2, 1, 8000),)),
    "TCN": lambda: (Tcn(), (torch.randn(2, 2, 64),)),
    "keywords 1-D": lambda: (keywords(), (torch.randn(2, 40, 98),)),
    "PointNet": lambda: (PointNet(), (torch.randn(2, 3, 128),)),
    "Conv3d": lambda: (volumes(), (torch.randn(2, 1, 12, 12, 12),)),
    "U-Net transposed": lambda: (UNet(False), (torch.randn(2, 3, 32, 32),)),
    "U-Net bilinear": lambda: (UNet(True), (torch.randn(2, 3, 32, 32),)),
    "DCGAN generator": lambda: (generator(), (torch.randn(2, 32, 1, 1),)),
    "DCGAN discriminator": lambda: (discriminator(), (torch.randn(2, 3, 32, 32),)),
    "SIREN": lambda: (Siren(), (torch.rand(2, 2) * 2 - 1,)),
    "MLP ELU": lambda: (normed(lambda _: nn.Identity(), nn.ELU), (torch.randn(2, 20),)),
    "MLP LayerNorm": lambda: (normed(nn.LayerNorm, nn.GELU), (torch.randn(2, 20),)),
    "MLP RMSNorm": lambda: (normed(nn.RMSNorm, nn.SiLU), (torch.randn(2, 20),)),
    "PReLU CNN": lambda: (leaky(), (torch.randn(2, 3, 24, 24),)),
    "GroupNorm ResNet": lambda: (residual(), (torch.randn(2, 3, 24, 24),)),
    "text CNN": lambda: (TextCnn(), (_ids(300, 2, 20),)),
    "recommender": lambda: (Recommender(), (_ids(100, 2), _ids(150, 2))),
    "DDPM U-Net": lambda: (Diffusion(), (torch.randn(2, 3, 16, 16), torch.tensor([3.0, 70.0]))),
    "VAE": lambda: (Vae(), (torch.rand(2, 1, 14, 14),)),
    "actor-critic": lambda: (ActorCritic(), (torch.randn(2, 8),)),
    "dueling": lambda: (Dueling(), (torch.randn(2, 8),)),
    "GCN": lambda: (Gcn(), (torch.randn(2, 10, 12), torch.rand(2, 10, 10))),
    "DLinear": lambda: (DLinear(), (torch.randn(2, 96, 7),)),
    "LSTM": lambda: (Recurrent(nn.LSTM), (torch.randn(2, 12, 8),)),
    "GRU": lambda: (Recurrent(nn.GRU), (torch.randn(2, 12, 8),)),
    "TabNet": lambda: (TabNet(), (torch.randn(2, 16),)),
    "mixture of experts": lambda: (Experts(), (torch.randn(2, 16),)),
    "NeRF": lambda: (NeRF(), (torch.randn(2, 3), torch.randn(2, 3))),
}
"""By name: what makes the module and its example inputs, of two samples."""
