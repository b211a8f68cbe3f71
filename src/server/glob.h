// SPDX-License-Identifier: MIT
// Patterns of the ACL. Pure.
#ifndef MIM_SERVER_GLOB_H
#define MIM_SERVER_GLOB_H

#include <stdbool.h>
#include <stdint.h>

#include "base/bytes.h"

/** Most steps of one match. A match takes at most pattern times text steps; ids are short, so that only a pattern made
 *  to be slow comes here. */
#define MIM_GLOB_STEPS_MAX 16384u

enum mim_glob { MIM_GLOB_NO, MIM_GLOB_YES, MIM_GLOB_GIVEN_UP };

/** Whether all of `text` matches: * ? [abc] [a-z] [^a] and \ before a byte that is meant as it is; bytes, with case. No
 *  recursion; after `steps` steps it gives up, which a caller has to take for a no. */
enum mim_glob mim_glob(struct mim_slice pattern, struct mim_slice text, uint32_t steps);

/** False when a bracket or an escape is not closed. */
bool mim_glob_valid(struct mim_slice pattern);

#endif
