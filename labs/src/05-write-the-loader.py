# ---
# jupyter:
#   jupytext:
#     text_representation:
#       format_name: percent
# book:
#   title: Write the loader
#   question: A compiler leaves a file behind. What does it take until the kernel runs it?
#   tier: 0
#   minutes: 90
#   memory_mb: 700
#   after: [06-kernel-fast-path]
# ---

# %% [markdown]
# Compilers do not put programs into kernels. They leave an object file: code with holes in it, definitions of maps that
# do not exist yet, a license, and much that only people want. A loader reads it, makes the maps, fills the holes and
# asks the kernel; and when the kernel says no, it finds out why. You will write one, in seven functions, and then mend
# a program that no kernel takes.
#
# Everything runs anywhere: a kernel that is pretended has the book's verifier for a judge. Where you have root, the
# same function of yours loads the same bytes into the real one. Each exercise has a specification, a stub, a drawing
# (`show_…`) and a checker (`check_…`), which runs your code in a process of its own.

# %%
import struct

from lbcore import labs, show
from lbcore.ebpf import maps as bpf_maps
from lbcore.ebpf.compiler import xdp
from lbcore.ebpf.contexts import XDP_PASS
from lbcore.labs.loader import Refused, Section
from lbcore.labs.loader.broken import count_ports
from lbcore.wire import ethernet, ipv4
from lbcore.wire.seam import advance, need, u16, view

# %% [markdown]
# ## The file
#
# `count_protocols` counts packets by protocol and by port. The book's compiler made an object file of it, as clang
# would. It is [ELF](https://man7.org/linux/man-pages/man5/elf.5.html), the format of programs on Linux since the
# nineties; only the machine is a new one, number 247, two bytes at 18.

# %%
elf = labs.loader.compiled("count_protocols").elf
print(elf[:20].hex(" "))
print(struct.unpack_from("<H", elf, 18))

# %% [markdown]
# ## Exercise 1 · Sections
#
# The header says where the table of sections is: `e_shoff`, 8 bytes at 40. `e_shnum` (2 bytes at 60) says how many
# there are, `e_shstrndx` (2 bytes at 62) which of them holds the names. Every number has its least byte first. An entry
# of the table has 64 bytes:
#
# | at | 0 | 4 | 8 | 16 | 24 | 32 | 40 | 44 | 48 | 56 |
# |---|---|---|---|---|---|---|---|---|---|---|
# | field | name | type | flags | addr | **offset** | **size** | link | info | align | entsize |
# | bytes | 4 | 4 | 8 | 8 | 8 | 8 | 4 | 4 | 8 | 8 |
#
# Give back `Section(name, type, flags, offset, size, link, info)` for each, in the table's order. `name` in the table
# is a place in the section of names; the name goes from there to the next zero byte. Raise `ValueError` unless the file
# starts with `7f 45 4c 46 02 01`: ELF, 64 bits, least byte first.


# %%
def sections(elf: bytes) -> list[Section]:
    """The table of sections; ValueError for what is no 64-bit little-endian ELF file."""
    ### BEGIN SOLUTION
    if elf[:6] != b"\x7fELF\x02\x01":
        raise ValueError(f"a file that starts with {elf[:6].hex(' ')} is no 64-bit little-endian ELF file")
    (start,) = struct.unpack_from("<Q", elf, 40)
    count, names_at = struct.unpack_from("<HH", elf, 60)
    headers = [struct.unpack_from("<IIQQQQIIQQ", elf, start + 64 * i) for i in range(count)]
    names = headers[names_at][4]
    found = []
    for name, kind, flags, _, offset, size, link, info, _, _ in headers:
        text = elf[names + name : elf.index(b"\0", names + name)].decode()
        found.append(Section(text, kind, flags, offset, size, link, info))
    return found
    ### END SOLUTION


# %% [markdown]
# The file as a map, every byte in the colour of its section. What is white belongs to nobody: headers, and gaps. Before
# you run it: how much of the file is code?

# %%
labs.loader.show_sections(sections)

# %%
labs.loader.check_sections(sections)

# %%
### BEGIN HIDDEN TESTS
assert labs.loader.check_sections(sections, seed=2026).passed
### END HIDDEN TESTS

# %% [markdown]
# Your checker read files whose sections were shuffled, with gaps between them and names in a table of their own. No
# compiler promises an order, and a loader that counts on one breaks with the next release.
#
# ## Exercise 2 · The program
#
# Code is in a section of type 1 whose flags contain 4 (it may be executed) and which is not empty. Give back the first
# such section's name, its bytes, and the text of section `license` without its zero byte ("" if there is none). Raise
# `ValueError` if no section holds code.


