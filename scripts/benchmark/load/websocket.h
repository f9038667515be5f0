/* websocket: the client's side of RFC 6455 as bytes: the handshake, and frames out and in. No I/O. */
#pragma once
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "bytes.h"

enum opcode { CONTINUATION = 0, TEXT = 1, BINARY = 2, CLOSE = 8, PING = 9, PONG = 10 };

struct frame {
    enum opcode opcode;
    bool final;
    const uint8_t *payload; /* inside the bytes that were parsed */
    size_t length;
};

void websocket_request(struct bytes *out, const char *path, int port);

/* How many bytes the server's answer takes; 0 while it is incomplete, -1 where it is not the right answer. */
long websocket_response(const uint8_t *data, size_t size);

/* Appends one masked frame whose payload is the `parts`, put together. */
struct part {
    const void *data;
    size_t length;
};
void websocket_frame(struct bytes *out, enum opcode opcode, const struct part *parts, int count);

/* Takes one (unmasked) frame off the front of `data`: the bytes it used, or 0 while it is incomplete. */
size_t websocket_parse(const uint8_t *data, size_t size, struct frame *frame);
