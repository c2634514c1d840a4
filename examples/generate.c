/* Generates text with a model: folder in, text out.
 *
 *     cc generate.c $(pkg-config --cflags --libs mica) -o generate
 *     ./generate models/demo "In the beginning" */
#include <mica/mica.h>
#include <stdio.h>
#include <string.h>

typedef struct printer {
    mica_text_stream *stream;
} printer;

static void print_text(void *context, mica_text_kind kind, const char *text, size_t bytes) {
    (void)context;
    if (kind == MICA_TEXT_CONTENT) fwrite(text, 1, bytes, stdout);
    fflush(stdout);
}

static bool take_event(void *context, const mica_event *event) {
    printer *p = context;
    return event->id < 0 || mica_text_stream_push(p->stream, event->id, print_text, NULL);
}

/* Every call returns a status; the first that is not OK ends the program with its message. */
#define TRY(call)                                                                                  \
    do {                                                                                           \
        if ((call) != MICA_STATUS_OK) goto done;                                                   \
    } while (0)

int main(int argc, char **argv) {
    if (argc != 3) {
        fprintf(stderr, "usage: generate MODEL_FOLDER PROMPT\n");
        return 2;
    }
    mica_error err = {0};
    mica_runtime *runtime = NULL;
    mica_model *model = NULL;
    mica_tokenizer *tokenizer = NULL;
    mica_engine *engine = NULL;
    mica_tokens prompt = {0};
    mica_ticket ticket = 0;
    printer p = {0};
    mica_text_stream_options raw = {.struct_bytes = sizeof raw, .raw = true};

    TRY(mica_runtime_open(NULL, &runtime, &err));
    TRY(mica_model_open(runtime, argv[1], NULL, &model, &err));
    TRY(mica_tokenizer_open(runtime, argv[1], &tokenizer, &err));
    TRY(mica_engine_create(model, NULL, &engine, &err));
    TRY(mica_text_stream_create(tokenizer, NULL, &raw, &p.stream, &err));
    TRY(mica_tokenizer_encode(tokenizer, argv[2], strlen(argv[2]), NULL, &prompt, &err));

    mica_model_sampling sampling; /* what generation_config.json says; here for the stop ids */
    mica_model_get_sampling(model, &sampling);
    mica_request request = {.struct_bytes = sizeof request,
                            .ids = prompt.ids,
                            .n_ids = prompt.count,
                            .max_tokens = 48,
                            .stop_ids = sampling.stop_ids,
                            .n_stop_ids = sampling.n_stop_ids,
                            .vocab_limit = mica_tokenizer_size(tokenizer),
                            .on_event = take_event,
                            .context = &p};
    TRY(mica_engine_submit(engine, &request, &ticket, &err));
    printf("%s", argv[2]);
    while (mica_engine_is_busy(engine)) TRY(mica_engine_step(engine, &err));
    mica_text_stream_finish(p.stream, print_text, NULL);
    printf("\n");
done:
    if (err.status != MICA_STATUS_OK) fprintf(stderr, "generate: %s\n", err.message);
    if (tokenizer) mica_tokens_free(tokenizer, &prompt);
    mica_text_stream_destroy(&p.stream);
    mica_engine_destroy(&engine);
    mica_tokenizer_close(&tokenizer);
    mica_model_close(&model);
    if (runtime) mica_runtime_close(&runtime);
    return err.status != MICA_STATUS_OK;
}
