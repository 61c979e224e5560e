"""A thousand mutated files in the suite; `python -m tests.fuzz` reads a million, `docs/format.md` has its figures."""

import json

from nestgraph.errors import SnapshotError
from nestgraph.graph import Network
from tests.fuzz.__main__ import main
from tests.fuzz.trial import KINDS, TRIALS, broken_promise, samples


def test_a_thousand_mutated_files_are_read_or_refused(capsys):
    assert main(["--count", "1000"]) == 0, capsys.readouterr().err
    facts = json.loads(capsys.readouterr().out)
    assert (facts["count"], facts["seed"], facts["found"]) == (1000, 0, 0)


def test_every_kind_is_tried():
    assert set(KINDS) == TRIALS.keys() == samples().keys()


def test_a_broken_promise_would_be_found_whatever_was_held_before():
    bytearray(2**29)

    def foreign():
        raise KeyError("x")

    def hungry():
        return [bytearray(2**28) and None]

    def slow():
        for _ in range(10**6):
            len("")

    for reader, reason in ((foreign, "KeyError"), (hungry, "bytes for 10"), (slow, "calls"), (dict, "gave dict")):
        assert reason in broken_promise(reader, 10, Network, SnapshotError)
