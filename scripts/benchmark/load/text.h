/* text: what this program reads and writes inside messages: markers, templates, and integers in JSON. */
#pragma once
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* A marker says who sent a message and the how-manieth it is: "@@", five and eight letters of four bits each. */
enum { MARKER_LENGTH = 2 + 5 + 8 };

void marker_write(char *out, size_t size, uint32_t talker, uint32_t sequence); /* padded to `size` with 'x' */
bool marker_read(const uint8_t *payload, size_t length, uint32_t *talker, uint32_t *sequence);

/* Fills {n} (connection), {group}, {to} (the partner's identity) in a template. */
struct blanks {
    long n, group, to;
};
void template_fill(char *out, size_t capacity, const char *template, struct blanks blanks);

/* Finds "key": <integer> in a JSON text; a lookup by eye, for the few greetings of a connection. */
bool json_integer(const uint8_t *text, size_t length, const char *key, long *value);
