/* Hand-written linear splitters for the regexes that published byte-level tokenizers use. They give
 * exactly the pieces that a backtracking engine gives, in linear time and constant stack.
 * Other regexes: split_regex.h. */
#pragma once
#include "base/str.h"

typedef enum mica_splitter_word {
    MICA_WORD_SPACED,   /* ` ?\p{L}+` */
    MICA_WORD_PREFIXED, /* `[^\r\n\p{L}\p{N}]?\p{L}+` */
    MICA_WORD_CASED,    /* the two o200k alternatives: an upper-case run, then a lower-case one */
} mica_splitter_word;

typedef enum mica_splitter_contraction {
    MICA_CONTRACTION_NONE,
    MICA_CONTRACTION_FIRST,          /* 's 't 're 've 'm 'll 'd as the first alternative */
    MICA_CONTRACTION_FIRST_CASELESS, /* the same under (?i:) */
    MICA_CONTRACTION_AFTER_CASELESS, /* at the end of a word */
} mica_splitter_contraction;

typedef enum mica_splitter_tail {
    MICA_TAIL_NONE,          /* what may follow a run of symbols: nothing, */
    MICA_TAIL_NEWLINE,       /* `[\r\n]*` */
    MICA_TAIL_NEWLINE_SLASH, /* or `[\r\n/]*` */
} mica_splitter_tail;

/* One known regex as parameters; its alternatives always come in the order contraction, word,
 * number, symbols, newlines, white space. Together they match at every place of every text. */
typedef struct mica_splitter {
    mica_splitter_contraction contraction;
    mica_splitter_word word;
    mica_splitter_tail tail;
    unsigned letters;  /* class mask of the word letters (L, or L and M) */
    int digits_max;    /* `\p{N}{1,digits_max}`; 0 = ` ?\p{N}+` */
    bool has_newlines; /* `\s*[\r\n]+` stands before the white-space alternatives */
} mica_splitter;

typedef struct mica_splitter_known {
    const char *regex;
    mica_splitter splitter;
} mica_splitter_known;

/* The table of known regexes, for look-up and for tests. */
extern const mica_splitter_known mica_splitter_table[];
extern const size_t mica_splitter_table_count;

/* The splitter of a regex, compared letter by letter; NULL when it is not known. */
const mica_splitter *mica_splitter_find(mica_slice regex);
/* The regex of ByteLevel pre-tokenizers with use_regex. */
const mica_splitter *mica_splitter_gpt2(void);

/* End of the piece that begins at `at` < bytes. text is valid UTF-8, `at` a character border. */
size_t mica_splitter_next(const mica_splitter *splitter, const char *text, size_t bytes, size_t at);
