/* inbound: reads one connection's socket and acts on what came: the upgrade's answer, greetings, messages. */
#pragma once
#include <stdbool.h>

#include "connection.h"

/* Reads what is there now; `to_the_end` where the kernel said that nothing comes after it. */
void inbound_read(struct connection *connection, bool to_the_end);
