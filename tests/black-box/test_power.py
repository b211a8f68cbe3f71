# SPDX-License-Identifier: MIT
# Real power cuts: the server runs on an ext4 file system in a loop image, and the ext4 shutdown ioctl drops everything that
# was not flushed, as a cut of the power does. kill -9 cannot find a missing fsync, this does: the same rig must catch a
# server whose syncs are taken out. Cycles from $CYCLES (default 12). Needs root and loop devices.
"""Black-box test of power cuts."""

import fcntl
import os
import random
import re
import shutil
import signal
import struct
import subprocess
import sys
import time

from harness import Failure, Skip, check, equal, main, memimage, sanitized, test
from keyed import SHARED, WORKERS, Record, Worker, check_record, resend_all
from ledger import digest, offline_digest, open_account
from resp import Closed, RespError

CYCLES = int(os.environ.get("CYCLES", "12"))
SEED = int(os.environ.get("SEED", str(random.SystemRandom().randrange(2**32))))
IMAGE_SIZE = 256 << 20
CYCLES_OF_ONE_DISK = 25  # then a new one: every key ever used is sent again in each cycle
SHUTDOWN = 0x8004587D  # EXT4_IOC_SHUTDOWN: _IOR('X', 125, __u32)
NO_LOG_FLUSH = 2


class Disk:
    """An ext4 file system in a file, mounted; its power can be cut."""

    def __init__(self, t):
        scratch = t.scratch()
        self.image = os.path.join(scratch, "image")
        self.path = os.path.join(scratch, "disk")
        os.mkdir(self.path)
        with open(self.image, "wb") as handle:
            handle.truncate(IMAGE_SIZE)
        self.run("mkfs.ext4", "-q", "-F", self.image)
        t.stack.callback(subprocess.run, ["umount", "-l", self.path], capture_output=True, check=False)
        self.mount()

    @staticmethod
    def run(*words):
        done = subprocess.run(words, capture_output=True, text=True, check=False, stdin=subprocess.DEVNULL)
        if done.returncode != 0:
            raise Skip(f"{words[0]} does not work here: {done.stderr.strip()}")

    def mount(self):
        self.run("mount", "-o", "loop", self.image, self.path)

    def cut(self):
        """From now on nothing reaches the disk, and what had not been flushed is gone."""
        directory = os.open(self.path, os.O_RDONLY)
        try:
            fcntl.ioctl(directory, SHUTDOWN, struct.pack("I", NO_LOG_FLUSH))
        except OSError as problem:
            raise Skip(f"the file system has no shutdown: {problem}") from None
        finally:
            os.close(directory)

    def power_on(self):
        """Mounted anew: what a machine finds when it comes up."""
        for _ in range(200):
            done = subprocess.run(["umount", self.path], capture_output=True, text=True, check=False)
            if done.returncode == 0:
                break
            time.sleep(0.01)
        equal(done.returncode, 0, f"umount: {done.stderr}")
        self.mount()


def disk_of(t):
    if os.geteuid() != 0:
        raise Skip("only root may mount")
    for program in ("mkfs.ext4", "mount", "umount"):
        if shutil.which(program) is None:
            raise Skip(f"{program} is not installed")
    return Disk(t)


def load_until_cut(server, disk, records, source, snapshots):
    """Load, and the power goes at a random moment of it. Returns when the server has ended."""
    workers = [Worker(server.port, record, source.randrange(2**32)) for record in records]
    for worker in workers:
        worker.start()
    time.sleep(source.uniform(0.005, 0.15))
    if snapshots and source.random() < 0.5:
        try:
            with server.client(timeout=2) as client:
                client.send("SNAPSHOT")
                time.sleep(source.uniform(0, 0.05))
        except (Closed, OSError):
            pass
    disk.cut()
    if source.random() < 0.5:
        # A process sees its disk go before it dies: its next sync fails, and that ends it.
        status = server.process.wait(20)
        check(status == 4, f"exit status {status} after the disk has gone: {server.stderr()[-2000:]}")
    server.kill()
    for worker in workers:
        worker.join(30)
        check(not worker.is_alive(), "a worker still waits for an answer of a dead server")
        check(worker.problem is None, f"a worker failed: {worker.problem!r}")


