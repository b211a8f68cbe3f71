# SPDX-License-Identifier: MIT
# The README is true: it names every command of the server's table, and shows every line of the session that
# `./run --demo` plays; its C is that of examples/cart and tests/models, and its line to build it too. Checks whose file is not there are
# skipped.
"""Style check: README against the command table and the demo."""

import re
import sys

from tap import exists, files, read, report

COMMAND = re.compile(r"\{\s*(?:\.name\s*=\s*)?\"([A-Za-z]{2,20})\"\s*,")
SESSION = "scripts/first-session.txt"
EXAMPLE = "examples/cart/cart.c"
OTHERS = ("tests/models/parcel.c",)
C_BLOCK = re.compile(r"^```c\n(.*?)^```$", re.MULTILINE | re.DOTALL)


def table_commands():
    """The commands named in the tables of src/server/commands*.c."""
    names = set()
    for path in files(["src/server"], (".c", ".h")):
        if path.rsplit("/", 1)[-1].startswith("commands"):
            names.update(name.upper() for name in COMMAND.findall(read(path)))
    return sorted(names)


def session_lines():
    return [line for line in read(SESSION).splitlines() if line and not line.startswith("#") and line != "kill -9"]


def example_differences(readme):
    """What the README shows of the example and the example does not hold."""
    example = read(EXAMPLE)
    blocks = C_BLOCK.findall(readme)
    build = next(line for line in example.splitlines() if line.startswith("//   cc ")).removeprefix("//   ")
    sources = example + "".join(read(path) for path in OTHERS)
    missing = [f"not in {EXAMPLE}: {block.splitlines()[0]} ..." for block in blocks if block not in sources]
    missing += [] if build in readme else [f"the README does not tell how to build it: {build}"]
    return missing + ([] if len(blocks) > 2 else ["the README shows too little of the example"])


def main():
    commands_sentence = "the README names every command of the server"
    session_sentence = "the README shows the session that ./run --demo plays"
    if not exists("README.md"):
        return report([(commands_sentence, None, "no README.md yet"), (session_sentence, None, "no README.md yet")])
    readme = read("README.md")
    commands = table_commands()
    missing = [name for name in commands if not re.search(rf"\b{name}\b", readme)]
    lines = [line for line in session_lines() if line not in readme]
    return report([
        (commands_sentence, missing) if commands else (commands_sentence, None, "no command table yet"),
        (session_sentence, lines),
        ("the C in the README is the text of examples/cart and of tests/models", example_differences(readme)),
    ])


if __name__ == "__main__":
    sys.exit(main())
