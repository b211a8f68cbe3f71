# SPDX-License-Identifier: MIT
# How tests/golden/parcel-1 and parcel-2 were made: by tests/models/parcel.c in its first version, then by a later one over a
# copy. Never again for these two: they stand for journals of the past. It takes the folder of the built models and the
# folder to write to.
"""Makes the old journals of the schema evolution tests."""

import os
import shutil
import sys

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "black-box"))

from harness import Context  # noqa: E402

FIRST = [
    ("p-1", "Register", "recipient", "Ann", "weight", 1200, "express", "true"),
    ("p-1", "Move", "place", "Brno", "km", 200),
    ("p-1", "Move", "place", "Praha", "km", 205),
    ("p-2", "Register", "recipient", "Bob", "weight", 300),
    ("p-1", "Drop", "place", "Kolbenova"),
    ("p-1", "Deliver", "signed_by", "Ann", "tip", 20),
    ("p-2", "Move", "place", "Ostrava", "km", 90),
    ("p-2", "Deliver", "signed_by", "Bob"),
    ("p-3", "Register", "recipient", "Cyril", "weight", 5),
    ("p-3", "Move", "place", "Plzen", "km", 1),
]
LATER = [
    ("p-3", "Move", "place", "Cheb", "km", 2),
    ("p-3", "Drop", "place", "Cheb"),
    ("p-3", "Deliver", "signed_by", "Cyril", "tip", 5),
    ("p-4", "Register", "recipient", "Dana", "weight", 7, "priority", 9),
    ("p-5", "Register", "recipient", "Eva", "weight", 8),
]


def shrink(path):
    """A segment without the zeros that were prepared behind its last frame."""
    with open(path, "rb+") as handle:
        size = len(handle.read().rstrip(b"\0"))
        handle.truncate((size + 7) // 8 * 8)


def make(context, models, target, model, commands):
    server = context.server(directory=target, args=("--model", os.path.join(models, model)))
    with server.client() as client:
        for name, *words in commands:
            client.call("DO", f"parcel/{name}", *words)
    server.stop()
    journal = os.path.join(target, "journal")
    for name in os.listdir(journal):
        path = os.path.join(journal, name)
        if name.endswith(".journal"):
            shrink(path)
        elif name != "mark":
            os.remove(path)
    for name in os.listdir(target):
        if name != "journal":
            path = os.path.join(target, name)
            shutil.rmtree(path) if os.path.isdir(path) else os.remove(path)


def main(models, folder):
    context = Context()
    with context.stack:
        first, second = os.path.join(folder, "parcel-1"), os.path.join(folder, "parcel-2")
        make(context, models, first, "parcel-1.so", FIRST)
        shutil.copytree(first, second)
        make(context, models, second, "parcel-2.so", LATER)


if __name__ == "__main__":
    main(os.path.abspath(sys.argv[1]), os.path.abspath(sys.argv[2]))
