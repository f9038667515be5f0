#include "options.h"

#include <getopt.h>
#include <stdlib.h>
#include <string.h>

#include "measure.h"
#include "text.h"

struct options options = {
    .path = "/", .ready_value = -1, .size = 80, .connections = 100, .groups = 1, .in_flight = 32,
    .open_timeout = 60, .settle = 0.3, .warmup = 0.5, .seconds = 2, .drain = 2,
};

enum kind { INTEGER, NUMBERS, REAL, STRING, TEXTS, FLAG, READY };

static const struct {
    const char *name;
    enum kind kind;
    void *target;
} KNOWN[] = {
    {"port", NUMBERS, &options.port},
    {"pid", NUMBERS, &options.pid},
    {"path", STRING, &options.path},
    {"hello", TEXTS, &options.hello},
    {"identity", STRING, &options.identity},
    {"ready", READY, NULL},
    {"publish", STRING, &options.publish},
    {"size", INTEGER, &options.size},
    {"connections", INTEGER, &options.connections},
    {"groups", INTEGER, &options.groups},
    {"talkers", INTEGER, &options.talkers},
    {"stalled", INTEGER, &options.stalled},
    {"returners", INTEGER, &options.returners},
    {"again", TEXTS, &options.again},
    {"level", STRING, &options.level},
    {"direct", FLAG, &options.direct},
    {"window", INTEGER, &options.window},
    {"rate", REAL, &options.rate},
    {"in-flight", INTEGER, &options.in_flight},
    {"open-timeout", REAL, &options.open_timeout},
    {"settle", REAL, &options.settle},
    {"warmup", REAL, &options.warmup},
    {"seconds", REAL, &options.seconds},
    {"drain", REAL, &options.drain},
    {"halt", FLAG, &options.halt},
};
enum { KINDS = sizeof KNOWN / sizeof *KNOWN };

static void take_text(const char *name, struct texts *texts, char *text)
{
    if (texts->count == MOST_HELLOS)
        fail("more than %d --%s", MOST_HELLOS, name);
    texts->item[texts->count++] = text;
}

static void take_ready(char *text) /* KEY or KEY=VALUE */
{
    char *value = strchr(text, '=');
    if (value != NULL) {
        *value = 0;
        options.ready_value = atol(value + 1);
    }
    options.ready_key = text;
}

static void take_numbers(const char *name, struct numbers *numbers, char *text) /* 1,2,3 */
{
    numbers->count = 0;
    for (char *word; (word = strsep(&text, ",")) != NULL;) {
        if (numbers->count == MOST_SERVERS)
            fail("--%s takes at most %d numbers", name, MOST_SERVERS);
        int number = atoi(word);
        if (number <= 0)
            fail("--%s takes numbers from 1 on, separated by commas", name);
        numbers->item[numbers->count++] = number;
    }
}

static void take(int which, char *text)
{
    void *target = KNOWN[which].target;
    switch (KNOWN[which].kind) {
    case INTEGER: *(int *)target = atoi(text); break;
    case NUMBERS: take_numbers(KNOWN[which].name, target, text); break;
    case REAL: *(double *)target = atof(text); break;
    case STRING: *(const char **)target = text; break;
    case TEXTS: take_text(KNOWN[which].name, target, text); break;
    case FLAG: *(bool *)target = true; break;
    case READY: take_ready(text); break;
    }
}

static void check(void)
{
    if (options.port.count == 0)
        fail("--port is missing: the server's port on 127.0.0.1, or several servers' with commas between");
    if (options.connections < 1 || options.groups < 1 || options.connections % options.groups)
        fail("--connections (%d) must be a multiple of --groups (%d)", options.connections, options.groups);
    if (options.talkers > options.connections / options.groups)
        fail("--talkers (%d) is more than a group has members", options.talkers);
    if (options.talkers && (options.publish == NULL || strstr(options.publish, "{marker}") == NULL))
        fail("--publish is missing, or has no {marker}");
    if (options.talkers && (options.window > 0) == (options.rate > 0))
        fail("talkers need either --window (closed loop) or --rate (open loop)");
    if (options.direct && options.connections != 2 * options.groups)
        fail("--direct needs groups of two: --groups %d", options.connections / 2);
    if (options.returners && (options.level == NULL || options.window || options.stalled))
        fail("--returners need --level and a --rate, and nobody who is --stalled");
    if (options.in_flight < 1 || options.size < MARKER_LENGTH || options.size > MOST_SIZE)
        fail("--in-flight is at least 1, --size from %d to %d", MARKER_LENGTH, MOST_SIZE);
}

void options_parse(int count, char **words)
{
    struct option table[KINDS + 1] = {0};
    for (int i = 0; i < KINDS; i++)
        table[i] = (struct option){KNOWN[i].name, KNOWN[i].kind == FLAG ? no_argument : required_argument, NULL, i};
    opterr = 0;
    for (int which; (which = getopt_long(count, words, "", table, NULL)) != -1;) {
        if (which >= KINDS)
            fail("unknown option, or one without its value: %s", words[optind - 1]);
        take(which, optarg);
    }
    check();
}
