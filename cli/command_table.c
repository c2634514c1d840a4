/* Every command of the program. The texts are the help, the man page and docs/cli.md. */
#include "commands.h"

#define MODEL_TEXT                                                                                 \
    "MODEL is a folder with a Hugging Face checkpoint, a GGUF file, a name org/name or "           \
    "org/name@revision that is in the Hugging Face cache, or demo, the tiny model that comes "     \
    "with "                                                                                        \
    "mica."

/* clang-format off */
const cli_command cli_command_table[CLI_COMMAND_COUNT_] = {
    [CLI_RUN] = {CLI_RUN, "run", "MODEL [PROMPT]", 1, 2,
        "generate text from one prompt", MODEL_TEXT
        "\nThe prompt is the argument, the text of --file, or standard input. It is put into the "
        "model's chat template as the user's message, unless --raw is given; one line feed at the "
        "end of a file or of standard input is dropped then. The answer goes to standard output "
        "as it is made."
        "\nSampling follows the model's generation_config.json; options go before it. A model "
        "that states nothing there is sampled at temperature 0.8; one that says do_sample without "
        "a temperature at 1; one that says do_sample false at 0."
        "\nCtrl-C ends the answer; a second Ctrl-C ends the program at once.", cmd_run},
    [CLI_CHAT] = {CLI_CHAT, "chat", "MODEL", 1, 1,
        "talk with a model, turn by turn", MODEL_TEXT
        "\nIn the chat: /reset starts anew, /system TEXT sets the system message and starts anew, "
        "/save FILE writes the messages as JSON, /exit or the end of input leaves, /help lists "
        "these. A chat that fills the context says so; nothing is dropped.", cmd_chat},
    [CLI_SHOW] = {CLI_SHOW, "show", "MODEL", 1, 1,
        "describe a model and the memory it needs", MODEL_TEXT
        " It may also be a single .safetensors file."
        "\nThe files are checked strictly, and against the configuration; no weight is read. Exit "
        "code 1 when something is wrong with them.", cmd_show},
    [CLI_TOKENIZE] = {CLI_TOKENIZE, "tokenize", "MODEL [TEXT]", 1, 2,
        "text to token ids, and back",
        "Prints one token a line: its id and its text as the tokenizer's file spells it. The text "
        "is the argument, the text of --file, or standard input, taken byte by byte. Special "
        "tokens in the text count as such; nothing is added in front. MODEL may also be a "
        "tokenizer.json file.", cmd_tokenize},
    [CLI_RENDER] = {CLI_RENDER, "render", "MODEL MESSAGES.json", 2, 2,
        "the text that a chat template makes",
        "MESSAGES.json (- for standard input) holds a JSON object with messages and, where "
        "wanted, tools and other variables of the template. The text is printed exactly, without "
        "a line feed of its own.", cmd_render},
    [CLI_LOGITS] = {CLI_LOGITS, "logits", "MODEL IDS.jsonl OUT.safetensors", 3, 3,
        "logits of token ids, for comparisons",
        "IDS.jsonl (- for standard input) holds one array of token ids a line. OUT.safetensors "
        "gets for the K-th line, counted from 0, the tensor logits.K: the float32 logits after "
        "its last id [vocab], or with --all after every id [ids, vocab]. Needs no tokenizer.",
        cmd_logits},
    [CLI_BENCH] = {CLI_BENCH, "bench", "MODEL", 1, 1,
        "measure speed against the limits of the machine", MODEL_TEXT
        "\npp N is the speed of reading a prompt of N tokens, tg N of generating N tokens, tg N @ D "
        "of generating N behind D others; all are medians with the slowest and the fastest "
        "repetition. GB/s counts the weights and the KV cache that a token needs, GFLOP/s what the "
        "steps of the plan state. The ceilings are measured before the tests: reading memory, "
        "reading the mapped weights file, multiply-adds, and matrix tiles where the processor has "
        "them. share is the part of the ceiling that binds, of mapped the part of the mapped "
        "file's bandwidth. ms is the time of a token (pp: of the prompt), by bytes the time that "
        "weights and KV cache predict at depth D from the speed without a depth.",
        cmd_bench},
    [CLI_PROFILE] = {CLI_PROFILE, "profile", "MODEL", 1, 1,
        "show where the time of a forward pass goes", MODEL_TEXT
        "\nEvery step of the plan is timed on every thread: by default while tokens are generated, "
        "with --prompt while a prompt is read. us is the median over the passes, counted from the "
        "step's begin to the begin of the next one, so that the rows and the start add up to the "
        "pass; wait is the part of it that threads stood at the barrier behind it. MB and MFLOP are "
        "what the steps state for the plan's shapes, read and written once each. The ceiling is "
        "the longer of bytes by the measured read bandwidth and operations by the measured "
        "multiply-add rate; above 100 % the data came from a cache."
        "\nThe clocks cost about 0.1 us a step.", cmd_profile},
    [CLI_EVAL] = {CLI_EVAL, "eval", "MODEL", 1, 1,
        "perplexity, or the difference between two models", MODEL_TEXT
        "\n--ppl FILE: mean negative log-likelihood of a text in nats (NLL) and perplexity, with "
        "standard errors. --kld OTHER --text FILE: how far OTHER is from MODEL, the reference: the "
        "divergence KL(MODEL || OTHER) of the next token over all scored positions, how often both "
        "have the same most likely token, and the change of the NLL. Both need the same "
        "vocabulary; the tokenizer is MODEL's. OTHER may be MODEL itself with --kld-mode."
        "\nThe text is cut into chunks of --ctx tokens, each read from an empty cache; an "
        "incomplete chunk at the end is left out, unless it is the only one. Each chunk begins "
        "with BOS where the tokenizer puts one in front of a text, and special tokens in the text "
        "are plain text. A token is scored once, when something stands in front of it. With "
        "--score second-half the chunks and the scored tokens are those of llama-perplexity."
        "\nSums are made in float64 from the float32 logits.", cmd_eval},
    [CLI_CONVERT] = {CLI_CONVERT, "convert", "MODEL OUT", 2, 2,
        "write a model in MLX's layout, quantised or not", MODEL_TEXT
        "\nOUT is a folder that is not there yet, or empty; mica and mlx-lm open it. Without "
        "options weights keep their values: those of AWQ, GPTQ, compressed-tensors and GGUF files "
        "become MLX's where that loses nothing, and --verbose says for each tensor what it was and "
        "became."
        "\n--quantize takes the matrices of linear layers, experts and embeddings whose rows come to "
        "whole groups; vectors stay plain. Each matrix is stored as the first of these says: "
        "--override; the family (the router of gpt_oss and qwen3_moe is affine:8:64, experts of "
        "gpt_oss that are mxfp4 stay so, and of granite o_proj, down_proj and lm_head are "
        "affine:8:64 unless there is a recipe); --recipe; --quantize. What is stored in the wanted "
        "way already stays byte for byte."
        "\nThe folder appears whole at the end: a conversion that is killed leaves OUT.tmp-PID. The "
        "memory needed is about that of the largest tensor.", cmd_convert},
    [CLI_DOCTOR] = {CLI_DOCTOR, "doctor", "", 0, 0,
        "check this machine and this build",
        "Lists instruction sets, threads and memory, and computes operations with known answers "
        "at each level that the processor has. Exit code 1 when one is wrong.", cmd_doctor},
    [CLI_VERSION] = {CLI_VERSION, "version", "", 0, 0,
        "print the version", "Prints the version, the backend and the device.", cmd_version},
    [CLI_HELP] = {CLI_HELP, "help", "[COMMAND]", 0, 1,
        "print help", "Without a command: the list of commands.", cmd_help},
    [CLI_COMPLETION] = {CLI_COMPLETION, "completion", "bash|zsh|fish", 1, 1,
        "print a completion script for a shell",
        "make install puts the scripts where the shells look for them.", cmd_completion},
};
/* clang-format on */
