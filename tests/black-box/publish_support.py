# SPDX-License-Identifier: MIT
# What the tests of publication share: a redis-server that can be killed and started again on its port, waiting for what
# INFO publish tells, and comparing streams and read models with the server's own answers.
"""Helpers of the publication tests."""

import contextlib
import json
import os
import shutil
import signal

from harness import Process, Skip, check, equal, free_port, wait_for
from resp import Client, Closed, RespError

STREAM = "memimage:events"
PATIENCE = 60


class Redis:
    """A redis-server on one port and directory, to be stopped, killed and started again."""

    def __init__(self, context, *args):
        if shutil.which("redis-server") is None:
            raise Skip("redis-server is not installed")
        self.scratch = context.scratch()
        self.port = free_port()
        self.args = args
        self.process = None
        context.stack.callback(self.kill)

    @property
    def url(self):
        return f"redis://127.0.0.1:{self.port}"

    def start(self, *more):
        self.process = Process(
            ["redis-server", "--port", str(self.port), "--bind", "127.0.0.1", "--dir", self.scratch, "--save", "",
             *self.args, *more], os.path.join(self.scratch, "log"))
        wait_for(self.answers, 30, "redis-server")
        return self

    def answers(self):
        check(self.process.running(), f"redis-server ended: {self.process.stderr()}")
        with contextlib.suppress(OSError, Closed, TimeoutError):
            with self.client(timeout=2) as client:
                reply = client.ask("PING")
                return reply == "PONG" or (isinstance(reply, RespError) and reply.code == "NOAUTH")
        return False

    def client(self, **options):
        return Client(self.port, **options)

    def call(self, *words):
        with self.client() as client:
            return client.call(*words)

    def kill(self):
        if self.process is not None and self.process.running():
            self.process.signal(signal.SIGCONT)
            self.process.kill()


def redis(context, *args):
    return Redis(context, *args).start()


def info(server):
    with server.client() as client:
        text = client.call("INFO", "publish")
    return dict(line.split(":", 1) for line in text.splitlines() if ":" in line)


def wait_state(server, state, reason=""):
    def reached():
        now = info(server)
        return now if now["publish_state"] == state and reason in now["publish_last_error"] else None

    try:
        return wait_for(reached, PATIENCE, f"publish_state:{state} {reason}")
    except AssertionError as problem:
        problem.add_note(str(info(server)))
        raise


def position(server):
    with server.client() as client:
        return client.call("DIGEST")[0]


def wait_published(server):
    """Waits until Redis has acknowledged everything; returns the position."""
    wanted = position(server)

    def reached():
        now = info(server)
        return now["publish_state"] == "live" and int(now["publish_position"]) >= wanted

    try:
        wait_for(reached, PATIENCE, f"position {wanted} to be published")
    except AssertionError as problem:
        problem.add_note(str(info(server)))
        raise
    return wanted


def wait_states(server):
    wanted = wait_published(server)
    wait_for(lambda: int(info(server)["publish_state_position"]) >= wanted, PATIENCE, "the read model")


def entries(target, stream=STREAM):
    """[(id, {field: value})] of the whole stream."""
    with target.client() as client:
        found = []
        start = "-"
        while True:
            part = client.call("XRANGE", stream, start, "+", "COUNT", 5000)
            found += [(name, dict(zip(fields[::2], fields[1::2]))) for name, fields in part]
            if len(part) < 5000:
                return found
            start = "(" + part[-1][0]


def check_stream(target, server, stream=STREAM, first=1):
    """Every position from `first` on, once, in order, and what the journal has there."""
    last = position(server)
    found = entries(target, stream)
    equal([name for name, _ in found], [f"{number}-0" for number in range(first, last + 1)], f"the ids of {stream}")
    with server.client(timeout=60) as client:
        for start in range(first, last + 1, 1000):
            events = client.call("JOURNAL", "FROM", start, "COUNT", 1000)
            for text, (name, fields) in zip(events, found[start - first :]):
                event = json.loads(text)
                wanted = (f"{event['position']}-0", event["type"], event["subject"], str(event["streamversion"]))
                equal((name, fields["type"], fields["subject"], fields["version"]), wanted, "an entry")
    return found


def check_states(target, server, names, kind="account"):
    with target.client() as there, server.client() as here:
        for name in names:
            equal(there.call("GET", f"{kind}:{name}"), here.call("GET", f"{kind}/{name}"), f"the key {kind}:{name}")
            version = here.call("STATE", f"{kind}/{name}")[0]
            equal(there.call("HGET", f"{STREAM}:versions", f"{kind}:{name}"), str(version), f"the version of {name}")


def fill(server, count=20, accounts=3):
    """`count` more events over a few accounts."""
    with server.client() as client:
        for name in range(accounts):
            client.ask("DO", f"account/a-{name}", "Open", "owner", "o", "currency", "CZK")
        client.pipeline([("DO", f"account/a-{number % accounts}", "Deposit", "amount", number + 1)
                         for number in range(count)])
    return [f"a-{name}" for name in range(accounts)]


def publishing(context, target, *args):
    return context.server(args=["--publish", target if isinstance(target, str) else target.url, *args])
