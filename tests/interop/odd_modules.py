"""Modules that importers stumble over: how each comes over, and a part of what is said of it."""

from typing import NamedTuple

import torch
from torch import nn
from torch.nn import functional


class Case(NamedTuple):
    """A module on images (2, 3, 8, 8).

    `opaque` are the reasons that its opaque layers give; `error` is a part of the message of one that is refused.
    """

    module: nn.Module
    opaque: tuple[str, ...] = ()
    error: str = ""


def written(function, **parts):
    """A module whose forward is `function(self, x)`."""

    class Written(nn.Module):
        def __init__(self):
            super().__init__()
            for name, part in parts.items():
                setattr(self, name, part)

        def forward(self, x):
            return function(self, x)

    return Written()


class StraightThrough(torch.autograd.Function):
    @staticmethod
    def forward(_ctx, x):
        return x.sign()

    @staticmethod
    def backward(_ctx, gradient):
        return gradient


class Sign(nn.Module):
    def forward(self, x):
        return StraightThrough.apply(x)


class Branching(nn.Module):
    def forward(self, x):
        return x * 2 if x.sum() > 0 else x


class Counting(nn.Module):
    """Computes something else each time."""

    def __init__(self):
        super().__init__()
        self.calls = 0

    def forward(self, x):
        self.calls += 1
        return x * self.calls


def _functional_calls(self, x):
    return functional.linear(functional.relu(functional.conv2d(x, self.kernels, padding=1)).flatten(1), self.matrix)


def _in_place(self, x):
    y = self.conv(x)
    y.relu_()
    y.add_(1)
    return self.linear(y.flatten(1))


def _in_place_view(self, x):
    y = self.conv(x)
    y[:, :2].relu_()
    return self.linear(y.flatten(1))


def _in_place_product(self, x):
    y = self.conv(x)
    z = y
    y *= torch.sigmoid(y)
    return y + z


def _gated_halves(self, x):
    first, second = self.conv(x).chunk(2, 1)
    return functional.relu(first) * torch.sigmoid(self.gate(second))


