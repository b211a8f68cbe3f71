#!/usr/bin/env python3
# SPDX-License-Identifier: MIT
# A fresh standby for a large state under write load, beside Redis replicating the same accounts in the same run: seconds
# until it has caught up, and what that costs the primary's commands. Leans on restart.py; Python standard library only.
"""Seconds of a full synchronisation, beside Redis."""

import argparse
import gc
import json
import os
import random
import select
import shutil
import sys
import tempfile
import threading
import time

sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))

from restart import Line, Memimage, Process, chunks, deposit, free_port, open_account, percentile  # noqa: E402
from restart import redis_account, stream  # noqa: E402

POLL_SECONDS = 0.02


def info(port, section="replication"):
    try:
        line = Line(port, 60)
        found = line.info(section)
        line.close()
        return found
    except (OSError, RuntimeError):
        return {}


def micros(latencies):
    latencies = sorted(latencies)
    return {name: round(percentile(latencies, share) * 1e6) for name, share in (("p50", 0.5), ("p99", 0.99))}


def open_loop(port, accounts, rate, seconds=None, until=None):
    """One command every 1/rate seconds, whatever the server does; latency counts from when it was due."""
    source = random.Random(6)
    pool = [deposit(source.randrange(accounts)) for _ in range(20000)]
    line = Line(port)
    sock = line.socket
    sock.setblocking(False)
    gc.disable()
    due, latencies, left, lines = [], [], b"", 0
    begun = time.monotonic()
    sent = 0
    stop = False
    while not stop or len(latencies) < sent:
        now = time.monotonic()
        stop = stop or (seconds is not None and now - begun >= seconds) or (until is not None and until(now - begun))
        ready = b""
        while not stop and begun + sent / rate <= now:
            due.append(begun + sent / rate)
            ready += pool[sent % len(pool)]
            sent += 1
        if ready:
            sock.setblocking(True)
            sock.sendall(ready)
            sock.setblocking(False)
        pause = max(0.0, begun + sent / rate - time.monotonic()) if not stop else 0.05
        if select.select([sock], [], [], pause)[0]:
            left = sock.recv(1 << 16)
            now = time.monotonic()
            lines += left.count(b"\n")
            while (len(latencies) + 1) * 3 <= lines:
                latencies.append(now - due[len(latencies)])
    gc.enable()
    line.close()
    return latencies


class Watch(threading.Thread):
    """Looks until the standby is where the primary was when it was asked."""

    def __init__(self, primary, standby, begun):
        super().__init__(daemon=True)
        self.primary, self.standby, self.begun = primary, standby, begun
        self.seconds = None

    def run(self):
        while True:
            wanted = int(info(self.primary).get("master_repl_offset", "0"))
            there = info(self.standby)
            if there.get("master_link_status") == "up" and int(there.get("slave_repl_offset", "0")) >= wanted > 0:
                self.seconds = time.monotonic() - self.begun
                return
            time.sleep(POLL_SECONDS)


def memimage(options):
    server = Memimage(options)
    server.start()
    stream(server.port, chunks(0, options.scale, open_account), 3)
    quiet = open_loop(server.port, options.scale, options.rate, seconds=options.seconds)
    port = free_port()
    directory = os.path.join(options.scratch, "standby")
    standby = Process([options.binary, "serve", "--dir", directory, "--port", str(port), "--replica-of",
                       f"127.0.0.1:{server.port}"], os.path.join(options.scratch, "standby.log"))
    watch = Watch(server.port, port, standby.begun)
    watch.start()
    during = open_loop(server.port, options.scale, options.rate, until=lambda _: watch.seconds is not None)
    time.sleep(0.5)
    left, right = Line(server.port, 300), Line(port, 300)
    same = left.call("DIGEST") == right.call("DIGEST")
    image = int(left.info("image")["image_used_bytes"])
    standby.kill()
    server.process.kill()
    shutil.rmtree(directory)
    shutil.rmtree(server.directory)
    return {"seconds": round(watch.seconds, 2), "digests_equal": same, "image_mb": round(image / 1e6),
            "command_us_before": micros(quiet), "command_us_during": micros(during)}


def redis(options):
    if shutil.which("redis-server") is None:
        return None

    def start(name, *more):
        folder = os.path.join(options.scratch, name)
        os.mkdir(folder)
        port = free_port()
        process = Process(["redis-server", "--port", str(port), "--bind", "127.0.0.1", "--dir", folder, "--save", "",
                           "--appendonly", "yes", "--appendfsync", "everysec", *more],
                          os.path.join(options.scratch, f"{name}.log"))
        return process, port

    primary, port = start("redis", "--repl-diskless-sync-delay", "0", "--client-output-buffer-limit", "replica 0 0 0")
    primary.first_reply(port, ("PING",), b"PONG")
    stream(port, chunks(0, options.scale, redis_account), 1)
    over = threading.Event()

    def load():
        line = Line(port)
        while not over.is_set():
            for n in range(20):
                line.call(b"HINCRBY", f"account/bench-{n}", "balance", "1")
            time.sleep(max(0.0, 20 / options.rate - 0.002))

    writer = threading.Thread(target=load, daemon=True)
    writer.start()
    standby, there = start("redis-standby", "--replicaof", "127.0.0.1", str(port))
    watch = Watch(port, there, standby.begun)
    watch.start()
    watch.join()
    over.set()
    writer.join()
    standby.kill()
    primary.kill()
    return {"seconds": round(watch.seconds, 2)}


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--scale", type=int, default=11_000_000, help="accounts (default 11000000: over 1 GiB)")
    parser.add_argument("--rate", type=int, default=2000, help="commands per second meanwhile (default 2000)")
    parser.add_argument("--seconds", type=float, default=5.0, help="of the load before (default 5)")
    parser.add_argument("--rounds", type=int, default=2, help="of each, taking turns (default 2)")
    parser.add_argument("--binary", default="build/memimage")
    parser.add_argument("--dir", default=None, help="where scratch files go (default $TMPDIR or /tmp)")
    options = parser.parse_args()
    result = {"accounts": options.scale, "memimage": [], "redis": []}
    for _ in range(options.rounds):
        for name, measure in (("memimage", memimage), ("redis", redis)):
            options.scratch = tempfile.mkdtemp(prefix="memimage-standby-", dir=options.dir)
            try:
                found = measure(options)
            finally:
                shutil.rmtree(options.scratch, ignore_errors=True)
            if found is not None:
                result[name].append(found)
                print(name, json.dumps(found), flush=True)
    print(json.dumps(result))


if __name__ == "__main__":
    sys.exit(main())
