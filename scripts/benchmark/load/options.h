/* options: the command line, as one structure that everybody reads and only main fills. */
#pragma once
#include <stdbool.h>

enum { MOST_HELLOS = 8, MOST_SIZE = 4096, MOST_SERVERS = 16 };

struct numbers {
    int item[MOST_SERVERS];
    int count;
};

struct texts {
    const char *item[MOST_HELLOS];
    int count;
};

struct options {
    struct numbers port;    /* of the servers, on the loopback; the members of each group take turns */
    struct numbers pid;     /* of the servers, for their CPU and memory together; none: do not look */
    const char *path;       /* of the upgrade request, a template */
    struct texts hello;     /* frames that each connection sends first, templates */
    const char *identity;   /* JSON key in a greeting whose integer is the connection's identity; NULL: none */
    const char *ready_key;  /* a connection is ready once a greeting has this key (NULL: at once) ... */
    long ready_value;       /* ... with this value (-1: any) */
    const char *publish;    /* a message, a template in which {marker} stands once */
    int size;               /* bytes that {marker} is padded to */

    int connections;        /* members that read */
    int groups;             /* the members are divided into so many groups of equal size */
    int talkers;            /* members of each group that talk */
    int stalled;            /* further members of the first group, which never read */
    int returners;          /* further members, spread over the groups: they leave together when the talk begins, and
                             * come back together when the measured time does, which ends once all are level */
    struct texts again;     /* what they send then in the place of hello, templates */
    const char *level;      /* a returner is level once a frame has this text in it */
    bool direct;            /* a message is for the partner in a group of two, not for the whole group */
    int window;             /* closed loop: messages that a talker has outstanding; 0: see rate */
    double rate;            /* open loop: messages a second of each talker */

    int in_flight;          /* connections being opened at a time */
    double open_timeout;    /* seconds for opening all of them */
    double settle;          /* seconds of quiet after the last is open */
    double warmup;          /* seconds of talk that are not measured */
    double seconds;         /* seconds that are measured */
    double drain;           /* seconds to wait for what is still on its way */
    bool halt;              /* before and after the talk, say so on stderr and wait for a line on stdin */
};

extern struct options options;

void options_parse(int count, char **words);
