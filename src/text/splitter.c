/* Linear splitters; the equivalences used here are shown by splitter_test.c, which compares them
 * with a backtracking engine over all short strings of class representatives and random text. */
#include "text/splitter.h"
#include "text/unicode.h"

#define LETTER MICA_UNICODE_LETTER
#define MARK MICA_UNICODE_MARK
#define NUMBER MICA_UNICODE_NUMBER
#define WHITE MICA_UNICODE_WHITE
#define NEWLINE MICA_UNICODE_NEWLINE

#define WHITE_TAIL "|\\s+(?!\\S)|\\s+"
#define NEWLINE_TAIL "|\\s*[\\r\\n]+" WHITE_TAIL
#define CASELESS "(?i:'s|'t|'re|'ve|'m|'ll|'d)"
#define UPPER_SET "[\\p{Lu}\\p{Lt}\\p{Lm}\\p{Lo}\\p{M}]"
#define LOWER_SET "[\\p{Ll}\\p{Lm}\\p{Lo}\\p{M}]"
#define PREFIX "[^\\r\\n\\p{L}\\p{N}]?"

const mica_splitter_known mica_splitter_table[] = {
    /* GPT-2, in two spellings */
    {"'s|'t|'re|'ve|'m|'ll|'d| ?\\p{L}+| ?\\p{N}+| ?[^\\s\\p{L}\\p{N}]+" WHITE_TAIL,
     {MICA_CONTRACTION_FIRST, MICA_WORD_SPACED, MICA_TAIL_NONE, LETTER, 0, false}},
    {"'(?:[sdmt]|ll|ve|re)| ?\\p{L}+| ?\\p{N}+| ?[^\\s\\p{L}\\p{N}]+" WHITE_TAIL,
     {MICA_CONTRACTION_FIRST, MICA_WORD_SPACED, MICA_TAIL_NONE, LETTER, 0, false}},
    /* cl100k and Llama 3 */
    {CASELESS "|" PREFIX "\\p{L}+|\\p{N}{1,3}| ?[^\\s\\p{L}\\p{N}]+[\\r\\n]*" NEWLINE_TAIL,
     {MICA_CONTRACTION_FIRST_CASELESS, MICA_WORD_PREFIXED, MICA_TAIL_NEWLINE, LETTER, 3, true}},
    /* Qwen 2, 2.5 and 3 */
    {CASELESS "|" PREFIX "\\p{L}+|\\p{N}| ?[^\\s\\p{L}\\p{N}]+[\\r\\n]*" NEWLINE_TAIL,
     {MICA_CONTRACTION_FIRST_CASELESS, MICA_WORD_PREFIXED, MICA_TAIL_NEWLINE, LETTER, 1, true}},
    /* the same with marks counted as letters */
    {CASELESS "|" PREFIX "[\\p{L}\\p{M}]+|\\p{N}| ?[^\\s\\p{L}\\p{M}\\p{N}]+[\\r\\n]*" NEWLINE_TAIL,
     {MICA_CONTRACTION_FIRST_CASELESS, MICA_WORD_PREFIXED, MICA_TAIL_NEWLINE, LETTER | MARK, 1,
      true}},
    /* o200k */
    {PREFIX UPPER_SET "*" LOWER_SET "+" CASELESS "?|" PREFIX UPPER_SET "+" LOWER_SET "*" CASELESS
                      "?|\\p{N}{1,3}| ?[^\\s\\p{L}\\p{N}]+[\\r\\n/]*" NEWLINE_TAIL,
     {MICA_CONTRACTION_AFTER_CASELESS, MICA_WORD_CASED, MICA_TAIL_NEWLINE_SLASH, LETTER, 3, true}},
    /* tekken: o200k without contractions, digits one by one */
    {PREFIX UPPER_SET "*" LOWER_SET "+|" PREFIX UPPER_SET "+" LOWER_SET
                      "*|\\p{N}| ?[^\\s\\p{L}\\p{N}]+[\\r\\n/]*" NEWLINE_TAIL,
     {MICA_CONTRACTION_NONE, MICA_WORD_CASED, MICA_TAIL_NEWLINE_SLASH, LETTER, 1, true}},
};
const size_t mica_splitter_table_count = sizeof(mica_splitter_table) / sizeof(*mica_splitter_table);

const mica_splitter *mica_splitter_find(mica_slice regex) {
    for (size_t i = 0; i < mica_splitter_table_count; i++)
        if (mica_slice_is(regex, mica_splitter_table[i].regex))
            return &mica_splitter_table[i].splitter;
    return NULL;
}

const mica_splitter *mica_splitter_gpt2(void) { return &mica_splitter_table[0].splitter; }

typedef struct text_view {
    const char *text;
    size_t bytes;
} text_view;

/* Class of the character at `at` and, in *next, where it ends; 0 at the end of the text. */
static inline unsigned class_at(text_view v, size_t at, size_t *next) {
    if (at >= v.bytes) return 0;
    *next = at;
    return mica_unicode_class(mica_unicode_next(v.text, next));
}

/* End of the run of characters whose class is in mask. */
static inline size_t skip_class(text_view v, size_t at, unsigned mask) {
    size_t next;
    while (class_at(v, at, &next) & mask) at = next;
    return at;
}

