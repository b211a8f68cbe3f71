# SPDX-License-Identifier: MIT
# Every header compiles alone: the public ones with nothing but include/ in the path, in C and in C++ where there is a
# compiler for it, the parts' own with include/ and src/.
"""Style check: headers compile alone."""

import os
import shutil
import subprocess
import sys

from tap import ROOT, files, report

STRICT = ["-Wall", "-Wextra", "-Werror", "-fsyntax-only"]


def compile_alone(compiler, path, options):
    """The compiler's complaint, or an empty string."""
    with open(os.devnull, "rb") as nothing:
        done = subprocess.run([*compiler, *STRICT, *options, "-include", os.path.join(ROOT, path), "-"], cwd=ROOT,
                              stdin=nothing, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, check=False)
    return "" if done.returncode == 0 else f"{path}:\n{done.stdout[:1500]}"


def problems(compiler, paths, options):
    return [text for text in (compile_alone(compiler, path, options) for path in paths) if text]


def main():
    public = files(["include"], (".h",))
    parts = files(["src"], (".h",))
    c = [os.environ.get("CC", "gcc"), "-std=gnu11", "-D_GNU_SOURCE", "-xc"]
    checks = [
        ("every public header compiles alone", problems(c, public, ["-pedantic", "-Iinclude"])),
        ("every header of the parts compiles alone", problems(c, parts, ["-Iinclude", "-Isrc"])),
    ]
    if shutil.which("g++"):
        checks.append(("every public header compiles alone in C++",
                       problems(["g++", "-std=gnu++17", "-xc++"], public, ["-Iinclude"])))
    else:
        checks.append(("every public header compiles alone in C++", None, "g++ is not installed"))
    return report(checks)


if __name__ == "__main__":
    sys.exit(main())
