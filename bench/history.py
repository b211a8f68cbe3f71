#!/usr/bin/env python3
# SPDX-License-Identifier: MIT
# What reading the past costs: past states and events of one long stream in a longer journal, followers catching up and
# live, one operation found in a large journal. Starts servers of its own on free ports, in a temporary directory; prints
# figures as text, or with --json as JSON. --scale 0.01 is a try in seconds. Needs the binary ($MEMIMAGE) and Python only.
"""Figures of history: latency and bytes read."""

import argparse
import json
import os
import selectors
import shutil
import statistics
import subprocess
import sys
import tempfile
import time

ROOT = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))
sys.path.insert(0, os.path.join(ROOT, "tests", "black-box"))

from harness import BINARY, Server  # noqa: E402

SERVERS = []
PUSH = b"*2\r\n$5\r\nevent\r\n"


def started(directory):
    server = Server(directory, args=["--durability", "none"])
    SERVERS.append(server)
    return server.start()


def load(server, lines):
    """Sends the lines through `memimage load`; returns commands per second."""
    with subprocess.Popen([BINARY, "load", "-", "--port", str(server.port), "--json"], stdin=subprocess.PIPE,
                          stdout=subprocess.PIPE) as loader:
        for chunk in lines:
            loader.stdin.write(chunk)
        loader.stdin.close()
        summary = json.loads(loader.stdout.read())
    if summary["failed"]:
        raise SystemExit(f"{summary['failed']} commands failed")
    return summary["per_second"]


def opened(names):
    yield "".join(f'{{"do":"account/{name}","command":"Open","data":{{"owner":"o","currency":"CZK"}}}}\n'
                  for name in names).encode()


def long_stream(total, long):
    """`total` events, every fifth of them (until `long`) in the stream account/long."""
    done = 1
    rows = []
    for n in range(1, total - 1000):
        name = "long" if n % 5 == 0 and done < long else f"a-{n % 999}"
        done += name == "long"
        rows.append(f'{{"do":"account/{name}","command":"Deposit","data":{{"amount":1}}}}\n')
        if len(rows) == 10000:
            yield "".join(rows).encode()
            rows = []
    yield "".join(rows).encode()


def operations(total, wanted):
    """`total` events, each of an operation of its own, but for six of one, spread over the journal and over streams."""
    places = {int(total * share): n for n, share in enumerate((0.1, 0.1001, 0.35, 0.6, 0.6001, 0.8))}
    rows = []
    for n in range(total - 1000):
        name = wanted if n in places else f"op-{n:08}"
        rows.append(f'{{"do":"account/a-{n * 7919 % 999}","command":"Deposit","data":{{"amount":1}},"corr":"{name}"}}\n')
        if len(rows) == 10000:
            yield "".join(rows).encode()
            rows = []
    yield "".join(rows).encode()


class Figures:
    def __init__(self):
        self.items = []

    def add(self, name, **values):
        self.items.append({"name": name, **values})
        if not ARGUMENTS.json:
            text = "  ".join(f"{key} {value:,.3f}" if isinstance(value, float) else f"{key} {value:,}"
                             for key, value in values.items())
            print(f"{name:<46} {text}", flush=True)


def measure(client, figures, name, words, times=1):
    """The first time with its bytes, then the median of some more: what was read is in the page cache in any case."""
    took = []
    before = info_number(client, "history_bytes_read")
    for _ in range(times):
        began = time.perf_counter()
        reply = client.call(*words, timeout=600)
        took.append((time.perf_counter() - began) * 1e3)
        if len(took) == 1:
            read = info_number(client, "history_bytes_read") - before
    extra = {"again_ms": statistics.median(took[1:])} if times > 1 else {}
    figures.add(name, first_ms=took[0], bytes_read=read, **extra)
    return reply


