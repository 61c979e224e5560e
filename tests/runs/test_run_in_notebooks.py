from xml.etree import ElementTree

from nestgraph.recipes.recipe import load_recipe
from nestgraph.runs.run import Measurement, Result, Run, StageResult


def test_a_run_shows_its_curves_and_stages(tmp_path):
    rows = [
        Measurement(
            step=step,
            phase="grow",
            edit="an edit",
            accepted=step != 1,
            units=9,
            connections=20 + step,
            flops=40,
            loss=1.0,
            accuracy=0.5,
        )
        for step in range(3)
    ]
    (tmp_path / "metrics.jsonl").write_text("".join(row.model_dump_json() + "\n" for row in rows))
    counts = {"units": 9, "connections": 22, "parameters": 30, "flops": 40, "active_flops": 40.0}
    final = StageResult(stage="final", validation_accuracy=0.5, test_accuracy=0.75, digest="0", **counts)
    run = Run(tmp_path, load_recipe("digits"), Result(recipe="digits", seed=3, edits=2, refused=1, stages=(final,)))
    shown = run._repr_mimebundle_()
    assert shown["text/plain"].endswith("final: 22 connections, test 75.00%")
    assert "<Run digits, seed 3" in shown["text/plain"]
    assert len(shown["image/svg+xml"].encode()) <= 200_000
    ElementTree.fromstring(shown["image/svg+xml"])
