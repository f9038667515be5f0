#include "websocket.h"

#include <stdio.h>
#include <string.h>

/* The key of RFC 6455's own example, whose right answer therefore is known without a SHA-1 here. */
#define KEY "dGhlIHNhbXBsZSBub25jZQ=="
#define ACCEPT "s3pPLMBiTxaQ9kYGzzhZRbK+xOo="

static const uint8_t MASK[4] = {0x5a, 0xc3, 0x1f, 0x96};

void websocket_request(struct bytes *out, const char *path, int port)
{
    char request[1024];
    int length = snprintf(request, sizeof request,
                          "GET %s HTTP/1.1\r\nHost: 127.0.0.1:%d\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n"
                          "Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: " KEY "\r\n\r\n",
                          path, port);
    bytes_append(out, request, (size_t)length);
}

long websocket_response(const uint8_t *data, size_t size)
{
    const uint8_t *end = memmem(data, size, "\r\n\r\n", 4);
    if (end == NULL)
        return size < 16384 ? 0 : -1;
    size_t used = (size_t)(end - data) + 4;
    bool right = used > 12 && memcmp(data + 8, " 101", 4) == 0 && memmem(data, used, ACCEPT, strlen(ACCEPT)) != NULL;
    return right ? (long)used : -1;
}

static size_t put_length(uint8_t *out, size_t length)
{
    if (length < 126) {
        out[0] = (uint8_t)(0x80 | length);
        return 1;
    }
    int octets = length < 65536 ? 2 : 8;
    out[0] = 0x80 | (octets == 2 ? 126 : 127);
    for (int i = 0; i < octets; i++)
        out[1 + i] = (uint8_t)((uint64_t)length >> (8 * (octets - 1 - i)));
    return 1 + (size_t)octets;
}

void websocket_frame(struct bytes *out, enum opcode opcode, const struct part *parts, int count)
{
    size_t length = 0;
    for (int i = 0; i < count; i++)
        length += parts[i].length;
    uint8_t *start = bytes_reserve(out, length + 14), *next = start;
    *next++ = (uint8_t)(0x80 | opcode);
    next += put_length(next, length);
    next = (uint8_t *)memcpy(next, MASK, sizeof MASK) + sizeof MASK;
    size_t position = 0;
    for (int i = 0; i < count; i++)
        for (const uint8_t *byte = parts[i].data, *end = byte + parts[i].length; byte < end; byte++)
            *next++ = *byte ^ MASK[position++ & 3];
    out->length += (size_t)(next - start);
}

size_t websocket_parse(const uint8_t *data, size_t size, struct frame *frame)
{
    if (size < 2)
        return 0;
    uint64_t length = data[1] & 0x7f;
    size_t header = 2;
    if (length >= 126) {
        size_t octets = length == 126 ? 2 : 8;
        header += octets;
        if (size < header)
            return 0;
        length = 0;
        for (size_t i = 2; i < header; i++)
            length = length << 8 | data[i];
    }
    if (size - header < length)
        return 0;
    *frame = (struct frame){data[0] & 0x0f, (data[0] & 0x80) != 0, data + header, (size_t)length};
    return header + (size_t)length;
}
