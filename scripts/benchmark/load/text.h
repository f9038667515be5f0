/* text: what this program reads and writes inside messages: markers, templates, and integers in JSON. */
#pragma once
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* A marker says who sent a message and the how-manieth it is: "@@", five and eight letters of four bits each. */
enum { MARKER_LENGTH = 2 + 5 + 8 };

void marker_write(char *out, size_t size, uint32_t talker, uint32_t sequence); /* padded to `size` with 'x' */
bool marker_read(const uint8_t *payload, size_t length, uint32_t *talker, uint32_t *sequence);

/* Fills {n} (connection), {group}, {to} (the partner's identity) in a template, and the values that a greeting had. */
enum { RESUME, OFFSET, EPOCH, KEPT };
extern const char *const KEPT_KEYS[KEPT]; /* in JSON; in a template with braces around */
struct blanks {
    long n, group, to;
    char *const *kept;   /* JSON values by the keys above, each NULL if it is not known; or NULL */
};
void template_fill(char *out, size_t capacity, const char *template, struct blanks blanks);

/* Find "key": <string or integer> in a JSON text; a lookup by eye, for the few greetings of a connection. A value is
 * written as it stands there, a string with its quotes. */
bool json_value(const uint8_t *text, size_t length, const char *key, char *value, size_t capacity);
bool json_integer(const uint8_t *text, size_t length, const char *key, long *value);