def new_world(t, args=(), env=None):
    """A disk, a server on it, its accounts open, and a record for each worker."""
    disk = disk_of(t)
    server = t.new_server(directory=os.path.join(disk.path, "data"), env=env,
                          args=("--idempotency-window", "1000000", *args))
    server.start()
    records = [Record(number) for number in range(WORKERS)]
    with server.client() as client:
        for name in SHARED + [record.account for record in records]:
            open_account(client, name, overdraft=10**12)
    return disk, server, records


def discard(t, disk, server):
    server.kill()
    t.servers.remove(server)
    subprocess.run(["umount", disk.path], capture_output=True, check=False)
    os.remove(disk.image)


def check_after_cut(server, records, thorough):
    with server.client() as client:
        resend_all(client, records, only_unknown=not thorough)
        check_record(client, records)
        return digest(client)


@test(f"{CYCLES} power cuts under load lose nothing acknowledged and apply nothing twice")
def power_cuts(t):
    print(f"# SEED={SEED}")
    source = random.Random(SEED)
    disk = server = None
    commands = used = skipped = 0
    for cycle in range(CYCLES):
        if cycle % CYCLES_OF_ONE_DISK == 0:
            if server:
                commands += sum(len(record.entries) for record in records)
                discard(t, disk, server)
            disk, server, records = new_world(t)
        load_until_cut(server, disk, records, source, snapshots=True)
        disk.power_on()
        server.start()
        with server.client() as client:
            used += re.search(r"restored_position:[1-9]", client.call("INFO")) is not None
        skipped += "skipped" in server.stderr()
        live = check_after_cut(server, records, thorough=cycle % 4 == 3)
        if cycle % 5 == 4 or cycle == CYCLES - 1:
            equal(server.stop(), 0, "exit status")
            equal(offline_digest(server.directory, "--from-scratch"), live[1], "the digest from scratch")
            equal(offline_digest(server.directory), live[1], "the digest with snapshots")
            equal(memimage("journal", "verify", "--dir", server.directory)[0], 0, "journal verify")
            server.start()
    commands += sum(len(record.entries) for record in records)
    print(f"# {CYCLES} cuts, {commands} commands, {used} starts from a snapshot, {skipped} that skipped one")
    server.stop()


@test("a snapshot that was answered is there after a cut, and is used")
def snapshot_answered(t):
    for _ in range(3):
        disk, server, records = new_world(t)
        with server.client() as client:
            position = client.call("SNAPSHOT")
            disk.cut()
        server.kill()
        disk.power_on()
        server.start()
        with server.client() as client:
            check(f"restored_position:{position}\r" in client.call("INFO") + "\r", "the start uses the snapshot")
            check_record(client, records)
        discard(t, disk, server)


def caught(t, args, env):
    """Cycles until the rig shows that something acknowledged is gone; False when it never does."""
    source = random.Random(SEED)
    for _ in range(max(4, CYCLES // 100)):
        disk, server, records = new_world(t, args=args, env=env)
        time.sleep(0.05)
        load_until_killed(server, disk, records, source)
        disk.power_on()
        server.env = None
        server.args = ["--idempotency-window", "1000000"]
        try:
            server.start()
            check_after_cut(server, records, thorough=True)
        except (Failure, RespError, AssertionError) as problem:
            print(f"# caught: {str(problem).splitlines()[0][:160]}")
            return True
        finally:
            if server.process.running():
                server.kill()
            discard(t, disk, server)
    return False


def load_until_killed(server, disk, records, source):
    """As load_until_cut, for servers that do not notice that their disk has gone."""
    workers = [Worker(server.port, record, source.randrange(2**32)) for record in records]
    for worker in workers:
        worker.start()
    time.sleep(source.uniform(0.05, 0.15))
    disk.cut()
    server.process.signal(signal.SIGKILL)
    server.process.wait()
    for worker in workers:
        worker.join(30)


@test("the same rig catches a server that does not wait for the disk (--durability none)")
def canary_none(t):
    check(caught(t, ("--durability", "none"), None), "acknowledged commands must be gone after a cut")


@test("the same rig catches a server whose fdatasync and fsync are taken out")
def canary_shim(t):
    shim = os.environ.get("FAULT_SHIM")
    if not shim or not os.path.exists(shim):
        raise Skip("the interposed library (FAULT_SHIM) is not built")
    if sanitized():
        raise Skip("a sanitizer wants to be loaded first")
    check(caught(t, (), {"LD_PRELOAD": shim, "FAULT": "sync:skip:1+"}), "acknowledged commands must be gone after a cut")


if __name__ == "__main__":
    sys.exit(main())
