#!/usr/bin/env python3
# SPDX-License-Identifier: MIT
# Counts instructions of fixed work under callgrind and compares them with budget.json: what does not depend on how fast
# the machine is or what else it does. Counted are memimage's own functions of a release build by the compiler that the
# budget names; functions that choose their code by processor (the C library, XXH3) and the simulated disk are left out.
# Usage: tests/budget/run.py DRIVER [--compiler NAME] [--update]
"""Instructions per command, per journaled event and per replayed event, against a committed budget."""

import argparse
import glob
import json
import os
import re
import shutil
import subprocess
import sys
import tempfile

HERE = os.path.dirname(os.path.abspath(__file__))
BUDGET = os.path.join(HERE, "budget.json")
LEFT_OUT = re.compile(r"(sim_|mim_sim_|mim_storage_sim_|mim_hash|XXH|require|commands_execute|replies_release|budget_)")


def count(path, program):
    """Instructions in one dump, by function, of the program's own functions."""
    names, objects, costs = {}, {}, {}
    current, own, skip = None, False, False
    with open(path, encoding="utf-8") as lines:
        for line in lines:
            line = line.rstrip("\n")
            found = re.match(r"(ob|fn|cob|cfn|cfi|cfl|fl|fi|fe)=(?:\((\d+)\))?\s*(.*)", line)
            if found:
                kind, number, text = found.groups()
                table = objects if kind in ("ob", "cob") else names if kind in ("fn", "cfn") else None
                if table is not None:
                    if text:
                        table[number] = text
                    value = table[number]
                    if kind == "ob":
                        own = os.path.basename(value) == program
                    elif kind == "fn":
                        current = value
            elif line.startswith("calls="):
                skip = True  # the next line is the callee's cost
            elif re.match(r"(0x[0-9a-f]+|[+*-]?\d*) \S", line):
                if not skip and own:
                    costs[current] = costs.get(current, 0) + int(line.split()[-1])
                skip = False
    return {name: cost for name, cost in costs.items() if not LEFT_OUT.match(name)}


def measure(driver):
    """{phase: (instructions per piece of work, {function: per piece})}"""
    with tempfile.TemporaryDirectory() as folder:
        out = os.path.join(folder, "out")
        done = subprocess.run(
            ["valgrind", "--tool=callgrind", f"--callgrind-out-file={out}", "--toggle-collect=budget_count_*",
             "--dump-before=budget_mark*", driver], capture_output=True, text=True, check=False, timeout=240)
        if done.returncode != 0:
            raise RuntimeError(f"the driver failed under callgrind:\n{done.stdout}{done.stderr}")
        phases = [line.split() for line in done.stdout.splitlines()]
        dumps = sorted(glob.glob(f"{out}.*"), key=lambda path: int(path.rsplit(".", 1)[1]))
        if len(dumps) < len(phases):
            raise RuntimeError(f"{len(phases)} phases, but {len(dumps)} dumps of callgrind")
        found = {}
        for (name, pieces), dump in zip(phases, dumps):
            costs = {function: cost / int(pieces) for function, cost in
                     count(dump, os.path.basename(driver)).items()}
            found[name] = (sum(costs.values()), costs)
    return found


def explain(costs):
    largest = sorted(costs.items(), key=lambda item: -item[1])[:12]
    return "\n".join(f"#   {cost:8.1f} {function}" for function, cost in largest)


def compare(found, budget):
    tolerance = budget["tolerance_percent"]
    print(f"1..{len(found)}")
    failed = 0
    for number, (name, (cost, costs)) in enumerate(found.items(), 1):
        allowed = budget["instructions"].get(name)
        good = allowed is not None and cost <= allowed * (1 + tolerance / 100)
        failed += not good
        print(f"{'ok' if good else 'not ok'} {number} - {name}: {cost:.1f} instructions, budget {allowed} "
              f"(+{tolerance} %)")
        if not good:
            print(f"# over its budget; the largest functions:\n{explain(costs)}")
            print("# If that is worth it: tests/budget/run.py DRIVER --update, and say why in the commit.")
        elif cost < allowed * (1 - tolerance / 100):
            print("# well below its budget: tests/budget/run.py DRIVER --update keeps the gain")
    return 1 if failed else 0


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("driver")
    parser.add_argument("--compiler", default="", help="that built it, like gcc-12")
    parser.add_argument("--update", action="store_true", help="write what is measured to budget.json")
    parser.add_argument("--functions", action="store_true", help="print the largest functions of each")
    options = parser.parse_args()
    with open(BUDGET, encoding="utf-8") as text:
        budget = json.load(text)
    if shutil.which("valgrind") is None:
        print("1..0 # SKIP valgrind is not installed")
        return 0
    if options.compiler and options.compiler != budget["compiler"]:
        print(f"1..0 # SKIP the budget is {budget['compiler']}'s, this build {options.compiler}'s")
        return 0
    found = measure(options.driver)
    if options.functions:
        for name, (cost, costs) in found.items():
            print(f"# {name}: {cost:.1f}\n{explain(costs)}")
    if options.update:
        budget["instructions"] = {name: round(cost, 1) for name, (cost, _) in found.items()}
        with open(BUDGET, "w", encoding="utf-8") as file:
            json.dump(budget, file, indent=2)
            file.write("\n")
        print(f"# {BUDGET} is written")
    return compare(found, budget)


if __name__ == "__main__":
    sys.exit(main())
