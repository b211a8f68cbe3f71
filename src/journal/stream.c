// SPDX-License-Identifier: MIT
// Finding by skip references and walking forward in groups of 64: a group's end is found, then walked back through
// the previous-event references, and its LSNs are kept. Group ends are found the same way, 64 at a time.
#include "journal/stream.h"

#include <inttypes.h>

#include "base/assert.h"

static bool is_beyond(const struct mim_journal_event *event, enum mim_stream_measure measure, uint64_t value) {
    switch (measure) {
    case MIM_BY_VERSION:
        return event->record.version > value;
    case MIM_BY_POSITION:
        return event->position > value;
    default:
        return event->time_ms > (int64_t)value;
    }
}

/** Reads an event that must have this version; `placed`: with its position and time. */
static int read_version(struct mim_access *access, mim_lsn_t lsn, mim_version_t version, bool placed,
                        struct mim_journal_event *ret_event, struct mim_error *reterr) {
    int rc =
        placed ? mim_access_event(access, lsn, ret_event, reterr) : mim_access_record(access, lsn, ret_event, reterr);
    if (rc == 0 && ret_event->record.version != version) {
        return mim_error_set(reterr, MIM_E_DAMAGED, "LSN %" PRIu64 " holds version %u of a stream, %u was expected",
                             lsn, ret_event->record.version, version);
    }
    return rc;
}

/** Skip references of a record: LSNs of this version - 64, - 64^2 ...; returns how many. */
static unsigned skips_of(const struct mim_journal_event *event, mim_lsn_t ret_lsns[MIM_SKIP_LEVELS]) {
    struct mim_slice part;
    unsigned count = 0;
    if (event->record.version % MIM_SKIP_BASE == 0 && mim_record_part(&event->record, MIM_PART_SKIP, &part)) {
        for (; count < MIM_SKIP_LEVELS && (count + 1u) * sizeof(mim_lsn_t) <= part.size; count++) {
            ret_lsns[count] = mim_get64(part.data + count * sizeof(mim_lsn_t));
        }
    }
    return count;
}

static mim_version_t step_of(unsigned level) {
    mim_version_t step = MIM_SKIP_BASE;
    for (unsigned i = 0; i < level; i++) {
        step *= MIM_SKIP_BASE;
    }
    return step;
}

/** From an event beyond: the next one back that is beyond still, or the one sought (*ret_found). */
static int hop_back(struct mim_access *access, enum mim_stream_measure measure, uint64_t value,
                    struct mim_journal_event *event, bool *ret_found, struct mim_error *reterr) {
    mim_lsn_t skips[MIM_SKIP_LEVELS];
    bool placed = measure != MIM_BY_VERSION;
    struct mim_journal_event from = *event; /* its slices die with the next read; numbers do not */
    for (unsigned level = skips_of(event, skips); level > 0; level--) {
        mim_version_t step = step_of(level - 1);
        if (skips[level - 1] == 0 || from.record.version <= step ||
            (measure == MIM_BY_VERSION && from.record.version - step < value)) {
            continue;
        }
        int rc = read_version(access, skips[level - 1], from.record.version - step, placed, event, reterr);
        if (rc != 0) {
            return rc;
        }
        if (is_beyond(event, measure, value)) {
            return 0;
        }
        if (measure == MIM_BY_VERSION) { /* exactly the one */
            *ret_found = true;
            return 0;
        }
    }
    if (from.record.version == 1) {
        return MIM_E_NOT_FOUND;
    }
    int rc = read_version(access, from.record.previous_lsn, from.record.version - 1, placed, event, reterr);
    *ret_found = rc == 0 && !is_beyond(event, measure, value);
    return rc;
}

int mim_stream_find(struct mim_access *access, const struct mim_stream_tip *tip, enum mim_stream_measure measure,
                    uint64_t value, struct mim_journal_event *ret_event, struct mim_error *reterr) {
    struct mim_journal_event event = {0};
    bool placed = measure != MIM_BY_VERSION;
    int rc = read_version(access, tip->lsn, tip->version, placed, &event, reterr);
    if (rc != 0) {
        return rc;
    }
    bool found = !is_beyond(&event, measure, value);
    for (unsigned level = MIM_SKIP_LEVELS; !found && level > 0; level--) { /* the farthest back that is beyond */
        mim_version_t step = step_of(level - 1);
        mim_version_t version = tip->version / step * step;
        if (tip->anchors[level - 1] == 0 || (measure == MIM_BY_VERSION && version < value)) {
            continue;
        }
        struct mim_journal_event anchor;
        rc = read_version(access, tip->anchors[level - 1], version, placed, &anchor, reterr);
        if (rc != 0) {
            return rc;
        }
        if (is_beyond(&anchor, measure, value)) {
            event = anchor;
            break;
        }
    }
    if (!found) { /* the slices of `event` may be gone: read it again */
        rc = mim_access_record(access, event.lsn, &event, reterr);
    }
    while (rc == 0 && !found) {
        rc = hop_back(access, measure, value, &event, &found, reterr);
    }
    if (rc == 0) {
        rc = mim_access_event(access, event.lsn, ret_event, reterr);
    }
    return rc;
}

