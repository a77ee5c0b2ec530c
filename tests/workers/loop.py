"""Makes threads of processes loop for ever: loop.py PID NAME [PID NAME]...

All threads whose names begin so; `main` is the first thread. A debugger's means: where the program begins,
which nothing executes any more, the threads get a loop that rests for a millisecond each time round, so
that it costs the test little. Exit code 3: the system does not allow that.
"""

import ctypes
import os
import struct
import sys

POKETEXT, POKEUSER, ATTACH, DETACH = 4, 6, 16, 17
RDI, ORIG_RAX, RIP = 14 * 8, 15 * 8, 16 * 8
AT_ENTRY = 9
ANY_THREAD = 0x40000000  # __WALL
# mov eax, 35 (nanosleep); xor esi, esi; syscall; jmp back
LOOP = bytes.fromhex("b823000000 31f6 0f05 ebf5 9090909090")
REST = struct.pack("QQ", 0, 1_000_000)  # seconds, nanoseconds

libc = ctypes.CDLL(None, use_errno=True)
libc.ptrace.argtypes = [ctypes.c_long, ctypes.c_long, ctypes.c_void_p, ctypes.c_void_p]
libc.ptrace.restype = ctypes.c_long


def ptrace(request, thread, address=0, data=0):
    if libc.ptrace(request, thread, address, data) != 0:
        print(os.strerror(ctypes.get_errno()), file=sys.stderr)
        sys.exit(3)


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


def loop(pid, name):
    address = entry(pid)
    for thread in threads(pid, name):
        ptrace(ATTACH, thread)
        os.waitpid(thread, ANY_THREAD)
        for offset, (word,) in enumerate(struct.iter_unpack("Q", LOOP + REST)):
            ptrace(POKETEXT, thread, address + 8 * offset, word)
        ptrace(POKEUSER, thread, RDI, address + len(LOOP))
        ptrace(POKEUSER, thread, RIP, address)
        # Otherwise the system call that it was in would be made again.
        ptrace(POKEUSER, thread, ORIG_RAX, 0xFFFFFFFFFFFFFFFF)
        ptrace(DETACH, thread)


if os.uname().machine != "x86_64":
    sys.exit(3)
for pid, name in zip(sys.argv[1::2], sys.argv[2::2]):
    loop(int(pid), name)
