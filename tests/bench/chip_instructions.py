"""Prints instructions for an image on a Cortex-M4 in QEMU, flash, RAM and stack, beside dense files (docs/deploy.md).

    python -m tests.bench.chip_instructions [--emlearn .emlearn/bin/python] [--images 20]

QEMU counts instructions by its clock, of which one takes a nanosecond (`-icount shift=0`); SysTick sees each fortieth.
Floats are computed by the processor's unit for them. Flash and RAM of our files are those of `nestgraph export`.
Dense files are what the generator writes where no weight is left out. emlearn has a Python of its own, in which
`pip install emlearn` was run: no dependency of this package. It is given the same weights through scikit-learn's
`MLPClassifier`, and its C is of floats. Needs Arm GCC, QEMU and MNIST (`make chip`).
"""

import argparse
import re
import subprocess
import tempfile
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np

from nestgraph.chip.boards import BOARDS, sizes_of
from nestgraph.chip.integers import Integers
from nestgraph.chip.program import Program
from nestgraph.chip.quantising import Quantised, quantised
from nestgraph.chip.scheduling import scheduled
from nestgraph.chip.sums import Sum
from nestgraph.chip.terms import Segment, Swept
from nestgraph.chip.text import Text, written
from nestgraph.data.datasets import load_dataset
from nestgraph.graph import Network
from nestgraph.snapshot import load
from tests.chip.emulators import SCRIPT

TICK = 40
"""Instructions of a tick: SysTick counts at 25 MHz."""
UNIT = ("-mfloat-abi=hard", "-mfpu=fpv4-sp-d16")
"""The processor's unit for floats."""
FLAGS = ("-mcpu=cortex-m4", "-mthumb", *UNIT, "-ffreestanding", "-fno-tree-loop-distribute-patterns", "-nostdlib")
MAIN = """
#include <stdint.h>
{head}
#define SYST ((volatile uint32_t *)0xE000E010)
static const {element} samples[{batch}][{count}] = {{ {numbers} }};
static {given} out[{outputs}];
static int asked(int what, const void *with) {{
    register int r0 __asm("r0") = what;
    register const void *r1 __asm("r1") = with;
    __asm volatile("bkpt 0xab" : "+r"(r0) : "r"(r1) : "memory");
    return r0;
}}
static void number(uint32_t v) {{
    char digits[12];
    int n = 11;
    digits[n] = 0;
    digits[--n] = '\\n';
    do {{ digits[--n] = (char)('0' + v % 10); v /= 10; }} while (v);
    asked(4, digits + n);
}}
int main(void) {{
    uint32_t begun, b;
    SYST[1] = 0xFFFFFF;
    SYST[2] = 0;
    SYST[0] = 5;
    begun = SYST[2];
    for (b = 0; b < {batch}; b++) {{ {call} }}
    number((begun - SYST[2]) & 0xFFFFFF);
    return 0;
}}
extern unsigned _stack_end;
void reset(void) {{
    *(volatile uint32_t *)0xE000ED88 |= 0xF << 20; /* floats on */
    __asm volatile("dsb\\nisb");
    main();
    asked(0x18, (void *)0x20026);
    for (;;) {{ }}
}}
__attribute__((section(".vectors"), used)) void *const vectors[2] = {{ &_stack_end, (void *)reset }};
"""
GIVEN = """
import sys, numpy, emlearn, warnings
warnings.simplefilter("ignore")
from sklearn.neural_network import MLPClassifier
held = numpy.load(sys.argv[1])
count = len(held.files) // 2
model = MLPClassifier([held[f"w{n}"].shape[1] for n in range(count - 1)], max_iter=1)
model.fit(numpy.random.default_rng(0).random((40, held["w0"].shape[0])), numpy.arange(40) % 10)
model.coefs_ = [held[f"w{n}"] for n in range(count)]
model.intercepts_ = [held[f"b{n}"] for n in range(count)]
emlearn.convert(model, method="inline").save(file=sys.argv[2], name="net")
print(emlearn.includedir)
"""


@dataclass(frozen=True)
class Row:
    """What a file takes."""

    name: str
    flash: int
    ram: int
    stack: int | None
    instructions: int

    def __str__(self) -> str:
        stack = "" if self.stack is None else f"{self.stack:,}"
        return f"| {self.name} | {self.flash:,} | {self.ram:,} | {stack} | {self.instructions:,} |"


def dense(form: Quantised) -> Quantised:
    """The same whose sums have an entry for each number that any of their units may read."""
    return replace(form, integers={name: _dense(each) for name, each in form.integers.items()})


def _dense(integers: Integers) -> Integers:
    assert integers.sum is not None
    return replace(integers, sum=filled(integers.sum))


def filled(step: Sum) -> Sum:
    """A sum with weights of 0 in the place of none."""
    return replace(step, terms=tuple(_filled(term) for term in step.terms))


def _filled(term: Swept) -> Swept:
    assert not term.segmented
    read = np.unique(np.concatenate([part.offsets for (part,) in term.rows]))
    offsets = read if term.size else np.arange(term.source.count)
    rows: list[tuple[Segment, ...]] = []
    for (part,) in term.rows:
        weights = np.zeros(len(offsets), part.weights.dtype)
        weights[np.searchsorted(offsets, part.offsets)] = part.weights
        rows.append((Segment(-1, offsets, weights),))
    return replace(term, rows=tuple(rows))


