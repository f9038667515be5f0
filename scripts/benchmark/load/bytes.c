#include "bytes.h"

#include <stdlib.h>
#include <string.h>

#include "measure.h"

uint8_t *bytes_reserve(struct bytes *bytes, size_t count)
{
    if (bytes->length + count > bytes->capacity) {
        bytes->capacity = 2 * (bytes->length + count);
        bytes->data = realloc(bytes->data, bytes->capacity);
        if (bytes->data == NULL)
            fail("out of memory for %zu bytes", bytes->capacity);
    }
    return bytes->data + bytes->length;
}

void bytes_append(struct bytes *bytes, const void *data, size_t count)
{
    memcpy(bytes_reserve(bytes, count), data, count);
    bytes->length += count;
}

void bytes_consume(struct bytes *bytes, size_t count)
{
    bytes->length -= count;
    memmove(bytes->data, bytes->data + count, bytes->length);
}

void bytes_free(struct bytes *bytes)
{
    free(bytes->data);
    *bytes = (struct bytes){0};
}
