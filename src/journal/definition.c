// SPDX-License-Identifier: MIT
// Codec of the journal's own definitions (DEFINE records): what a number in a record means. Pure.
#include "journal/definition.h"

static bool name_good(struct mim_slice name) { return name.size > 0 && name.size <= MIM_NAME_SIZE_MAX; }

/** What both sides hold true; encode refuses what decode would. */
static bool definition_good(const struct mim_definition *definition) {
    if (definition->kind < MIM_DEFINE_AGGREGATE || definition->kind > MIM_DEFINE_COMMAND || definition->number == 0 ||
        definition->field_count > MIM_FIELDS_MAX || !name_good(definition->name)) {
        return false;
    }
    if (definition->kind != MIM_DEFINE_EVENT && definition->version != 0) {
        return false;
    }
    if (definition->kind == MIM_DEFINE_AGGREGATE && definition->aggregate != 0) {
        return false;
    }
    for (uint32_t i = 0; i < definition->field_count; i++) {
        const struct mim_definition_field *field = &definition->fields[i];
        if (field->type == 0 || (field->flags & ~MIM_DEFINITION_FLAGS) != 0 || !name_good(field->name)) {
            return false;
        }
    }
    return true;
}

bool mim_definition_encode(const struct mim_definition *definition, struct mim_byte_writer *writer) {
    if (!definition_good(definition)) {
        return false;
    }
    mim_write8(writer, definition->kind);
    mim_write8(writer, (uint8_t)definition->field_count);
    mim_write16(writer, definition->number);
    mim_write16(writer, definition->aggregate);
    mim_write16(writer, 0);
    mim_write32(writer, definition->version);
    mim_write16(writer, (uint16_t)definition->name.size);
    mim_write_bytes(writer, definition->name.data, definition->name.size);
    for (uint32_t i = 0; i < definition->field_count; i++) {
        const struct mim_definition_field *field = &definition->fields[i];
        mim_write8(writer, field->type);
        mim_write8(writer, field->flags);
        mim_write8(writer, (uint8_t)field->name.size);
        mim_write_bytes(writer, field->name.data, field->name.size);
        mim_write64(writer, (uint64_t)field->fallback);
    }
    return !writer->overflow;
}

int mim_definition_decode(struct mim_slice payload, struct mim_definition *ret_definition, struct mim_error *reterr) {
    struct mim_byte_reader reader = {.data = payload.data, .size = payload.size};
    struct mim_definition definition = {0};
    definition.kind = mim_read8(&reader);
    definition.field_count = mim_read8(&reader);
    definition.number = mim_read16(&reader);
    definition.aggregate = mim_read16(&reader);
    uint16_t reserved = mim_read16(&reader);
    definition.version = mim_read32(&reader);
    definition.name.size = mim_read16(&reader);
    definition.name.data = mim_read_bytes(&reader, definition.name.size);
    if (reader.overflow || reserved != 0 || definition.field_count > MIM_FIELDS_MAX) {
        return mim_error_set(reterr, MIM_E_DAMAGED, "definition record: malformed");
    }
    for (uint32_t i = 0; i < definition.field_count; i++) {
        struct mim_definition_field *field = &definition.fields[i];
        field->type = mim_read8(&reader);
        field->flags = mim_read8(&reader);
        field->name.size = mim_read8(&reader);
        field->name.data = mim_read_bytes(&reader, field->name.size);
        field->fallback = (int64_t)mim_read64(&reader);
    }
    if (reader.overflow || reader.offset != payload.size || !definition_good(&definition)) {
        return mim_error_set(reterr, MIM_E_DAMAGED, "definition record: malformed");
    }
    *ret_definition = definition;
    return 0;
}
