/* Strings of the template interpreter and the builder that makes them. Each keeps the origin of
 * every byte as a list of flips, which stays short: most texts have one origin. */
#include <string.h>
#include "base/checked.h"
#include "text/jinja_value.h"

/* Memory with room behind the text. Only the string that ends where the text ends may extend it. */
typedef struct jinja_buffer {
    char *data;
    uint32_t *marks;
    size_t bytes;
    size_t capacity;
    size_t n_marks;
    size_t marks_capacity;
} jinja_buffer;

static bool is_ascii(const char *data, size_t bytes) {
    unsigned char any = 0;
    for (size_t i = 0; i < bytes; i++) any |= (unsigned char)data[i];
    return any < 0x80;
}

static jinja_string *new_string(jinja_run *run, const char *data, size_t bytes) {
    if (bytes > UINT32_MAX) {
        mica_jinja_fail(run, MICA_STATUS_LIMIT, "a text of %zu bytes", bytes);
        return NULL;
    }
    jinja_string *s = mica_jinja_alloc(run, 1, sizeof *s);
    if (s) *s = (jinja_string){.data = data, .bytes = (uint32_t)bytes};
    return s;
}

bool mica_jinja_string(jinja_run *run, const char *data, size_t bytes, bool from_input,
                       jinja_value *out) {
    char *copy = mica_jinja_alloc(run, bytes + 1, 1);
    if (!copy) return false;
    if (bytes > 0) memcpy(copy, data, bytes);
    copy[bytes] = 0;
    jinja_string *s = new_string(run, copy, bytes);
    if (!s) return false;
    s->input_first = from_input;
    s->is_ascii = is_ascii(copy, bytes);
    *out = mica_jinja_text(s);
    return mica_jinja_charge_bytes(run, bytes);
}

/* How many marks are at or before the position. */
static size_t count_marks(const uint32_t *marks, size_t n, size_t position) {
    size_t low = 0, high = n;
    while (low < high) {
        size_t middle = (low + high) / 2;
        if (marks[middle] <= position)
            low = middle + 1;
        else
            high = middle;
    }
    return low;
}

size_t mica_jinja_run_end(const jinja_string *s, size_t position, bool *from_input) {
    size_t n = count_marks(s->marks, s->n_marks, position);
    *from_input = s->input_first != (n % 2 == 1);
    return n < s->n_marks ? s->marks[n] : s->bytes;
}

bool mica_jinja_substring(jinja_run *run, const jinja_string *s, size_t from, size_t to,
                          jinja_value *out) {
    jinja_string *part = new_string(run, s->data + from, to - from);
    if (!part) return false;
    part->is_ascii = s->is_ascii || is_ascii(part->data, part->bytes);
    part->is_markup = s->is_markup;
    part->input_first = s->input_first;
    if (s->n_marks > 0 && from < to) {
        size_t first = count_marks(s->marks, s->n_marks, from);
        size_t last = count_marks(s->marks, s->n_marks, to - 1);
        mica_jinja_run_end(s, from, &part->input_first);
        if (last > first) {
            uint32_t *marks = mica_jinja_alloc(run, last - first, sizeof *marks);
            if (!marks) return false;
            for (size_t i = first; i < last; i++) marks[i - first] = s->marks[i] - (uint32_t)from;
            part->marks = marks;
            part->n_marks = (uint32_t)(last - first);
        }
    }
    *out = mica_jinja_text(part);
    return mica_jinja_charge_bytes(run, s->is_ascii ? 0 : part->bytes);
}

size_t mica_jinja_char_bytes(const char *data) {
    unsigned char c = (unsigned char)*data;
    return c < 0x80 ? 1 : c < 0xe0 ? 2 : c < 0xf0 ? 3 : 4;
}

int64_t mica_jinja_char_count(const jinja_string *s) {
    if (s->is_ascii) return s->bytes;
    int64_t n = 0;
    for (size_t i = 0; i < s->bytes; i++) n += ((unsigned char)s->data[i] & 0xc0) != 0x80;
    return n;
}

size_t mica_jinja_char_offset(const jinja_string *s, int64_t index) {
    if (s->is_ascii) return (size_t)index;
    size_t at = 0;
    for (; index > 0 && at < s->bytes; index--) at += mica_jinja_char_bytes(s->data + at);
    return at;
}

