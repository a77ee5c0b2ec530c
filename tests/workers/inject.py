"""Makes threads of processes do harm for ever: inject.py HARM PID NAME [PID NAME]...

All threads whose names begin so; `main` is the first thread. HARM is

- loop: it does nothing else any more. It rests for a millisecond each time round, so that it costs the
  test little.
- leak: it takes memory from GLib, as an element does, and never gives it back.
- flood: it writes log lines to the process's first socket, which leads to the server.

A debugger's means: where the program begins, which nothing executes any more, the threads get their new
work. Exit code 3: the system does not allow that.
"""

import ctypes
import json
import os
import struct
import sys
import time

PEEKUSER, POKETEXT, POKEUSER, ATTACH, DETACH = 3, 4, 6, 16, 17
ORIG_RAX, RIP, RSP = 15 * 8, 16 * 8, 19 * 8
AT_ENTRY = 9
ANY_THREAD = 0x40000000  # __WALL
NANOSLEEP, WRITE = 35, 1
LEAK_BYTES = 1 << 20
NOTE = 1  # the kind of message, see src/worker/wire.rs

libc = ctypes.CDLL(None, use_errno=True)
libc.ptrace.argtypes = [ctypes.c_long, ctypes.c_long, ctypes.c_void_p, ctypes.c_void_p]
libc.ptrace.restype = ctypes.c_long


def ptrace(request, thread, address=0, data=0):
    ctypes.set_errno(0)
    result = libc.ptrace(request, thread, address, data)
    if ctypes.get_errno() != 0:
        print(os.strerror(ctypes.get_errno()), file=sys.stderr)
        sys.exit(3)
    return result


def entry(pid):
    with open(f"/proc/{pid}/auxv", "rb") as file:
        for kind, value in struct.iter_unpack("QQ", file.read()):
            if kind == AT_ENTRY:
                return value
    sys.exit("no entry point")


def threads(pid, name):
    if name == "main":
        return [pid]
    found = []
    for thread in os.listdir(f"/proc/{pid}/task"):
        with open(f"/proc/{pid}/task/{thread}/comm") as file:
            if file.read().startswith(name):
                found.append(int(thread))
    return found or sys.exit(f"no thread of {pid} is called {name}")


def mapped(pid, library):
    """Where a library begins in a process, and its file."""
    with open(f"/proc/{pid}/maps") as file:
        for line in file:
            path = line.split()[-1]
            if os.path.basename(path).startswith(library):
                return int(line.split("-")[0], 16), path
    sys.exit(f"{pid} has not loaded {library}")


def function(pid, library, name):
    """The address of a function in a process."""
    there, path = mapped(pid, library)
    loaded = getattr(ctypes.CDLL(path), name)
    here, _ = mapped("self", library)
    return ctypes.cast(loaded, ctypes.c_void_p).value - here + there


def first_socket(pid):
    folder = f"/proc/{pid}/fd"
    links = ((int(fd), os.readlink(f"{folder}/{fd}")) for fd in os.listdir(folder))
    return min(fd for fd, link in links if link.startswith("socket:"))


def again(body):
    """A body that jumps back to its beginning."""
    return body + b"\xeb" + struct.pack("b", -len(body) - 2)


def work(harm, pid, address):
    """The machine code, to be run at this address, with the data that it needs."""

    def with_data(body, data):
        # The data follows; its address is in the code.
        return again(body(address + len(again(body(0))))) + data

    if harm == "loop":
        rest = struct.pack("QQ", 0, 1_000_000)  # seconds, nanoseconds
        # mov eax, nanosleep; mov rdi, rest; xor esi, esi; syscall
        return with_data(
            lambda at: struct.pack("<BI", 0xB8, NANOSLEEP)
            + struct.pack("<2sQ", b"\x48\xbf", at)
            + bytes.fromhex("31f6 0f05"),
            rest,
        )
    if harm == "leak":
        # mov edi, bytes; mov rax, g_malloc; call rax
        return again(
            struct.pack("<BI", 0xBF, LEAK_BYTES)
            + struct.pack("<2sQ", b"\x48\xb8", function(pid, "libglib-2.0", "g_malloc"))
            + bytes.fromhex("ffd0")
        )
    line = {"level": "Trace", "target": "", "message": "", "fields": [], "left_out": 0}
    note = json.dumps({"Log": line}, separators=(",", ":")).encode()
    message = struct.pack("<II", NOTE, len(note)) + note
    # mov eax, write; mov edi, socket; mov rsi, message; mov edx, length; syscall
    return with_data(
        lambda at: struct.pack("<BIBI", 0xB8, WRITE, 0xBF, first_socket(pid))
        + struct.pack("<2sQ", b"\x48\xbe", at)
        + struct.pack("<BI", 0xBA, len(message))
        + bytes.fromhex("0f05"),
        message,
    )


def stop(thread):
    """Stops a thread in a system call: it holds no lock of the allocator there."""
    while True:
        ptrace(ATTACH, thread)
        os.waitpid(thread, ANY_THREAD)
        if ptrace(PEEKUSER, thread, ORIG_RAX) >= 0:
            return
        ptrace(DETACH, thread)
        time.sleep(0.001)


def inject(harm, pid, name):
    address = entry(pid)
    code = work(harm, pid, address)
    code += bytes(-len(code) % 8)
    for thread in threads(pid, name):
        stop(thread)
        for offset, (word,) in enumerate(struct.iter_unpack("Q", code)):
            ptrace(POKETEXT, thread, address + 8 * offset, word)
        # As the calling convention wants it, below what the thread has on its stack.
        stack = ptrace(PEEKUSER, thread, RSP) - 1024 & ~15
        ptrace(POKEUSER, thread, RSP, stack)
        ptrace(POKEUSER, thread, RIP, address)
        # Otherwise the system call that it was in would be made again.
        ptrace(POKEUSER, thread, ORIG_RAX, 0xFFFFFFFFFFFFFFFF)
        ptrace(DETACH, thread)


if os.uname().machine != "x86_64":
    sys.exit(3)
for pid, name in zip(sys.argv[2::2], sys.argv[3::2]):
    inject(sys.argv[1], int(pid), name)
