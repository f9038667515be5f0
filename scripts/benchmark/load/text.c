#include "text.h"

#include <ctype.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "measure.h"

static void put_letters(char *out, int count, uint32_t number)
{
    for (int i = count - 1; i >= 0; i--, number >>= 4)
        out[i] = (char)('a' + (number & 15));
}

static uint32_t get_letters(const uint8_t *in, int count)
{
    uint32_t number = 0;
    for (int i = 0; i < count; i++)
        number = number << 4 | ((in[i] - 'a') & 15);
    return number;
}

void marker_write(char *out, size_t size, uint32_t talker, uint32_t sequence)
{
    memset(out, 'x', size);
    out[0] = out[1] = '@';
    put_letters(out + 2, 5, talker);
    put_letters(out + 7, 8, sequence);
}

bool marker_read(const uint8_t *payload, size_t length, uint32_t *talker, uint32_t *sequence)
{
    if (length < MARKER_LENGTH)
        return false;
    const uint8_t *at = memchr(payload, '@', length - MARKER_LENGTH + 1);
    if (at == NULL || at[1] != '@')
        return false;
    *talker = get_letters(at + 2, 5);
    *sequence = get_letters(at + 7, 8);
    return true;
}

const char *const KEPT_KEYS[KEPT] = {"resume", "offset", "epoch"};

enum { LONGEST_BLANK = 256 };

/* Writes what stands for the blank at the start of `template`; returns the blank's length, 0 if there is none. */
static size_t fill_blank(char *out, const char *template, const struct blanks *blanks)
{
    const struct {
        const char *name;
        long value;
    } numbers[] = {{"{n}", blanks->n}, {"{group}", blanks->group}, {"{to}", blanks->to}};
    for (size_t i = 0; i < sizeof numbers / sizeof *numbers; i++)
        if (strncmp(template, numbers[i].name, strlen(numbers[i].name)) == 0) {
            sprintf(out, "%ld", numbers[i].value);
            return strlen(numbers[i].name);
        }
    for (int i = 0; i < KEPT && blanks->kept; i++) {
        size_t width = strlen(KEPT_KEYS[i]);
        if (blanks->kept[i] && strncmp(template + 1, KEPT_KEYS[i], width) == 0 && template[width + 1] == '}') {
            strcpy(out, blanks->kept[i]);
            return width + 2;
        }
    }
    return 0;
}

void template_fill(char *out, size_t capacity, const char *template, struct blanks blanks)
{
    size_t length = 0;
    while (*template && length + LONGEST_BLANK < capacity) {
        size_t skip = *template == '{' ? fill_blank(out + length, template, &blanks) : 0;
        if (skip)
            length += strlen(out + length);
        else
            out[length++] = *template;
        template += skip ? skip : 1;
    }
    out[length] = 0;
    if (*template)
        fail("a template is longer than %zu bytes", capacity);
}

bool json_value(const uint8_t *text, size_t length, const char *key, char *value, size_t capacity)
{
    char quoted[64];
    int width = snprintf(quoted, sizeof quoted, "\"%s\"", key);
    const uint8_t *end = text + length, *at = memmem(text, length, quoted, (size_t)width);
    if (at == NULL)
        return false;
    for (at += width; at < end && (isspace(*at) || *at == ':'); at++)
        ;
    size_t used = 0;
    bool string = at < end && *at == '"';
    while (at < end && used + 1 < capacity && (string ? used < 2 || value[used - 1] != '"' : isdigit(*at) || *at == '-'))
        value[used++] = (char)*at++;
    value[used] = 0;
    return used > 0;
}

bool json_integer(const uint8_t *text, size_t length, const char *key, long *value)
{
    char digits[24];
    if (!json_value(text, length, key, digits, sizeof digits) || digits[0] == '"')
        return false;
    *value = atol(digits);
    return true;
}
