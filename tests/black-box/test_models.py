# SPDX-License-Identifier: MIT
# What a model may do in decide and evolve, with models of tests/models: a live command leaves what its replay makes.
"""Black-box test of what models may do."""

import json
import os
import sys

from harness import BINARY, equal, error, main, rejected, test
from ledger import digest, offline_digest

MODELS = os.environ.get("MEMIMAGE_MODELS", os.path.join(os.path.dirname(BINARY), "tests", "models"))


@test("events may borrow from the state that an event before them changes, and members without a field are zero")
def borrowed(t):
    model = os.path.join(MODELS, "borrow.so")
    server = t.server(args=("--model", model))
    names = ["first", "a name that has no room inline", "x", "another name without room inline", "second"]
    with server.client() as c:
        for number, name in enumerate(names):
            c.call("DO", "note/n", "Rename", "to", name, "size", number * 10)
            state = json.loads(c.call("GET", "note/n"))
            before = names[number - 1] if number else ""
            sizes = [number * 10 - 10 + i for i in range(3)] if number else []
            equal(state, {"name": name, "before": before, "archived": before,
                          "sizes": [number * 10 + i for i in range(3)], "old_sizes": sizes, "undescribed": 0}, name)
            if number:
                event = json.loads(c.call("EVENTS", "note/n", "REV", "COUNT", 1)[0])
                equal(event["data"], {"name": before, "sizes": sizes, "names": [before, names[number - 2] if number > 1
                                                                               else ""]}, "the second event")
        c.call("DO", "note/m", "Spread")
        equal([json.loads(c.call("GET", f"note/copy-{i}"))["name"] for i in range(3)],
              [letter * 16 for letter in "abc"], "ids and texts made in decide")
        live = digest(c)
    server.restart(crash=True)
    with server.client() as c:
        equal(digest(c), live, "the digest after a replay")
    equal(offline_digest(server.directory, "--from-scratch", "--model", model), live[1], "the digest from scratch")


@test("a list that could not be read again is refused; what is accepted is shown and replayed")
def long_lists(t):
    model = os.path.join(MODELS, "borrow.so")
    server = t.server(args=("--model", model))
    with server.client() as c:
        equal(c.call("DO", "note/n", "Fill", "count", 131072, "texts", "true"), [1, 1], "2 MiB of texts when decoded")
        error(c.ask("DO", "note/n", "Fill", "count", 131073, "texts", "true"), "ERR")
        equal(c.call("DO", "note/n", "Fill", "count", 262000, "texts", "false"), [2, 2], "just under 2 MiB of numbers")
        error(c.ask("DO", "note/n", "Fill", "count", 262145, "texts", "false"), "ERR")
        rejected(c.ask("DO", "note/n", "Fill", "count", 1 << 20, "texts", "true"), "TOO_LONG")
        events = [json.loads(text)["data"] for text in c.call("EVENTS", "note/n")]
        equal([len(events[0]["names"]), len(events[1]["sizes"])], [131072, 262000], "items shown")
        live = digest(c)
    server.restart(crash=True)
    with server.client() as c:
        equal(digest(c), live, "the digest after a replay")


if __name__ == "__main__":
    sys.exit(main())
