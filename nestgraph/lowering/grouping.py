"""Grouped convolutions: what a network says by a block mask, a lowered module computes by groups."""

from torch import Tensor


def diagonal_blocks(weight: Tensor, groups: int) -> Tensor:
    """(out, in / groups, height, width): the weights within the groups, as a grouped convolution takes them."""
    out, into, *kernel = weight.shape
    blocks = weight.view(groups, out // groups, groups, into // groups, *kernel).diagonal(0, 0, 2)
    return blocks.movedim(-1, 0).reshape(out, into // groups, *kernel)
