"""Runs a program on a kernel without Landlock: no_landlock.py PROGRAM ARGUMENT...

A filter answers the three system calls of Landlock as a kernel does that does not know them.
"""

import ctypes
import os
import struct
import sys

SET_NO_NEW_PRIVS, SET_SECCOMP, FILTER = 38, 22, 2
FIRST, LAST = 444, 446  # the system calls, the same on every machine
ALLOW, UNKNOWN = 0x7FFF0000, 0x00050000 | 38  # ENOSYS
LOAD, AT_LEAST, ABOVE, RETURN = 0x20, 0x35, 0x25, 0x06

instructions = [
    (LOAD, 0, 0, 0),
    (AT_LEAST, 0, 2, FIRST),
    (ABOVE, 1, 0, LAST),
    (RETURN, 0, 0, UNKNOWN),
    (RETURN, 0, 0, ALLOW),
]
code = ctypes.create_string_buffer(b"".join(struct.pack("HBBI", *each) for each in instructions))


class Program(ctypes.Structure):
    _fields_ = [("length", ctypes.c_ushort), ("code", ctypes.c_void_p)]


libc = ctypes.CDLL(None, use_errno=True)
libc.prctl.argtypes = [ctypes.c_int] + [ctypes.c_ulong] * 4
program = Program(len(instructions), ctypes.addressof(code))
if libc.prctl(SET_NO_NEW_PRIVS, 1, 0, 0, 0) != 0:
    sys.exit("no new privileges: " + os.strerror(ctypes.get_errno()))
if libc.prctl(SET_SECCOMP, FILTER, ctypes.addressof(program), 0, 0) != 0:
    sys.exit("no filter: " + os.strerror(ctypes.get_errno()))
os.execv(sys.argv[1], sys.argv[1:])