# %%
def program(elf: bytes, sections: list[Section]) -> tuple[str, bytes, str]:
    """(name of the section, code, license); ValueError where there is no code."""
    ### BEGIN SOLUTION
    bytes_of = {one.name: elf[one.offset : one.offset + one.size] for one in sections}
    for one in sections:
        if one.type == 1 and one.flags & 4 and one.size:
            return one.name, bytes_of[one.name], bytes_of.get("license", b"").split(b"\0")[0].decode()
    raise ValueError(f"none of {len(sections)} sections holds code")
    ### END SOLUTION


# %% [markdown]
# Eight bytes a slot: opcode, two registers in one byte, offset, immediate
# ([RFC 9669](https://www.rfc-editor.org/rfc/rfc9669), section 3). The name of the section says what kind of program it
# is, and thereby what is in r1 when it starts.

# %%
labs.loader.show_program(program)

# %%
labs.loader.check_program(program)

# %%
### BEGIN HIDDEN TESTS
assert labs.loader.check_program(program, seed=2026).passed
### END HIDDEN TESTS

# %% [markdown]
# ## Exercise 3 · Maps
#
# In C one writes `__uint(max_entries, 256)` in a struct. That is `int (*max_entries)[256]`: a pointer to an array of
# 256, which nobody ever makes. Its only use is to bring the number into the file's
# [types](https://docs.kernel.org/bpf/btf.html), BTF. `__type(key, struct flow)` is `struct flow *key`: it brings in a
# type, so that whoever looks into the map later knows what its keys are made of. `types(elf)` has read all this for
# you: a list in which types refer to each other by their places.
#
# Start at the type of kind `"section"` named `".maps"` (there may be none). Its members are `(name, number)` of the
# variables, one for each map. A variable refers (`.to`) to a struct; each member of that refers by number to a pointer,
# and the pointer (`.to`) to what you want:
#
# - for `type`, `key_size`, `value_size`, `max_entries`, `map_flags`: an array, whose `.length` is the number;
# - for `key` and `value`: any type, whose `.size` is the size of a key or a value.
#
# Give back `(name, type, key_size, value_size, max_entries, map_flags)` for each map, in the order of the section. A
# size is given in one way or the other; members may stand in any order, and what is missing counts 0.

# %%
[one for one in labs.loader.types(elf) if one.kind in ("struct", "variable", "section")]


# %%
def maps(types: list[labs.loader.Type]) -> list[tuple]:
    """(name, type, key_size, value_size, max_entries, map_flags) of every map."""
    ### BEGIN SOLUTION
    fields = ("type", "key_size", "value_size", "max_entries", "map_flags")
    listed = [one.members for one in types if one.kind == "section" and one.name == ".maps"]
    found = []
    for name, number in listed[0] if listed else ():
        pointed = {member: types[types[pointer].to] for member, pointer in types[types[number].to].members}
        numbers = {member: one.length for member, one in pointed.items()}
        numbers |= {f"{member}_size": pointed[member].size for member in ("key", "value") if member in pointed}
        found.append((name, *(numbers.get(field, 0) for field in fields)))
    return found
    ### END SOLUTION


# %%
labs.loader.show_maps(maps)

# %%
labs.loader.check_maps(maps)

# %%
### BEGIN HIDDEN TESTS
assert labs.loader.check_maps(maps, seed=2026).passed
### END HIDDEN TESTS

# %% [markdown]
# ## Exercise 4 · Holes
#
# Code that uses a map holds a wide load: two slots, 64 bits, all zero. Which map it wants stands beside it, in a table
# of relocations: a section of type 9 whose `info` is the number of the section it is about (`number`, here that of the
# program). A record has 16 bytes: `r_offset`, the byte in that section, and `r_info`, with the symbol's number in its
# high half and the type of relocation in its low half. Give back `(slot, symbols[...])` for every record.


