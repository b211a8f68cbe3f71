# SPDX-License-Identifier: MIT
# The figures of bench/run as a table for the terminal, as plots, and as bench/REPORT.md.
"""What bench/run found, told."""

import os

import plot


def value_of(result, section, key):
    found = result.get(section, {}).get(key)
    return found["median"] if isinstance(found, dict) else found


def ratio(above, below):
    return above / below if above is not None and below else None


def tell(number):
    if number is None:
        return "-"
    return plot.short(number) if abs(number) >= 1000 else f"{number:.3g}"


def with_spread(found):
    return f"{tell(found['median'])} ({tell(found['least'])}-{tell(found['most'])})"


class Wanted:
    """Rows of (work, what is compared, ratio, bound): bounds with < are upper ones."""

    def __init__(self):
        self.rows = []

    def add(self, work, what, found, bound):
        if found is not None:
            limit = float(bound[1:])
            good = found <= limit if bound[0] == "<" else found >= limit
            self.rows.append((work, what, found, bound, good))


def wanted_throughput(result, wanted):
    def rate(name):
        return value_of(result, "throughput", name)

    for pipeline, of_constant, of_redis in ((64, 0.6, 4), (16, 0.7, 2.5), (1, 0.85, 1.3)):
        own, work = rate(f"memimage fsync p{pipeline}"), f"durable (fsync), 50 clients, pipeline {pipeline}"
        wanted.add(work, "constant server", ratio(own, rate(f"constant server p{pipeline}")), f">{of_constant}")
        wanted.add(work, "Redis always", ratio(own, rate(f"Redis always p{pipeline}")), f">{of_redis}")
    for pipeline in (16, 64):
        own, work = rate(f"memimage interval:1000 p{pipeline}"), f"interval:1000, 50 clients, pipeline {pipeline}"
        wanted.add(work, "constant server", ratio(own, rate(f"constant server p{pipeline}")), ">0.75")
        wanted.add(work, "Redis everysec", ratio(own, rate(f"Redis everysec p{pipeline}")), ">2.5")
    for name in ("GET", "STATE"):
        wanted.add(f"{name}, 50 clients, pipeline 16", "Redis GET of the same JSON",
                   ratio(value_of(result, "reads", f"memimage {name} p16"), value_of(result, "reads", "Redis GET p16")),
                   ">1.2")


def wanted_lone(result, wanted):
    def lone(name):
        return value_of(result, "lone", name)

    for point, bound in (("p50_us", 1.15), ("p99_us", 1.3)):
        parts = [lone(f"raw fdatasync beside memimage fsync {point}"), lone(f"constant server {point}")]
        if None not in parts:
            wanted.add(f"durable, one client, {point[:3]}", "raw fdatasync + constant round trip",
                       ratio(lone(f"memimage fsync {point}"), sum(parts)), f"<{bound}")
    for name in ("Redis always", "PostgreSQL append", "Tarantool fsync, in process"):
        wanted.add("durable, one client, busy poll, p50", name,
                   ratio(lone("memimage fsync, busy poll p50_us"), lone(f"{name} p50_us")), "<0.667")