void mica_jinja_builder_init(jinja_builder *b, jinja_run *run) { *b = (jinja_builder){.run = run}; }

/* Moves an array of the builder to a larger place. */
static void *grow_memory(jinja_builder *b, void *old, size_t old_bytes, size_t bytes) {
    if (b->allocator) {
        void *memory = mica_realloc(b->allocator, old, bytes);
        if (!memory)
            mica_jinja_fail(b->run, MICA_STATUS_OUT_OF_MEMORY, "out of memory: %zu bytes of text",
                            bytes);
        return memory;
    }
    void *memory = mica_jinja_alloc(b->run, bytes, 1);
    if (memory && old_bytes > 0) memcpy(memory, old, old_bytes);
    return memory;
}

static bool reserve_bytes(jinja_builder *b, size_t more) {
    size_t wanted;
    bool fits = mica_add_size(b->bytes, more, &wanted) && wanted < UINT32_MAX;
    if (!fits || (b->limit_bytes > 0 && wanted > b->limit_bytes))
        return mica_jinja_fail(b->run, MICA_STATUS_LIMIT, "more than %zu bytes of output",
                               b->limit_bytes ? b->limit_bytes : (size_t)UINT32_MAX);
    if (wanted < b->capacity) return true; /* strictly: one byte is for the closing NUL */
    size_t capacity = b->capacity < 64 ? 64 : b->capacity;
    while (capacity <= wanted) capacity *= 2;
    char *data = grow_memory(b, b->data, b->bytes, capacity);
    if (!data) return false;
    b->data = data;
    b->capacity = capacity;
    return true;
}

static bool push_mark(jinja_builder *b) {
    if (b->n_marks == b->marks_capacity) {
        size_t capacity = b->marks_capacity < 8 ? 8 : b->marks_capacity * 2;
        uint32_t *marks =
            grow_memory(b, b->marks, b->n_marks * sizeof *marks, capacity * sizeof *marks);
        if (!marks) return false;
        b->marks = marks;
        b->marks_capacity = capacity;
    }
    b->marks[b->n_marks++] = (uint32_t)b->bytes;
    return true;
}

bool mica_jinja_append(jinja_builder *b, const char *data, size_t bytes, bool from_input) {
    if (b->run->status != MICA_STATUS_OK) return false;
    if (bytes == 0) return true;
    if (!mica_jinja_charge_bytes(b->run, bytes) || !reserve_bytes(b, bytes)) return false;
    if (b->bytes == 0)
        b->input_first = from_input;
    else if (from_input != b->input_last && !push_mark(b))
        return false;
    b->input_last = from_input;
    memcpy(b->data + b->bytes, data, bytes);
    b->bytes += bytes;
    b->data[b->bytes] = 0;
    return true;
}

bool mica_jinja_append_text(jinja_builder *b, const char *text) {
    return mica_jinja_append(b, text, strlen(text), false);
}

bool mica_jinja_append_range(jinja_builder *b, const jinja_string *s, size_t from, size_t to) {
    while (from < to) {
        bool from_input = false;
        size_t end = mica_jinja_run_end(s, from, &from_input);
        if (end > to) end = to;
        if (!mica_jinja_append(b, s->data + from, end - from, from_input)) return false;
        from = end;
    }
    return b->run->status == MICA_STATUS_OK;
}

bool mica_jinja_append_string(jinja_builder *b, const jinja_string *s) {
    return mica_jinja_append_range(b, s, 0, s->bytes);
}

bool mica_jinja_append_codepoint(jinja_builder *b, uint32_t codepoint, bool from_input) {
    char text[4];
    size_t bytes = mica_utf8_encode(codepoint, text);
    if (bytes == 0) return mica_jinja_append(b, "\xef\xbf\xbd", 3, from_input);
    return mica_jinja_append(b, text, bytes, from_input);
}

void mica_jinja_builder_cut(jinja_builder *b, size_t bytes) {
    if (bytes >= b->bytes) return;
    b->bytes = bytes;
    while (b->n_marks > 0 && b->marks[b->n_marks - 1] >= bytes) b->n_marks--;
    b->input_last = b->input_first != (b->n_marks % 2 == 1);
    b->data[bytes] = 0;
}

