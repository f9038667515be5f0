#include "talk.h"

#include <stdbool.h>
#include <stdlib.h>
#include <string.h>

#include "network.h"
#include "options.h"
#include "returners.h"
#include "text.h"

struct talker {
    struct connection *connection;
    uint32_t sent, done;   /* sequence numbers: next to send, first that is not everywhere yet (closed loop) */
    uint32_t *owed;        /* deliveries left of each outstanding message, by sequence modulo window */
    uint64_t *sent_at;     /* likewise */
    struct part before, after; /* the message around its marker */
    bool listed;           /* on the list of those with room in their window */
};

struct talk talk;
static struct talker *talkers;
static int talker_count, group_size;
static uint32_t *expected;     /* next sequence number of each (member, talker of its group) */
static int *living;            /* members of each group that are still connected */
static struct talker **free_list;
static int free_count;
static uint64_t started, measured_from, measured_until, scheduled;
static bool returning;

/* ---- the open loop's timetable: the groups take turns, and so do the talkers in each ---- */

static uint64_t due(uint64_t k)
{
    return started + (uint64_t)((double)k * NANOSECONDS / (options.rate * talker_count));
}

static uint64_t place(int talker, uint32_t sequence)
{
    int group = talker / options.talkers, slot = talker % options.talkers;
    return (uint64_t)sequence * (uint64_t)talker_count + (uint64_t)(slot * options.groups + group);
}

static int talker_at(uint64_t k)
{
    int turn = (int)(k % (uint64_t)talker_count);
    return turn % options.groups * options.talkers + turn / options.groups;
}

/* ---- sending ---- */

static void say(struct talker *talker)
{
    char marker[MOST_SIZE];
    uint32_t sequence = talker->sent++;
    marker_write(marker, (size_t)options.size, (uint32_t)(talker - talkers), sequence);
    struct part parts[3] = {talker->before, {marker, (size_t)options.size}, talker->after};
    connection_send(talker->connection, parts, 3);
    talk.sent++;
    if (options.window) {
        uint32_t cell = sequence % (uint32_t)options.window;
        talker->owed[cell] = options.direct ? 1 : (uint32_t)living[talker->connection->group];
        talker->sent_at[cell] = now();
    }
}

static void list(struct talker *talker)
{
    if (!talker->listed)
        free_list[free_count++] = talker;
    talker->listed = true;
}

static void fill_windows(void)
{
    for (; free_count; free_count--) {
        struct talker *talker = free_list[free_count - 1];
        talker->listed = false;
        while (talker->connection->state == READY && talker->sent - talker->done < (uint32_t)options.window)
            say(talker);
    }
}

static void keep_timetable(uint64_t until)
{
    uint64_t time = now();
    for (uint64_t at; (at = due(scheduled)) <= time && at < until; scheduled++) {
        say(&talkers[talker_at(scheduled)]);
        if (time - at > talk.latest)
            talk.latest = time - at;
    }
}

void talk_until(uint64_t until)
{
    while (now() < until && !(returning && returners_are_level())) {
        bool hurry = returning && returners_come_back();
        if (options.window)
            fill_windows();
        else if (talker_count)
            keep_timetable(until);
        uint64_t next = options.window || !talker_count ? until : due(scheduled);
        network_turn(hurry ? 0 : next < until ? next : until);
    }
    if (returning)
        measured_until = until = now();
    if (talker_count && !options.window)
        keep_timetable(until); /* what became due during the last turn */
}

void talk_return(void)
{
    returning = options.returners > 0;
}

/* ---- receiving ---- */

static uint32_t *expected_by(const struct connection *member, int slot)
{
    return &expected[(size_t)member->number * (size_t)options.talkers + (size_t)slot];
}

static bool meant_for(const struct connection *member, const struct talker *talker)
{
    return member->group == talker->connection->group && !(options.direct && member == talker->connection);
}

static void settle(struct talker *talker, uint32_t sequence) /* one delivery less is owed */
{
    if (sequence - talker->done >= talker->sent - talker->done)
        return; /* not outstanding: a repetition, already counted as out of order */
    talker->owed[sequence % (uint32_t)options.window]--;
    while (talker->done != talker->sent && talker->owed[talker->done % (uint32_t)options.window] == 0)
        talker->done++;
    list(talker);
}

static uint64_t said_at(const struct talker *talker, uint32_t sequence)
{
    return options.window ? talker->sent_at[sequence % (uint32_t)options.window]
                          : due(place((int)(talker - talkers), sequence));
}

static void count(const struct talker *talker, uint32_t sequence, uint64_t time)
{
    bool arrived_in_time = time >= measured_from && time < measured_until;
    uint64_t at = said_at(talker, sequence);
    talk.deliveries += arrived_in_time;
    if (options.window ? arrived_in_time : at >= measured_from && at < measured_until)
        histogram_add(&talk.latency, time - at);
}

