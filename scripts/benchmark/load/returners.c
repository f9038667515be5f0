#include "returners.h"

#include <stdlib.h>

#include "measure.h"
#include "network.h"
#include "options.h"

enum { PORTION = 16 }; /* opened at a time, so that the others are read in between: ten thousand take a while */

static const uint64_t PAUSE = NANOSECONDS; /* before the next try */

static struct waiting {
    struct connection *connection;
    uint64_t due;
} *waiting; /* a ring, in the order of time, in which each returner has room */
static unsigned long joined, left;

static void wait_until(struct connection *connection, uint64_t due)
{
    waiting[joined++ % (unsigned long)options.returners] = (struct waiting){connection, due};
}

static void turned_away(struct connection *connection)
{
    wait_until(connection, now() + PAUSE);
}

void returners_leave(void)
{
    waiting = calloc((size_t)options.returners + 1, sizeof *waiting);
    if (waiting == NULL)
        fail("out of memory for %d returners", options.returners);
    network.on_turned_away = turned_away;
    for (int i = network.count - options.returners; i < network.count; i++)
        if (network.connections[i].state == READY) {
            connection_leave(&network.connections[i]);
            wait_until(&network.connections[i], 0);
        }
}

bool returners_come_back(void)
{
    for (int i = 0; i < PORTION; i++) {
        struct waiting *next = &waiting[left % (unsigned long)options.returners];
        if (left == joined || next->due > now())
            return false;
        left++;
        next->connection->came_back = true;
        network_open(next->connection);
    }
    return true;
}

bool returners_are_level(void)
{
    return network.ready + network.failed >= network.count;
}

unsigned long returners_retries(void)
{
    return joined > (unsigned long)options.returners ? joined - (unsigned long)options.returners : 0;
}
