# SPDX-License-Identifier: MIT
# What the style checks share: the project's files, C source without comments and strings, and TAP output.
"""Files and TAP for the style checks."""

import os
import re

ROOT = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
_TOKENS = re.compile(r"//[^\n]*|/\*.*?\*/|\"(?:\\.|[^\"\\\n])*\"|'(?:\\.|[^'\\\n])*'", re.DOTALL)


def files(folders, endings):
    """Paths relative to the root, sorted, of the files below `folders` with one of `endings`."""
    found = []
    for folder in folders:
        for place, subfolders, names in os.walk(os.path.join(ROOT, folder)):
            subfolders[:] = [name for name in subfolders if not name.startswith(("build", ".", "__"))]
            found.extend(os.path.relpath(os.path.join(place, name), ROOT) for name in names if name.endswith(endings))
    return sorted(found)


def read(path):
    with open(os.path.join(ROOT, path), encoding="utf-8") as handle:
        return handle.read()


def exists(path):
    return os.path.exists(os.path.join(ROOT, path))


def code_only(text):
    """C source with comments and literals blanked, line numbers kept."""

    def blank(match):
        token = match.group(0)
        keep = token[0] + token[-1] if token[0] in "\"'" else ""
        return keep + "\n" * token.count("\n")

    return _TOKENS.sub(blank, text)


def report(checks):
    """checks: (sentence, problems) or (sentence, None, reason to skip). Prints TAP; returns the exit status."""
    print(f"1..{len(checks)}")
    failed = 0
    for number, (sentence, problems, *reason) in enumerate(checks, 1):
        if problems is None:
            print(f"ok {number} - {sentence} # SKIP {reason[0]}")
            continue
        failed += bool(problems)
        print(f"{'not ok' if problems else 'ok'} {number} - {sentence}")
        for problem in problems:
            for line in str(problem).splitlines():
                print(f"# {line}")
    return 1 if failed else 0
