"""What programs ask of the kernel's configuration: told as it is, and refused in words where it is not to be had."""

from __future__ import annotations

import os
from dataclasses import replace

import pytest

from lbcore.ebpf import elf, kernel, maps_memory, settings
from lbcore.ebpf.machine import Machine
from lbcore.ebpf.object import BadObject, Object, Setting
from tests import needs
from tests.ebpf.compiled import c

pytestmark = needs.command("clang")
KNOWN = {"CONFIG_HZ": "250", "CONFIG_BPF": "y", "CONFIG_BPF_SYSCALL": "m", "CONFIG_NET": "y"} | {
    "CONFIG_DEFAULT_HOSTNAME": '"ab\\"cdefghijk"'
}


def verdicts(source: Object) -> dict[str, int]:
    maps = maps_memory.create(source)
    return {one.name: Machine(one, maps).run(bytes(64)).verdict for one in source.programs}


def test_the_machine_sees_what_is_given() -> None:
    found = verdicts(settings.filled(elf.read(c("settings")), KNOWN))
    assert found["hertz"] == 250
    assert found["kinds"] == 1 | 2 << 4 | ord("y") << 8 | 1 << 16
    assert found["text"] == int.from_bytes(b"ab", "little")
    major, minor, *_ = os.uname().release.replace("-", ".").split(".")
    assert found["version"] >> 8 == int(major) << 8 | int(minor)


def test_text_is_cut_and_ends() -> None:
    (spec,) = (one for one in settings.filled(elf.read(c("settings")), KNOWN).maps if one.name == settings.SECTION)
    assert spec.content.endswith(b'ab"cdef\0')


@needs.tier(2)
def test_the_kernel_sees_what_it_says_of_itself() -> None:
    source, known = elf.read(c("settings")), settings.configuration()
    machine = verdicts(settings.filled(source))
    for one in source.programs:
        with kernel.load(source, one.name) as loaded:
            assert loaded.test_run(bytes(64)).verdict == machine[one.name]
    assert machine["hertz"] == int(known["CONFIG_HZ"])


@pytest.mark.parametrize(
    ("changed", "words"),
    [
        ({"CONFIG_HZ": None}, "'CONFIG_HZ': declared extern; the kernel's configuration does not have it"),
        ({"CONFIG_HZ": "y"}, "it is y in the kernel's configuration; the variable wants a number"),
        ({"CONFIG_HZ": "0x80000000"}, "it is 2147483648, which does not fit into the variable's 4 bytes"),
        ({"CONFIG_BPF": "m"}, "'CONFIG_BPF': it is m in the kernel's configuration; the variable wants y or n"),
        ({"CONFIG_BPF_SYSCALL": "7"}, "it is 7 in the kernel's configuration; the variable wants y, n or m"),
        ({"CONFIG_NET": '"text"'}, "the variable wants a number of 8 bits, y, n or m"),
        ({"CONFIG_DEFAULT_HOSTNAME": "12"}, "the variable wants text in quotes"),
    ],
)
def test_what_does_not_fit_is_refused_in_words(changed: dict[str, str | None], words: str) -> None:
    known = {name: text for name, text in (KNOWN | changed).items() if text is not None}
    with pytest.raises(BadObject) as caught:
        settings.filled(elf.read(c("settings")), known)
    assert words in str(caught.value)


def test_a_kernel_that_does_not_tell(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(settings, "PLACES", ("/nowhere/config-{release}",))
    with pytest.raises(BadObject, match=r"section xdp: symbol is .*does not tell how it was configured.*/nowhere"):
        settings.filled(elf.read(c("settings")))
    source = elf.read(c("settings"))
    alone = replace(source, programs=tuple(one for one in source.programs if one.name == "version"))
    assert verdicts(settings.filled(alone))["version"] == settings.version()  # for this nobody needs a configuration


def test_kinds_of_variables() -> None:
    assert set(elf.read(c("settings")).settings) >= {
        Setting("CONFIG_HZ", "number", 4, True), Setting("CONFIG_BPF", "switch", 1),
        Setting("CONFIG_BPF_SYSCALL", "tristate", 4), Setting("CONFIG_DEFAULT_HOSTNAME", "text", 8),
    }  # fmt: skip
    assert settings.filled(elf.read(c("many"))) == elf.read(c("many"))
