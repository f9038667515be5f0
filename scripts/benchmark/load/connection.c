#include "connection.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "measure.h"
#include "options.h"
#include "text.h"

struct network network;
static struct connection **flush_list;
static int flush_count;

void connection_prepare(int count)
{
    flush_list = calloc((size_t)count, sizeof *flush_list);
    if (flush_list == NULL)
        fail("out of memory for %d connections", count);
}

void connection_note_fault(const char *what, const void *detail, size_t length)
{
    if (network.first_fault[0])
        return;
    int room = (int)sizeof network.first_fault - 40;
    snprintf(network.first_fault, sizeof network.first_fault, "%.30s: %.*s", what,
             (int)length < room ? (int)length : room, (const char *)detail);
}

/* ---- closing, writing ---- */

static void let_go(struct connection *connection)
{
    close(connection->fd);
    connection->state = CLOSED;
    bytes_free(&connection->in);
    bytes_free(&connection->out);
}

void connection_leave(struct connection *connection)
{
    network.ready -= connection->state == READY;
    let_go(connection);
}

void connection_close(struct connection *connection, const char *why)
{
    bool was_ready = connection->state == READY;
    let_go(connection);
    if (connection->came_back && !was_ready) {
        network.on_turned_away(connection);
        return;
    }
    if (connection->stalled && was_ready) {
        network.stalled_closed++;
        return;
    }
    connection_note_fault(was_ready ? "closed" : "not opened", why, strlen(why));
    if (!was_ready)
        network.failed++;
    else {
        network.closed++;
        network.on_closed(connection);
    }
}

void connection_flush(struct connection *connection)
{
    if (connection->out.length == 0)
        return;
    ssize_t sent = send(connection->fd, connection->out.data, connection->out.length, MSG_NOSIGNAL | MSG_DONTWAIT);
    if (sent < 0 && errno != EAGAIN)
        return connection_close(connection, strerror(errno));
    if (sent > 0)
        bytes_consume(&connection->out, (size_t)sent);
}

void connection_flush_later(struct connection *connection)
{
    if (!connection->to_flush)
        flush_list[flush_count++] = connection;
    connection->to_flush = true;
}

void connection_flush_all(void)
{
    for (int i = 0; i < flush_count; i++) {
        flush_list[i]->to_flush = false;
        if (flush_list[i]->state > CONNECTING && flush_list[i]->state < CLOSED)
            connection_flush(flush_list[i]);
    }
    flush_count = 0;
}

void connection_send(struct connection *connection, const struct part *parts, int count)
{
    if (connection->state == CLOSED)
        return;
    websocket_frame(&connection->out, TEXT, parts, count);
    connection_flush_later(connection);
}

/* ---- greeting ---- */

struct blanks connection_blanks(const struct connection *connection)
{
    return (struct blanks){.n = connection->number, .group = connection->group, .kept = connection->kept};
}

void connection_become_ready(struct connection *connection)
{
    connection->state = READY;
    network.ready++;
}

void connection_upgraded(struct connection *connection)
{
    connection->state = GREETING;
    const struct texts *hello = connection->came_back ? &options.again : &options.hello;
    for (int i = 0; i < hello->count; i++) {
        char text[2048];
        template_fill(text, sizeof text, hello->item[i], connection_blanks(connection));
        struct part part = {text, strlen(text)};
        connection_send(connection, &part, 1);
    }
    if (options.ready_key == NULL && !connection->came_back)
        connection_become_ready(connection);
}
