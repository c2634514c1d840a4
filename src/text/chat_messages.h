/* What is put right in the messages of a request before a template sees them. */
#pragma once
#include "text/jinja_ast.h"

/* Changes the message list in place:
 * - `arguments` of past tool calls that are the text of a JSON object become that object, if the
 *   template has tojson or items somewhere; else it adds them to its text as they are;
 * - a content that is a list of text parts becomes one text (joined by new lines), unless the
 *   template has a loop over something named `content`; a part that is no text is then an error;
 * - the reasoning of a past turn, under whichever of reasoning_content, reasoning and thinking it
 *   came, is found under all three. */
bool mica_chat_messages_normalize(jinja_run *run, const jinja_program *program,
                                  jinja_value *messages);
