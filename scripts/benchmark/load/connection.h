/* connection: one connection, what it sends, how it ends, and the figures of all of them. */
#pragma once
#include <stdbool.h>
#include <stdint.h>

#include "bytes.h"
#include "text.h"
#include "websocket.h"

enum state { UNUSED, CONNECTING, UPGRADING, GREETING, READY, CLOSED };

struct connection {
    int fd;
    enum state state;
    int number, group, port;
    bool stalled;        /* a member that never reads once it is ready */
    bool returns;        /* a member that leaves and comes back */
    bool came_back;      /* it did, or is about to */
    bool to_flush;       /* on the list of those that this turn wrote to */
    long identity;       /* what the server calls it */
    char *kept[KEPT];    /* what a returner's first greetings said, to present it when it comes back */
    struct bytes in;     /* an incomplete frame */
    struct bytes out;    /* not yet taken by the socket */
    uint64_t delivered;  /* messages with a marker */
};

struct network {
    struct connection *connections; /* options.connections members, then stalled ones, then returners */
    int count, opened, ready, failed, closed, stalled_closed;
    uint64_t bytes_read, pings, others, errors;
    char first_fault[256];          /* the first error, close frame or failure, in words */
    void (*on_message)(struct connection *, const uint8_t *payload, size_t length, uint64_t time);
    void (*on_closed)(struct connection *);
    void (*on_turned_away)(struct connection *); /* who came back, and was not level yet */
};

extern struct network network;

void connection_prepare(int count);                        /* room for so many, once */
void connection_send(struct connection *connection, const struct part *parts, int count);
void connection_flush(struct connection *connection);
void connection_flush_later(struct connection *connection); /* something was appended to `out` */
void connection_flush_all(void);                           /* those of whom that was said */
void connection_upgraded(struct connection *connection);   /* the server said 101: send the hellos */
void connection_become_ready(struct connection *connection);
void connection_leave(struct connection *connection);      /* as a client that is cut off: without a word */
void connection_close(struct connection *connection, const char *why);
void connection_note_fault(const char *what, const void *detail, size_t length);
struct blanks connection_blanks(const struct connection *connection);
