/* Cuts a template into tokens, with the white space rules of trim_blocks and lstrip_blocks: the
 * new line after a block or comment tag goes, and so do blanks before one that begins its line;
 * "-" takes all white space, "+" none. */
#include <string.h>
#include "text/jinja_ast.h"
#include "text/jinja_unicode.h"

void mica_jinja_lexer_init(jinja_lexer *lexer, jinja_run *run, mica_slice source) {
    *lexer = (jinja_lexer){
        .run = run, .source = source.data, .bytes = source.bytes, .line = 1, .at_line_start = true};
}

static bool fail_at(jinja_lexer *lexer, const char *message) {
    lexer->run->line = lexer->line;
    return mica_jinja_fail(lexer->run, MICA_STATUS_FORMAT, "%s", message);
}

static bool looking_at(const jinja_lexer *lexer, size_t at, const char *text) {
    size_t n = strlen(text);
    return at <= lexer->bytes && n <= lexer->bytes - at && memcmp(lexer->source + at, text, n) == 0;
}

static void move_to(jinja_lexer *lexer, size_t at) {
    for (size_t i = lexer->at; i < at; i++) lexer->line += lexer->source[i] == '\n';
    lexer->at = at;
}

static size_t skip_space(const jinja_lexer *lexer, size_t at) {
    while (at < lexer->bytes) {
        uint32_t c = 0;
        size_t n = mica_utf8_decode(lexer->source + at, lexer->bytes - at, &c);
        if (n == 0 || !mica_jinja_is_space(c)) break;
        at += n;
    }
    return at;
}

/* Where white space at the end of [from, to) begins. */
static size_t trim_end(const jinja_lexer *lexer, size_t from, size_t to) {
    while (to > from) {
        size_t start = to - 1;
        while (start > from && ((unsigned char)lexer->source[start] & 0xc0) == 0x80) start--;
        uint32_t c = 0;
        mica_utf8_decode(lexer->source + start, to - start, &c);
        if (!mica_jinja_is_space(c)) break;
        to = start;
    }
    return to;
}

/* The text before a tag at `tag`, less what the tag's sign and lstrip_blocks take away. */
static size_t text_end(const jinja_lexer *lexer, size_t tag) {
    char sign = tag + 2 < lexer->bytes ? lexer->source[tag + 2] : 0;
    if (sign == '-') return trim_end(lexer, lexer->at, tag);
    if (sign == '+' || lexer->source[tag + 1] == '{') return tag;
    size_t line = tag;
    while (line > lexer->at && lexer->source[line - 1] != '\n') line--;
    bool begins_line = line > lexer->at || lexer->at_line_start;
    return begins_line && skip_space(lexer, line) >= tag ? line : tag;
}

/* Moves past the end of a block or comment tag, whose closing text stands at `at`. */
static void close_tag(jinja_lexer *lexer, size_t at, bool trims_newline) {
    bool strips = lexer->source[at] == '-', keeps = lexer->source[at] == '+';
    at += strips || keeps ? 3 : 2;
    if (strips)
        at = skip_space(lexer, at);
    else if (trims_newline && !keeps && looking_at(lexer, at, "\n"))
        at++;
    move_to(lexer, at);
    lexer->at_line_start = lexer->source[at - 1] == '\n';
}

static size_t find_text(const jinja_lexer *lexer, size_t at, const char *text) {
    const char *found = at < lexer->bytes
                            ? memmem(lexer->source + at, lexer->bytes - at, text, strlen(text))
                            : NULL;
    return found ? (size_t)(found - lexer->source) : lexer->bytes;
}

static bool skip_comment(jinja_lexer *lexer, size_t tag) {
    size_t body = tag + 2;
    if (looking_at(lexer, body, "-") || looking_at(lexer, body, "+")) body++;
    size_t end = find_text(lexer, body, "#}");
    if (end >= lexer->bytes) return fail_at(lexer, "missing end of comment tag");
    if (end > body && (lexer->source[end - 1] == '-' || lexer->source[end - 1] == '+')) end--;
    close_tag(lexer, end, true);
    return true;
}

