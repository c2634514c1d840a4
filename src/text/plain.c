/* The plain output format: everything the model writes is content; special tokens are not printed.
 */
#include "text/output_parser_parts.h"

void mica_plain_push(mica_output_parser *p, int32_t id, mica_output_sink sink, void *context) {
    p->is_open = true;
    mica_output_push_text(p, id, sink, context);
}

void mica_plain_finish(mica_output_parser *p, mica_output_sink sink, void *context) {
    mica_output_flush_text(p, sink, context);
    if (p->is_open) sink(context, MICA_OUTPUT_MESSAGE_END, "", 0);
    p->is_open = false;
}
