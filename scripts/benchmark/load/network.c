#include "network.h"

#include <arpa/inet.h>
#include <errno.h>
#include <netinet/tcp.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <unistd.h>

#include "inbound.h"
#include "measure.h"
#include "options.h"
#include "text.h"

enum {
    EVENTS = 512,
    PER_ADDRESS = 25000, /* connections from one source address: the ephemeral ports end at about 28,000 */
    STALLED_BUFFER = 4096,
    ENDED = EPOLLRDHUP | EPOLLHUP | EPOLLERR,
};

struct network network;
static int epoll;
static struct connection **flush_list;
static int flush_count;

void network_note_fault(const char *what, const void *detail, size_t length)
{
    if (network.first_fault[0])
        return;
    int room = (int)sizeof network.first_fault - 40;
    snprintf(network.first_fault, sizeof network.first_fault, "%.30s: %.*s", what,
             (int)length < room ? (int)length : room, (const char *)detail);
}

/* ---- closing, writing ---- */

void network_close_connection(struct connection *connection, const char *why)
{
    bool was_ready = connection->state == READY;
    close(connection->fd);
    connection->state = CLOSED;
    bytes_free(&connection->in);
    bytes_free(&connection->out);
    if (connection->stalled && was_ready) {
        network.stalled_closed++;
        return;
    }
    network_note_fault(was_ready ? "closed" : "not opened", why, strlen(why));
    if (!was_ready)
        network.failed++;
    else {
        network.closed++;
        network.on_closed(connection);
    }
}

static void flush(struct connection *connection)
{
    if (connection->out.length == 0)
        return;
    ssize_t sent = send(connection->fd, connection->out.data, connection->out.length, MSG_NOSIGNAL | MSG_DONTWAIT);
    if (sent < 0 && errno != EAGAIN)
        return network_close_connection(connection, strerror(errno));
    if (sent > 0)
        bytes_consume(&connection->out, (size_t)sent);
}

void network_flush_later(struct connection *connection)
{
    if (!connection->to_flush)
        flush_list[flush_count++] = connection;
    connection->to_flush = true;
}

static void flush_all(void)
{
    for (int i = 0; i < flush_count; i++) {
        flush_list[i]->to_flush = false;
        if (flush_list[i]->state > CONNECTING && flush_list[i]->state < CLOSED)
            flush(flush_list[i]);
    }
    flush_count = 0;
}

void network_send(struct connection *connection, const struct part *parts, int count)
{
    if (connection->state == CLOSED)
        return;
    websocket_frame(&connection->out, TEXT, parts, count);
    network_flush_later(connection);
}

/* ---- opening ---- */

static void open_next(void)
{
    struct connection *connection = &network.connections[network.opened++];
    connection->fd = socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
    if (connection->fd < 0)
        fail("socket %d: %s (raise the descriptor limit: ulimit -n)", network.opened, strerror(errno));
    int one = 1, small = STALLED_BUFFER;
    setsockopt(connection->fd, IPPROTO_TCP, TCP_NODELAY, &one, sizeof one);
    setsockopt(connection->fd, IPPROTO_IP, IP_BIND_ADDRESS_NO_PORT, &one, sizeof one);
    if (connection->stalled) /* before the connect, where the window's size is agreed on */
        setsockopt(connection->fd, SOL_SOCKET, SO_RCVBUF, &small, sizeof small);
    struct sockaddr_in source = {.sin_family = AF_INET};
    source.sin_addr.s_addr = htonl(INADDR_LOOPBACK + (uint32_t)(connection->number / PER_ADDRESS));
    struct sockaddr_in server = {.sin_family = AF_INET, .sin_port = htons((uint16_t)connection->port)};
    server.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    connection->state = CONNECTING;
    if (bind(connection->fd, (struct sockaddr *)&source, sizeof source) < 0 ||
        (connect(connection->fd, (struct sockaddr *)&server, sizeof server) < 0 && errno != EINPROGRESS))
        return network_close_connection(connection, strerror(errno));
    /* Edge-triggered: said once, never changed, and a connection that was emptied is not looked at again. */
    struct epoll_event event = {.events = EPOLLIN | EPOLLOUT | EPOLLRDHUP | EPOLLET, .data.ptr = connection};
    if (epoll_ctl(epoll, EPOLL_CTL_ADD, connection->fd, &event) < 0)
        fail("epoll_ctl: %s", strerror(errno));
}

