"""C files run as chips run them: an Arm Cortex-M4 in QEMU, an ATmega328P in simavr."""

import re
import subprocess

import numpy as np

MAIN = """
#include "net.h"
{flash}
static const {element} samples[{batch}][{count}] {where} = {{ {numbers} }};
static {element} in[{count}];
static {given} out[{outputs}];
static void put(char c);
static void stop(void);
static void number(long v) {{
    char digits[12];
    int n = 0;
    unsigned long rest = v < 0 ? 0UL - (unsigned long)v : (unsigned long)v;
    if (v < 0) {{ put('-'); }}
    do {{ digits[n++] = (char)('0' + rest % 10); rest /= 10; }} while (rest);
    while (n) {{ put(digits[--n]); }}
    put('\\n');
}}
int main(void) {{
    unsigned b, i;
    start();
    for (b = 0; b < {batch}; b++) {{
        for (i = 0; i < {count}; i++) {{ in[i] = ({element})READ(&samples[b][i]); }}
        net_run(in, out);
        for (i = 0; i < {outputs}; i++) {{ number(out[i]); }}
    }}
    stop();
    return 0;
}}
"""
AVR = """
#include <avr/io.h>
#include <avr/interrupt.h>
#include <avr/sleep.h>
static void start(void) { UBRR0 = 0; UCSR0B = 1 << TXEN0; }
"""
FLASH = """
#include <avr/pgmspace.h>
#define READ(p) pgm_read_byte(p)
"""
EEPROM = """
#include <avr/eeprom.h>
#define READ(p) eeprom_read_byte((const uint8_t *)(p))
"""
AVR_END = """
static void put(char c) { while (!(UCSR0A & (1 << UDRE0))) { } UDR0 = c; }
static void stop(void) { cli(); sleep_enable(); sleep_cpu(); }
"""
ARM = """
#define READ(p) (*(p))
static void start(void) { }
"""
ARM_END = """
static int asked(int what, const void *with) {
    register int r0 __asm("r0") = what;
    register const void *r1 __asm("r1") = with;
    __asm volatile("bkpt 0xab" : "+r"(r0) : "r"(r1) : "memory");
    return r0;
}
static void put(char c) { asked(3, &c); }
static void stop(void) { asked(0x18, (void *)0x20026); for (;;) { } }
extern unsigned _stack_end;
void reset(void) { main(); stop(); }
__attribute__((section(".vectors"), used)) void *const vectors[2] = { &_stack_end, (void *)reset };
"""
SCRIPT = """
MEMORY { FLASH (rx): ORIGIN = 0, LENGTH = 4M  RAM (rwx): ORIGIN = 0x20000000, LENGTH = 4M }
_stack_end = 0x20400000;
SECTIONS { .text : { KEEP(*(.vectors)) *(.text*) *(.rodata*) } > FLASH
           .bss : { *(.data*) *(.bss*) *(COMMON) } > RAM  /DISCARD/ : { *(.ARM.ex*) } }
"""


def _written(text, program, samples, head, tail, where, folder):
    (_, value), (_, output) = program.inputs[0], program.outputs[0]
    numbers = ",".join("{" + ",".join(map(str, row.reshape(-1).tolist())) + "}" for row in samples)
    main = MAIN.format(
        flash=head,
        element=text.code.element(value),
        given=text.given,
        where=where,
        batch=len(samples),
        count=value.count,
        outputs=output.count,
        numbers=numbers,
    )
    for name, content in (("net.c", text.source), ("net.h", text.header), ("main.c", main + tail)):
        (folder / name).write_text(content)


def _numbers(command, folder, count):
    done = subprocess.run(command, cwd=folder, capture_output=True, text=True, timeout=50, check=False)
    plain = re.sub(r"\x1b\[[0-9;]*m", "", done.stdout + done.stderr)  # simavr colours, and ends lines by a point
    found = [int(word) for word in re.findall(r"^(-?\d+)\.?$", plain, re.MULTILINE)]
    assert len(found) == count, done.stdout[-500:] + done.stderr[-500:]
    return np.array(found)


SIMAVR = ("simavr", "-m", "atmega328p", "-f", "16000000")


def _built_for_avr(folder):
    command = ["avr-gcc", "-mmcu=atmega328p", "-Os", "-std=c99", "-o", "net.elf", "net.c", "main.c", "-lm"]
    subprocess.run(command, cwd=folder, check=True, capture_output=True)


def on_avr(text, program, samples, folder):
    """What a file of int8, of one input and output, gives on an ATmega328P."""
    _written(text, program, samples, FLASH + AVR, AVR_END, "PROGMEM", folder)
    _built_for_avr(folder)
    count = program.outputs[0][1].count
    return _numbers([*SIMAVR, "net.elf"], folder, len(samples) * count).reshape(len(samples), count)


def on_full_avr(text, program, samples, folder):
    """The same of a file that leaves no flash to samples: the chip is run once for each, which lies in its EEPROM."""
    _written(text, program, samples[:1], EEPROM + AVR, AVR_END, "EEMEM", folder)
    _built_for_avr(folder)
    count, found = program.outputs[0][1].count, []
    for sample in samples:
        (folder / "sample").write_bytes(sample.tobytes())
        command = ["avr-objcopy", "--update-section", ".eeprom=sample", "net.elf", "one.elf"]
        subprocess.run(command, cwd=folder, check=True, capture_output=True)
        found.append(_numbers([*SIMAVR, "one.elf"], folder, count))
    return np.stack(found)


def on_arm(text, program, samples, folder):
    """The same on a Cortex-M4."""
    _written(text, program, samples, ARM, ARM_END, "", folder)
    (folder / "chip.ld").write_text(SCRIPT)
    flags = ["-mcpu=cortex-m4", "-mthumb", "-Os", "-ffreestanding", "-nostdlib", "-T", "chip.ld"]
    command = ["arm-none-eabi-gcc", *flags, "-o", "net.elf", "net.c", "main.c", "-lgcc"]
    subprocess.run(command, cwd=folder, check=True, capture_output=True)
    run = ["qemu-system-arm", "-M", "mps2-an386", "-nographic", "-monitor", "none", "-serial", "none"]
    run += ["-semihosting-config", "enable=on,target=native", "-kernel", "net.elf"]
    count = program.outputs[0][1].count
    return _numbers(run, folder, len(samples) * count).reshape(len(samples), count)
