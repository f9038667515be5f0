/* load: opens connections to a WebSocket server, lets some of them talk, and prints what it saw as JSON.
 *
 * One process, one thread, one epoll; options.h says what can be asked for. It speaks no particular protocol: hello
 * frames and messages are templates, and a message is known again by the marker inside it. Four stages: open all
 * connections, be quiet for a moment, talk (a warm-up, then the measured time), wait for what is on its way.
 * With no talkers the third stage only answers pings: that is the load of idle connections. Returners leave at its
 * start and come back after the warm-up; then the measured time ends once they have all that was said.
 *
 * Built by scripts/bench, or by hand: cc -O2 -D_GNU_SOURCE -o load *.c
 */
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#include "measure.h"
#include "network.h"
#include "options.h"
#include "returners.h"
#include "talk.h"

struct opening {
    double seconds;
    long kb_before, kb_after;
};

struct usage {
    double wall, server, own; /* seconds */
    uint64_t bytes, pings;
};

static uint64_t in_seconds(double seconds)
{
    return now() + (uint64_t)(seconds * NANOSECONDS);
}

static void ignore_message(struct connection *connection, const uint8_t *payload, size_t length, uint64_t time)
{
    (void)connection, (void)payload, (void)length, (void)time;
}

static void ignore_closed(struct connection *connection)
{
    (void)connection;
}

static double servers_cpu(void)
{
    double seconds = 0;
    for (int i = 0; i < options.pid.count; i++)
        seconds += cpu_seconds(options.pid.item[i]);
    return seconds;
}

static long servers_kb(void)
{
    long kb = 0;
    for (int i = 0; i < options.pid.count; i++)
        kb += resident_kb(options.pid.item[i]);
    return kb;
}

/* Whoever runs this may look at something else while nobody talks; an end of its input lets this go on, too. */
static void halt(const char *stage)
{
    if (!options.halt)
        return;
    fprintf(stderr, "%s\n", stage);
    for (int letter; (letter = getchar()) != EOF && letter != '\n';)
        ;
}

static struct opening open_connections(void)
{
    network_prepare();
    network.on_message = ignore_message;
    network.on_closed = ignore_closed;
    struct opening opening = {.kb_before = servers_kb()};
    uint64_t started = now();
    network_open_all();
    opening.seconds = (double)(now() - started) / NANOSECONDS;
    network_run(in_seconds(options.settle));
    opening.kb_after = servers_kb();
    return opening;
}

static struct usage usage_now(void)
{
    return (struct usage){(double)now() / NANOSECONDS, servers_cpu(), own_cpu_seconds(),
                          network.bytes_read, network.pings};
}

static struct usage talk_for_a_while(void)
{
    uint64_t start = now(), from = start + (uint64_t)(options.warmup * NANOSECONDS);
    uint64_t until = from + (uint64_t)(options.seconds * NANOSECONDS);
    talk_prepare(start, from, until);
    returners_leave();
    talk_until(from);
    struct usage before = usage_now();
    talk_return();
    talk_until(until);
    struct usage after = usage_now();
    talk_drain(in_seconds(options.drain));
    return (struct usage){after.wall - before.wall, after.server - before.server, after.own - before.own,
                          after.bytes - before.bytes, after.pings - before.pings};
}

static void print_text(const char *name, const char *text)
{
    printf("\"%s\": \"", name);
    for (; *text; text++)
        if (*text == '"' || *text == '\\')
            printf("\\%c", *text);
        else
            putchar((unsigned char)*text < 32 || (unsigned char)*text > 126 ? '?' : *text);
    printf("\", ");
}

static void print_opening(const struct opening *opening)
{
    printf("\"connections\": %d, \"ready\": %d, \"failed\": %d, \"open_seconds\": %.3f, ", network.count,
           network.ready, network.count - network.ready, opening->seconds);
    printf("\"retries\": %lu, ", returners_retries());
    printf("\"connects_per_second\": %.1f, ", opening->seconds > 0 ? network.ready / opening->seconds : 0);
    printf("\"server_kb_before\": %ld, \"server_kb_after\": %ld, \"kb_per_connection\": %.2f, ", opening->kb_before,
           opening->kb_after, network.ready ? (double)(opening->kb_after - opening->kb_before) / network.ready : 0);
}

static void print_talk(const struct usage *used)
{
    double deliveries = (double)talk.deliveries;
    printf("\"seconds\": %.3f, \"sent\": %lu, \"deliveries\": %lu, \"deliveries_per_second\": %.1f, ", used->wall, talk.sent,
           talk.deliveries, deliveries / used->wall);
    printf("\"bytes_per_second\": %.0f, \"pings_per_second\": %.1f, ", (double)used->bytes / used->wall,
           (double)used->pings / used->wall);
    printf("\"latency_p50_ms\": %.3f, \"latency_p99_ms\": %.3f, \"latency_max_ms\": %.3f, ",
           (double)histogram_quantile(&talk.latency, 0.50) / 1e6, (double)histogram_quantile(&talk.latency, 0.99) / 1e6,
           (double)talk.latency.greatest / 1e6);
    printf("\"server_cpu\": %.4f, \"server_us_per_delivery\": %.3f, \"load_cpu\": %.4f, \"load_late_ms\": %.3f, ",
           used->server / used->wall, deliveries > 0 ? used->server * 1e6 / deliveries : 0, used->own / used->wall,
           (double)talk.latest / 1e6);
}

static void print_faults(void)
{
    printf("\"served\": %ld, \"out_of_order\": %lu, \"missing\": %lu, \"strangers\": %lu, ", talk_served(),
           talk.out_of_order, talk_missing(), talk.strangers);
    print_text("first_fault", network.first_fault);
    printf("\"closed\": %d, \"stalled_closed\": %d, \"errors\": %lu}\n", network.closed, network.stalled_closed,
           network.errors);
}

int main(int count, char **words)
{
    options_parse(count, words);
    signal(SIGPIPE, SIG_IGN);
    /* Every stage is bounded; should one not end all the same, the alarm ends the program. */
    alarm((unsigned)(options.open_timeout + options.settle + options.warmup + options.seconds + options.drain) + 30);
    struct opening opening = open_connections();
    halt("opened");
    struct usage used = talk_for_a_while();
    halt("talked");
    printf("{");
    print_opening(&opening);
    print_talk(&used);
    print_faults();
    return 0;
}
