"""Train and draw what docs/characters.md tells: `python docs/grow_characters.py`.

The page's own code, at full length: three seeds, each grown, beside a model of the final size that is trained from the
beginning, for as many steps and for as many FLOPs. Writes docs/pictures/characters.svg and prints the figures.
"""

import re
from pathlib import Path
from typing import Any

import matplotlib.pyplot as plt
import numpy as np

PAGE = Path(__file__).with_name("characters.md")
PICTURE = Path(__file__).parent / "pictures" / "characters.svg"
STEPS, GROWS, SEEDS = 2500, (400, 650, 950), (0, 1, 2)
Curves = dict[str, list[list[tuple[int, int, float]]]]


def page() -> dict[str, Any]:
    """What the blocks of the page define."""
    scope: dict[str, Any] = {}
    for block in re.findall(r"^```python\n(.*?)^```$", PAGE.read_text(), re.MULTILINE | re.DOTALL):
        exec(compile(block, str(PAGE), "exec"), scope)
    return scope


def curves() -> Curves:
    """By kind of run, a curve for each seed."""
    of = page()
    plan = dict(zip(GROWS, (of["early"], of["late"], of["wider"]), strict=True))
    names = "grown", "final size, as many steps", "final size, as many FLOPs"
    found: Curves = {name: [] for name in names}
    for seed in SEEDS:
        _, grown = of["trained"](of["made"](2, 16, seed), plan, STEPS, seed)
        _, fixed = of["trained"](of["made"](4, 32, seed), {}, STEPS, seed)
        steps = round(STEPS * grown[-1][1] / fixed[-1][1] / 50) * 50
        _, equal = of["trained"](of["made"](4, 32, seed), {}, steps, seed)
        for name, curve in zip(names, (grown, fixed, equal), strict=True):
            found[name].append(curve)
            step, flops, loss = curve[-1]
            print(f"seed {seed}, {name}: {loss:.4f} after {step} steps, {flops / 1e9:.2f} GFLOPs", flush=True)
    return found


def draw(found: Curves) -> None:
    """Validation loss over steps and over FLOPs; a line is the mean, its shade what lies between the seeds."""
    plt.rcParams["svg.hashsalt"] = "nestgraph"
    figure, axes = plt.subplots(1, 2, figsize=(10, 4), sharey=True, layout="constrained")
    for name, runs in found.items():
        values = np.array([[loss for _, _, loss in run] for run in runs])
        for at, axis in enumerate(axes):
            places = np.mean([[point[at] / (1, 1e9)[at] for point in run] for run in runs], axis=0)
            axis.plot(places, values.mean(0), label=name, linewidth=1.2)
            axis.fill_between(places, values.min(0), values.max(0), alpha=0.25, linewidth=0)
    grown = {point[0]: point[1] / 1e9 for point in found["grown"][0]}
    for step, words in zip(GROWS, ("third block", "fourth block", "twice the width"), strict=True):
        for axis, place in zip(axes, (step, grown[step]), strict=True):
            axis.axvline(place, color="grey", linewidth=0.8, linestyle=":")
        axes[0].annotate(words, (step, 1.14), rotation=90, fontsize=8, va="top", ha="right")
    ticks = (0.45, 0.5, 0.6, 0.7, 0.8, 1.0)
    axes[0].set(xlabel="step", ylabel="validation loss, nats a character", yscale="log", ylim=(0.42, 1.2))
    axes[0].set_yticks(ticks, [str(tick) for tick in ticks])
    axes[0].set_yticks([], minor=True)
    axes[1].set(xlabel="GFLOPs forward, one sample of each batch")
    axes[1].legend(fontsize=8)
    figure.savefig(PICTURE, metadata={"Date": None})


if __name__ == "__main__":
    result = curves()
    draw(result)
    for name, runs in result.items():
        ends = np.array([run[-1][2] for run in runs])
        print(f"{name}: {ends.mean():.4f} (from {ends.min():.4f} to {ends.max():.4f})")
