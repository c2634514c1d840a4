/* Which module is stored how: the order of overrides, rules of families, recipes and the type that
 * was asked for. The tables are in convert_rules.c; docs/cli.md says the same in words. */
#pragma once
#include "format/config.h"
#include "format/quant_spec.h"
#include "mica/convert.h"

/* What is to become of one module.
 * KEEP     as it is; a plain one may change its float type
 * STORE    as spec says; NONE: plain
 * row_multiple   what rows must come to whole multiples of; else the module stays plain. A rule of
 * a family does not quantise what the type that was asked for could not */
typedef enum convert_action { CONVERT_KEEP = 0, CONVERT_STORE } convert_action;
typedef struct convert_choice {
    convert_action action;
    mica_quant_spec spec;
    int64_t row_multiple;
} convert_choice;

/* Borrows texts of the options and the config. */
typedef struct convert_rules {
    const mica_convert_options *options;
    const mica_config *config;
    mica_dtype dtype;     /* of floats; NONE: theirs */
    bool has_base;        /* quantize or recipe was given */
    mica_quant_spec base; /* of most modules then: quantize, or the low bits of the recipe */
    const struct convert_recipe *recipe;
} convert_rules;

/* config may be NULL when only the options are to be checked. Errors: INVALID for texts that mean
 * nothing or contradict each other. */
mica_status convert_rules_read(const mica_convert_options *options, const mica_config *config,
                               convert_rules *out, mica_error *err);
/* For the module `path`, a matrix or more that is stored as `from` now. */
convert_choice convert_rules_choose(const convert_rules *rules, const char *path,
                                    mica_quant_spec from);
/* Whether a glob (* and ?) matches the whole text. */
bool convert_glob_matches(const char *pattern, const char *text);
