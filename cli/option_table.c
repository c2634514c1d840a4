/* Every option of every command: one row each. Rows of one group stand together; within a command's
 * help they keep this order. */
#include "options.h"

#define AT(field) offsetof(cli_options, field)
#define RUN (1u << CLI_RUN)
#define CHAT (1u << CLI_CHAT)
#define SHOW (1u << CLI_SHOW)
#define TOKENIZE (1u << CLI_TOKENIZE)
#define RENDER (1u << CLI_RENDER)
#define LOGITS (1u << CLI_LOGITS)
#define BENCH (1u << CLI_BENCH)
#define PROFILE (1u << CLI_PROFILE)
#define EVAL (1u << CLI_EVAL)
#define CONVERT (1u << CLI_CONVERT)
#define DOCTOR (1u << CLI_DOCTOR)
#define VERSION (1u << CLI_VERSION)
#define HELP (1u << CLI_HELP)
#define COMPLETION (1u << CLI_COMPLETION)
#define GENERATE (RUN | CHAT)
#define COMPUTE (RUN | CHAT | LOGITS | BENCH | PROFILE | EVAL)
#define MODEL (COMPUTE | SHOW | TOKENIZE | RENDER | CONVERT)
#define ALL (MODEL | DOCTOR | VERSION | HELP | COMPLETION)

#define TOKENS_MAX (1 << 24)
#define SEED_MAX 9007199254740992.0 /* 2^53: exact in a JSON number */
#define BYTES_MAX 1152921504606846976.0

