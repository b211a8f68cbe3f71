// SPDX-License-Identifier: MIT
// The version, in one place; meson.build's project version must be the same (a style test compares).
#ifndef MIM_BASE_VERSION_H
#define MIM_BASE_VERSION_H

#define MIM_VERSION "0.1.0"

#endif
