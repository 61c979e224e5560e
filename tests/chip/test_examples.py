"""Examples beside C files: programs and sketches that run a test vector, and Arduino libraries."""

import re
import shutil
import subprocess
from pathlib import Path

import numpy as np
import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from nestgraph.chip.arduino import NAME, TAKEN
from nestgraph.chip.boards import BOARDS
from nestgraph.chip.costing import chip_cost
from nestgraph.chip.writing import export_c
from nestgraph.errors import ExportError
from nestgraph.interop.export import export
from nestgraph.seeds import lenet_5, mlp
from nestgraph.snapshot import load, save
from tests.chip.trying import STRICT, SUPPORTED, missing
from tests.cli.running import run
from tests.interop.test_export import named, small
from tests.laws import quick
from tests.strategies import networks

NETWORK = mlp((8, 6, 3), density=0.5, seed=0)
CORE = Path("/usr/share/arduino/hardware/arduino/avr")
STUB = """
#include <stdint.h>
#include <stdio.h>
#define F(words) words
struct Line {
    explicit operator bool() const { return true; }
    void begin(unsigned long) { }
    void print(const char *words) { fputs(words, stdout); }
    void print(unsigned v) { printf("%u", v); }
    void print(int v) { printf("%d", v); }
    void print(double v, int digits) { printf("%.*f", digits, v); }
    template <typename... T> void println(T... what) { print(what...); puts(""); }
};
static Line Serial;
"""


def ran(command, folder):
    """How a command ended, and its lines; compilers must say nothing."""
    done = subprocess.run(command, cwd=folder, capture_output=True, text=True, timeout=50, check=False)
    assert not done.stderr, done.stderr[:500]
    return done.returncode, done.stdout.splitlines()


def example(folder, stem="net", by=("gcc", "-std=c99")):
    ran([*by, *STRICT, "-o", "run", f"{stem}.c", f"{stem}_main.c", "-lm"], folder)
    return ran(["./run"], folder)


def sketch(library, folder):
    """A sketch with its library, built for this machine, with a serial line that prints."""
    (folder / "Arduino.h").write_text(STUB)
    source = f"{library / 'src' / library.name}.c"
    ran(["gcc", "-std=c99", *STRICT, "-c", source, "-o", "net.o"], folder)
    (folder / "main.cpp").write_text(
        f'#include "{library}/examples/{library.name}/{library.name}.ino"\nint main() {{ setup(); loop(); }}\n'
    )
    paths = ["-I", str(folder), "-I", str(library / "src")]
    ran(["g++", *STRICT, *paths, "-o", "run", "main.cpp", "net.o", "-lm"], folder)
    return ran(["./run"], folder)[1]


@missing("gcc")
@quick(5)
@given(network=networks(SUPPORTED), int8=st.booleans())
def test_an_example_prints_what_is_expected_on_any_network(tmp_path_factory, network, int8):
    folder = tmp_path_factory.mktemp("example")
    try:
        found = export_c(network, folder / "net.c", int8, example=True)
    except ExportError as error:
        assume("finite" not in str(error))  # at random
        raise
    assert found.paths[2] == folder / "net_main.c"
    code, lines = example(folder)
    assert (code, lines[-1]) == (0, "as expected")
    counts = re.findall(r"_OUT\d+_COUNT (\d+)", found.paths[1].read_text())
    assert len(lines) - 1 == sum(map(int, counts))


@missing("gcc")
@pytest.mark.parametrize("int8", [False, True])
def test_the_vector_is_the_first_given_sample(int8, tmp_path):
    inputs = np.random.default_rng(0).standard_normal((20, 8)).astype(np.float32)
    found = export(NETWORK, tmp_path / "net.c", int8=int8, inputs=inputs, example=True)
    text = found.paths[2].read_text()
    assert "a sample that was given" in text
    written = np.array(re.search(r"in0\[8\] = \{\n(.*),\n\}", text)[1].replace("f", "").split(","), float)
    header = found.paths[1].read_text()
    scale = re.search(r"IN0_SCALE (\S+)f", header)
    zero = re.search(r"IN0_ZERO \((-?\d+)\)", header)
    numbers = (written - int(zero[1])) * float(scale[1]) if int8 else written
    np.testing.assert_allclose(numbers, inputs[0], atol=float(scale[1]) if int8 else 1e-6)
    assert example(tmp_path) == example(tmp_path, by=("g++",))
    assert found.bytes == sum(path.stat().st_size for path in found.paths)


@missing("gcc")
def test_what_is_not_as_expected_is_said(tmp_path):
    export(NETWORK, tmp_path / "net.c", example=True)
    main = tmp_path / "net_main.c"
    main.write_text(re.sub(r"(expected0\[3\] = \{\n)", r"\g<1>100+", main.read_text()))
    code, lines = example(tmp_path)
    assert (code, lines[-1]) == (1, "not as expected")


