"""A service manager like systemd, as far as Aerial talks to it.

Runs the program in the arguments with a socket for notifications, which it writes to standard error
as `notify KEY=VALUE`, and with the sockets that the environment asks for: PASS is a list of
`name=protocol:port`. Keeps the sockets that the program stores, and has its watchdog wait 300 ms.
SIGHUP restarts the program, SIGTERM ends it.
"""

import array
import ctypes
import fcntl
import os
import signal
import socket
import sys
import tempfile
import threading

# The number of the first socket that is passed, and of the first copy on its way there.
FIRST = 3
COPIES = 100
# `prctl(2)`: the signal that a process gets when its parent ends.
PR_SET_PDEATHSIG = 1
SIGNALS = [signal.SIGHUP, signal.SIGTERM]
kept = {}


def passed(text):
    for part in text.split():
        name, place = part.split("=")
        protocol, port = place.split(":")
        kind = {"tcp": socket.SOCK_STREAM, "udp": socket.SOCK_DGRAM}[protocol]
        one = socket.socket(socket.AF_INET, kind)
        one.bind(("127.0.0.1", int(port)))
        if protocol == "tcp":
            one.listen(1024)
        yield name, one.detach()


def receive(inbox):
    while True:
        data, ancillary, _, _ = inbox.recvmsg(4096, socket.CMSG_SPACE(4))
        lines = data.decode().split()
        state = dict(line.split("=", 1) for line in lines)
        for level, kind, content in ancillary:
            if (level, kind) == (socket.SOL_SOCKET, socket.SCM_RIGHTS) and "FDSTORE" in state:
                kept[state["FDNAME"]] = array.array("i", content)[0]
        if "FDSTOREREMOVE" in state:
            kept.pop(state["FDNAME"], None)
        for line in lines:
            # One write: the program writes to the same pipe.
            os.write(2, f"notify {line}\n".encode())


def run(inbox, sockets):
    given = sockets + list(kept.items())
    child = os.fork()
    if child:
        return child
    copies = [fcntl.fcntl(number, fcntl.F_DUPFD, COPIES) for _, number in given]
    for index, copy in enumerate(copies):
        os.dup2(copy, FIRST + index)
    os.closerange(FIRST + len(given), COPIES + len(given))
    environment = dict(os.environ, NOTIFY_SOCKET=inbox, LISTEN_PID=str(os.getpid()))
    environment["LISTEN_FDS"] = str(len(given))
    environment["WATCHDOG_USEC"] = "300000"
    environment["LISTEN_FDNAMES"] = ":".join(name for name, _ in given)
    signal.pthread_sigmask(signal.SIG_UNBLOCK, SIGNALS)
    ctypes.CDLL(None).prctl(PR_SET_PDEATHSIG, signal.SIGKILL)
    os.execve(sys.argv[1], sys.argv[1:], environment)


def end(child):
    os.kill(child, signal.SIGTERM)
    _, status = os.waitpid(child, 0)
    return os.waitstatus_to_exitcode(status)


def main():
    with tempfile.TemporaryDirectory() as folder:
        path = os.path.join(folder, "notify")
        inbox = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        inbox.bind(path)
        threading.Thread(target=receive, args=(inbox,), daemon=True).start()
        sockets = list(passed(os.environ.pop("PASS", "")))
        signal.pthread_sigmask(signal.SIG_BLOCK, SIGNALS)
        child = run(path, sockets)
        while signal.sigwait(SIGNALS) == signal.SIGHUP:
            end(child)
            child = run(path, sockets)
        code = end(child)
    sys.exit(code)


main()
