/* network: opens the connections, and waits for what happens to them, on one epoll. */
#pragma once
#include <stdint.h>

#include "connection.h"

void network_prepare(void);
void network_open_all(void);            /* returns when all are ready, failed, or late */
void network_open(struct connection *); /* begins to */
void network_turn(uint64_t until);      /* waits for events, at the longest until then, and handles them */
void network_run(uint64_t until);       /* turns until then */