def past_states(directory, figures):
    total, long = int(5_000_000 * ARGUMENTS.scale), int(1_000_000 * ARGUMENTS.scale)
    server = started(directory)
    load(server, opened(["long"] + [f"a-{n}" for n in range(999)]))
    rate = load(server, long_stream(total, long))
    server.restart()
    with server.client(timeout=600) as client:
        length = client.call("STATE", "account/long")[0]
        figures.add("journal of one long stream", events=client.call("DIGEST")[0], long=length, loaded_per_second=rate)
        for where, version in (("first", 1), ("middle", length // 2), ("last but one", length - 1), ("last", length)):
            reply = measure(client, figures, f"STATE AT VERSION, {where}", ("STATE", "account/long", "AT", "VERSION", version),
                            times=3)
            if reply[0] != version:
                raise SystemExit(f"version {reply[0]} instead of {version}")
        for where, version in (("first", 1), ("middle", length // 2), ("last", length - 99)):
            reply = measure(client, figures, f"EVENTS COUNT 100, {where}",
                            ("EVENTS", "account/long", "FROM", version, "COUNT", 100), times=5)
            if len(reply) != 100:
                raise SystemExit("not 100 events")
    return server


def followers_read(clients, wanted):
    """Reads pushes of all clients until each has `wanted` of them."""
    selector = selectors.DefaultSelector()
    left = len(clients)
    for client in clients:
        client.socket.setblocking(False)
        selector.register(client.socket, selectors.EVENT_READ, [0, b""])
    while left:
        for key, _ in selector.select(60):
            seen = key.data
            try:
                data = key.fileobj.recv(1 << 20)
            except BlockingIOError:
                continue
            if not data:
                raise SystemExit("a follower was dropped")
            data = seen[1] + data
            seen[0] += data.count(PUSH)
            seen[1] = data[-len(PUSH) + 1:]
            if seen[0] >= wanted:
                left -= 1
                selector.unregister(key.fileobj)


def follow(server, figures):
    with server.client(timeout=600) as client:
        total = client.call("DIGEST")[0]
        client.send("FOLLOW", "FROM", 1)
        began = time.perf_counter()
        followers_read([client], total)
        seconds = time.perf_counter() - began
    figures.add("one follower catching up", events=total, seconds=seconds, events_per_second=int(total / seconds))
    count, events = ARGUMENTS.followers, int(20_000 * min(1, ARGUMENTS.scale * 10))
    clients = [server.client(timeout=600) for _ in range(count)]
    for client in clients:
        client.call("FOLLOW")
    rows = [b'{"do":"account/a-1","command":"Deposit","data":{"amount":1}}\n' * events]
    began = time.perf_counter()
    rate = load(server, rows)
    followers_read(clients, events)
    seconds = time.perf_counter() - began
    for client in clients:
        client.close()
    figures.add(f"{count} live followers", events=events, seconds=seconds, pushes_per_second=int(count * events / seconds),
                commands_per_second=rate)


def info_number(client, field):
    for line in client.call("INFO", "history").splitlines():
        if line.startswith(field + ":"):
            return int(line.split(":")[1])
    raise SystemExit(f"no {field} in INFO")


def filters_settled(client):
    """Waits until no filter was written for two seconds."""
    seen, since = -1, time.monotonic()
    while time.monotonic() - since < 2:
        now = info_number(client, "correlation_filters_built_after_rolls")
        if now != seen:
            seen, since = now, time.monotonic()
        time.sleep(0.1)


def find_operation(directory, figures):
    total = int(10_000_000 * ARGUMENTS.scale)
    server = started(directory)
    load(server, opened([f"a-{n}" for n in range(999)]))
    rate = load(server, operations(total, "wanted"))
    journal = sum(os.path.getsize(path) for path in server.journal_files() if path.endswith(".journal"))
    index = os.path.join(server.directory, "index")

    def search(client, name, operation, found):
        reply = measure(client, figures, name, ("JOURNAL", "CORR", operation))
        if len(reply) != found:
            raise SystemExit(f"{len(reply)} events of {operation}, not {found}")

    with server.client(timeout=600) as client:
        filters_settled(client)
        figures.add("journal of operations", events=client.call("DIGEST")[0], journal_bytes=journal,
                    loaded_per_second=rate)
        search(client, "CORR, filters written after rolls", "wanted", 6)
        search(client, "CORR again", "wanted", 6)
    shutil.rmtree(index)
    server.restart()
    with server.client(timeout=600) as client:
        search(client, "CORR, the first without filters", "wanted", 6)
        search(client, "CORR, the next", "wanted", 6)
        search(client, "CORR of one event", f"op-{total // 2:08}", 1)
        search(client, "CORR of an id nobody gave", "nobody", 0)
        figures.add("filters", files=len(os.listdir(index)),
                    bytes=sum(os.path.getsize(os.path.join(index, name)) for name in os.listdir(index)))
    server.restart()
    with server.client(timeout=600) as client:
        search(client, "CORR, the first after a restart", "wanted", 6)
    server.stop()


def main():
    figures = Figures()
    scratch = tempfile.mkdtemp(prefix="memimage-bench-", dir=ARGUMENTS.scratch)
    try:
        server = past_states(os.path.join(scratch), figures)
        follow(server, figures)
        server.stop()
        shutil.rmtree(scratch)
        os.mkdir(scratch)
        find_operation(scratch, figures)
    finally:
        for server in SERVERS:
            server.kill()
        shutil.rmtree(scratch, ignore_errors=True)
    if ARGUMENTS.json:
        print(json.dumps(figures.items, indent=1))
    return 0


if __name__ == "__main__":
    PARSER = argparse.ArgumentParser(description=__doc__)
    PARSER.add_argument("--scale", type=float, default=1.0, help="1: 5,000,000 and 10,000,000 events")
    PARSER.add_argument("--followers", type=int, default=1000, help="live followers")
    PARSER.add_argument("--scratch", help="directory for the journals (2 GB at scale 1)")
    PARSER.add_argument("--json", action="store_true", help="figures as JSON")
    ARGUMENTS = PARSER.parse_args()
    sys.exit(main())