def test_without_a_compiler_its_program_says_what_is_expected(tmp_path, monkeypatch):
    folders = [tmp_path / "with", tmp_path / "without"]
    texts = []
    for folder in folders:
        folder.mkdir()
        export_c(NETWORK, folder / "net.c", int8=True, example=True)
        texts.append((folder / "net_main.c").read_text())
        monkeypatch.setattr(shutil, "which", lambda _: None)
    (built, told) = (np.array(re.search(r"expected0\[3\] = \{\n(.*),\n\}", text)[1].split(","), int) for text in texts)
    largest = np.abs(built).max()
    assert largest > 1000
    assert np.abs(built - told).max() <= 2 * largest / 127


@missing("gcc")
def test_hostile_names_of_layers_reach_no_example(tmp_path):
    network = small()
    names = dict(zip(network.layer_names, ["int", "main", "__FILE__", "NULL", "uint8_t"], strict=False))
    hostile = named(network, names, label='*/ #error "got out" /* \\\nname=got out')
    export(hostile, tmp_path / "printf.c", example=True)
    assert example(tmp_path, "printf")[0] == 0
    library = export(hostile, tmp_path / "printf2.c", arduino=True).paths
    assert not any("got out" in path.read_text() for path in library)


# -- Arduino ---------------------------------------------------------------------------------------------


def arduino(paths, folder):
    """What a library's sketch says over the serial line of an ATmega328P, built as the Arduino tools do."""
    board = ["-mmcu=atmega328p", "-DF_CPU=16000000L", "-DARDUINO=10807", "-DARDUINO_AVR_UNO", "-DARDUINO_ARCH_AVR"]
    known = [f"-I{CORE / 'cores' / 'arduino'}", f"-I{CORE / 'variants' / 'standard'}", f"-I{paths[0].parent}"]
    # GCC 5 of Debian hides DECIMAL_DIG from C++11.
    flags = [*board, *known, "-DDECIMAL_DIG=__DECIMAL_DIG__", "-Os", "-w", "-ffunction-sections", "-flto"]
    plus = ["-x", "c++", "-std=gnu++11", "-fno-exceptions", "-fno-threadsafe-statics"]
    core = CORE / "cores" / "arduino"
    sources = [(["-std=gnu11"], name) for name in (*core.glob("*.c"), paths[0])]
    sources += [(plus, name) for name in (*core.glob("*.cpp"), paths[2])]
    for options, name in sources:
        ran(["avr-gcc", *flags, *options, "-c", str(name), "-o", f"{name.name}.o"], folder)
    objects = sorted(path.name for path in folder.glob("*.o") if path.name != "net.o")
    ran(["avr-gcc", "-Os", "-flto", "-Wl,--gc-sections", "-mmcu=atmega328p", "-o", "chip.elf", *objects, "-lm"], folder)
    command = ["simavr", "-m", "atmega328p", "-f", "16000000", "chip.elf"]
    lines = []
    with subprocess.Popen(command, cwd=folder, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True) as run_:
        for line in run_.stdout:  # simavr colours, and shows the ends of lines as points
            lines.append(re.sub(r"\x1b\[[0-9;]*m|\.*\n$", "", line))
            if lines[-1].endswith("as expected"):
                break
        run_.kill()
    return [line for line in lines if line.startswith("out") or line.endswith("as expected")]


@missing("gcc")
@missing("g++")
@pytest.mark.parametrize("int8", [False, True])
def test_a_library_is_a_folder_whose_sketch_prints_what_is_expected(int8, tmp_path):
    found = export(NETWORK, tmp_path / "my-net.2.c", int8=int8, arduino=True)
    library = tmp_path / "my-net.2"
    files = ["src/my-net.2.c", "src/my-net.2.h", "examples/my-net.2/my-net.2.ino", "library.properties"]
    assert found.paths == tuple(library / file for file in files)
    assert sorted(path for path in tmp_path.rglob("*") if path.is_file()) == sorted(found.paths)
    lines = sketch(library, tmp_path)
    assert lines[-1] == "as expected"
    assert len(lines) == 1 + 3
    assert export(NETWORK, tmp_path / "my-net.2.c", int8=int8, arduino=True).paths == found.paths  # our own