/* Matches "{%", sign, spaces, word, spaces at `at`; returns the offset behind, or 0. */
static size_t match_word_tag(const jinja_lexer *lexer, size_t at, const char *word) {
    at += 2;
    if (looking_at(lexer, at, "-") || looking_at(lexer, at, "+")) at++;
    at = skip_space(lexer, at);
    if (!looking_at(lexer, at, word)) return 0;
    return skip_space(lexer, at + strlen(word));
}

static bool is_tag_end(const jinja_lexer *lexer, size_t at, bool allows_plus) {
    return looking_at(lexer, at, "%}") || looking_at(lexer, at, "-%}") ||
           (allows_plus && looking_at(lexer, at, "+%}"));
}

/* A raw block at `tag`? Then out is its text and the lexer stands behind it. */
static bool read_raw(jinja_lexer *lexer, size_t tag, jinja_token *out, bool *is_raw) {
    size_t inner = match_word_tag(lexer, tag, "raw");
    *is_raw = inner > 0 && is_tag_end(lexer, inner, false);
    if (!*is_raw) return true;
    close_tag(lexer, inner, false);
    uint32_t line = lexer->line;
    for (size_t end = find_text(lexer, lexer->at, "{%"); end < lexer->bytes;
         end = find_text(lexer, end + 2, "{%")) {
        size_t close = match_word_tag(lexer, end, "endraw");
        if (close == 0 || !is_tag_end(lexer, close, true)) continue;
        size_t stop = text_end(lexer, end);
        *out = (jinja_token){JINJA_TOKEN_TEXT,
                             mica_slice_of(lexer->source + lexer->at, stop - lexer->at), line};
        close_tag(lexer, close, true);
        return true;
    }
    return fail_at(lexer, "missing end of raw block");
}

static size_t find_tag(const jinja_lexer *lexer, size_t at) {
    for (; at + 1 < lexer->bytes; at++)
        if (lexer->source[at] == '{' && strchr("{%#", lexer->source[at + 1]) &&
            lexer->source[at + 1] != 0)
            return at;
    return lexer->bytes;
}

/* One token of text mode; *out may stay empty (a comment), then the caller goes on. */
static bool next_in_text(jinja_lexer *lexer, jinja_token *out) {
    size_t tag = find_tag(lexer, lexer->at);
    size_t end = tag < lexer->bytes ? text_end(lexer, tag) : tag;
    if (tag > lexer->at) {
        *out =
            (jinja_token){JINJA_TOKEN_TEXT,
                          mica_slice_of(lexer->source + lexer->at, end - lexer->at), lexer->line};
        move_to(lexer, tag);
        /* What lstrip_blocks needed to know is used up: the tag is not looked at again. */
        return true;
    }
    if (tag >= lexer->bytes) return true;
    if (lexer->source[tag + 1] == '#') return skip_comment(lexer, tag);
    bool is_block = lexer->source[tag + 1] == '%', is_raw = false;
    if (is_block && !read_raw(lexer, tag, out, &is_raw)) return false;
    if (is_raw) return true;
    *out = (jinja_token){is_block ? JINJA_TOKEN_BLOCK_BEGIN : JINJA_TOKEN_VARIABLE_BEGIN,
                         mica_slice_of(lexer->source + tag, 2), lexer->line};
    size_t at = tag + 2;
    if (looking_at(lexer, at, "-") || looking_at(lexer, at, "+")) at++;
    move_to(lexer, at);
    lexer->mode = is_block ? JINJA_IN_BLOCK : JINJA_IN_VARIABLE;
    lexer->n_open = 0;
    return true;
}

static bool is_digit(char c) { return c >= '0' && c <= '9'; }

static size_t skip_digits(const jinja_lexer *lexer, size_t at) {
    while (at < lexer->bytes &&
           (is_digit(lexer->source[at]) ||
            (lexer->source[at] == '_' && at + 1 < lexer->bytes && is_digit(lexer->source[at + 1]))))
        at++;
    return at;
}

static size_t skip_based_digits(const jinja_lexer *lexer, size_t at) {
    while (at < lexer->bytes && lexer->source[at] != 0 &&
           strchr("0123456789abcdefABCDEF_", lexer->source[at]))
        at++;
    return at;
}