bool mica_jinja_builder_take(jinja_builder *b, jinja_value *out) {
    if (b->run->status != MICA_STATUS_OK) return false;
    jinja_string *s = new_string(b->run, b->data ? b->data : "", b->bytes);
    if (!s) return false;
    s->marks = b->marks;
    s->n_marks = (uint32_t)b->n_marks;
    s->input_first = b->input_first;
    s->is_ascii = is_ascii(s->data, s->bytes);
    *out = mica_jinja_text(s);
    return true;
}

bool mica_jinja_builder_copy(const jinja_builder *b, size_t from, jinja_value *out) {
    jinja_string view = {.data = b->data ? b->data : "",
                         .bytes = (uint32_t)b->bytes,
                         .marks = b->marks,
                         .n_marks = (uint32_t)b->n_marks,
                         .input_first = b->input_first};
    size_t bytes = b->bytes - from;
    char *copy = mica_jinja_alloc(b->run, bytes + 1, 1);
    if (!copy) return false;
    if (bytes > 0) memcpy(copy, view.data + from, bytes);
    copy[bytes] = 0;
    if (!mica_jinja_substring(b->run, &view, from, b->bytes, out)) return false;
    out->as.string->data = copy;
    return mica_jinja_charge_bytes(b->run, bytes);
}

/* Room for the result: exactly its size at first, twice that when the first operand is itself a
 * result that is being extended. */
static jinja_buffer *new_buffer(jinja_run *run, size_t bytes, size_t n_marks, bool with_room) {
    jinja_buffer *b = mica_jinja_alloc(run, 1, sizeof *b);
    if (!b) return NULL;
    *b = (jinja_buffer){.capacity = with_room ? 2 * bytes : bytes,
                        .marks_capacity = with_room ? 2 * n_marks + 16 : n_marks};
    b->data = mica_jinja_alloc(run, b->capacity + 1, 1);
    b->marks = mica_jinja_alloc(run, b->marks_capacity, sizeof *b->marks);
    return b->data && b->marks ? b : NULL;
}

/* Appends s at the end of the buffer's text, whose last byte has the origin *last_input. */
static void extend_buffer(jinja_buffer *b, const jinja_string *s, bool *last_input) {
    if (s->bytes == 0) return;
    memcpy(b->data + b->bytes, s->data, s->bytes);
    if (b->bytes > 0 && s->input_first != *last_input) b->marks[b->n_marks++] = (uint32_t)b->bytes;
    for (size_t i = 0; i < s->n_marks; i++)
        b->marks[b->n_marks++] = s->marks[i] + (uint32_t)b->bytes;
    b->bytes += s->bytes;
    *last_input = s->input_first != (s->n_marks % 2 == 1);
}

bool mica_jinja_concatenate(jinja_run *run, const jinja_value *strings, size_t n,
                            jinja_value *out) {
    const jinja_string *first = strings[0].as.string;
    size_t bytes = 0, n_marks = 0;
    bool all_ascii = true;
    for (size_t i = 0; i < n; i++) { /* both sums are bounded by the heap */
        bytes += strings[i].as.string->bytes;
        n_marks += strings[i].as.string->n_marks + 1u;
        all_ascii = all_ascii && strings[i].as.string->is_ascii;
    }
    if (!mica_jinja_charge_bytes(run, bytes - first->bytes)) return false;
    jinja_buffer *b = first->buffer;
    bool extends = b && b->bytes == first->bytes && b->n_marks == first->n_marks &&
                   bytes <= b->capacity && n_marks <= b->marks_capacity && first->bytes > 0;
    if (!extends) {
        b = new_buffer(run, bytes, n_marks, first->buffer != NULL);
        if (!b || !mica_jinja_charge_bytes(run, first->bytes)) return false;
    }
    bool last_input = first->input_first != (first->n_marks % 2 == 1);
    bool input_first = first->input_first;
    for (size_t i = 0; i < n && bytes > 0; i++) {
        const jinja_string *s = strings[i].as.string;
        if (i == 0 && extends) continue;
        if (b->bytes == 0 && s->bytes > 0) input_first = s->input_first;
        extend_buffer(b, s, &last_input);
    }
    jinja_string *s = new_string(run, b->data, bytes);
    if (!s) return false;
    s->marks = b->marks;
    s->n_marks = (uint32_t)b->n_marks;
    s->buffer = b;
    s->input_first = input_first;
    s->is_ascii = all_ascii;
    *out = mica_jinja_text(s);
    return true;
}