/* clang-format off */
const cli_option cli_option_table[] = {
    {RUN, "file", 'f', "FILE", CLI_PATH, AT(file), 0, 0, "Input",
     "read the prompt from FILE"},
    {TOKENIZE, "file", 'f', "FILE", CLI_PATH, AT(file), 0, 0, "Input",
     "read the text from FILE"},
    {GENERATE, "system", 0, "TEXT", CLI_TEXT, AT(system), 0, 0, "Input",
     "the system message"},
    {GENERATE, "reasoning-effort", 0, "low|medium|high", CLI_CHOICE, AT(reasoning_effort), 0, 0,
     "Input", "how long the model is to think, for templates that take it"},
    {GENERATE | RENDER, "chat-template", 0, "FILE", CLI_PATH, AT(chat_template), 0, 0, "Input",
     "a Jinja template instead of the model's own"},
    {RUN, "raw", 0, NULL, CLI_FLAG, AT(raw), 0, 0, "Input",
     "no chat template: continue the prompt as it is, and print special tokens"},
    {RENDER, "add-generation-prompt", 0, NULL, CLI_FLAG, AT(add_generation_prompt), 0, 0, "Input",
     "end with the beginning of the model's turn"},
    {TOKENIZE, "no-special", 0, NULL, CLI_FLAG, AT(no_special), 0, 0, "Input",
     "special tokens in the text are plain text; with --decode: leave them out"},
    {TOKENIZE, "decode", 0, NULL, CLI_FLAG, AT(decode), 0, 0, "Input",
     "the other way: ids, separated by spaces or commas, to text"},
    {TOKENIZE, "jsonl", 0, NULL, CLI_FLAG, AT(jsonl), 0, 0, "Input",
     "one JSON string a line in, one array of ids a line out (with --decode: arrays in, strings "
     "out)"},

    {EVAL, "ppl", 0, "FILE", CLI_PATH, AT(ppl), 0, 0, "Input",
     "likelihood of the text of FILE (- for standard input)"},
    {EVAL, "kld", 0, "OTHER", CLI_PATH, AT(kld), 0, 0, "Input",
     "compare OTHER, a model, with MODEL"},
    {EVAL, "text", 0, "FILE", CLI_PATH, AT(text), 0, 0, "Input",
     "the text for --kld (- for standard input)"},
    {EVAL, "ids", 0, NULL, CLI_FLAG, AT(ids), 0, 0, "Input",
     "FILE holds one array of token ids a line, each a text of its own; needs no tokenizer, and "
     "nothing is put in front"},
    {EVAL, "no-bos", 0, NULL, CLI_FLAG, AT(no_bos), 0, 0, "Input",
     "put no BOS in front of the chunks"},

    {EVAL, "ctx", 'c', "N", CLI_COUNT, AT(context), 2, TOKENS_MAX, "Chunks",
     "tokens of a chunk, BOS included; default 512, or the model's limit if that is less"},
    {EVAL, "stride", 0, "N", CLI_COUNT, AT(stride), 1, TOKENS_MAX, "Chunks",
     "tokens from the begin of a chunk to the begin of the next; default: no overlap"},
    {EVAL, "score", 0, "all|second-half", CLI_CHOICE, AT(score), 0, 0, "Chunks",
     "which tokens of a chunk are scored; default all"},

    {CONVERT, "quantize", 'q', "MODE", CLI_TEXT, AT(quantize), 0, 0, "Weights",
     "affine:BITS:GROUP (2, 3, 4, 5, 6 or 8 bits; groups of 32, 64 or 128), mxfp4, mxfp8 or nvfp4"},
    {CONVERT, "dtype", 0, "bf16|f16|f32", CLI_CHOICE, AT(dtype), 0, 0, "Weights",
     "type of what is not quantised, and of scales; without --quantize all becomes plain"},
    {CONVERT, "recipe", 0, "mixed_2_6|mixed_3_4|mixed_3_6|mixed_4_6", CLI_CHOICE, AT(recipe), 0, 0,
     "Weights",
     "affine with two numbers of bits: the second for the head, and for v_proj and down_proj of "
     "some layers"},
    {CONVERT, "override", 0, "PATTERN=MODE", CLI_TEXTS, AT(overrides), 0, 0, "Weights",
     "store modules whose path matches (* and ?) in this way, none for plain; may be given up to "
     "16 times, the last match decides"},

    {GENERATE, "max-tokens", 'n', "N", CLI_COUNT, AT(max_tokens), 1, TOKENS_MAX, "Length",
     "generate at most N tokens; default: until the model ends or the context is full"},
    {GENERATE, "stop", 0, "TEXT", CLI_TEXTS, AT(stops), 0, 0, "Length",
     "end the answer before TEXT; may be given up to 16 times"},
    {(COMPUTE & ~(EVAL | PROFILE)) | SHOW, "ctx", 'c', "N", CLI_COUNT, AT(context), 1, TOKENS_MAX,
     "Length",
     "context in tokens, prompt and answer together; default: the smaller of the model's limit "
     "and what the memory holds"},

    {GENERATE, "temp", 0, "T", CLI_NUMBER, AT(temperature), 0, 100, "Sampling",
     "temperature; 0 always takes the most likely token"},
    {GENERATE, "top-k", 0, "N", CLI_COUNT, AT(top_k), 0, TOKENS_MAX, "Sampling",
     "only the N most likely tokens; 0 = off"},
    {GENERATE, "top-p", 0, "P", CLI_NUMBER, AT(top_p), 0, 1, "Sampling",
     "only the most likely tokens that add up to probability P; 1 = off"},
    {GENERATE, "min-p", 0, "P", CLI_NUMBER, AT(min_p), 0, 1, "Sampling",
     "only tokens of at least P times the highest probability; 0 = off"},
    {GENERATE, "repeat-penalty", 0, "X", CLI_NUMBER, AT(repeat_penalty), 0.01, 100, "Sampling",
     "divides positive logits of tokens that occurred and multiplies negative ones; 1 = off"},
    {GENERATE, "presence-penalty", 0, "X", CLI_NUMBER, AT(presence_penalty), -100, 100, "Sampling",
     "subtracted from the logits of tokens that occurred; 0 = off"},
    {GENERATE, "frequency-penalty", 0, "X", CLI_NUMBER, AT(frequency_penalty), -100, 100,
     "Sampling", "subtracted from the logits for each time a token occurred; 0 = off"},
    {GENERATE, "seed", 0, "N", CLI_COUNT, AT(seed), 0, SEED_MAX, "Sampling",
     "seed of the draws; default: another one each time (--verbose prints it)"},

    {LOGITS, "all", 0, NULL, CLI_FLAG, AT(all_positions), 0, 0, "Output",
     "logits after every id, not only the last"},
    {LOGITS, "greedy", 0, "N", CLI_COUNT, AT(greedy), 1, TOKENS_MAX, "Output",
     "also continue each line by the N most likely ids, stop ids ignored: tensor greedy.K, int32"},
    {SHOW, "tensors", 0, NULL, CLI_FLAG, AT(tensors), 0, 0, "Output",
     "list every tensor: name, type, shape, file"},
    {RUN | SHOW | EVAL | CONVERT, "json", 0, NULL, CLI_FLAG, AT(json), 0, 0, "Output",
     "print one JSON object at the end instead of text"},
    {GENERATE, "show-reasoning", 0, NULL, CLI_FLAG, AT(show_reasoning), 0, 0, "Output",
     "print what the model thinks, too"},
    {GENERATE, "show-timings", 0, NULL, CLI_FLAG, AT(show_timings), 0, 0, "Output",
     "print speeds, times and memory on standard error"},
    {BENCH | PROFILE, "output", 'o', "md|json|csv", CLI_CHOICE, AT(format), 0, 0, "Output",
     "form of the results; default md"},
    {PROFILE, "steps", 0, NULL, CLI_FLAG, AT(steps), 0, 0, "Output",
     "one row for each step of the plan, in order, instead of one for each kernel"},
    {PROFILE, "trace", 0, "FILE", CLI_PATH, AT(trace), 0, 0, "Output",
     "write the median pass as a trace that Chrome (chrome://tracing) and Perfetto open"},

    {BENCH, "prompt", 'p', "N,...", CLI_COUNTS, AT(prompt_tokens), 1, TOKENS_MAX, "Tests",
     "prompt lengths to measure; default 512"},
    {BENCH, "generate", 'n', "N,...", CLI_COUNTS, AT(generated_tokens), 1, TOKENS_MAX, "Tests",
     "answer lengths to measure; default 128"},
    {BENCH, "repetitions", 'r', "N", CLI_COUNT, AT(repetitions), 1, 1000, "Tests",
     "how often each test is run; default 3"},
    {BENCH, "depth", 'd', "N,...", CLI_COUNTS, AT(depths), 1, TOKENS_MAX, "Tests",
     "also measure answers with N tokens in the cache before them"},
    {BENCH, "graph", 0, "on|off", CLI_CHOICE, AT(graph), 0, 0, "Tests",
     "off: without the passes fuse, simplify, order and replicate, and without donation"},
    {BENCH, "no-ceilings", 0, NULL, CLI_FLAG, AT(no_ceilings), 0, 0, "Tests",
     "do not measure the limits of the machine first"},
    {PROFILE, "prompt", 'p', "N", CLI_COUNT, AT(prompt), 1, 2048, "Tests",
     "profile the reading of N tokens instead of the generation of one"},
    {PROFILE, "depth", 'd', "N", CLI_COUNT, AT(depth), 0, TOKENS_MAX, "Tests",
     "tokens that are in the cache before the pass; default 0"},
    {PROFILE, "repetitions", 'r', "N", CLI_COUNT, AT(repetitions), 1, 256, "Tests",
     "passes that are timed; default 20"},

    {COMPUTE | SHOW, "exact", 0, NULL, CLI_FLAG, AT(exact), 0, 0, "Machine",
     "float32 activations and KV cache instead of the faster 16-bit ones"},
    {EVAL, "kld-mode", 0, "exact|fast", CLI_CHOICE, AT(kld_mode), 0, 0, "Machine",
     "arithmetic of OTHER; default: as for MODEL"},
    {COMPUTE | CONVERT | DOCTOR, "threads", 0, "N", CLI_COUNT, AT(threads), 1, 256, "Machine",
     "threads; default: one for each core"},
    {COMPUTE | SHOW, "memory", 0, "BYTES", CLI_BYTES, AT(memory_bytes), 1, BYTES_MAX, "Machine",
     "memory that may be used, as 12G; default: what is free"},
    {COMPUTE, "cpu-level", 0, "scalar|avx2|avx512|amx|neon", CLI_CHOICE, AT(cpu_level), 0, 0,
     "Machine",
     "use no instruction set above this"},
    {MODEL, "cache-dir", 0, "FOLDER", CLI_PATH, AT(cache_folder), 0, 0, "Machine",
     "the Hugging Face cache; default: HF_HUB_CACHE and so on, see ENVIRONMENT"},

    {COMPUTE, "autotune", 0, NULL, CLI_FLAG, AT(autotune), 0, 0, "Machine",
     "where kernels give the same result, measure which is fastest here, and remember it in "
     "mica/kernels.txt of the user's cache folder"},

    {COMPUTE, "no-pass", 0, "PASS,...", CLI_TEXT, AT(no_pass), 0, 0, "Diagnosis",
     "switch passes of the planner off: simplify, fuse, order, replicate, place (every value keeps "
     "a place of its own), donation (no result is written over what it is made of)"},
    {COMPUTE, "dump", 0, "PASS,...", CLI_TEXT, AT(dump), 0, 0, "Diagnosis",
     "print the plan after these passes (or all) on standard error: collect, check, assign, "
     "simplify, fuse, lower, order, replicate, place, select, sync, seal"},
    {MODEL, "verbose", 'v', NULL, CLI_FLAG, AT(verbose), 0, 0, "Diagnosis",
     "print the log, the seed and what was chosen on standard error"},

    {HELP, "man", 0, NULL, CLI_FLAG, AT(man), 0, 0, "Output", "print the man page"},
    {HELP, "markdown", 0, NULL, CLI_FLAG, AT(markdown), 0, 0, "Output",
     "print the whole help as Markdown"},

    {ALL, "help", 'h', NULL, CLI_FLAG, AT(help), 0, 0, "Diagnosis", "print this help"},
};
const size_t cli_option_count = sizeof cli_option_table / sizeof *cli_option_table;
/* clang-format on */
