# SPDX-License-Identifier: MIT
# The C sources stand as .clang-format says. Skipped where clang-format is missing.
"""Style check: clang-format."""

import shutil
import subprocess
import sys

from tap import ROOT, files, report


def main():
    sentence = "the C sources stand as clang-format puts them"
    if shutil.which("clang-format") is None:
        return report([(sentence, None, "clang-format is not installed")])
    paths = files(["src", "include", "tests", "bench", "examples"], (".c", ".h"))
    if not paths:
        return report([(sentence, [])])
    done = subprocess.run(["clang-format", "--dry-run", "-Werror", *paths], cwd=ROOT, stdout=subprocess.PIPE,
                          stderr=subprocess.STDOUT, text=True, check=False)
    places = sorted({line.split(": error")[0] for line in done.stdout.splitlines() if ": error:" in line})
    problems = places[:40] if places else ([done.stdout[:1000]] if done.returncode else [])
    return report([(sentence, problems)])


if __name__ == "__main__":
    sys.exit(main())
