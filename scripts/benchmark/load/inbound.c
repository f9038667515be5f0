#include "inbound.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>

#include "measure.h"
#include "options.h"
#include "text.h"

enum { READ_SIZE = 1 << 18 };

static bool has(const struct frame *frame, const char *text)
{
    return memmem(frame->payload, frame->length, text, strlen(text)) != NULL;
}

static void keep(struct connection *connection, const struct frame *frame)
{
    char value[200];
    for (int i = 0; i < KEPT; i++)
        if (!connection->kept[i] && json_value(frame->payload, frame->length, KEPT_KEYS[i], value, sizeof value))
            connection->kept[i] = strdup(value);
}

static void greeted(struct connection *connection, const struct frame *frame)
{
    long value;
    if (connection->came_back) {
        if (has(frame, options.level))
            connection_become_ready(connection);
        return;
    }
    if (connection->returns)
        keep(connection, frame);
    if (options.identity && !connection->identity)
        json_integer(frame->payload, frame->length, options.identity, &connection->identity);
    if (json_integer(frame->payload, frame->length, options.ready_key, &value) &&
        (options.ready_value < 0 || options.ready_value == value))
        connection_become_ready(connection);
}

static void take_message(struct connection *connection, const struct frame *frame, uint64_t time)
{
    if (!frame->final)
        fail("a server sent a fragmented message, which this program does not put together");
    if (memchr(frame->payload, '@', frame->length) != NULL) {
        network.on_message(connection, frame->payload, frame->length, time);
        return;
    }
    network.others++;
    if (has(frame, "\"error\"") || has(frame, "\"recovered\":false")) {
        network.errors++;
        connection_note_fault("error", frame->payload, frame->length);
    }
    if (connection->state == GREETING)
        greeted(connection, frame);
}

static void take_close(struct connection *connection, const struct frame *frame)
{
    char words[160] = "without a code";
    if (frame->length >= 2)
        snprintf(words, sizeof words, "%d %.*s", frame->payload[0] << 8 | frame->payload[1],
                 (int)frame->length - 2, (const char *)frame->payload + 2);
    struct part part = {frame->payload, frame->length};
    websocket_frame(&connection->out, CLOSE, &part, 1);
    send(connection->fd, connection->out.data, connection->out.length, MSG_NOSIGNAL | MSG_DONTWAIT);
    connection_close(connection, words);
}

static void take_frame(struct connection *connection, const struct frame *frame, uint64_t time)
{
    struct part part = {frame->payload, frame->length};
    switch (frame->opcode) {
    case CLOSE:
        take_close(connection, frame);
        break;
    case PING:
        network.pings++;
        websocket_frame(&connection->out, PONG, &part, 1);
        connection_flush_later(connection);
        break;
    case PONG:
        break;
    default:
        take_message(connection, frame, time);
    }
}

static size_t take_in(struct connection *connection, const uint8_t *data, size_t size, uint64_t time)
{
    size_t used = 0;
    if (connection->state == UPGRADING) {
        long response = websocket_response(data, size);
        if (response < 0)
            connection_close(connection, "the upgrade was refused");
        if (response <= 0)
            return 0;
        used = (size_t)response;
        connection_upgraded(connection);
    }
    struct frame frame;
    for (size_t step; connection->state != CLOSED && (step = websocket_parse(data + used, size - used, &frame)); used += step)
        take_frame(connection, &frame, time);
    return used;
}

/* Returns whether there may be more. */
static bool read_once(struct connection *connection)
{
    static uint8_t buffer[READ_SIZE]; /* one for all: what is incomplete waits in connection->in */
    size_t kept = connection->in.length;
    if (kept >= sizeof buffer)
        fail("a frame of more than %d bytes", READ_SIZE);
    if (kept)
        memcpy(buffer, connection->in.data, kept);
    ssize_t got = recv(connection->fd, buffer + kept, sizeof buffer - kept, MSG_DONTWAIT);
    if (got < 0 && errno == EAGAIN)
        return false;
    if (got <= 0) {
        connection_close(connection, got < 0 ? strerror(errno) : "end of stream");
        return false;
    }
    network.bytes_read += (uint64_t)got;
    size_t size = kept + (size_t)got, used = take_in(connection, buffer, size, now());
    if (connection->state == CLOSED)
        return false;
    connection->in.length = 0;
    if (used < size)
        bytes_append(&connection->in, buffer + used, size - used);
    return size == sizeof buffer;
}

void inbound_read(struct connection *connection, bool to_the_end)
{
    while (read_once(connection) || (to_the_end && connection->state != CLOSED))
        ;
}
