/* talk: who says what when, whether it arrived everywhere once and in order, and how long that took.
 *
 * Closed loop: a talker keeps `window` messages outstanding; one is done when all have it that should.
 * Open loop: message k is due at start + k / (rate * talkers), whatever became of those before it; its latency
 * counts from when it was due, so that a server (or this program) that lags cannot hide it.
 */
#pragma once
#include <stdint.h>

#include "measure.h"

struct talk {
    uint64_t sent;          /* messages, from the start of the warm-up on */
    uint64_t deliveries;    /* that arrived in the measured time */
    uint64_t out_of_order;  /* a receiver got another sequence number than the next of that talker */
    uint64_t strangers;     /* deliveries to somebody whom they were not for */
    uint64_t latest;        /* ns that this program itself sent a message after it was due (open loop) */
    struct histogram latency;
};

extern struct talk talk;

/* Called once all are ready, which is when identities are known; what happens from `from` to `until` is measured. */
void talk_prepare(uint64_t start, uint64_t from, uint64_t until);
void talk_until(uint64_t until);    /* talks and listens until then */
void talk_return(void);             /* from now on returners come back, and the talk ends when all are level */
void talk_drain(uint64_t until);    /* only listens, until nothing is outstanding or then */
uint64_t talk_missing(void);        /* deliveries that never came */
long talk_served(void);             /* members that got at least one message */
