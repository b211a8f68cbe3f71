# SPDX-License-Identifier: MIT
# The systemd unit: well formed, of little exposure, and its filter of system calls lets through every call that a server
# makes, snapshots, TLS and passwords included: strace says which those are.
"""The hardened systemd unit."""

import glob
import os
import re
import shutil
import sys

from harness import BINARY, ROOT, Process, Skip, check, command, equal, free_port, main, sanitized, test, wait_for
from resp import Client
from secure import Authority, TlsClient, acl_file, slow, trusting

UNIT = os.path.join(ROOT, "packaging", "systemd", "memimage.service")


def directives(name):
    with open(UNIT, encoding="ascii") as handle:
        return [line.split("=", 1)[1].split() for line in handle.read().splitlines() if line.startswith(name + "=")]


def group(name):
    """The system calls of a group, by systemd's own list."""
    status, out, err = command("systemd-analyze", "--no-pager", "syscall-filter", name)
    equal(status, 0, err)
    names = set()
    for word in re.findall(r"^\s+(@?[a-z0-9_-]+)$", out, re.MULTILINE):
        names |= group(word) if word.startswith("@") else {word}
    return names


def allowed():
    """What the unit's SystemCallFilter lines leave, in their order."""
    names = set()
    for words in directives("SystemCallFilter"):
        taken = words[0].startswith("~")
        for word in " ".join(words).lstrip("~").split():
            some = group(word) if word.startswith("@") else {word}
            names = names - some if taken else names | some
    return names


def run_all(t, trace, store):
    """A server under strace that does everything, and stops."""
    authority = Authority(t.scratch())
    certificate, key = authority.issue("server")
    port, tls_port = free_port(), free_port()
    path = acl_file(t, f"user p on {slow('word')} allkeys +@all")
    words = ["strace", "-f", "-qq", "-o", trace, BINARY, "serve", "--dir", store, "--port", str(port),
             "--aclfile", path, "--tls-port", str(tls_port), "--tls-cert-file", certificate, "--tls-key-file", key,
             "--tls-auth-clients", "no", "--unixsocket", os.path.join(os.path.dirname(store), "socket"),
             "--segment-size-max", "4m", "--snapshot-every", "20000"]
    stderr = os.path.join(t.scratch(), "stderr")
    process = Process(words, stderr)
    t.stack.callback(process.kill)
    wait_for(lambda: "info ready" in process.stderr() or not process.running(), 60, "the server")
    check(process.running(), process.stderr())
    with Client(port) as c, TlsClient(tls_port, trusting(authority)) as s:
        for client in (c, s):
            equal(client.call("AUTH", "p", "word"), "OK")
        c.pipeline([("DO", f"account/{i}", "Open", "owner", "O" * 200, "currency", "CZK") for i in range(25000)])
        s.call("JOURNAL", "COUNT", "10")
        c.call("SNAPSHOT")
        c.call("ACL", "LOAD")
        c.call("INFO", "everything")
        c.send("SHUTDOWN")
        equal(process.wait(), 0, process.stderr())


@test("the unit's filter allows every system call that a server makes")
def system_calls(t):
    for tool in ("strace", "systemd-analyze"):
        if shutil.which(tool) is None:
            raise Skip(f"{tool} is not installed")
    if sanitized():
        raise Skip("a sanitizer makes calls of its own")
    trace = os.path.join(t.scratch(), "trace")
    store = os.path.join(t.scratch(), "data")
    run_all(t, trace, store)
    run_all(t, trace + ".2", store)  # from a snapshot
    made = set()
    for name in glob.glob(trace + "*"):
        with open(name, encoding="utf-8", errors="replace") as handle:
            made |= set(re.findall(r"^\d+ +([a-z0-9_]+)\(", handle.read(), re.MULTILINE))
    check(len(made) > 40 and {"fdatasync", "epoll_wait", "execve"} & made, f"a whole trace: {sorted(made)}")
    equal(sorted(made - allowed()), [], "calls that the filter would refuse")
    check("mount" not in allowed() and "ptrace" not in allowed() and "chown" not in allowed(), "it is a filter")


@test("systemd finds the unit well formed and its exposure small")
def exposure(t):
    if shutil.which("systemd-analyze") is None:
        raise Skip("systemd-analyze is not installed")
    status, out, err = command("systemd-analyze", "security", "--offline=yes", "--no-pager", UNIT)
    if "Overall exposure" not in out:
        raise Skip(f"systemd-analyze works on units of a running systemd only: {err.strip()[:80]}")
    check(float(re.search(r"level for memimage.service: ([0-9.]+)", out).group(1)) < 2, out[-300:])
    status, out, err = command("systemd-analyze", "verify", UNIT)
    other = [line for line in (out + err).splitlines() if "not executable" not in line and "man memimage" not in line]
    equal(other, [], "complaints")


if __name__ == "__main__":
    sys.exit(main())