def counted(head: str, call: str, types: tuple[str, str], samples: np.ndarray, outputs: int, options: list[str]) -> int:
    """Instructions for a sample; the files lie in the folder that `-I` of the options names."""
    folder = Path(options[0][2:])
    numbers = ",".join("{" + ",".join(map(repr, row.tolist())) + "}" for row in samples.reshape(len(samples), -1))
    element, given = types
    main = MAIN.format(
        head=head,
        element=element,
        given=given,
        batch=len(samples),
        count=samples[0].size,
        numbers=numbers,
        outputs=outputs,
        call=call,
    )
    (folder / "main.c").write_text(main)
    (folder / "chip.ld").write_text(SCRIPT)
    command = [
        "arm-none-eabi-gcc",
        *FLAGS,
        *options,
        "-Os",
        "-T",
        "chip.ld",
        "-o",
        "net.elf",
        "main.c",
        "-lm",
        "-lc",
        "-lgcc",
    ]
    subprocess.run(command, cwd=folder, check=True)
    run = ["qemu-system-arm", "-M", "mps2-an386", "-nographic", "-monitor", "none", "-serial", "none", "-icount"]
    run += ["shift=0", "-semihosting-config", "enable=on,target=native", "-kernel", "net.elf"]
    done = subprocess.run(run, cwd=folder, check=True, capture_output=True, text=True, timeout=300)
    return int(re.findall(r"^\d+$", done.stdout + done.stderr, re.MULTILINE)[-1]) * TICK // len(samples)


def of_file(name: str, text: Text, program: Program, samples: np.ndarray) -> Row:
    """A file of the generator."""
    sizes = sizes_of(text, program, BOARDS["stm32f4"])
    with tempfile.TemporaryDirectory() as folder:
        (Path(folder) / f"{text.stem}.c").write_text(text.source)
        (Path(folder) / f"{text.stem}.h").write_text(text.header)
        types = text.code.element(program.inputs[0][1]), text.given
        call, outputs = f"{text.prefix}_run(samples[b], out);", program.outputs[0][1].count
        found = counted(f'#include "{text.stem}.c"', call, types, samples, outputs, [f"-I{folder}"])
    return Row(name, sizes.flash, sizes.ram, sizes.stack, found)


def of_emlearn(python: str, name: str, program: Program, samples: np.ndarray) -> Row:
    """The same weights through emlearn."""
    with tempfile.TemporaryDirectory() as place:
        folder, held = Path(place), dict[str, np.ndarray]()
        for number, step in enumerate(program.steps):
            assert isinstance(step, Sum)
            (term,) = filled(step).terms
            held[f"w{number}"] = np.stack([part.weights for (part,) in term.rows]).T
            held[f"b{number}"] = step.bias
        np.savez(folder / "held.npz", **held)
        (folder / "given.py").write_text(GIVEN)
        command = [str(Path(python).absolute()), "given.py", "held.npz", "emlearn_net.h"]
        done = subprocess.run(command, cwd=folder, check=True, capture_output=True, text=True)
        include = done.stdout.strip().splitlines()[-1]
        (folder / "own.c").write_text(
            '#include "emlearn_net.h"\n'
            "void asked_net(const float *in, float *out) { out[0] = (float)net_predict(in, 784); }\n"
        )
        options = [f"-I{folder}", f"-I{include}"]
        build = ["arm-none-eabi-gcc", *FLAGS[:2], *UNIT, *options, "-Os", "-c", "own.c", "-o", "own.o"]
        subprocess.run(build, cwd=folder, check=True)
        size = ["arm-none-eabi-size", "own.o"]
        line = subprocess.run(size, cwd=folder, check=True, capture_output=True, text=True).stdout.splitlines()[1]
        code, data, zeros = map(int, line.split()[:3])
        call, head = "asked_net(samples[b], out);", '#include "own.c"'
        found = counted(head, call, ("float", "float"), samples, 10, options)
    return Row(name, code + data, data + zeros, None, found)


def rows(name: str, network: Network, images: np.ndarray, count: int, emlearn: str | None) -> list[Row]:
    """Those of a network."""
    program = scheduled(network)
    shaped = images.reshape(len(images), *program.inputs[0][1].shape)
    form = quantised(program, [shaped])
    whole = form.scales[program.inputs[0][1].name].of(shaped[:count]).astype(np.int8)
    floats = shaped[:count].astype(np.float32)
    full = replace(program, steps=tuple(filled(step) for step in program.steps if isinstance(step, Sum)))
    found = [
        of_file(f"{name}, int8", written(network, program, "net", form), program, whole),
        of_file(f"{name}, int8 dense", written(network, program, "net", dense(form)), program, whole),
        of_file(f"{name}, float", written(network, program, "net"), program, floats),
        of_file(f"{name}, float dense", written(network, full, "net"), full, floats),
    ]
    if emlearn is not None and all(not step.size for step in program.steps if isinstance(step, Sum)):
        found.append(of_emlearn(emlearn, f"{name}, emlearn, float", program, floats))
    return found


def main() -> None:
    """Print a table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--emlearn", help="a Python that has emlearn")
    parser.add_argument("--images", type=int, default=20)
    arguments = parser.parse_args()
    images = load_dataset("mnist").train.inputs[:1000]
    print("| network, form | flash | RAM | stack | instructions |")
    for name in ("lenet-300-100-compact", "lenet-5-compact"):
        found = rows(name, load(f"docs/results/{name}.json"), images, arguments.images, arguments.emlearn)
        print("\n".join(map(str, found)), flush=True)


if __name__ == "__main__":
    main()