/* ---------------------------------------------------------------------- walk */

void mim_stream_walk_init(struct mim_stream_walk *walk, const struct mim_stream_tip *tip, mim_version_t from,
                          mim_version_t to) {
    MIM_ASSERT(from >= 1 && to <= tip->version);
    walk->tip = *tip;
    walk->next = from;
    walk->to = to;
    walk->near_last = 0;
    walk->far_last = 0;
}

/** LSNs of the multiples of 64 in the group of 64^2 that holds `version` (a multiple), from its end backwards. */
static int fill_far(struct mim_stream_walk *walk, struct mim_access *access, mim_version_t version,
                    struct mim_error *reterr) {
    const mim_version_t wide = MIM_SKIP_BASE * MIM_SKIP_BASE;
    mim_version_t first = (version - 1) / wide * wide + MIM_SKIP_BASE;
    uint64_t end = (uint64_t)first - MIM_SKIP_BASE + wide;
    mim_version_t most = walk->to / MIM_SKIP_BASE * MIM_SKIP_BASE;
    mim_version_t last = end > most ? most : (mim_version_t)end;
    struct mim_journal_event event = {0};
    int rc = mim_stream_find(access, &walk->tip, MIM_BY_VERSION, last, &event, reterr);
    walk->far_last = 0;
    for (mim_version_t at = last; rc == 0; at -= MIM_SKIP_BASE) {
        mim_lsn_t skips[MIM_SKIP_LEVELS];
        walk->far[(at - first) / MIM_SKIP_BASE] = event.lsn;
        if (at <= version) {
            walk->far_first = at;
            walk->far_last = last;
            break;
        }
        if (skips_of(&event, skips) == 0) {
            return mim_error_set(reterr, MIM_E_DAMAGED, "no skip references at LSN %" PRIu64, event.lsn);
        }
        rc = read_version(access, skips[0], at - MIM_SKIP_BASE, false, &event, reterr);
    }
    return rc;
}

/** LSN of the end of a group of 64. */
static int group_end(struct mim_stream_walk *walk, struct mim_access *access, mim_version_t end, mim_lsn_t *ret_lsn,
                     struct mim_error *reterr) {
    if (end % MIM_SKIP_BASE != 0) { /* the last, incomplete group */
        struct mim_journal_event event = {0};
        int rc = mim_stream_find(access, &walk->tip, MIM_BY_VERSION, end, &event, reterr);
        *ret_lsn = event.lsn;
        return rc;
    }
    if (walk->far_last == 0 || end < walk->far_first || end > walk->far_last) {
        int rc = fill_far(walk, access, end, reterr);
        if (rc != 0) {
            return rc;
        }
    }
    const mim_version_t wide = MIM_SKIP_BASE * MIM_SKIP_BASE;
    *ret_lsn = walk->far[(end - 1) % wide / MIM_SKIP_BASE];
    return 0;
}

/** LSNs of the versions from `next` to the end of its group of 64. */
static int fill_near(struct mim_stream_walk *walk, struct mim_access *access, struct mim_error *reterr) {
    mim_version_t first = (walk->next - 1) / MIM_SKIP_BASE * MIM_SKIP_BASE + 1;
    uint64_t end = (uint64_t)first + MIM_SKIP_BASE - 1;
    mim_version_t last = end > walk->to ? walk->to : (mim_version_t)end;
    mim_lsn_t lsn = 0;
    walk->near_last = 0;
    int rc = group_end(walk, access, last, &lsn, reterr);
    for (mim_version_t at = last; rc == 0; at--) {
        walk->near[at - first] = lsn;
        if (at == walk->next) {
            walk->near_first = first;
            walk->near_last = last;
            break;
        }
        struct mim_journal_event event = {0};
        rc = read_version(access, lsn, at, false, &event, reterr);
        lsn = event.record.previous_lsn;
    }
    return rc;
}

int mim_stream_walk_next(struct mim_stream_walk *walk, struct mim_access *access, struct mim_journal_event *ret_event,
                         struct mim_error *reterr) {
    if (walk->next > walk->to) {
        return MIM_E_NOT_FOUND;
    }
    if (walk->next > walk->near_last) {
        int rc = fill_near(walk, access, reterr);
        if (rc != 0) {
            return rc;
        }
    }
    int rc = read_version(access, walk->near[walk->next - walk->near_first], walk->next, true, ret_event, reterr);
    if (rc == 0) {
        walk->next++;
    }
    return rc;
}