/* A number; after a "." only digits are taken, so that x.0.1 is two subscripts. */
static void read_number(jinja_lexer *lexer, jinja_token *out) {
    size_t from = lexer->at, at = skip_digits(lexer, from);
    bool after_point = from > 0 && lexer->source[from - 1] == '.';
    out->kind = JINJA_TOKEN_INTEGER;
    if (lexer->source[from] == '0' && at == from + 1 && at < lexer->bytes &&
        lexer->source[at] != 0 && strchr("bBoOxX", lexer->source[at])) {
        at = skip_based_digits(lexer, at + 1);
    } else if (!after_point) {
        if (at + 1 < lexer->bytes && lexer->source[at] == '.' && is_digit(lexer->source[at + 1])) {
            at = skip_digits(lexer, at + 1);
            out->kind = JINJA_TOKEN_FLOAT;
        }
        size_t exponent = at + 1;
        if (at < lexer->bytes && (lexer->source[at] == 'e' || lexer->source[at] == 'E')) {
            if (exponent < lexer->bytes && lexer->source[exponent] != 0 &&
                strchr("+-", lexer->source[exponent]))
                exponent++;
            if (exponent < lexer->bytes && is_digit(lexer->source[exponent])) {
                at = skip_digits(lexer, exponent);
                out->kind = JINJA_TOKEN_FLOAT;
            }
        }
    }
    out->text = mica_slice_of(lexer->source + from, at - from);
    lexer->at = at;
}

static bool read_quoted(jinja_lexer *lexer, jinja_token *out) {
    size_t from = lexer->at, at = from + 1;
    char quote = lexer->source[from];
    while (at < lexer->bytes && lexer->source[at] != quote)
        at += lexer->source[at] == '\\' && at + 1 < lexer->bytes ? 2 : 1;
    if (at >= lexer->bytes) return fail_at(lexer, "a string without its closing quote");
    out->kind = JINJA_TOKEN_STRING;
    out->text = mica_slice_of(lexer->source + from, at + 1 - from);
    move_to(lexer, at + 1);
    return true;
}

static bool read_word(jinja_lexer *lexer, jinja_token *out) {
    size_t at = lexer->at;
    while (at < lexer->bytes) {
        uint32_t c = 0;
        size_t n = mica_utf8_decode(lexer->source + at, lexer->bytes - at, &c);
        if (n == 0 || !mica_jinja_is_word(c)) break;
        at += n;
    }
    if (at == lexer->at) return false;
    out->kind = JINJA_TOKEN_NAME;
    out->text = mica_slice_of(lexer->source + lexer->at, at - lexer->at);
    lexer->at = at;
    return true;
}

static bool read_operator(jinja_lexer *lexer, jinja_token *out) {
    static const char *const two[] = {"//", "**", "==", "!=", ">=", "<="};
    size_t n = 1;
    for (size_t i = 0; i < sizeof two / sizeof *two; i++)
        if (looking_at(lexer, lexer->at, two[i])) n = 2;
    char c = lexer->source[lexer->at];
    if (n == 1 && (c == 0 || !strchr("+-/*%~[](){}<>=.:|,", c))) {
        char message[] = "unexpected character ' '";
        message[22] = c;
        return fail_at(lexer, message);
    }
    if (strchr("([{", c)) lexer->n_open++;
    if (strchr(")]}", c) && lexer->n_open-- == 0) {
        char message[] = "unexpected ' '";
        message[12] = c;
        return fail_at(lexer, message);
    }
    out->kind = JINJA_TOKEN_OPERATOR;
    out->text = mica_slice_of(lexer->source + lexer->at, n);
    lexer->at += n;
    return true;
}

/* The end of the current tag at this place? */
static bool read_tag_end(jinja_lexer *lexer, jinja_token *out) {
    bool is_block = lexer->mode == JINJA_IN_BLOCK;
    if (lexer->n_open > 0) return false;
    if (is_block && is_tag_end(lexer, lexer->at, true)) {
        out->kind = JINJA_TOKEN_BLOCK_END;
        close_tag(lexer, lexer->at, true);
    } else if (!is_block &&
               (looking_at(lexer, lexer->at, "}}") || looking_at(lexer, lexer->at, "-}}"))) {
        out->kind = JINJA_TOKEN_VARIABLE_END;
        close_tag(lexer, lexer->at, false);
    } else
        return false;
    lexer->mode = JINJA_IN_TEXT;
    return true;
}

