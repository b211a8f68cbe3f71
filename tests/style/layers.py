# SPDX-License-Identifier: MIT
# The parts and their direction (DESIGN 10): a part includes its own headers, those of the parts below it in this table,
# and what the table of libraries allows. Built-in models see include/memimage/model.h alone, as any outside model does.
"""Style check: includes point downwards only."""

import os
import re
import sys

from tap import exists, files, read, report

# part: the parts whose headers it may include
BELOW = {
    "base": (),
    "storage": ("base",),
    "image": ("base",),
    "journal": ("base", "storage"),
    "model": ("base", "image", "journal"),
    "engine": ("base", "storage", "journal", "image", "model"),
    "snapshot": ("base", "storage", "journal", "image", "model", "engine"),
    "replica": ("base", "storage", "journal", "image", "model", "engine", "snapshot"),
    "publish": ("base", "storage", "journal", "image", "model", "engine", "snapshot"),
    "server": ("base", "storage", "journal", "image", "model", "engine", "snapshot", "replica", "publish", "models"),
    "cli": ("base", "storage", "journal", "image", "model", "engine", "snapshot", "replica", "publish", "server",
            "models"),
    "embed": ("base", "storage", "journal", "image", "model", "engine", "models"),
    "models": ("models",),
}

# library header (its beginning): the parts that may use it
LIBRARIES = {
    "event2/": ("server", "replica", "publish", "cli"),
    "hiredis": ("publish", "cli"),
    "jansson.h": ("model", "server", "cli", "engine"),
    "xxhash.h": ("base",),
    "pthread.h": ("server", "replica", "snapshot", "cli"),
    "openssl/": ("server",),
    "crypt.h": ("server",),
    "sys/socket.h": ("server", "replica", "publish", "cli"),
}

INCLUDE = re.compile(r"^\s*#\s*include\s*([<\"])([^>\"]+)[>\"]", re.MULTILINE)


def part_of(path):
    return path.split(os.sep)[1]


def resolve(path, name):
    """The part an include names, 'public' for include/memimage, None for what stands outside the project."""
    if name.startswith("memimage/"):
        return "public"
    first = name.split("/")[0]
    if first in BELOW and "/" in name:
        return first
    if exists(os.path.join(os.path.dirname(path), name)):
        return part_of(path)
    return None


def problem_of(path, quote, name):
    part = part_of(path)
    target = resolve(path, name)
    if target == "public":
        if part == "base" or (part == "models" and name != "memimage/model.h"):
            return f"{path}: {part} may not include {name}"
        return None
    if target is not None:
        if target != part and target not in BELOW[part]:
            return f"{path}: {part} may not include {name}: {target} is not below it"
        return None
    if quote == '"' and name != "config.h":
        return f"{path}: {name} names no part of the project"
    for library, parts in LIBRARIES.items():
        if name.startswith(library) and part not in parts:
            return f"{path}: {part} may not use {name}"
    return None


def main():
    problems = []
    for path in files(["src"], (".c", ".h")):
        if part_of(path) not in BELOW:
            problems.append(f"{path}: the folder is no part of the table")
            continue
        for quote, name in INCLUDE.findall(read(path)):
            problem = problem_of(path, quote, name)
            if problem:
                problems.append(problem)
    public = [
        f"{path}: a public header may not include {name}"
        for path in files(["include"], (".h",))
        for quote, name in INCLUDE.findall(read(path))
        if quote == '"' and not name.startswith("memimage/")
    ]
    cycles = [f"{part} and {below} include each other" for part, parts in BELOW.items() for below in parts
              if part != below and part in BELOW[below]]
    return report([
        ("includes point downwards only", problems),
        ("public headers include public headers only", public),
        ("the table of parts has no cycle", cycles),
    ])


if __name__ == "__main__":
    sys.exit(main())
