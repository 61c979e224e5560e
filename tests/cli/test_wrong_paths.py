"""Whatever stands where a verb expects a file or a folder: one sentence, an exit code, and nothing lost or left behind.

Each verb is tried with each kind of path that is not what it wants, on the way in and on the way out.
"""

import os
from pathlib import Path

import pytest

from tests.cli.running import TINY, run, write_snapshots

READS = {
    "summary": (".json", "summary @"),
    "verify": (".json", "verify @"),
    "draw": (".json", "draw @ new.svg"),
    "draw among": (".json", "draw before.json new.svg --among @"),
    "diff old": (".json", "diff @ before.json"),
    "diff new": (".json", "diff before.json @"),
    "edit": (".json", "edit @ edit.json --out new.json"),
    "edit edits": (".json", "edit before.json @ --out new.json"),
    "edit journal": (".jsonl", "edit before.json @ --out new.json"),
    "evaluate": (".json", "evaluate @ --data digits"),
    "evaluate data": (".toml", "evaluate before.json --data @"),
    "explain": (".json", "explain @"),
    "export": (".json", "export @ new.py"),
    "export format": (".json", "export @ new.graphml --format graphml"),
    "import edges": (".csv", "import @ --out new.json"),
    "import nodes": (".csv", "import net.csv --nodes @ --out new.json"),
    "import neat": (".json", "import @ --out new.json"),
    "import weights": (".safetensors", "import torch.nn:ReLU --input 4 --weights @ --out new.json"),
    "synthesize": (".toml", "synthesize @ --out new"),
    "synthesize json": (".json", "synthesize @ --out new"),
    "synthesize plugin": (".py", "synthesize tiny.toml --plugin @ --out new"),
    "sweep": (".toml", "sweep @ --out new"),
    "resume": ("", "resume @"),
    "report": ("", "report @"),
    "report out": ("", "report @ --out new.html"),
    "results": ("", "results @ --docs new"),
    "data": ("", "data @"),
    "merge": (".json", "merge @ before.json after.json"),
}
"""By what is read: the suffix of its name, and the words, in which @ is the path."""

WRITES = {
    "draw": (".svg", "draw before.json @"),
    "draw png": (".png", "draw before.json @"),
    "diff": (".svg", "diff before.json after.json --draw @"),
    "edit": (".json", "edit before.json edit.json --out @"),
    "merge": (".json", "merge before.json before.json after.json --out @"),
    "merge picture": (".svg", "merge before.json before.json after.json --draw @"),
    "export": (".safetensors", "export before.json @"),
    "export source": (".py", "export before.json @"),
    "export format": (".graphml", "export before.json @ --format graphml"),
    "export overlays": (".json", "export before.json @ --format model-explorer"),
    "import": (".json", "import net.csv --out @"),
}
FOLDERS = {
    "schema": "schema --out @",
    "results": "results run --docs @",
    "synthesize": "synthesize tiny.toml --out @",
    "sweep": "sweep tiny-sweep.toml --out @",
}

SWEEP = """
name = "tiny-sweep"
recipe = "tiny.toml"
variations = [{ name = "only" }]
"""


@pytest.fixture
def world(tmp_path, monkeypatch):
    """A working folder with what the verbs need beside the path in question."""
    folder = tmp_path / "world"
    folder.mkdir()
    monkeypatch.chdir(folder)
    write_snapshots(folder)
    (folder / "net.csv").write_text("a,b,1\nb,c,2\n")
    (folder / "tiny.toml").write_text(TINY.format(edits=1))
    (folder / "tiny-sweep.toml").write_text(SWEEP)
    return folder


def wrong_to_read(folder: Path, suffix: str) -> dict[str, str]:
    """Paths that hold nothing that can be read, by what is wrong with them."""
    (folder / f"folder{suffix}").mkdir()
    (folder / f"dangling{suffix}").symlink_to("nowhere")
    (folder / f"loop{suffix}").symlink_to(f"loop{suffix}")
    os.mkfifo(folder / f"pipe{suffix}")
    contents = {
        "binary": bytes(range(256)),
        "list": b"[]",
        "newer": (folder / "before.json").read_bytes().replace(b'"version":2', b'"version":99'),
        "cut": (folder / "before.json").read_bytes()[:-9],
        "no picture": b"\x89PNG\r\n\x1a\n",
        os.fsdecode(b"\xff"): b"\xff",
    }
    if suffix != ".jsonl":  # a journal without whole steps is one
        contents |= {"empty": b"", "zeros": bytes(100)}
    for name, content in contents.items():
        (folder / f"{name}{suffix}").write_bytes(content)
    names = ("missing", "folder", "dangling", "loop", "pipe", *contents)
    beside = {"inside a file": f"before.json/x{suffix}", "long": "x" * 300 + suffix, "device": "/dev/zero", "no": ""}
    return {name: f"{name}{suffix}" for name in names} | beside


def wrong_to_write(folder: Path, suffix: str) -> dict[str, str]:
    """Paths that must not be written to, by what is wrong with them."""
    (folder / f"others{suffix}").write_text("mine\n")
    (folder / f"folder{suffix}").mkdir()
    (folder / f"folder{suffix}" / "mine").write_text("mine\n")
    (folder / f"link{suffix}").symlink_to("before.json")
    (folder / f"dangling{suffix}").symlink_to("nowhere")
    os.mkfifo(folder / f"pipe{suffix}")
    names = ("others", "folder", "link", "dangling", "pipe")
    beside = {"no folder": f"no/folder{suffix}", "inside a file": f"before.json/x{suffix}", "long": "x" * 300 + suffix}
    return {name: f"{name}{suffix}" for name in names} | beside | {"device": "/dev/full", "no": ""}


def held(folder: Path) -> dict[str, object]:
    """All that lies in a folder: the content of files, the targets of links."""
    found: dict[str, object] = {}
    for base, folders, files in os.walk(folder):
        for path in (Path(base) / name for name in (*folders, *files)):
            found[str(path)] = os.readlink(path) if path.is_symlink() else path.is_file() and path.read_bytes()
    return found


def check_refused(line: str, wrong: dict[str, str], folder: Path) -> None:
    """Hold a verb to one sentence for each wrong path, and to leave all as it was."""
    for name, path in wrong.items():
        earlier = held(folder)
        words = [path if word == "@" else word for word in line.split()]
        result = run("--quiet", *words)
        said = result.stdout if words[0] == "verify" and result.stdout else result.stderr
        assert result.exit_code in (1, 2), (name, result.output)
        assert said.count("\n") == 1, (name, said)
        assert "expected " in said, (name, said)
        assert held(folder) == earlier, name


@pytest.mark.parametrize("case", READS)
def test_what_cannot_be_read_is_one_sentence(case, world):
    suffix, line = READS[case]
    check_refused(line, wrong_to_read(world, suffix), world)


@pytest.mark.parametrize("case", WRITES)
def test_what_cannot_be_written_is_one_sentence_and_stays(case, world):
    suffix, line = WRITES[case]
    check_refused(line, wrong_to_write(world, suffix), world)


@pytest.mark.parametrize("case", FOLDERS)
def test_what_is_no_folder_to_write_to_is_one_sentence_and_stays(case, world):
    wrong = wrong_to_write(world, "")
    del wrong["folder"], wrong["link"], wrong["no folder"]
    check_refused(FOLDERS[case], wrong, world)
