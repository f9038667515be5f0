#include "measure.h"

#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

void fail(const char *format, ...)
{
    va_list arguments;
    va_start(arguments, format);
    printf("{\"error\": \"");
    vprintf(format, arguments);
    printf("\"}\n");
    va_end(arguments);
    exit(1);
}

static uint64_t read_clock(clockid_t clock)
{
    struct timespec time;
    clock_gettime(clock, &time);
    return (uint64_t)time.tv_sec * NANOSECONDS + (uint64_t)time.tv_nsec;
}

uint64_t now(void)
{
    return read_clock(CLOCK_MONOTONIC);
}

double own_cpu_seconds(void)
{
    return (double)read_clock(CLOCK_PROCESS_CPUTIME_ID) / NANOSECONDS;
}

static FILE *open_proc(pid_t pid, const char *name)
{
    char path[64];
    snprintf(path, sizeof path, "/proc/%d/%s", pid, name);
    return fopen(path, "r");
}

double cpu_seconds(pid_t pid)
{
    FILE *file = open_proc(pid, "stat");
    if (file == NULL)
        return 0;
    char line[1024] = "";
    size_t length = fread(line, 1, sizeof line - 1, file);
    fclose(file);
    line[length] = 0;
    /* The second field is the program's name, which may hold spaces and brackets: count from its end. */
    const char *after_name = strrchr(line, ')');
    unsigned long user = 0, system = 0;
    if (after_name != NULL)
        sscanf(after_name + 1, " %*c %*d %*d %*d %*d %*d %*u %*u %*u %*u %*u %lu %lu", &user, &system);
    return (double)(user + system) / (double)sysconf(_SC_CLK_TCK);
}

long resident_kb(pid_t pid)
{
    FILE *file = open_proc(pid, "status");
    if (file == NULL)
        return 0;
    char line[256];
    long kb = 0;
    while (fgets(line, sizeof line, file) != NULL && sscanf(line, "VmRSS: %ld", &kb) != 1)
        ;
    fclose(file);
    return kb;
}

static int cell_of(uint64_t value)
{
    if (value < HISTOGRAM_STEPS)
        return (int)value;
    int shift = 63 - __builtin_clzll(value) - 5;
    return (shift + 1) * HISTOGRAM_STEPS + (int)((value >> shift) & (HISTOGRAM_STEPS - 1));
}

static uint64_t middle_of(int cell)
{
    if (cell < HISTOGRAM_STEPS)
        return (uint64_t)cell;
    int shift = cell / HISTOGRAM_STEPS - 1;
    uint64_t low = (uint64_t)(HISTOGRAM_STEPS + cell % HISTOGRAM_STEPS) << shift;
    return low + (1ull << shift) / 2;
}

void histogram_add(struct histogram *histogram, uint64_t value)
{
    histogram->cells[cell_of(value)]++;
    histogram->count++;
    if (value > histogram->greatest)
        histogram->greatest = value;
}

uint64_t histogram_quantile(const struct histogram *histogram, double share)
{
    uint64_t wanted = (uint64_t)(share * (double)histogram->count), passed = 0;
    for (int cell = 0; cell < HISTOGRAM_CELLS; cell++) {
        passed += histogram->cells[cell];
        if (passed > wanted)
            return middle_of(cell);
    }
    return histogram->greatest;
}
