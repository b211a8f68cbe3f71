// SPDX-License-Identifier: MIT
// Scalar types with a meaning, shared by all parts.
#ifndef MIM_BASE_TYPES_H
#define MIM_BASE_TYPES_H

#include <stdint.h>

typedef uint64_t mim_position_t; /* number of an event in the journal: 1, 2, 3 ... without gaps; 0 = none */
typedef uint64_t mim_lsn_t;     /* byte offset in the journal over all segments; 0 = none (a segment header is there) */
typedef uint32_t mim_version_t; /* length of a stream; 0 = the aggregate does not exist */
typedef uint32_t mim_stream_t;  /* dense number of an aggregate within its type: 0, 1, 2 ... */
typedef uint32_t mim_epoch_t;   /* number of a primary's reign; 0 = none */

#endif