@pytest.mark.chip
@pytest.mark.skipif(not CORE.exists(), reason="NOT RUN: arduino-core-avr is not installed here")
@missing("avr-gcc")
@missing("simavr")
@pytest.mark.parametrize("int8", [False, True])
def test_a_library_on_an_uno_with_the_core_of_arduino(int8, tmp_path):
    found = export(NETWORK, tmp_path / "net.c", int8=int8, arduino=True)
    there, here = arduino(found.paths, tmp_path), sketch(tmp_path / "net", tmp_path)
    assert there[-1] == here[-1] == "as expected"
    numbers = [
        [float(word) for line in lines for word in re.findall(r"-?\d+(?:\.\d+)?", line)] for lines in (there, here)
    ]
    np.testing.assert_allclose(*numbers, rtol=0 if int8 else 1e-5)  # floats are rounded by what prints them


@pytest.mark.chip
@pytest.mark.skipif(not CORE.exists(), reason="NOT RUN: arduino-core-avr is not installed here")
@missing("avr-gcc")
@missing("simavr")
def test_what_a_budget_leaves_of_an_uno_is_enough_for_the_core(tmp_path):
    """An image of 784 bytes, and buffers that fill the rest of the memory but for some."""
    network, board = lenet_5(width=0.22, density=0.12, seed=0), BOARDS["uno"]
    left = board.ram - board.core[1] - chip_cost(network, True, board).ram
    assert 0 <= left <= 64
    found = export(network, tmp_path / "net.c", int8=True, arduino=True)
    assert arduino(found.paths, tmp_path)[-1] == "as expected"


@given(stem=st.one_of(st.text(max_size=70), st.text("aZ0_.- =\n#", max_size=70), st.sampled_from(sorted(TAKEN))))
@quick(50)
def test_no_name_leaves_a_line_of_the_properties(stem, tmp_path_factory):
    folder = tmp_path_factory.mktemp("library")
    try:
        export_c(mlp((2, 1), seed=0), folder / f"{stem}.c", arduino=True)
    except (ExportError, ValueError):
        assert list(folder.iterdir()) == []
        return
    assert NAME.fullmatch(stem)
    lines = (folder / stem / "library.properties").read_bytes().decode("ascii").split("\n")
    keys = [line.partition("=")[0] for line in lines]
    known = "name version author maintainer sentence paragraph category url architectures includes"
    assert keys == [*known.split(), ""]
    assert lines[0] == f"name={stem}"


@pytest.mark.parametrize("name", ["math", "Arduino", "_net", "a" * 64, "12.5"])
def test_names_that_arduino_cannot_have(name, tmp_path):
    with pytest.raises(ExportError, match="as Arduino asks of libraries"):
        export(NETWORK, tmp_path / f"{name}.c", arduino=True)
    assert list(tmp_path.iterdir()) == []


def test_folders_and_files_of_others_stay(tmp_path):
    library = tmp_path / "net"
    library.mkdir()
    (library / "notes.txt").write_text("mine")
    with pytest.raises(ExportError, match="expected no folder or a library that an export wrote, got another"):
        export(NETWORK, tmp_path / "net.c", arduino=True)
    assert [path.name for path in tmp_path.rglob("*")] == ["net", "notes.txt"]
    export(NETWORK, tmp_path / "net.c", arduino=True, overwrite=True)
    assert (library / "notes.txt").read_text() == "mine"
    (library / "examples" / "net" / "net.ino").write_text("mine too")
    with pytest.raises(ExportError, match="a file that it did not write"):
        export(NETWORK, tmp_path / "net.c", arduino=True)
    (library / "library.properties").write_text("name=theirs")
    with pytest.raises(ExportError, match="a file that it did not write"):
        export(NETWORK, tmp_path / "net.c", arduino=True)
    (tmp_path / "link").symlink_to(library)
    (tmp_path / "file").write_text("")
    for name in ("link", "file"):
        with pytest.raises(ExportError, match="expected no folder or a library"):
            export(NETWORK, tmp_path / f"{name}.c", arduino=True, overwrite=True)
    (tmp_path / "net_main.c").write_text("mine")
    with pytest.raises(ExportError, match="a file that it did not write"):
        export(NETWORK, tmp_path / "net.c", example=True)


def test_what_does_not_go_together(tmp_path):
    with pytest.raises(ExportError, match="expected example or arduino"):
        export(NETWORK, tmp_path / "net.c", example=True, arduino=True)


def test_the_verb_writes_both(tmp_path):
    save(NETWORK, tmp_path / "net.json")
    done = run("export", tmp_path / "net.json", tmp_path / "net.c", "--example")
    assert done.exit_code == 0, done.output
    assert str(tmp_path / "net_main.c") in done.stdout
    done = run("export", tmp_path / "net.json", tmp_path / "net.c", "--arduino", "--int8")
    assert done.exit_code == 0, done.output
    assert (tmp_path / "net" / "library.properties").exists()
    assert run("export", tmp_path / "net.json", tmp_path / "net.onnx", "--arduino").exit_code == 2
    assert load(tmp_path / "net.json") == NETWORK
