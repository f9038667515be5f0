#include "network.h"

#include <arpa/inet.h>
#include <errno.h>
#include <netinet/tcp.h>
#include <poll.h>
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

static int epoll;

/* ---- opening ---- */

void network_open(struct connection *connection)
{
    connection->fd = socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
    if (connection->fd < 0)
        fail("socket %d: %s (raise the descriptor limit: ulimit -n)", connection->number + 1, strerror(errno));
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
        return connection_close(connection, strerror(errno));
    /* Edge-triggered: said once, never changed, and a connection that was emptied is not looked at again. */
    struct epoll_event event = {.events = EPOLLIN | EPOLLOUT | EPOLLRDHUP | EPOLLET, .data.ptr = connection};
    if (epoll_ctl(epoll, EPOLL_CTL_ADD, connection->fd, &event) < 0)
        fail("epoll_ctl: %s", strerror(errno));
}

static void connected(struct connection *connection)
{
    int error = 0;
    socklen_t size = sizeof error;
    getsockopt(connection->fd, SOL_SOCKET, SO_ERROR, &error, &size);
    if (error)
        return connection_close(connection, strerror(error));
    connection->state = UPGRADING;
    char path[512];
    template_fill(path, sizeof path, options.path, connection_blanks(connection));
    websocket_request(&connection->out, path, connection->port);
    connection_flush(connection);
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
            network_open(&network.connections[network.opened++]);
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
            connection_close(connection, "reset");
    } else if (connection->state != CLOSED) {
        if (events & (EPOLLIN | ENDED))
            inbound_read(connection, events & ENDED);
        if (events & EPOLLOUT && connection->state != CLOSED && connection->out.length)
            connection_flush_later(connection);
    }
}

void network_turn(uint64_t until)
{
    struct epoll_event events[EVENTS];
    connection_flush_all();
    int count = wait_events(events, until);
    for (int i = 0; i < count; i++)
        handle(events[i].data.ptr, events[i].events);
    connection_flush_all();
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
    network.count = options.connections + options.stalled + options.returners;
    network.connections = calloc((size_t)network.count, sizeof *network.connections);
    connection_prepare(network.count);
    epoll = epoll_create1(EPOLL_CLOEXEC);
    if (network.connections == NULL || epoll < 0)
        fail("out of memory or descriptors for %d connections", network.count);
    int group_size = options.connections / options.groups;
    for (int i = 0; i < network.count; i++) {
        network.connections[i].number = i;
        network.connections[i].returns = i >= network.count - options.returners;
        network.connections[i].stalled = i >= options.connections && !network.connections[i].returns;
        network.connections[i].group = i < options.connections ? i / group_size : 0;
        if (network.connections[i].returns)
            network.connections[i].group = i % options.groups;
        network.connections[i].port = port_of(i % group_size + i / group_size);
    }
}
