// SPDX-License-Identifier: MIT
// Containers for models, in the image: vector, hash map (text -> value), ordered map (integer pair -> value).
// All are plain structs addressed by offset; `{0}` is empty; the public face is include/memimage/model.h, which
// has the same layouts under the names mim_vec, mim_map, mim_omap. Deterministic: same calls, same bytes.
#ifndef MIM_IMAGE_CONTAINERS_H
#define MIM_IMAGE_CONTAINERS_H

#include "image/image.h"
#include "memimage/model.h"

/* vec.c: contiguous elements, capacity doubles (amortised copy; bounded by what a model keeps in one vector;
 * for large collections use the chunked array behind mim_map or many aggregates). */
void *mim_vec_push_in(struct mim_arena *arena, struct mim_vec *vec, uint32_t element_size);
void *mim_vec_get_in(const struct mim_arena *arena, const struct mim_vec *vec, uint32_t element_size, uint64_t n);
void mim_vec_remove_in(struct mim_arena *arena, struct mim_vec *vec, uint32_t element_size,
                       uint64_t n); /* keeps order */
bool mim_vec_resize_in(struct mim_arena *arena, struct mim_vec *vec, uint32_t element_size, uint64_t count);
void mim_vec_clear_in(struct mim_arena *arena, struct mim_vec *vec, uint32_t element_size);

/* map.c: text key -> value of fixed size; dense nodes {text key, hash, value} + struct mim_index; removal moves the
 * last node into the hole. Values are zeroed when created. Pointers are valid until the next change of the map. */
void *mim_map_get_in(const struct mim_arena *arena, const struct mim_map *map, struct mim_string key);
void *mim_map_put_in(struct mim_arena *arena, struct mim_map *map, uint32_t value_size, struct mim_string key);
bool mim_map_remove_in(struct mim_arena *arena, struct mim_map *map, struct mim_string key);
/** Node n < count, in a deterministic but arbitrary order. */
void *mim_map_at_in(const struct mim_arena *arena, const struct mim_map *map, uint64_t n, struct mim_string *ret_key);
uint64_t mim_map_count_in(const struct mim_arena *arena, const struct mim_map *map);
void mim_map_clear_in(struct mim_arena *arena, struct mim_map *map);

/* omap.c: a B-tree, key {i64 major, u64 minor} -> u64 value, ascending. O(log n), nodes of 512 bytes. */
bool mim_omap_put_in(struct mim_arena *arena, struct mim_omap *omap, struct mim_omap_key key, uint64_t value);
bool mim_omap_get_in(const struct mim_arena *arena, const struct mim_omap *omap, struct mim_omap_key key,
                     uint64_t *ret_value);
bool mim_omap_remove_in(struct mim_arena *arena, struct mim_omap *omap, struct mim_omap_key key);
/** First key >= from (ascending) or last key <= from (descending); false at the end. */
bool mim_omap_seek_in(const struct mim_arena *arena, const struct mim_omap *omap, struct mim_omap_key from,
                      bool descending, struct mim_omap_key *ret_key, uint64_t *ret_value);
void mim_omap_clear_in(struct mim_arena *arena, struct mim_omap *omap);
/** Whether order, levels and count hold in every node: for tests and MIM_VERIFY_THAT, O(n). */
bool mim_omap_valid_in(const struct mim_arena *arena, const struct mim_omap *omap);

#endif
