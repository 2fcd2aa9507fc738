"""How the running kernel was configured, for programs that ask: variables in section .kconfig.

Rule of this file: settings become one more map, of constants. Nothing else of the loading knows of them.

Theory. A program may declare `extern int CONFIG_HZ __kconfig;`, and be built once for kernels that were configured
in different ways. The loader reads the kernel's configuration, puts the values that are asked for side by side into an
array of one entry that programs may not write, and lets each load of a variable's address point into it. To the
verifier these are constants, so what is behind an `if` on one that is off is never looked at. Some names are no
settings at all, but facts about the kernel that the loader is to find out: its version (LINUX_KERNEL_VERSION), and
whether it can do this or that (LINUX_HAS_...).

Trap. A setting that is off is not in the configuration, as one that nobody has heard of: only a variable that is
declared weak may be missing, and is 0 then.
"""

from __future__ import annotations

import gzip
import os
import re
import struct
from collections.abc import Callable, Iterable, Mapping
from dataclasses import replace
from functools import partial
from pathlib import Path

from lbcore.ebpf import btf, isa
from lbcore.ebpf.btf import Btf
from lbcore.ebpf.object import PROGRAM_READS_ONLY, BadObject, MapSpec, Object, Program, Relocation, Setting

SECTION = ".kconfig"
PLACES = ("/proc/config.gz", "/boot/config-{release}", "/lib/modules/{release}/build/.config")
"""Where a kernel's configuration may be found."""
TRISTATE = "libbpf_tristate"
"""The enum by which programs say that a setting may also be m."""
SIGNED, BOOLEAN = 1, 4
"""Bits of an integer's encoding in BTF."""
SWITCH = {"n": 0, "y": 1, "m": 2}
KINDS = {
    # kind of variable: what may stand in the configuration
    "switch": "y or n",
    "tristate": "y, n or m",
    "character": "a number of 8 bits, y, n or m",
    "number": "a number",
    "text": "text in quotes",
}
WIDEST = 8


def described(types: Btf | None) -> tuple[Setting, ...]:
    """The variables of section .kconfig. Raises BadObject for one of a type that no setting has."""
    section = types.named(SECTION, btf.DATA_SECTION) if types else None
    return tuple(_described(types, number) for number, _, _ in section.rows) if types and section else ()


def _described(types: Btf, number: int) -> Setting:
    variable = types.type(number)
    made = partial(Setting, variable.name)
    held = types.bare(variable.value)
    if held.kind == btf.ARRAY and held.rows[0][2] and types.size(held.rows[0][0]) == 1:
        return made("text", held.rows[0][2])
    if held.kind == btf.ENUM and held.name == TRISTATE:
        return made("tristate", held.value)
    if held.kind == btf.INT and held.value in (1, 2, 4, WIDEST):
        encoding = held.rows[0][0] >> 24
        kind = "switch" if encoding & BOOLEAN else "character" if held.value == 1 else "number"
        return made(kind, held.value, bool(encoding & SIGNED))
    why = f"a setting is a bool, an integer of up to 8 bytes, an array of characters or an enum {TRISTATE}"
    raise BadObject(SECTION, f"type of {variable.name}", held.name or held.kind, why)


def filled(source: Object, known: Mapping[str, str] | None = None) -> Object:
    """The object with all that its programs ask about the kernel's configuration in a map of constants.

    known: settings by name, as a configuration has them; by itself the running kernel's. What `filled` makes runs in
    the book's machine, too. Raises BadObject for a setting that is not there and not declared
    weak, for a value that does not fit its variable, and where the kernel does not tell its configuration.
    """
    asked = {one.symbol: (program, one) for program in source.programs for one in _asked(program)}
    if not asked:
        return source
    if known is None and not FACTS.keys() >= asked.keys():
        known = _running(*next(iter(asked.values())))
    content = bytearray()
    places: dict[str, int] = {}
    for setting in sorted(source.settings, key=lambda one: -one.size if one.kind != "text" else 0):
        if setting.name in asked:
            places[setting.name] = len(content)
            content += _value(setting, *asked[setting.name], known or {})
    spec = MapSpec(SECTION, "array", 4, len(content), 1, PROGRAM_READS_ONLY, content=bytes(content))
    return replace(
        source,
        programs=tuple(_pointed(program, places) for program in source.programs),
        maps=(*(one for one in source.maps if one.name != SECTION), spec),
    )


