/* measure: clocks, what the kernel counts about a process, and a latency histogram. */
#pragma once
#include <stdint.h>
#include <sys/types.h>

#define NANOSECONDS 1000000000ull

/* Ends the program with {"error": ...} on stdout, which is where the harness looks. */
void fail(const char *format, ...) __attribute__((format(printf, 1, 2), noreturn));

uint64_t now(void);              /* monotonic, ns */
double own_cpu_seconds(void);    /* of this process */
double cpu_seconds(pid_t pid);   /* user and system time of all threads, ended ones too; 0 where it is gone */
long resident_kb(pid_t pid);     /* VmRSS; 0 where it is gone */

/* Log-linear: 32 steps for each power of two, so that a value is known to about 3 %. */
enum { HISTOGRAM_STEPS = 32, HISTOGRAM_CELLS = 64 * HISTOGRAM_STEPS };

struct histogram {
    uint64_t cells[HISTOGRAM_CELLS];
    uint64_t count;
    uint64_t greatest;
};

void histogram_add(struct histogram *histogram, uint64_t value);
uint64_t histogram_quantile(const struct histogram *histogram, double share);
