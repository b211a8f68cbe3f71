#!/usr/bin/env python3
# SPDX-License-Identifier: MIT
# A follower as a process that may be killed: FOLLOWs from a position, and prints a line for each event that it is told. Exit
# status 75 when it has lost its server, or was told nothing for a while: another one may have more.
"""Usage: follower.py PORT POSITION"""

import json
import os
import sys

sys.path.insert(0, os.path.join(os.path.dirname(os.path.dirname(os.path.abspath(__file__))), "black-box"))

from resp import Client, Closed, ProtocolError, RespError  # noqa: E402

GONE = 75
QUIET_S = 4


def line_of(event):
    """position, account, version, kind, amount, audience."""
    return " ".join((event["id"], event["subject"].removeprefix("account/"), str(event["streamversion"]),
                     event["type"].rpartition(".")[2], str(event["data"].get("amount", 0)), event["audience"]))


def push_of(client):
    """The next push; an error in its place is the end of this connection's following."""
    try:
        return client.read_push(QUIET_S)
    except ProtocolError as problem:
        if "Too many open files" in str(problem):
            raise Closed(str(problem)) from problem
        raise


def main(port, position):
    try:
        with Client(port, timeout=20) as client:
            client.hello(3)
            client.call("FOLLOW", "FROM", position)
            while True:
                print(line_of(json.loads(push_of(client)[1])))
                if client.used == len(client.buffer):
                    sys.stdout.flush()
    except (Closed, OSError, TimeoutError):
        return GONE
    except RespError as refused:
        if "Too many open files" not in refused.text:
            raise
        return GONE


if __name__ == "__main__":
    sys.exit(main(int(sys.argv[1]), int(sys.argv[2])))
