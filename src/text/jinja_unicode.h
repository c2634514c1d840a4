/* The little Unicode that templates need: white space, letter case, what repr() may print.
 * Case mapping is one code point to one (simple mapping), except for sharp s. */
#pragma once
#include <stdbool.h>
#include <stdint.h>

bool mica_jinja_is_space(uint32_t c);     /* Python's str.isspace */
bool mica_jinja_is_line_end(uint32_t c);  /* where str.splitlines cuts */
bool mica_jinja_is_word(uint32_t c);      /* letters, numbers, underscore: identifiers */
bool mica_jinja_is_printable(uint32_t c); /* Python's str.isprintable */
bool mica_jinja_is_upper(uint32_t c);
bool mica_jinja_is_lower(uint32_t c);
bool mica_jinja_is_title(uint32_t c);
uint32_t mica_jinja_upper(uint32_t c);
uint32_t mica_jinja_lower(uint32_t c);
uint32_t mica_jinja_title(uint32_t c);