def wanted_rest(result, wanted):
    found = next((found for found in result.get("replay", []) if found["accounts"] == 1000000), {})
    if found:
        work = "replay over 1 M accounts, one core"
        wanted.add(f"{work}, M events/s", "", found["events_per_second"] / 1e6, ">40")
        wanted.add(work, "bare loop with XXH3", found.get("one_core_of_limit"), ">0.4")
        wanted.add("replay with a second thread", "one core", found.get("two_threads_of_one_core"), ">1.3")
        # the bare loop changes slots and makes none: these two compare like with like
        work = "of that replay the changes of accounts, without the opens"
        wanted.add(work, "bare loop with XXH3", found.get("one_core_changes_of_limit"), ">0.4")
        wanted.add(f"{work}, a second thread", "one core", found.get("two_threads_changes_of_one_core"), ">1.3")
    most = result.get("replay_most")
    if most:
        wanted.add(f"replay over {most['accounts'] // 1000000} M accounts, as many as fit, the changes alone",
                   "bare loop, huge pages", ratio(most["bare"]["ns_per_event"], most["one_core_changes"]["ns_per_event"]),
                   ">0.3")
    for row in result.get("replay_peers", {}).get("rows", []):
        bound = {"Redis, AOF": ">30", "Tarantool, WAL": ">25"}.get(row["name"])
        if bound:
            wanted.add("replay of the same changes, one core", row["name"], row["memimage_is_times"], bound)
    wanted.add("journal, bytes per Deposit", "", result.get("journal_bytes_per_event"), "<56")
    memory = result.get("memory", {})
    wanted.add("memory per account (resident)", "Redis, hash of the same fields",
               ratio(memory.get("memimage"), memory.get("Redis")), "<0.6")
    runs = sorted(run["per_second"] for run in result.get("load", {}).get("runs", []))
    if runs:
        wanted.add(f"load of the bank {result['load']['times']} times over, k commands/s", "",
                   runs[len(runs) // 2] / 1e3, ">500")


def wanted_of(result):
    wanted = Wanted()
    wanted_throughput(result, wanted)
    wanted_lone(result, wanted)
    wanted_rest(result, wanted)
    return wanted.rows


def grid(rows):
    widths = [max(len(str(row[i])) for row in rows) for i in range(len(rows[0]))]
    return "\n".join("  ".join(str(cell).ljust(width) for cell, width in zip(row, widths)).rstrip() for row in rows)


def markdown(rows):
    lines = ["| " + " | ".join(str(cell) for cell in row) + " |" for row in rows]
    return "\n".join([lines[0], "|" + "---|" * len(rows[0]), *lines[1:]])


def throughput_rows(result):
    """A row per server and pipeline, with ratios to the constant server and to Redis always."""
    found = result.get("throughput", {})
    rows = [("server", "pipeline", "per second (least-most)", "/ constant", "/ Redis always")]
    for key, figures in sorted(found.items(), key=lambda item: int(item[0].rsplit(" p", 1)[1])):
        name, pipeline = key.rsplit(" p", 1)
        rows.append((name, pipeline, with_spread(figures), *(
            tell(ratio(figures["median"], value_of(result, "throughput", f"{other} p{pipeline}")))
            for other in ("constant server", "Redis always"))))
    return rows


def plain_rows(result, section, title):
    return [(title, "median (least-most)")] + [(name, with_spread(found))
                                               for name, found in sorted(result.get(section, {}).items())]


def open_rows(result):
    points = ("p50_us", "p90_us", "p99_us", "p999_us", "p9999_us", "max_us")
    rows = [("server", "p50", "p90", "p99", "p99.9", "p99.99", "max")]
    for name, found in result.get("open", {}).items():
        if isinstance(found, dict):
            rows.append((name, *(tell(found[point]["median"]) for point in points)))
    return rows


def memory_rows(result):
    return [("bytes per account", "")] + [(name, f"{found:.1f}") for name, found in result.get("memory", {}).items()
                                          if name != "accounts"]


def replay_rows(result):
    rows = [("accounts", "events", "events/s, one core", "second thread", "bare loop with XXH3")]

    def rate(found, key):
        return tell(1e9 / found[key]["ns_per_event"]) if key in found else "-"

    for found in result.get("replay", []) + ([result["replay_most"]] if "replay_most" in result else []):
        rows.append((found["accounts"], found["events"], tell(found["events_per_second"]), rate(found, "two_threads"),
                     rate(found, "bare_xxh3")))
    for row in result.get("replay_peers", {}).get("rows", []):
        rows.append((result["replay_peers"]["accounts"], result["replay_peers"]["events"],
                     f"{row['name']}: {tell(row['events_per_second'])}", "", ""))
    return rows


def restart_rows(result):
    found = result.get("restart", {})
    rows = [("first correct reply", "ms")]
    for owner in ("memimage", "redis", "tarantool"):
        rows += [(f"{owner} {name}", value["median_ms"]) for name, value in found.get(owner, {}).items()
                 if isinstance(value, dict) and "median_ms" in value]
    return rows


def sections(result):
    """(title, rows) of what was measured."""
    wanted = [("work", "beside", "measured", "wanted", "")] + [
        (work, what, tell(found), ("at most " if bound[0] == "<" else "at least ") + bound[1:], "yes" if good else "NO")
        for work, what, found, bound, good in wanted_of(result)]
    found = [
        ("Wanted and measured", wanted),
        ("Commands per second, 50 clients", throughput_rows(result)),
        ("The same by redis-benchmark", plain_rows(result, "redis_benchmark", "server, pipeline")),
        ("A lone client, durable, microseconds", plain_rows(result, "lone", "")),
        (f"Latency at {result.get('open', {}).get('rate', 0)} requests/s of 50 clients, counted from when each was due, "
         "microseconds", open_rows(result)),
        ("Reads per second, 50 clients", plain_rows(result, "reads", "command, pipeline")),
        ("Memory", memory_rows(result)), ("Replay", replay_rows(result)), ("Restart", restart_rows(result)),
        ("Limits of the machine", [("program", "figure")] + [
            (name, line) for name, lines in result.get("limits", {}).items() for line in lines]),
    ]
    return [(title, rows) for title, rows in found if len(rows) > 1]


def table(result):
    return "\n\n".join(f"{title}\n{grid(rows)}" for title, rows in sections(result))


# ------------------------------------------------------------------ plots


def charts(result):
    """{file name: SVG}"""
    found = {}
    for section, name in (("over_clients", "clients, pipeline 1"), ("over_pipeline", "pipeline, 50 clients")):
        lines = result.get(section)
        if lines:
            ticks = [(x, x) for x, _ in next(iter(lines.values()))]
            found[f"{section.replace('_', '-')}.svg"] = plot.chart(
                f"Commands per second over {name.split(',')[0]}", name, "commands per second", lines, x_log=True,
                y_log=section == "over_pipeline", x_ticks=ticks)
    shares = (("p50_us", 0.5), ("p90_us", 0.9), ("p99_us", 0.99), ("p999_us", 0.999), ("p9999_us", 0.9999))
    lines = {name: [(1 / (1 - share), figures[key]["median"]) for key, share in shares]
             for name, figures in result.get("open", {}).items() if isinstance(figures, dict)}
    if lines:
        ticks = [(1 / (1 - share), f"{100 * share:g} %") for _, share in shares]
        found["latency.svg"] = plot.chart(f"Latency at {result['open']['rate']}/s, without coordinated omission",
                                          "percentile", "microseconds", lines, x_log=True, y_log=True, x_ticks=ticks)
    replay = result.get("replay", [])
    if len(replay) > 1:
        lines = {"one core": [(row["accounts"], row["events_per_second"]) for row in replay]}
        if all("two_threads" in row for row in replay):
            lines["second thread"] = [(row["accounts"], 1e9 / row["two_threads"]["ns_per_event"]) for row in replay]
        found["replay.svg"] = plot.chart("Replay over state size", "accounts", "events per second", lines, x_log=True)
    growth = result.get("restart", {}).get("growth", [])
    if len(growth) > 1:
        lines = {"memimage, background": [(row["accounts"], row["median_ms"]) for row in growth]}
        found["restart.svg"] = plot.chart("First correct reply after kill -9, over state size", "accounts", "ms", lines,
                                          x_log=growth[-1]["accounts"] > 20 * growth[0]["accounts"])
    return found


def plots(result, folder):
    os.makedirs(folder, exist_ok=True)
    for name, svg in charts(result).items():
        with open(os.path.join(folder, name), "w", encoding="utf-8") as file:
            file.write(svg)
    return sorted(charts(result))


# ------------------------------------------------------------------ REPORT.md


def write(result, folder):
    """REPORT.md and plots/ into the folder."""
    names = plots(result, os.path.join(folder, "plots"))
    machine = result["machine"]
    lines = ["# Benchmarks", "",
             f"Written by `bench/run --report`; these figures are of `{result['command']}`, {result['rounds']} rounds of "
             f"{result['seconds']} s each. All servers run at once on loopback and are measured in turns, one idle while "
             "another works, in another order each round and with nothing left to write by the one before; client and "
             "server share the cores. `memimage bench commands` is the client of all of them.",
             "", markdown([("machine", "")] + [(key.replace("_", " "), value) for key, value in machine.items()]), ""]
    for title, rows in sections(result):
        lines += [f"## {title}", "", markdown(rows), ""]
        if title == "Wanted and measured":
            missed = [row for row in wanted_of(result) if not row[4]]
            lines += [f"{len(missed)} of {len(wanted_of(result))} are not reached in this run.", ""]
    if names:
        lines += ["## Plots", ""] + [f"![{name[:-4]}](plots/{name})\n" for name in names]
    notes = os.path.join(folder, "NOTES.md")
    if os.path.exists(notes):
        with open(notes, encoding="utf-8") as text:
            lines.append(text.read().rstrip())
    with open(os.path.join(folder, "REPORT.md"), "w", encoding="utf-8") as file:
        file.write("\n".join(lines).rstrip() + "\n")
