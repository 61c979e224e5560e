"""What the outputs of a network mean: losses, metrics, the goal of a run, and the goal of a constant answer."""
