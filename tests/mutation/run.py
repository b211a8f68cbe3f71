#!/usr/bin/env python3
# SPDX-License-Identifier: MIT
# Plants one bug after the other in a copy of the sources, builds it, and runs the tests that are said to notice
# (mutations.py, docs/PROMISES.md): each of them must fail. A test that passes over a planted bug protects nothing. Takes
# half an hour and is no part of ./test.
"""Usage: tests/mutation/run.py [--keep] [NAME...]"""

import os
import re
import shutil
import signal
import subprocess
import sys
import tempfile
import time

from mutations import MUTATIONS

ROOT = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
SETTINGS = ["--buildtype=debugoptimized", "-Dwerror=false", "-Db_ndebug=false"]
TIMEOUT = 150
SOAK_TIMEOUT = 300


def run(words, directory, timeout=1200, environment=None):
    """Runs a program to its end; what takes too long is killed with all that it has started."""
    with subprocess.Popen(words, cwd=directory, env=environment, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE,
                          stderr=subprocess.PIPE, text=True, errors="replace", start_new_session=True) as process:
        try:
            out, err = process.communicate(timeout=timeout)
        except subprocess.TimeoutExpired:
            os.killpg(process.pid, signal.SIGKILL)
            raise
    return subprocess.CompletedProcess(words, process.returncode, out, err)


def copy_sources(target):
    listed = run(["git", "ls-files", "-z", "--cached", "--others", "--exclude-standard"], ROOT)
    for name in filter(None, listed.stdout.split("\0")):
        if os.path.exists(os.path.join(ROOT, name)):
            os.makedirs(os.path.dirname(os.path.join(target, name)), exist_ok=True)
            shutil.copy2(os.path.join(ROOT, name), os.path.join(target, name))


def targets_of(tests):
    """What ninja has to make for these tests."""
    wanted = {"memimage"}
    for test in tests:
        name = test.split()[0]
        if name.startswith("black-box"):
            wanted |= {"tests/black-box/fault-shim.so", "tests/black-box/hiredis-client"}
        elif name == "soak":
            wanted.add("tests/models/ledger-heard.so")
        elif name.startswith("fuzz-"):
            wanted.add(f"tests/fuzz/{name}")
        else:
            wanted.add(f"tests/test-{name}")
    return sorted(wanted)


def build(copy, tests):
    done = run(["ninja", "-C", "build", *targets_of(tests)], copy)
    if done.returncode != 0:
        raise SystemExit(f"the build failed:\n{done.stdout[-3000:]}")


REASON = re.compile(r"^(not ok.*|.*Failure: .*|.*does not hold.*|.*assertion failed.*|.*seed \d+: line.*)$", re.MULTILINE)


def complaint(copy, test):
    """What a test says against the code, None when it passes: a name of the suite, with words a part of it."""
    name, *words = test.split()
    build_directory = os.path.join(copy, "build")
    if name.startswith("black-box-"):
        script = os.path.join("tests", "black-box", f"test_{name.removeprefix('black-box-')}.py")
        command = [sys.executable, script, *([" ".join(words)] if words else [])]
    elif name == "soak":
        command = [sys.executable, os.path.join("tests", "soak", "run"), *words]
    elif words:
        command = [os.path.join("build", "tests", f"test-{name}"), *words]
    else:
        command = ["meson", "test", "-C", "build", "--no-rebuild", name]
    environment = dict(os.environ, MEMIMAGE=os.path.join(build_directory, "memimage"), CYCLES="4", ROUNDS="3", SEED="1",
                       FAULT_SHIM=os.path.join(build_directory, "tests", "black-box", "fault-shim.so"))
    try:
        done = run(command, copy, SOAK_TIMEOUT if name == "soak" else TIMEOUT, environment)
    except subprocess.TimeoutExpired:
        return "it hangs"
    if done.returncode == 0:
        return None
    text = done.stdout + done.stderr
    log = os.path.join(build_directory, "meson-logs", "testlog.txt")
    if command[0] == "meson" and os.path.exists(log):
        with open(log, encoding="utf-8", errors="replace") as handle:
            text = handle.read()
    found = REASON.findall(text)
    return found[0][:150] if found else f"exit status {done.returncode}"


def plant(copy, mutation):
    path = os.path.join(copy, mutation["file"])
    with open(path, encoding="utf-8") as handle:
        sound = handle.read()
    if sound.count(mutation["find"]) != 1:
        raise SystemExit(f"{mutation['name']}: {mutation['file']} does not hold its place once: mend mutations.py")
    with open(path, "w", encoding="utf-8") as handle:
        handle.write(sound.replace(mutation["find"], mutation["put"]))
    return path, sound


def try_one(copy, mutation):
    """What each of the named tests says about the planted bug: (test, complaint or None)."""
    path, sound = plant(copy, mutation)
    try:
        build(copy, mutation["tests"])
        return [(test, complaint(copy, test)) for test in mutation["tests"]]
    finally:
        with open(path, "w", encoding="utf-8") as handle:
            handle.write(sound)


def main(words):
    keep = "--keep" in words
    names = [word for word in words if not word.startswith("-")]
    chosen = [mutation for mutation in MUTATIONS if not names or mutation["name"] in names]
    copy = tempfile.mkdtemp(prefix="memimage-mutation-")
    missed = 0
    try:
        copy_sources(copy)
        done = run(["meson", "setup", "build", *SETTINGS], copy)
        if done.returncode != 0:
            raise SystemExit(f"meson setup failed:\n{done.stdout[-3000:]}")
        tests = sorted({name for mutation in chosen for name in mutation["tests"]})
        build(copy, tests)
        failing = [name for name in tests if complaint(copy, name) is not None]
        if failing:
            raise SystemExit(f"without any planted bug these fail: {' '.join(failing)}")
        print(f"{len(tests)} tests pass without a planted bug", flush=True)
        for mutation in chosen:
            begun = time.monotonic()
            answers = try_one(copy, mutation)
            blind = [test for test, answer in answers if answer is None]
            missed += bool(blind)
            print(f"promise {mutation['promise']:2}: {mutation['name']}: "
                  f"{'MISSED by ' + ', '.join(blind) if blind else 'caught'} ({time.monotonic() - begun:.0f} s)")
            for test, answer in answers:
                print(f"    {test}: {answer or 'passes'}", flush=True)
    finally:
        if not keep:
            shutil.rmtree(copy, ignore_errors=True)
    print(f"{len(chosen) - missed} of {len(chosen)} planted bugs were caught by every test named for them")
    return 1 if missed else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
