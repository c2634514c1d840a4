/* JSON members in a string builder. */
#include "format/gguf_json.h"

/* No comma at the beginning of an object or array. */
static void separate(mica_str *out) {
    char last = out->bytes > 0 ? out->data[out->bytes - 1] : '{';
    if (last != '{' && last != '[') mica_str_append_char(out, ',');
}

void mica_gguf_put_key(mica_str *out, const char *key) {
    separate(out);
    mica_json_append_string(out, mica_slice_from(key));
    mica_str_append_char(out, ':');
}

void mica_gguf_put_text(mica_str *out, const char *key, mica_slice value) {
    mica_gguf_put_key(out, key);
    mica_json_append_string(out, value);
}

void mica_gguf_put_integer(mica_str *out, const char *key, int64_t value) {
    mica_gguf_put_key(out, key);
    mica_str_append_format(out, "%lld", (long long)value);
}

void mica_gguf_put_bool(mica_str *out, const char *key, bool value) {
    mica_gguf_put_key(out, key);
    mica_str_append_text(out, value ? "true" : "false");
}

void mica_gguf_append_number(mica_str *out, double value) {
    char text[48];
    double back = 0;
    bool is_single = (double)(float)value >= value && (double)(float)value <= value;
    for (int digits = 1; is_single && digits <= 9; digits++) {
        size_t bytes = mica_format(text, sizeof text, "%.*g", digits, value);
        if (!mica_parse_double(mica_slice_of(text, bytes), &back)) continue;
        if ((float)back < (float)value || (float)back > (float)value) continue;
        value = back;
        break;
    }
    mica_str_append(out, text, mica_format_double(value, text));
}

void mica_gguf_put_number(mica_str *out, const char *key, double value) {
    mica_gguf_put_key(out, key);
    mica_gguf_append_number(out, value);
}