/* Bytes of a contraction at `at` (0: none). Under (?i:) the letter s has a third form, U+017F. */
static size_t contraction_bytes(text_view v, size_t at, bool is_caseless) {
    if (at + 1 >= v.bytes || v.text[at] != '\'') return 0;
    const unsigned char *p = (const unsigned char *)v.text + at + 1;
    size_t left = v.bytes - at - 1;
    unsigned fold = is_caseless ? 0x20 : 0;
    unsigned a = p[0] | fold, b = left > 1 ? p[1] | fold : 0;
    if (a == 's' || a == 't' || a == 'm' || a == 'd') return 2;
    if ((a == 'r' || a == 'v') && b == 'e') return 3;
    if (a == 'l' && b == 'l') return 3;
    return is_caseless && left > 1 && p[0] == 0xC5 && p[1] == 0xBF ? 3 : 0;
}

#define UPPER_RUN (MICA_UNICODE_UPPER | MICA_UNICODE_UNCASED | MICA_UNICODE_MARK)
#define LOWER_RUN (MICA_UNICODE_LOWER | MICA_UNICODE_UNCASED | MICA_UNICODE_MARK)

/* `U*L+` at `at`, or 0. When nothing of the lower run follows, the upper run gives back to its last
 * character that is in both sets; *upper_end is the end of the whole upper run. */
static size_t cased_first(text_view v, size_t at, size_t *upper_end) {
    size_t both_end = 0, next = at, upper = at;
    for (unsigned c; (c = class_at(v, upper, &next)) & UPPER_RUN; upper = next)
        if (c & LOWER_RUN) both_end = next;
    *upper_end = upper;
    size_t end = skip_class(v, upper, LOWER_RUN);
    return end > upper ? end : both_end;
}

/* Alternatives in order: first form with the optional prefix, without, second form with, without.
 * Where the first form fails, the upper run holds Lu and Lt only and no lower run follows, so
 * that the second form is the upper run itself. */
static size_t cased_word(text_view v, size_t at, unsigned first, size_t next) {
    size_t prefixed_upper = 0, upper = 0, end;
    bool has_prefix = !(first & (LETTER | NUMBER | NEWLINE));
    if (has_prefix && (end = cased_first(v, next, &prefixed_upper))) return end;
    if (first & (LETTER | MARK) && (end = cased_first(v, at, &upper))) return end;
    if (has_prefix && prefixed_upper > next) return prefixed_upper;
    return upper > at ? upper : 0;
}

static size_t plain_word(const mica_splitter *s, text_view v, size_t at, unsigned first,
                         size_t next) {
    size_t after;
    bool has_prefix =
        s->word == MICA_WORD_SPACED ? v.text[at] == ' ' : !(first & (LETTER | NUMBER | NEWLINE));
    if (has_prefix && class_at(v, next, &after) & s->letters)
        return skip_class(v, after, s->letters);
    return first & s->letters ? skip_class(v, next, s->letters) : 0;
}

static size_t number(const mica_splitter *s, text_view v, size_t at, unsigned first, size_t next) {
    if (s->digits_max == 0) {
        size_t after;
        if (first & NUMBER) return skip_class(v, next, NUMBER);
        return v.text[at] == ' ' && class_at(v, next, &after) & NUMBER
                   ? skip_class(v, after, NUMBER)
                   : 0;
    }
    if (!(first & NUMBER)) return 0;
    size_t end = next;
    for (int n = 1; n < s->digits_max && class_at(v, end, &next) & NUMBER; n++) end = next;
    return end;
}

/* ` ?[^\s\p{L}\p{N}]+` and its tail. */
static size_t symbols(const mica_splitter *s, text_view v, size_t at, unsigned first, size_t next) {
    unsigned symbol = ~(unsigned)(WHITE | NUMBER | s->letters);
    if (!(first & symbol) && v.text[at] != ' ') return 0;
    size_t end = skip_class(v, next, symbol);
    if (!(first & symbol) && end == next) return 0;
    if (s->tail == MICA_TAIL_NONE) return end;
    while (end < v.bytes && (v.text[end] == '\r' || v.text[end] == '\n' ||
                             (v.text[end] == '/' && s->tail == MICA_TAIL_NEWLINE_SLASH)))
        end++;
    return end;
}

/* `\s*[\r\n]+` ends after the last CR or LF of the run. Without one, `\s+(?!\S)` leaves the last
 * character to the next piece when something follows, and `\s+` takes a lone one. */
static size_t white_space(const mica_splitter *s, text_view v, size_t at) {
    size_t end = at, next, last = at, newline_end = 0;
    for (unsigned c; (c = class_at(v, end, &next)) & WHITE; end = next) {
        last = end;
        if (c == NEWLINE) newline_end = next;
    }
    if (s->has_newlines && newline_end) return newline_end;
    return end == v.bytes || last == at ? end : last;
}

size_t mica_splitter_next(const mica_splitter *s, const char *text, size_t bytes, size_t at) {
    text_view v = {text, bytes};
    size_t next = at, end;
    unsigned first = class_at(v, at, &next);
    if (text[at] == '\'' && (s->contraction == MICA_CONTRACTION_FIRST ||
                             s->contraction == MICA_CONTRACTION_FIRST_CASELESS)) {
        size_t n = contraction_bytes(v, at, s->contraction == MICA_CONTRACTION_FIRST_CASELESS);
        if (n) return at + n;
    }
    end = s->word == MICA_WORD_CASED ? cased_word(v, at, first, next)
                                     : plain_word(s, v, at, first, next);
    if (end && s->contraction == MICA_CONTRACTION_AFTER_CASELESS)
        return end + contraction_bytes(v, end, true);
    if (end || (end = number(s, v, at, first, next))) return end;
    if ((end = symbols(s, v, at, first, next))) return end;
    return white_space(s, v, at);
}
