# SPDX-License-Identifier: MIT
# What a server's process holds, look by look, and the rule that it is flat: its heap but for the journal's ring and the image
# (which are reserved, and touched as they fill), its image for as many accounts and keys, its descriptors.
"""Memory and descriptors of the servers of a soak."""

import collections
import contextlib
import os
import re
import typing

from harness import check

WARM_EVENTS = 100000   # of a process before heap and image have to be flat: buffers have met their largest, keys are many
HEAP_BYTES = 6 << 20   # what fragmentation and larger buffers may still add afterwards
HEAP_EVENT_BYTES = 4   # and what indexes over the journal may take for each further event
IMAGE_BYTES = 1 << 18  # accounts and keys are as many as before: nodes of the maps over them come and go
WARM_LOOKS = 3         # of a process before its descriptors have to be flat
SPARE_DESCRIPTORS = 2
SEGMENTS = 80          # readers keep a bounded number of segments open, also of archived ones,
SEGMENTS_TWICE = 8     # and each opens a segment for itself


class Look(typing.NamedTuple):
    heap: int
    image: int
    descriptors: int  # but for segments and clients
    events: int


def mappings(pid):
    """(begin, end, anonymous bytes, name) of what the process may write."""
    found = []
    with open(f"/proc/{pid}/smaps", encoding="ascii") as file:
        for line in file:
            head = re.match(r"([0-9a-f]+)-([0-9a-f]+) (\S+) \S+ \S+ \S+\s*(.*)", line)
            if head:
                begin, end, name = int(head[1], 16), int(head[2], 16), head[4]
                writable = "w" in head[3]
            elif writable and line.startswith("Anonymous:"):
                found.append((begin, end, int(line.split()[1]) * 1024, name))
    return found


def heap_bytes(pid, ring, image):
    """What is touched of all that the process may write, but ring and image (their sizes are given)."""
    found = mappings(pid)
    image_end = max(found, key=lambda mapping: mapping[1] - mapping[0])[1]
    total = 0
    for begin, end, anonymous, name in found:
        if image_end - image <= begin < image_end:
            continue
        holds_ring = not name and end - begin >= ring
        total += min(anonymous, end - begin - ring) if holds_ring else anonymous
    return total


def look(pid, told, events):
    """A look at a process; `told` is what its INFO says."""
    targets = []
    for fd in os.listdir(f"/proc/{pid}/fd"):
        with contextlib.suppress(FileNotFoundError):  # closed meanwhile
            targets.append(os.readlink(f"/proc/{pid}/fd/{fd}"))
    segments = collections.Counter(target for target in targets if target.removesuffix(" (deleted)").endswith(".journal"))
    check(sum(segments.values()) <= SEGMENTS, f"many segments are open: {segments}")
    check(max(segments.values(), default=0) <= SEGMENTS_TWICE, f"a segment is open many times: {segments}")
    return Look(heap_bytes(pid, int(told["ring_bytes"]), int(told["image_capacity_bytes"])), int(told["image_used_bytes"]),
                len(targets) - sum(segments.values()) - int(told["connected_clients"]), events)


def warm(found):
    return [each for each in found if each.events - found[0].events >= WARM_EVENTS]


def check_flat(who, found):
    """The looks at one process in one role."""
    counts = [each.descriptors for each in found]
    spare = min(counts[-WARM_LOOKS:]) - min(counts[WARM_LOOKS:], default=counts[-1])  # what comes and goes is no growth
    check(spare <= SPARE_DESCRIPTORS, f"{who}: descriptors grew: {counts}")
    steady = warm(found)
    if len(steady) < 2:
        return
    events = steady[-1].events - steady[0].events
    grown = steady[-1].heap - steady[0].heap
    check(grown <= HEAP_BYTES + HEAP_EVENT_BYTES * events,
          f"{who}: the heap grew by {grown} bytes over {events} events: {[each.heap for each in found]}")
    grown = steady[-1].image - steady[0].image
    check(grown <= IMAGE_BYTES, f"{who}: the image grew by {grown} bytes: {[each.image for each in found]}")


def summary(found):
    """Figures of the looks at one process, None when it did not live to be warm."""
    steady = warm(found)
    if len(steady) < 2:
        return None
    return {"looks": len(steady), "events": steady[-1].events - steady[0].events, "heap": [steady[0].heap, steady[-1].heap],
            "image": [steady[0].image, steady[-1].image], "descriptors": [steady[0].descriptors, steady[-1].descriptors]}