static void delivered(struct connection *member, const uint8_t *payload, size_t length, uint64_t time)
{
    uint32_t number, sequence;
    if (member->stalled || !marker_read(payload, length, &number, &sequence))
        return;
    struct talker *talker = number < (uint32_t)talker_count ? &talkers[number] : NULL;
    if (talker == NULL || !meant_for(member, talker) || sequence >= talker->sent) {
        talk.strangers++;
        return;
    }
    uint32_t *next = expected_by(member, (int)number % options.talkers);
    talk.out_of_order += sequence != *next;
    *next = sequence + 1;
    member->delivered++;
    if (!member->returns)
        count(talker, sequence, time);
    if (options.window)
        settle(talker, sequence);
}

/* A member that was lost no longer owes anything, so that the loop goes on for the others. */
static void lost(struct connection *member)
{
    if (talkers == NULL || member->returns)
        return;
    living[member->group]--;
    for (int slot = 0; slot < options.talkers && options.window; slot++) {
        struct talker *talker = &talkers[member->group * options.talkers + slot];
        for (uint32_t sequence = *expected_by(member, slot); meant_for(member, talker) && sequence < talker->sent; sequence++)
            settle(talker, sequence);
    }
}

static bool outstanding(void)
{
    for (int i = 0; i < talker_count && options.window; i++)
        if (talkers[i].done != talkers[i].sent && talkers[i].connection->state == READY)
            return true;
    return !options.window && talk_missing() > 0;
}

/* What never came to this member took at least until now. */
static void count_as_late(const struct connection *member, const struct talker *talker)
{
    if (member->state != READY || !meant_for(member, talker))
        return;
    uint32_t next = *expected_by(member, (int)(talker - talkers) % options.talkers);
    for (uint32_t sequence = next; sequence < talker->sent; sequence++)
        if (options.window || said_at(talker, sequence) >= measured_from)
            histogram_add(&talk.latency, now() - said_at(talker, sequence));
}

void talk_drain(uint64_t until)
{
    while (talker_count && now() < until && outstanding())
        network_turn(now() + NANOSECONDS / 20);
    for (int i = 0; i < talker_count; i++)
        for (int m = 0; m < group_size; m++)
            count_as_late(&network.connections[talkers[i].connection->group * group_size + m], &talkers[i]);
}

uint64_t talk_missing(void)
{
    uint64_t missing = 0;
    for (int m = 0; m < network.count; m++) {
        const struct connection *member = &network.connections[m];
        for (int slot = 0; slot < options.talkers && member->state == READY && !member->stalled; slot++) {
            const struct talker *talker = &talkers[member->group * options.talkers + slot];
            if (meant_for(member, talker))
                missing += talker->sent - *expected_by(member, slot);
        }
    }
    return missing;
}

long talk_served(void)
{
    long served = 0;
    for (int i = 0; i < options.connections; i++)
        served += network.connections[i].delivered > 0;
    return served;
}

/* ---- setting up ---- */

static void *zeroed(size_t items, size_t size)
{
    void *memory = calloc(items ? items : 1, size);
    if (memory == NULL)
        fail("out of memory");
    return memory;
}

static void write_around(struct talker *talker, long to)
{
    struct blanks blanks = {.n = talker->connection->number, .group = talker->connection->group, .to = to};
    char *text = zeroed(4096, 1), *marker;
    template_fill(text, 4096, options.publish, blanks);
    marker = strstr(text, "{marker}");
    talker->before = (struct part){text, (size_t)(marker - text)};
    talker->after = (struct part){marker + strlen("{marker}"), strlen(marker + strlen("{marker}"))};
}

void talk_prepare(uint64_t start, uint64_t from, uint64_t until)
{
    group_size = options.connections / options.groups;
    talker_count = options.groups * options.talkers;
    talkers = zeroed((size_t)talker_count, sizeof *talkers);
    free_list = zeroed((size_t)talker_count, sizeof *free_list);
    expected = zeroed((size_t)network.count * (size_t)options.talkers, sizeof *expected);
    living = zeroed((size_t)options.groups, sizeof *living);
    for (int i = 0; i < options.connections; i++)
        living[network.connections[i].group] += network.connections[i].state == READY;
    for (int i = 0; i < talker_count; i++) {
        struct connection *first = &network.connections[i / options.talkers * group_size];
        int slot = i % options.talkers;
        talkers[i].connection = first + slot;
        talkers[i].owed = zeroed((size_t)options.window, sizeof(uint32_t));
        talkers[i].sent_at = zeroed((size_t)options.window, sizeof(uint64_t));
        write_around(&talkers[i], options.direct ? first[1 - slot].identity : 0);
        list(&talkers[i]);
    }
    network.on_message = delivered;
    network.on_closed = lost;
    started = start;
    measured_from = from;
    measured_until = until;
}