# %%
def holes(elf: bytes, sections: list[Section], symbols: list[str], number: int) -> list[tuple[int, str]]:
    """(slot, name of a map) for every place in section `number` that wants one."""
    ### BEGIN SOLUTION
    found = []
    for table in sections:
        if table.type == 9 and table.info == number:
            for offset, info in struct.iter_unpack("<QQ", elf[table.offset : table.offset + table.size]):
                found.append((offset // 8, symbols[info >> 32]))
    return found
    ### END SOLUTION


# %%
labs.loader.show_holes(holes)

# %%
labs.loader.check_holes(holes)

# %%
### BEGIN HIDDEN TESTS
assert labs.loader.check_holes(holes, seed=2026).passed
### END HIDDEN TESTS

# %% [markdown]
# ## Exercise 5 · Filling them
#
# The kernel knows maps by file descriptors. Write each hole's descriptor, `fds[name]`, into the immediate of its first
# slot (bytes 4 to 7), and 1 into its source register: the high half of byte 1. That 1 is called `BPF_PSEUDO_MAP_FD`;
# without it, 5 is just a five. Give back the code; the other half of byte 1 is the register that is loaded, and stays.


# %%
def patch(code: bytes, holes: list[tuple[int, str]], fds: dict[str, int]) -> bytes:
    """The code with descriptors of maps in its holes."""
    ### BEGIN SOLUTION
    patched = bytearray(code)
    for slot, name in holes:
        patched[8 * slot + 1] = patched[8 * slot + 1] & 0x0F | 1 << 4
        struct.pack_into("<i", patched, 8 * slot + 4, fds[name])
    return bytes(patched)
    ### END SOLUTION


# %%
labs.loader.show_patch(patch)

# %%
labs.loader.check_patch(patch)

# %%
### BEGIN HIDDEN TESTS
assert labs.loader.check_patch(patch, seed=2026).passed
### END HIDDEN TESTS

# %% [markdown]
# ## Exercise 6 · Loading
#
# Now the kernel. `kernel` has three calls, which are commands of [bpf(2)](https://man7.org/linux/man-pages/man2/bpf.2.html):
#
# - `create_map(name, type, key_size, value_size, max_entries, map_flags)` gives a descriptor;
# - `load(code, license, log_level=0, log=None)` gives one, too. `EACCES` (Python's `PermissionError`): the verifier
#   refuses. With `log_level=1` it says why, in `log`, a bytearray, up to a zero byte; `ENOSPC`: `log` was too small;
# - `close(fd)` gives a descriptor back.
#
# `program` has `.maps` (your exercise 3), `.license`, and `.link(fds)` (your exercise 5). Give back the program's
# descriptor and `{name: descriptor}` of its maps. If the verifier refuses, raise `Refused(log)` with the whole log as
# text; other errors go on to your caller. Whenever you leave by an error, first close what you opened.


# %%
def load(kernel: labs.loader.Kernel, program: labs.loader.Unlinked) -> tuple[int, dict[str, int]]:
    """(descriptor of the program, {name: descriptor} of its maps); Refused if the verifier says no, or OSError."""
    ### BEGIN SOLUTION
    fds = {}
    try:
        for name, *numbers in program.maps:
            fds[name] = kernel.create_map(name, *numbers)
        code = program.link(fds)
        try:
            return kernel.load(code, program.license), fds
        except PermissionError:
            log = bytearray(1 << 22)
        try:
            kernel.load(code, program.license, log_level=1, log=log)
        except PermissionError:
            raise Refused(log.split(b"\0")[0].decode()) from None
    except Exception:
        for fd in fds.values():
            kernel.close(fd)
        raise
    ### END SOLUTION


# %% [markdown]
# What the kernel sees of your loader, first with a good program, then with one that it refuses. Count the descriptors:
# how many are open at the end?

# %%
labs.loader.show_load(load)

# %%
labs.loader.check_load(load)

# %%
### BEGIN HIDDEN TESTS
assert labs.loader.check_load(load, seed=2026).passed
### END HIDDEN TESTS

# %% [markdown]
# A descriptor holds what it stands for, and a process that ends gives all of them back: that is why a loader that
# crashes leaves no program behind, and why one that runs for months must not forget a single close.
#
# ## All of it together
#
# Your six functions, one behind the other: a file that was laid out anew goes in, the book's machine runs what comes
# out, and the counters are compared with the library's.

# %%
labs.loader.check_whole(sections, program, maps, holes, patch, load)

# %%
### BEGIN HIDDEN TESTS
assert labs.loader.check_whole(sections, program, maps, holes, patch, load, seed=2026).passed
### END HIDDEN TESTS

# %% [markdown]
# And in the real one: your `load`, unchanged, with a kernel whose three calls are system calls. Where this machine has
# none to offer, the cell says why.

# %% tags=["nbval-ignore-output"]
labs.loader.in_kernel(load)

# %% [markdown]
# ## Exercise 7 · Reading the log
#
# The verifier writes down its walk: `slot: (opcode) instruction ; what it now knows`. Where it stops, the last line of
# that form is the instruction, and the line behind it is the reason. `lines` says where source lines begin:
# `(slot, number of the line)`, sorted by slots. Give back the slot, its source line, and the reason.


# %%
def blame(log: str, lines: list[tuple[int, int]]) -> tuple[int, int, str]:
    """(slot of the last instruction in the log, number of its source line, the log's line behind it)."""
    ### BEGIN SOLUTION
    rows = log.splitlines()
    at = max(i for i, row in enumerate(rows) if row.split(": (")[0].isdigit())
    slot = int(rows[at].split(":")[0])
    line = [number for start, number in lines if start <= slot][-1]
    return slot, line, rows[at + 1]
    ### END SOLUTION


# %% [markdown]
# Here is the end of the log of the program that was refused, and its source, with an arrow to the line that you found.

# %%
labs.loader.show_blame(blame)

# %%
labs.loader.check_blame(blame)

# %%
### BEGIN HIDDEN TESTS
assert labs.loader.check_blame(blame, seed=2026).passed
### END HIDDEN TESTS

# %% [markdown]
# ## Exercise 8 · Mending it
#
# The program counts UDP packets by destination port, and lets everything pass. In plain Python it works, until somebody
# sends a packet that ends too early; the verifier does not wait for somebody. Write it again so that it is taken,
# counts every UDP packet that has ports, and lets all others pass uncounted.

# %%
ports = bpf_maps.array("ports", 1 << 16)
show.source(count_ports.function)


# %%
@xdp
def mended(context):
    """Count UDP packets by destination port; all of them pass."""
    ### BEGIN SOLUTION
    p = view(context)
    link = ethernet.parse(p)
    if link.verdict or link.ethertype != ethernet.IPV4:
        return XDP_PASS
    p = advance(p, link.header_length)
    ip = ipv4.parse(p)
    if ip.verdict or ip.protocol != ipv4.UDP or ip.fragment_offset:
        return XDP_PASS
    p = advance(p, ip.header_length)
    if need(p, 4):
        ports.increment(u16(p, 2))
    return XDP_PASS
    ### END SOLUTION


# %%
labs.loader.show_mended(mended)

# %%
labs.loader.check_mended(mended)

# %%
### BEGIN HIDDEN TESTS
assert labs.loader.check_mended(mended).passed
### END HIDDEN TESTS

# %% [markdown]
# ## What you have built
#
# The part of [libbpf](https://libbpf.readthedocs.io/en/latest/) that every program needs. What a full loader adds:
# functions in several sections that are put together, global variables (maps, too), types for the kernel, and
# relocations that adapt a program to the layout of the running kernel's own structures. `lbcore.ebpf.elf` and
# `lbcore.ebpf.kernel` do these, and read like what you wrote. The
# [verifier](https://docs.kernel.org/bpf/verifier.html) and the
# [relocations](https://docs.kernel.org/bpf/llvm_reloc.html) are described with the kernel.
#
# ## As in an interview
#
# **The verifier says `R1 type=scalar expected=map_ptr`. The loader created the map. What do you look at first?**
# <details><summary>Answer</summary>
#
# The wide load before the call: the descriptor is there, but the source register is 0, so it is a number. The loader
# forgot `BPF_PSEUDO_MAP_FD`, or there was no relocation for this load and the immediate is still 0.
#
# </details>
#
# **A balancer's agent is restarted, and all counters are at zero. Why, and what would you change?**
# <details><summary>Answer</summary>
#
# Maps live as long as something refers to them: a descriptor, a program that uses them, a pin. The agent's descriptors
# went with it, the program was replaced, and so the maps were gone. Pin the maps in the BPF file system, and let the
# new agent open the pinned ones instead of creating new ones.
#
# </details>
#
# **A program that loads on one kernel is refused by another. Name three reasons.**
# <details><summary>Answer</summary>
#
# The older verifier knows less and cannot prove what the newer one can; it has not yet got a helper or a map type that
# the program uses; or the program reads a kernel structure whose layout differs, and was not compiled with relocations
# for that. A fourth: the compiler was another one, and rewrote a check into a form that proves nothing.
#
# </details>
#
# **Why does the kernel want a log buffer from you, and not just print the reason?**
# <details><summary>Answer</summary>
#
# The log belongs to whoever asked, may have megabytes, and most loads succeed. So a loader first loads without one, and
# asks again with a buffer only when it is refused, as yours does.
#
# </details>
