# SPDX-License-Identifier: MIT
# Every source file says in its first lines what licence it has, what it is and why; nothing is left undone in words.
"""Style check: heads of files and banned words."""

import re
import sys

from tap import files, read, report

FOLDERS = ["src", "include", "tests", "bench", "scripts", "examples"]
# Written apart so that this file does not hold them itself.
UNDONE = re.compile("|".join(rf"\b{word}\b" for word in ("TO" "DO", "FIX" "ME", "XX" "X")) +
                    "|not " "implemented|for " "now")
ABSOLUTE = re.compile("/wo" "rk/|/home/" r"\w+")


def spdx(path):
    lines = read(path).splitlines()
    if path.endswith((".c", ".h")):
        return lines[:1] == ["// SPDX-License-Identifier: MIT"]
    return "# SPDX-License-Identifier: MIT" in lines[:2]


def has_head(path):
    """The line behind SPDX is a comment with at least a few words."""
    lines = read(path).splitlines()
    index = next((number for number, line in enumerate(lines[:2]) if "SPDX" in line), None)
    if index is None or len(lines) < index + 3:
        return False
    head = " ".join(lines[index + 1 : index + 4])
    return lines[index + 1].startswith(("//", "/*", "#")) and len(head.split()) >= 5


def found(pattern, paths):
    return [f"{path}:{number}: {line.strip()[:90]}" for path in paths
            for number, line in enumerate(read(path).splitlines(), 1) if pattern.search(line)]


def main():
    sources = files(FOLDERS, (".c", ".h", ".py", ".sh"))
    code = files(["src", "include"], (".c", ".h", "meson.build"))
    tabs = [f"{path}:{number}: a tab or a trailing space" for path in sources
            for number, line in enumerate(read(path).split("\n"), 1) if "\t" in line or line != line.rstrip()]
    return report([
        ("every source file begins with its SPDX line", [path for path in sources if not spdx(path)]),
        ("every source file says what it is in a comment at its head", [path for path in sources if not has_head(path)]),
        ("nothing is left undone in words", found(UNDONE, code)),
        ("no path of a developer's machine", found(ABSOLUTE, sources)),
        ("no tabs, no trailing spaces", tabs),
    ])


if __name__ == "__main__":
    sys.exit(main())
