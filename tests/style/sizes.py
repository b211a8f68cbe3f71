# SPDX-License-Identifier: MIT
# Functions of at most 70 lines, files of at most 800. What was longer once stands in ratchet.txt with its exact length:
# an entry may shrink or go, never grow, and a shorter function has to shorten its entry.
"""Style check: lengths of functions and files."""

import re
import sys

from tap import code_only, files, read, report

FUNCTION_LINES_MAX = 70
FILE_LINES_MAX = 800
RATCHET = "tests/style/ratchet.txt"
NAME = re.compile(r"([A-Za-z_]\w*)\s*\(")
ATTRIBUTE = re.compile(r"__attribute__\s*\(\(.*?\)\)(?=\s|$)", re.DOTALL)


def is_function(head):
    """head: what stands between the last end of a declaration and the brace at the outermost level."""
    text = ATTRIBUTE.sub("", head).strip()
    return text.endswith(")") and "=" not in text and "(" in text


def functions(text):
    """Yields (name, lines) of each function of C source."""
    code = re.sub(r"^[ \t]*#(?:[^\n]*\\\n)*[^\n]*", lambda m: "\n" * m.group(0).count("\n"), code_only(text),
                  flags=re.MULTILINE)
    depth = 0
    start = 0
    begun = None
    for offset, letter in enumerate(code):
        if letter == "{":
            head = code[start:offset]
            if depth == 0 and is_function(head):
                begun = (NAME.search(ATTRIBUTE.sub("", head)).group(1), start + len(head) - len(head.lstrip()))
            elif depth == 0 and re.fullmatch(r'\s*extern\s*""\s*', head):
                depth -= 1
                start = offset + 1
            depth += 1
        elif letter == "}":
            depth = max(0, depth - 1)
            if depth == 0:
                if begun:
                    yield begun[0], code.count("\n", begun[1], offset) + 1
                begun = None
                start = offset + 1
        elif letter == ";" and depth == 0:
            start = offset + 1


def allowed():
    """The ratchet's entries: name -> lines."""
    entries = {}
    for line in read(RATCHET).splitlines():
        if line.strip() and not line.startswith("#"):
            name, lines = line.rsplit(None, 1)
            entries[name] = int(lines)
    return entries


def main():
    entries = allowed()
    lengths = {}
    for path in files(["src", "include", "tests", "bench", "examples"], (".c", ".h", ".py")):
        text = read(path)
        lines = text.count("\n")
        if lines > FILE_LINES_MAX:
            lengths[path] = (lines, FILE_LINES_MAX)
        if not path.endswith(".py"):
            for name, count in functions(text):
                if count > FUNCTION_LINES_MAX:
                    lengths[f"{path}:{name}"] = (count, FUNCTION_LINES_MAX)
    long = [f"{name} has {lines} lines, {limit} are allowed" for name, (lines, limit) in lengths.items()
            if lines > entries.get(name, limit)]
    slack = [f"{RATCHET}: {name} {lines}: it is {lengths.get(name, ('short enough',))[0]} now, change the entry"
             for name, lines in entries.items() if lengths.get(name, (0,))[0] < lines]
    return report([
        (f"functions have at most {FUNCTION_LINES_MAX} lines, files at most {FILE_LINES_MAX}", long),
        ("the ratchet holds nothing that is shorter now", slack),
    ])


if __name__ == "__main__":
    sys.exit(main())
