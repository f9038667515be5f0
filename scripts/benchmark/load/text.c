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

static const struct {
    const char *name;
    size_t offset;
} BLANKS[] = {
    {"{n}", offsetof(struct blanks, n)},
    {"{group}", offsetof(struct blanks, group)},
    {"{to}", offsetof(struct blanks, to)},
};

void template_fill(char *out, size_t capacity, const char *template, struct blanks blanks)
{
    size_t length = 0;
    while (*template && length + 24 < capacity) {
        size_t skip = 0;
        for (size_t i = 0; i < sizeof BLANKS / sizeof *BLANKS && !skip; i++)
            if (strncmp(template, BLANKS[i].name, strlen(BLANKS[i].name)) == 0) {
                long value = *(const long *)((const char *)&blanks + BLANKS[i].offset);
                length += (size_t)sprintf(out + length, "%ld", value);
                skip = strlen(BLANKS[i].name);
            }
        if (!skip)
            out[length++] = *template;
        template += skip ? skip : 1;
    }
    out[length] = 0;
    if (*template)
        fail("a template is longer than %zu bytes", capacity);
}

bool json_integer(const uint8_t *text, size_t length, const char *key, long *value)
{
    char quoted[64], digits[24] = "";
    int width = snprintf(quoted, sizeof quoted, "\"%s\"", key);
    const uint8_t *end = text + length, *at = memmem(text, length, quoted, (size_t)width);
    if (at == NULL)
        return false;
    for (at += width; at < end && (isspace(*at) || *at == ':'); at++)
        ;
    for (size_t i = 0; at < end && i + 1 < sizeof digits && (isdigit(*at) || *at == '-'); i++)
        digits[i] = (char)*at++;
    *value = atol(digits);
    return digits[0] != 0;
}
