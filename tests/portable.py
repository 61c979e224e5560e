"""The tests that compute numbers, once for each instruction set that torch and MKL can be told to use.

    python -m tests.portable

Rounding differs between instruction sets, and training makes much of little, so no test may assert what rounding moves.
What this processor does not have is skipped, and said.
"""

import os
import subprocess
import sys

import torch

COMPUTING = (
    *(
        "tests/lowering",
        "tests/policies",
        "tests/data",
        "tests/loop",
        "tests/interop",
        "tests/graph",
        "tests/chip",
        "tests/reporting",
        "tests/parallel",
    ),
    *("tests/integrations", "tests/recipes", "tests/runs", "tests/studies", "tests/tasks", "tests/test_moved.py"),
    *("tests/edits/test_blocks.py", "tests/edits/test_head_recipes.py", "tests/edits/test_machine.py"),
    *("tests/edits/test_narrowing.py", "tests/edits/test_nothing_found.py", "tests/edits/test_streams.py"),
    *("tests/cli/test_synthesize.py", "tests/cli/test_models.py", "tests/hostile/test_names.py", "tests/seeds"),
    *("tests/hostile/test_tensors.py", "tests/hostile/test_random_seeds.py", "tests/hostile/test_wrong_input.py"),
    *("tests/fuzz/test_face.py", "tests/fuzz/test_runs.py", "tests/soak"),
    *("tests/test_docs.py", "tests/test_committed_results.py", "tests/test_ownership.py", "tests/test_paths.py"),
)
"""Folders and files of tests; whatever else imports torch or what computes with it, tests/test_portable.py finds."""

SETS = ("DEFAULT", "AVX2", "AVX512")
"""Instruction sets as torch calls them, each with all before it."""

FAILED = "failed"

SETTINGS = (
    *(("ATEN_CPU_CAPABILITY", name) for name in ("default", "avx2", "avx512")),
    *(("MKL_CBWR", name) for name in ("COMPATIBLE", "AVX2", "AVX512")),
)


def obstacle(variable: str, value: str, capability: str, mkl: bool) -> str | None:
    """Why a setting says nothing on a machine; None where it does.

    Args:
        variable: of the environment.
        value: that it is given.
        capability: the largest instruction set of the processor, as torch calls it.
        mkl: whether torch computes with MKL.
    """
    needed = value.upper() if value.upper() in SETS else "DEFAULT"
    if capability not in SETS or SETS.index(needed) > SETS.index(capability):
        return f"the processor has {capability}, no {needed}"
    return "torch is built without MKL" if variable == "MKL_CBWR" and not mkl else None


def main() -> int:
    """Run the tests under every setting, and return how many failed."""
    command = (sys.executable, "-m", "pytest", "-n", "2", "--dist", "worksteal", "-m", "not slow and not gpu")
    bare = {name: text for name, text in os.environ.items() if name not in dict(SETTINGS)}
    capability, mkl = torch.backends.cpu.get_cpu_capability(), torch.backends.mkl.is_available()
    told: list[str] = []
    for variable, value in SETTINGS:
        words = obstacle(variable, value, capability, mkl)
        if words is None:
            print(f"{variable}={value}", flush=True)
            done = subprocess.run([*command, *COMPUTING], env={**bare, variable: value}, check=False)
            words = FAILED if done.returncode else "passed"
        else:
            words = f"skipped: {words}"
        told.append(f"{variable}={value}: {words}")
    print("\n".join(told))
    return sum(line.endswith(FAILED) for line in told)


if __name__ == "__main__":
    sys.exit(main() > 0)
