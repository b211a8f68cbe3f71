// SPDX-License-Identifier: MIT
// What a standby is answered: the other half of the conversation in standby.h, up to the frames, which feed.h hands out.
// Replies go into a buffer, in RESP; no sockets, no time. Whoever carries the bytes is told what else to do.
#ifndef MIM_REPLICA_ANSWER_H
#define MIM_REPLICA_ANSWER_H

#include "engine/engine.h"
#include "replica/feed.h"

/** What answers stand on; borrowed. */
struct mim_answering {
    struct mim_storage storage;
    const struct mim_engine *engine;
    const struct mim_appender *appender;
    struct mim_access *access; /* its limit: what is durable now */
    bool follows;              /* we are a standby ourselves */
    const char *run_id;        /* names this journal as it was last opened: a copy goes on only from the same one */
};

enum mim_answer {
    MIM_ANSWER_GIVEN,     /* nothing more to do */
    MIM_ANSWER_FOLLOWS,   /* frames are to follow: feed->streaming has become true */
    MIM_ANSWER_FENCED,    /* the standby's epoch is newer than ours: we are the former primary */
    MIM_ANSWER_CONFIRMED, /* more is durable there; nothing was said */
    MIM_ANSWER_HOSTILE,   /* what it claims cannot be: close the connection; nothing was said */
};

/** One command of a standby, arguments[0] its name, of these:
 *    REPLICATE protocol history|? epoch lsn chain position port [identity]
 *    REPLFILES all|tail         a status "run count", then "path size allocated" for each
 *    REPLREAD path offset count the bytes as they stand
 *    REPLPROBE lsn chain [lsn chain ...]   index of the first that is ours too, or -1
 *    REPLACK lsn position       no answer
 *  Any arguments will do: what is malformed, or comes before REPLICATE, is answered with an error. *ret_peer (may be
 *  NULL) is filled in by REPLICATE, for the log. The access's limit has to be set before. */
enum mim_answer mim_answer(const struct mim_answering *answering, struct mim_feed *feed,
                           const struct mim_slice *arguments, size_t count, struct mim_buffer *out,
                           struct mim_replica_point *ret_peer);

/* What is said unasked, to a streaming standby. */

/** A frame, as it stands in the journal. */
void mim_push_frame(struct mim_buffer *out, const struct mim_frame *frame);
/** A word and its numbers: beat, scan, digest, promote. */
void mim_push_word(struct mim_buffer *out, const char *word, const uint64_t *numbers, size_t count);

#endif
