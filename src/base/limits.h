// SPDX-License-Identifier: MIT
// Every bound has its name here, with its reason and its relation to the others.
#ifndef MIM_BASE_LIMITS_H
#define MIM_BASE_LIMITS_H

/* Names and ids */
#define MIM_ID_SIZE_MAX         256u   /* bytes of an aggregate id */
#define MIM_NAME_SIZE_MAX       64u    /* bytes of a type, command, event or field name */
#define MIM_KEY_SIZE_MAX        256u   /* bytes of an idempotency key, correlation, causation, actor */
#define MIM_FIELDS_MAX          64u    /* fields of one command, event or state */
#define MIM_STRUCT_SIZE_MAX     65536u /* bytes of a command's, an event's or a state's struct */
#define MIM_AGGREGATE_TYPES_MAX 64u    /* aggregate types of one model */
#define MIM_PROJECTIONS_MAX     32u    /* projections of one model */
#define MIM_EVENTS_PER_TX_MAX   256u   /* events of one transaction */
#define MIM_CATALOG_MAX         4096u  /* journaled definitions (types, events, commands) of one journal */

#define MIM_NOTE_SIZE_MAX 256u /* bytes of an operator's note in the journal */

/* Commands */
#define MIM_COMMAND_SIZE_MAX     (1u << 20) /* bytes of one request: 1 MiB */
#define MIM_COMMAND_SIZE_CEILING (64u << 20)
#define MIM_TX_SIZE_MAX          (2u << 20) /* bytes of one encoded transaction */
#define MIM_TX_SCRATCH_SIZE      (4u << 20) /* event structs of one transaction before encoding */
#define MIM_EVENT_SCRATCH_SIZE   (2u << 20) /* lists of one command or event, decoded: the other half is for emitting */

/* Journal */
#define MIM_SEGMENT_HEADER_SIZE 4096u
#define MIM_SEGMENT_SIZE_MIN    (4u << 20)  /* a segment holds the largest frame and its roll frame */
#define MIM_SEGMENT_SIZE_MAX    (64u << 20) /* default ceiling of automatic growth */
#define MIM_FRAME_HEADER_SIZE   64u
#define MIM_FRAME_SIZE_SOFT     (1u << 20) /* a frame is sealed when it reaches this */
#define MIM_FRAME_SIZE_MAX      (MIM_FRAME_HEADER_SIZE + MIM_FRAME_SIZE_SOFT + MIM_TX_SIZE_MAX)
#define MIM_FRAME_EVENTS_MAX    65535u /* an event's index in its frame is 16 bits */
#define MIM_RECORD_HEADER_SIZE  40u
#define MIM_RING_SIZE           (32u << 20) /* bytes between engine and journal writer */
#define MIM_RING_USUAL          (6u << 20)  /* of them, those that are used while the writer keeps up */

_Static_assert(MIM_SEGMENT_SIZE_MIN >= MIM_SEGMENT_HEADER_SIZE + MIM_FRAME_SIZE_MAX + 2 * MIM_FRAME_HEADER_SIZE,
               "the largest frame must fit the smallest segment together with its roll frame");
_Static_assert(MIM_RING_SIZE >= 4 * MIM_FRAME_SIZE_MAX, "the ring holds several of the largest frames");
_Static_assert(MIM_RING_USUAL / 4 * 3 >= MIM_FRAME_SIZE_MAX + MIM_FRAME_SIZE_SOFT, "or a frame would wait for ever");
_Static_assert(MIM_TX_SCRATCH_SIZE >= 2 * MIM_EVENT_SCRATCH_SIZE, "a decoded event can be upcast or decided upon");
_Static_assert(MIM_TX_SIZE_MAX >= 2 * MIM_COMMAND_SIZE_MAX, "a command's data may stand in two events");

/* Idempotency */
#define MIM_IDEMPOTENCY_WINDOW_DEFAULT 1000000u

/* Image */
#define MIM_IMAGE_RESERVATION_DEFAULT (1ull << 40) /* address space, not memory: 1 TiB */
#define MIM_IMAGE_RESERVATION_MIN     (16ull << 20)
#define MIM_IMAGE_HEADROOM            (16ull << 20) /* free before a command is decided, so that evolve cannot fail */

#endif