static bool next_in_tag(jinja_lexer *lexer, jinja_token *out) {
    move_to(lexer, skip_space(lexer, lexer->at));
    out->line = lexer->line;
    if (lexer->at >= lexer->bytes) return fail_at(lexer, "unexpected end of template in a tag");
    if (read_tag_end(lexer, out)) return true;
    char c = lexer->source[lexer->at];
    if (is_digit(c))
        read_number(lexer, out);
    else if (c == '"' || c == '\'')
        return read_quoted(lexer, out);
    else if (!read_word(lexer, out))
        return read_operator(lexer, out);
    return true;
}

bool mica_jinja_lexer_next(jinja_lexer *lexer, jinja_token *out) {
    if (!mica_jinja_charge(lexer->run, 1)) return false;
    *out = (jinja_token){.kind = JINJA_TOKEN_END, .line = lexer->line};
    if (lexer->mode != JINJA_IN_TEXT) return next_in_tag(lexer, out);
    /* Empty texts and comments give no token. */
    while (lexer->at < lexer->bytes && lexer->mode == JINJA_IN_TEXT) {
        if (!next_in_text(lexer, out)) return false;
        if (out->kind != JINJA_TOKEN_END && (out->kind != JINJA_TOKEN_TEXT || out->text.bytes > 0))
            return true;
        *out = (jinja_token){.kind = JINJA_TOKEN_END, .line = lexer->line};
    }
    return true;
}

static size_t read_hex(const char *text, size_t n, uint32_t *out) {
    uint32_t v = 0;
    for (size_t i = 0; i < n; i++) {
        char c = text[i];
        if (is_digit(c))
            v = v * 16 + (uint32_t)(c - '0');
        else if (c >= 'a' && c <= 'f')
            v = v * 16 + (uint32_t)(c - 'a' + 10);
        else if (c >= 'A' && c <= 'F')
            v = v * 16 + (uint32_t)(c - 'A' + 10);
        else
            return 0;
    }
    *out = v;
    return n;
}

/* The escape behind a backslash at text[0]; returns the bytes used, 0 for a broken one. Unknown
 * escapes stay as they are, with their backslash (Python's rule). */
static size_t unescape_one(jinja_builder *b, const char *text, size_t bytes) {
    static const char from[] = "abfnrtv\\'\"", to[] = "\a\b\f\n\r\t\v\\'\"";
    char c = text[0];
    const char *found = c ? strchr(from, c) : NULL;
    if (c == '\n') return 1; /* an escaped new line disappears */
    if (found) return mica_jinja_append(b, &to[found - from], 1, false) ? 1 : 0;
    size_t n = c == 'x' ? 2 : c == 'u' ? 4 : c == 'U' ? 8 : 0;
    uint32_t value = 0;
    if (n > 0) {
        if (bytes < n + 1 || read_hex(text + 1, n, &value) == 0) return 0;
        return mica_jinja_append_codepoint(b, value, false) ? n + 1 : 0;
    }
    if (c >= '0' && c <= '7') {
        size_t used = 0;
        while (used < 3 && used < bytes && text[used] >= '0' && text[used] <= '7')
            value = value * 8 + (uint32_t)(text[used++] - '0');
        return mica_jinja_append_codepoint(b, value, false) ? used : 0;
    }
    return mica_jinja_append(b, "\\", 1, false) && mica_jinja_append(b, text, 1, false) ? 1 : 0;
}

bool mica_jinja_unescape(jinja_run *run, const jinja_token *token, jinja_value *out) {
    const char *text = token->text.data + 1;
    size_t bytes = token->text.bytes - 2;
    if (bytes == 0 || !memchr(text, '\\', bytes))
        return mica_jinja_string(run, text, bytes, false, out);
    jinja_builder b;
    mica_jinja_builder_init(&b, run);
    size_t at = 0;
    while (at < bytes) {
        const char *slash = memchr(text + at, '\\', bytes - at);
        size_t plain = slash ? (size_t)(slash - text) : bytes;
        if (!mica_jinja_append(&b, text + at, plain - at, false)) return false;
        at = plain;
        if (at >= bytes) break;
        size_t used = unescape_one(&b, text + at + 1, bytes - at - 1);
        if (used == 0) return mica_jinja_fail(run, MICA_STATUS_FORMAT, "broken escape in a string");
        at += 1 + used;
    }
    return mica_jinja_builder_take(&b, out);
}
