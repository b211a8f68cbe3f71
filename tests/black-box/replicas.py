# SPDX-License-Identifier: MIT
# Primaries and standbys for black-box tests: started, asked, waited for, compared.
"""What tests of replication share."""

import os

from harness import check, equal, wait_for


def info(client, section="replication"):
    text = client.call("INFO", section)
    return dict(line.split(":", 1) for line in text.splitlines() if ":" in line)


def primary(t, *args):
    server = t.new_server(args=args, keep_port=True)
    return server.start()


def standby_of(t, server, *args):
    return t.new_server(args=("--replica-of", f"127.0.0.1:{server.port}", *args), keep_port=True).start()


def asked(server, *words):
    with server.client() as client:
        return client.ask(*words)


def is_following(server):
    reply = asked(server, "ROLE")
    return isinstance(reply, list) and reply[0] == "slave" and reply[3] == "connected"


def position(server):
    reply = asked(server, "DIGEST")
    return reply[0] if isinstance(reply, list) else -1


def caught_up(server, follower, seconds=30):
    """Waits until the follower shows what the server shows, and compares digests."""
    wait_for(lambda: is_following(follower) and position(follower) == position(server), seconds, "the standby")
    equal(asked(follower, "DIGEST"), asked(server, "DIGEST"), "digest of the standby")


def same_journals(first, second):
    """The standby's segments are the primary's, byte for byte, as far as they go."""
    names = sorted(n for n in os.listdir(os.path.join(second.directory, "journal")) if n.endswith(".journal"))
    check(names, "the standby has segments")
    for name in names:
        with open(os.path.join(first.directory, "journal", name), "rb") as one, \
                open(os.path.join(second.directory, "journal", name), "rb") as two:
            mine, theirs = two.read().rstrip(b"\0"), one.read().rstrip(b"\0")
        equal(mine == theirs[: len(mine)] and len(mine) > 4096, True, f"{name} is a beginning of the primary's")