static struct blanks blanks_of(const struct connection *connection)
{
    return (struct blanks){.n = connection->number, .group = connection->group};
}

static void connected(struct connection *connection)
{
    int error = 0;
    socklen_t size = sizeof error;
    getsockopt(connection->fd, SOL_SOCKET, SO_ERROR, &error, &size);
    if (error)
        return network_close_connection(connection, strerror(error));
    connection->state = UPGRADING;
    char path[512];
    template_fill(path, sizeof path, options.path, blanks_of(connection));
    websocket_request(&connection->out, path, connection->port);
    flush(connection);
}

void network_become_ready(struct connection *connection)
{
    connection->state = READY;
    network.ready++;
}

void network_upgraded(struct connection *connection)
{
    connection->state = GREETING;
    for (int i = 0; i < options.hellos; i++) {
        char text[2048];
        template_fill(text, sizeof text, options.hello[i], blanks_of(connection));
        struct part part = {text, strlen(text)};
        network_send(connection, &part, 1);
    }
    if (options.ready_key == NULL)
        network_become_ready(connection);
}

static bool being_opened(void)
{
    return network.opened < network.count || network.ready + network.failed < network.count;
}

void network_open_all(void)
{
    uint64_t deadline = now() + (uint64_t)(options.open_timeout * NANOSECONDS);
    while (being_opened() && now() < deadline) {
        while (network.opened < network.count &&
               network.opened - network.ready - network.failed < options.in_flight)
            open_next();
        network_turn(deadline);
    }
}

/* ---- the loop ---- */

static int wait_events(struct epoll_event *events, uint64_t until)
{
    int count = epoll_wait(epoll, events, EVENTS, 0);
    uint64_t time = now();
    if (count != 0 || time >= until)
        return count;
    struct pollfd poll = {.fd = epoll, .events = POLLIN}; /* epoll_wait knows milliseconds only */
    struct timespec rest = {(time_t)((until - time) / NANOSECONDS), (long)((until - time) % NANOSECONDS)};
    ppoll(&poll, 1, &rest, NULL);
    return epoll_wait(epoll, events, EVENTS, 0);
}

static void handle(struct connection *connection, uint32_t events)
{
    if (connection->state == CONNECTING)
        connected(connection);
    if (connection->stalled && connection->state == READY) {
        if (events & (EPOLLHUP | EPOLLERR))
            network_close_connection(connection, "reset");
    } else if (connection->state != CLOSED) {
        if (events & (EPOLLIN | ENDED))
            inbound_read(connection, events & ENDED);
        if (events & EPOLLOUT && connection->state != CLOSED && connection->out.length)
            network_flush_later(connection);
    }
}

void network_turn(uint64_t until)
{
    struct epoll_event events[EVENTS];
    flush_all();
    int count = wait_events(events, until);
    for (int i = 0; i < count; i++)
        handle(events[i].data.ptr, events[i].events);
    flush_all();
}

void network_run(uint64_t until)
{
    while (now() < until)
        network_turn(until);
}

/* Each group begins at another server, so that those which talk, its first members, are on all servers, too. */
static int port_of(int turn)
{
    return options.port.item[turn % options.port.count];
}

void network_prepare(void)
{
    network.count = options.connections + options.stalled;
    network.connections = calloc((size_t)network.count, sizeof *network.connections);
    flush_list = calloc((size_t)network.count, sizeof *flush_list);
    epoll = epoll_create1(EPOLL_CLOEXEC);
    if (network.connections == NULL || flush_list == NULL || epoll < 0)
        fail("out of memory or descriptors for %d connections", network.count);
    int group_size = options.connections / options.groups;
    for (int i = 0; i < network.count; i++) {
        network.connections[i].number = i;
        network.connections[i].stalled = i >= options.connections;
        network.connections[i].group = i < options.connections ? i / group_size : 0;
        network.connections[i].port = port_of(i % group_size + i / group_size);
    }
}