def _asked(program: Program) -> Iterable[Relocation]:
    return (one for one in program.relocations if one.kind == "setting")


def _pointed(program: Program, places: Mapping[str, int]) -> Program:
    """The program with loads of addresses of settings turned into loads of places in the map."""
    code = bytearray(program.code)
    for one in _asked(program):
        at = one.instruction * isa.SLOT
        if code[at] != isa.LDDW:
            raise BadObject(
                program.section, "symbol", one.symbol, "a setting is a variable, and this is no load of one"
            )
        code[at + 1] = isa.MAP_VALUE_FD << 4 | code[at + 1] & 0x0F
        (within,) = struct.unpack_from("<i", code, at + 4)
        struct.pack_into("<i", code, at + isa.SLOT + 4, places[one.symbol] + within)
    relocations = [
        replace(one, symbol=SECTION, kind="data", optional=False) if one.kind == "setting" else one
        for one in program.relocations
    ]
    return replace(program, code=bytes(code), relocations=tuple(relocations))


def _running(program: Program, asked: Relocation) -> Mapping[str, str]:
    try:
        return configuration()
    except OSError as error:
        raise BadObject(program.section, "symbol", asked.symbol, f"declared extern: {error}") from error


def _value(setting: Setting, program: Program, asked: Relocation, known: Mapping[str, str]) -> bytes:
    """The bytes of the variable."""
    refuse = partial(BadObject, program.section, "symbol", setting.name)
    if setting.name in FACTS:
        return _number(setting, FACTS[setting.name](), refuse)
    text = known.get(setting.name)
    if text is None:
        if asked.optional:
            return bytes(setting.size)
        raise refuse("declared extern; the kernel's configuration does not have it: it is off, or no such thing")
    return _read(setting, text, refuse)


def _read(setting: Setting, text: str, refuse: Callable[[str], BadObject]) -> bytes:
    """A value from the configuration as bytes."""
    wrong = refuse(f"it is {text} in the kernel's configuration; the variable wants {KINDS[setting.kind]}")
    if text in SWITCH:
        if setting.kind in ("number", "text") or (setting.kind == "switch" and text == "m"):
            raise wrong
        if setting.kind == "character":
            return text.encode()
        return SWITCH[text].to_bytes(setting.size, "little")
    if text.startswith('"'):
        if setting.kind != "text":
            raise wrong
        plain = re.sub(r"\\(.)", r"\1", text[1:-1]).encode()
        return plain[: setting.size - 1].ljust(setting.size, b"\0")
    if setting.kind not in ("number", "character") or not re.fullmatch(r"-?\d+|0x[0-9a-fA-F]+", text):
        raise wrong
    return _number(setting, int(text, 0), refuse)


def _number(setting: Setting, number: int, refuse: Callable[[str], BadObject]) -> bytes:
    try:
        return number.to_bytes(setting.size, "little", signed=setting.signed)
    except OverflowError:
        raise refuse(f"it is {number}, which does not fit into the variable's {setting.size} bytes") from None


def configuration() -> Mapping[str, str]:
    """The running kernel's settings by name, as they are written. OSError where it does not tell them."""
    for place in PLACES:
        path = Path(place.format(release=os.uname().release))
        if path.exists():
            raw = path.read_bytes()
            lines = (gzip.decompress(raw) if path.suffix == ".gz" else raw).decode().splitlines()
            return dict(line.split("=", 1) for line in lines if line.startswith("CONFIG_"))
    raise FileNotFoundError(f"this kernel does not tell how it was configured; looked for {', '.join(PLACES)}")


def version() -> int:
    """The running kernel's version as the kernel writes it: major << 16 | minor << 8 | patch."""
    major, minor, patch = (*map(int, re.findall(r"\d+", os.uname().release)[:3]), 0, 0)[:3]
    return major << 16 | minor << 8 | min(patch, 255)


WRAPPED = ("x86_64", "aarch64", "s390x", "riscv64")
"""Processors on which a system call's function is given its registers, not its arguments."""
FACTS: Mapping[str, Callable[[], int]] = {
    "LINUX_KERNEL_VERSION": version,
    "LINUX_HAS_BPF_COOKIE": lambda: int(version() >= 5 << 16 | 15 << 8),
    "LINUX_HAS_SYSCALL_WRAPPER": lambda: int(version() >= 4 << 16 | 19 << 8 and os.uname().machine in WRAPPED),
}
"""What programs may ask of the loader itself."""
