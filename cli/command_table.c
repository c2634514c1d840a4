/* Every command of the program. The texts are the help, the man page and docs/cli.md. */
#include "commands.h"

#define MODEL_TEXT                                                                                 \
    "MODEL is a folder with a Hugging Face checkpoint, a name org/name or org/name@revision that " \
    "is in the Hugging Face cache, or demo, the tiny model that comes with mica."

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
        "measure speed against the memory's bandwidth", MODEL_TEXT
        "\npp N is the speed of reading a prompt of N tokens, tg N of generating N tokens; both "
        "are medians with the slowest and the fastest repetition. GB/s counts the weights that a "
        "token needs, share compares it with the read bandwidth that is measured just before.",
        cmd_bench},
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
