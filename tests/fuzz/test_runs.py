"""Mutated files of runs and mutated run folders: a few here, many more in `make test-all`."""

import pytest

from tests.fuzz.runs import READERS, file_trial, folder_trial, run_samples


def found_in_files(folder, count, seed):
    trials = (file_trial(f"{seed}-{number}", folder) for number in range(count))
    return [(finding.seed, finding.problem) for finding in trials if finding]


def found_in_folders(folder, count, seed):
    """A fifth of them is resumed as well."""
    trials = (folder_trial(f"{seed}-{number}", folder, number % 5 == 0) for number in range(count))
    return [(finding.seed, finding.problem) for finding in trials if finding]


def test_every_kind_of_file_is_tried():
    assert {name.name for _, name in run_samples()} == READERS.keys()


def test_mutated_files_of_runs_are_read_or_refused(tmp_path):
    assert found_in_files(tmp_path, 400, "quick") == []


def test_mutated_run_folders_are_reported_and_resumed_or_refused(tmp_path):
    assert found_in_folders(tmp_path, 100, "quick") == []


@pytest.mark.slow
def test_many_mutated_files_of_runs_and_of_recipes_are_read_or_refused(tmp_path, capsys):
    from tests.fuzz.__main__ import main

    assert found_in_files(tmp_path, 60_000, "many") == []
    assert main(["--count", "40000", "--seed", "12"]) == 0, capsys.readouterr().err


@pytest.mark.slow
def test_many_mutated_run_folders_are_reported_and_resumed_or_refused(tmp_path):
    assert found_in_folders(tmp_path, 2000, "many") == []
