/* bytes: a growing run of bytes, appended at its end and consumed from its front. */
#pragma once
#include <stddef.h>
#include <stdint.h>

struct bytes {
    uint8_t *data;
    size_t length;
    size_t capacity;
};

/* Makes room for `count` more bytes and returns where they go; the caller adds what it wrote to `length`. */
uint8_t *bytes_reserve(struct bytes *bytes, size_t count);
void bytes_append(struct bytes *bytes, const void *data, size_t count);
void bytes_consume(struct bytes *bytes, size_t count);
void bytes_free(struct bytes *bytes);