def _shuffled(self, x):
    batch, maps, height, width = self.first(x).size()
    y = self.first(x).view(batch, 3, maps // 3, height, width).transpose(1, 2).contiguous()
    return self.second(y.view(batch, maps, height, width))


def _hooked():
    module = nn.Sequential(nn.Flatten(), nn.Linear(192, 3))
    module[1].register_forward_hook(lambda _module, _args, output: output * 2)
    return module


def _conv(maps=4):
    return nn.Conv2d(3, maps, 3)


def cases():
    """The modules by name, made anew from seed 0."""
    torch.manual_seed(0)
    linear = nn.Linear(192, 7)
    return {
        "functional calls": Case(
            written(
                _functional_calls,
                kernels=nn.Parameter(torch.randn(4, 3, 3, 3)),
                matrix=nn.Parameter(torch.randn(5, 256)),
            )
        ),
        "a module used twice": Case(
            written(
                lambda self, x: self.twice(self.twice(self.first(x.flatten(1)))), first=linear, twice=nn.Linear(7, 7)
            )
        ),
        "tied weights": Case(
            written(lambda self, x: functional.linear(self.inner(x.flatten(1)), self.inner.weight.t()), inner=linear)
        ),
        "a dictionary of outputs": Case(
            written(lambda self, x: {"maps": self.conv(x), "means": self.conv(x).mean((2, 3))}, conv=_conv())
        ),
        "a tuple of outputs": Case(
            written(
                lambda self, x: (self.conv(x), [self.linear(self.conv(x).flatten(1))]),
                conv=_conv(),
                linear=nn.Linear(144, 3),
            )
        ),
        "a tuple from one call": Case(written(lambda self, x: self.conv(x).chunk(2, 1), conv=_conv())),
        "operands by name": Case(
            written(
                lambda self, x: torch.mul(self.inner(input=x.flatten(1)), other=self.inner(x.flatten(1))), inner=linear
            )
        ),
        "a part without elements": Case(
            written(lambda self, x: torch.cat([self.conv(x), x[:, :0, 2:, 2:].relu()], 1), conv=_conv())
        ),
        "an input called _x": Case(_Underscored()),
        "control flow in a part": Case(
            nn.Sequential(_conv(), Branching(), nn.Flatten(), nn.Linear(144, 3)), opaque=("cannot be traced",)
        ),
        "control flow": Case(Branching(), error="odd_modules.py"),
        "work in place": Case(written(_in_place, conv=_conv(), linear=nn.Linear(144, 3))),
        "work in place on a view": Case(written(_in_place_view, conv=_conv(), linear=nn.Linear(144, 3))),
        "a custom autograd function in a part": Case(
            nn.Sequential(_conv(), Sign(), nn.Flatten(), nn.Linear(144, 3)), opaque=("backward of its own",)
        ),
        "a custom autograd function": Case(
            written(lambda self, x: StraightThrough.apply(self.conv(x)), conv=_conv()), error="backward of its own"
        ),
        "softmax": Case(
            written(lambda self, x: functional.softmax(self.inner(x.flatten(1)), 1), inner=linear),
            opaque=("softmax has no kind",),
        ),
        "a recurrent layer": Case(
            written(
                lambda self, x: self.linear(self.lstm(x.flatten(2))[0][:, -1]),
                lstm=nn.LSTM(64, 5, batch_first=True),
                linear=nn.Linear(5, 3),
            ),
            opaque=("LSTM has no kind",),
        ),
        "attention": Case(
            written(
                lambda self, x: self.attention(x.flatten(2), x.flatten(2), x.flatten(2))[0].flatten(1),
                attention=nn.MultiheadAttention(64, 2, batch_first=True),
            ),
            opaque=("a channel is no unit",),
        ),
        "a gate over halves": Case(written(_gated_halves, conv=nn.Conv2d(3, 8, 1), gate=nn.Conv2d(4, 4, 1))),
        "a channel shuffle by views": Case(
            written(_shuffled, first=nn.Conv2d(3, 6, 3), second=nn.Conv2d(6, 6, 3, groups=3))
        ),
        "interpolation": Case(
            written(
                lambda self, x: self.last(functional.interpolate(self.conv(x), scale_factor=2, mode="bilinear")),
                conv=_conv(),
                last=nn.Conv2d(4, 2, 1),
            )
        ),
        "a norm that has no kind": Case(
            nn.Sequential(
                _conv(), nn.BatchNorm2d(4, track_running_stats=False), nn.ReLU(), nn.Flatten(), nn.Linear(144, 3)
            ),
            opaque=("without running statistics",),
        ),
        "transposed convolution": Case(
            nn.Sequential(_conv(), nn.PReLU(4), nn.ConvTranspose2d(4, 5, 2), nn.AdaptiveAvgPool2d((2, 3))),
        ),
        "a constant in view": Case(
            written(lambda self, x: self.linear(self.conv(x).view(-1, 144)), conv=_conv(), linear=nn.Linear(144, 3))
        ),
        "a wrong constant in view": Case(
            written(lambda self, x: self.conv(x).view(-1, 36), conv=_conv()), error="samples are mixed"
        ),
        "integers as output": Case(
            written(lambda self, x: self.conv(x).flatten(1).argmax(1), conv=_conv()), error="torch.int64"
        ),
        "a scale of each layer": Case(
            written(
                lambda self, x: self.conv(x) * self.scale + x,
                conv=nn.Conv2d(3, 3, 3, padding=1),
                scale=nn.Parameter(torch.rand(3, 1, 1)),
            )
        ),
        "arithmetic with numbers": Case(
            written(
                lambda self, x: sum([(self.conv(x) * 2 - 1) / 3, 1 - self.conv(x), -(self.conv(x) ** 2)]), conv=_conv()
            )
        ),
        "a hard swish spelled out": Case(
            nn.Sequential(_conv(), written(lambda _, x: x * functional.relu6(x + 3, inplace=True) / 6))
        ),
        "weight normalisation": Case(nn.Sequential(nn.utils.parametrizations.weight_norm(_conv()), nn.ReLU())),
        "an einsum": Case(
            written(
                lambda self, x: torch.einsum("bchw,dc->bdhw", self.conv(x), self.matrix),
                conv=_conv(),
                matrix=nn.Parameter(torch.randn(5, 4)),
            ),
            opaque=("einsum has no kind",),
        ),
        "constants beside elements": Case(
            written(
                lambda self, x: torch.cat([self.conv(x), self.prior.expand(x.size(0), 1, 6, 6)], 1),
                conv=_conv(),
                prior=nn.Parameter(torch.rand(1, 1, 6, 6)),
            ),
            opaque=("constants are joined to elements along something else than their places",),
        ),
        "a product in place beside its factor": Case(written(_in_place_product, conv=_conv())),
        "a hook": Case(_hooked()),
        "a state that changes": Case(
            nn.Sequential(nn.Flatten(), Counting(), nn.Linear(192, 3)), error="state that changes"
        ),
        "an optional argument": Case(_Optional()),
    }


class _Underscored(nn.Module):
    def forward(self, _x):
        return _x.relu()


class _Optional(nn.Module):
    def __init__(self):
        super().__init__()
        self.linear = nn.Linear(192, 3)

    def forward(self, x, scale=None, double: bool = False):
        y = self.linear(x.flatten(1))
        if double:
            y = y * 2
        return y if scale is None else y * scale
