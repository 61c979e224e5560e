"""Seeds: the small sparse networks that growth starts from."""

from nestgraph.seeds.chain import lenet_5, lenet_300_100, mlp

__all__ = ["lenet_5", "lenet_300_100", "mlp"]
