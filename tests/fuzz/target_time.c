// SPDX-License-Identifier: MIT
// RFC 3339: what is accepted reads back as the same moment from its canonical form.
#include "base/clock.h"
#include "base/error.h"
#include "fuzz.h"

#define YEAR_0    (-62167219200000) /* 0000-01-01T00:00:00Z */
#define YEAR_9999 253402300799999

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
    uint8_t *text = fuzz_copy(mim_slice_of(data, size));
    int64_t first = 42;
    int rc = mim_rfc3339_parse((const char *)text, size, &first);
    free(text);
    if (rc != 0) {
        FUZZ_REQUIRE(rc == MIM_E_INVALID && first == 42);
        int64_t any = 0;
        memcpy(&any, data, size < sizeof(any) ? size : sizeof(any));
        char out[MIM_RFC3339_SIZE + 1u];
        mim_rfc3339_format(any, out);
        FUZZ_REQUIRE(strlen(out) == MIM_RFC3339_SIZE - 1);
        return 0;
    }
    FUZZ_REQUIRE(size >= 20);
    if (first >= YEAR_0 && first <= YEAR_9999) { /* an offset may lead out of the years that can be written */
        char canonical[MIM_RFC3339_SIZE + 1u];
        int64_t second;
        mim_rfc3339_format(first, canonical);
        FUZZ_REQUIRE(mim_rfc3339_parse(canonical, strlen(canonical), &second) == 0);
        FUZZ_REQUIRE(first == second);
    }
    return 0;
}
