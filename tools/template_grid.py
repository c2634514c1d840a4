#!/usr/bin/env python3
"""Compares the chat template interpreter with Jinja2 over templates and random conversations.

    template_grid.py LIBRARY SOURCE... [--renders N] [--seed S] [--show N] [--out DIFFERENCES.json]

LIBRARY is the shared library that the build makes (build/release/src/libmica.so). A SOURCE is a folder
that is searched for .jinja files and tokenizer_config.json (also .xz), or one .jinja file. Each template is rendered N times (2000) with
conversations drawn from a seeded generator: system messages or none, several turns, tool calls and
results, reasoning, content as parts, empty and odd texts, wrong orders; no, one or several tools; and
the variables that templates look at. Outcomes must be equal: the same text, or an error on both sides,
with the same message when the template raised it. Also checked: every byte of the prompt that can only
come from the conversation is marked as input (the conversation's words hold letters that no template
has), which is what keeps text of a message from becoming a special token.

Two things work here, as in other engines, that fail in transformers: a template may change lists and
dictionaries that it made itself, and tojson takes what map and select give. Such renders are compared
with a Jinja2 that allows both, and counted in a column of their own (lenient).

Prints one row a template: renders, errors of both, mismatches. Exit code 1 when there is any.
Needs Python 3 with jinja2; nothing here is needed by build or tests.
"""
import argparse
import ctypes
import json
import os
import random
import sys
import time
import types

import jinja2
from jinja2.sandbox import SandboxedEnvironment

import template_cases as reference


# ---- the library ------------------------------------------------------------------------------

class Error(ctypes.Structure):
    _fields_ = [("status", ctypes.c_int), ("message", ctypes.c_char * 504)]


class Run(ctypes.Structure):
    _fields_ = [("end", ctypes.c_size_t), ("from_input", ctypes.c_bool)]


class Rendered(ctypes.Structure):
    _fields_ = [("text", ctypes.c_void_p), ("bytes", ctypes.c_size_t),
                ("runs", ctypes.POINTER(Run)), ("n_runs", ctypes.c_size_t)]


class RenderOptions(ctypes.Structure):
    _fields_ = [("struct_bytes", ctypes.c_size_t), ("add_generation_prompt", ctypes.c_bool),
                ("now_seconds", ctypes.c_int64)]


class Library:
    def __init__(self, path):
        self.lib = ctypes.CDLL(os.path.abspath(path))
        for name in ("mica_runtime_open", "mica_chat_template_open", "mica_chat_template_render"):
            getattr(self.lib, name).restype = ctypes.c_int
        self.runtime = ctypes.c_void_p()
        self.check(self.lib.mica_runtime_open(None, ctypes.byref(self.runtime), None))

    def check(self, status):
        if status:
            raise SystemExit(f"the library failed with status {status}")

    def open(self, path):
        """(template, None) or (None, message)"""
        template, error = ctypes.c_void_p(), Error()
        status = self.lib.mica_chat_template_open(self.runtime, path.encode(), ctypes.c_bool(False),
                                                  ctypes.byref(template), ctypes.byref(error))
        return (None, error.message.decode()) if status else (template, None)

    def render(self, template, variables, now):
        """(text, runs) or (None, message)"""
        data, out, error = variables.encode(), Rendered(), Error()
        options = RenderOptions(ctypes.sizeof(RenderOptions), False, now)
        status = self.lib.mica_chat_template_render(template, data, ctypes.c_size_t(len(data)),
                                                    ctypes.byref(options), ctypes.byref(out),
                                                    ctypes.byref(error))
        if status:
            return None, error.message.decode()
        text = ctypes.string_at(out.text, out.bytes)
        runs = [(out.runs[i].end, out.runs[i].from_input) for i in range(out.n_runs)]
        self.lib.mica_rendered_free(template, ctypes.byref(out))
        return text, runs


# ---- conversations ----------------------------------------------------------------------------

# Georgian letters: no template has them, and no operation of a template makes them.
PRIVATE = [chr(c) for c in range(0x10D0, 0x10F1)]


def is_private(character):
    return 0x1C90 <= ord(character) <= 0x1CBF or 0x10A0 <= ord(character) <= 0x10FF


class Maker:
    def __init__(self, rng):
        self.rng = rng
        self.is_wild = rng.random() < 0.4  # else a conversation that most templates take
        self.has_null = rng.random() < 0.3  # calls come with no content
        self.has_short_ids = rng.random() < 0.4  # of nine letters
        self.has_tools = rng.random() < 0.5

    def maybe(self, share):
        return self.rng.random() < share

    def wildly(self, share):
        return self.is_wild and self.maybe(share)

    def word(self):
        return "".join(self.rng.choice(PRIVATE) for _ in range(self.rng.randrange(1, 6)))

    def text(self):
        rng = self.rng
        pieces = []
        for _ in range(rng.randrange(0, 6)):
            pieces.append(rng.choice([
                self.word, self.word, self.word,
                lambda: rng.choice([" ", "\n", "  ", "\n\n", "\t", "\r\n", "\u00a0"]),
                lambda: rng.choice(["<|im_end|>", "<|end|>", "</s>", "[INST]", "<start_of_turn>", "<|eot_id|>",
                                    "<think>", "</think>", "<tool_call>", "</tool_call>", "<tool_response>",
                                    "</tool_response>", "<|channel|>", "/no_think", "/think", "{{ x }}", "{% if %}",
                                    "<|START_OF_TURN_TOKEN|>", "[TOOL_CALLS]", "\uff5c", "</tool_response>\n"]),
                lambda: rng.choice(["caf\u00e9", "\U0001F600", "\u65e5\u672c", "e\u0301", "\u00df", "\u01c6", "\u0130"]),
                lambda: rng.choice(["\"", "'", "\\", "&", "<", ">", "\\n", "%s", "{}", "\u2028", "\u007f", "\u0001"]),
                lambda: rng.choice(["1", "2.50", "none", "null", "True", "[]", "{\"a\": 1}"]),
            ])())
        text = "".join(pieces)
        if self.maybe(0.08):
            text = " " + text + "\n"
        if self.maybe(0.06):
            text = "<think>\n" + self.word() + "\n</think>\n\n" + text
        return text

    def json(self, depth=2):
        rng = self.rng
        kind = rng.randrange(9 if depth else 7)
        if kind == 0:
            return rng.choice([0, 1, -1, 7, 123456789012, 2 ** 53])
        if kind == 1:
            return rng.choice([1.0, 0.1, -2.5, 1e-05, 1e16, 1e22, 123456.789, 5e-324, -0.0])
        if kind == 2:
            return rng.choice([True, False, None])
        if kind in (3, 4, 5, 6):
            return self.text()
        if kind == 7:
            return [self.json(depth - 1) for _ in range(rng.randrange(4))]
        return {self.key(): self.json(depth - 1) for _ in range(rng.randrange(4))}

    def key(self):
        return self.rng.choice(["city", "word", "n", "items", "keys", "a b", "name", "type", "value", self.word()])

    def schema(self, depth=2):
        rng = self.rng
        kind = rng.choice(["string", "integer", "number", "boolean", "array", "object", "null"]
                          if depth else ["string", "integer"])
        s = {"type": kind}
        if self.maybe(0.1):
            s["type"] = rng.choice([["string", "null"], ["string"], [kind, "null"]])
        if self.maybe(0.6):
            s["description"] = self.text()
        if self.maybe(0.2):
            s["enum"] = [self.text() for _ in range(rng.randrange(4))]
        if self.maybe(0.15):
            s["default"] = self.json(1)
        if self.maybe(0.1):
            s["nullable"] = self.maybe(0.5)
        if kind == "array" and self.maybe(0.8):
            s["items"] = self.schema(depth - 1) if self.maybe(0.9) else {}
        if kind == "object":
            if self.maybe(0.8):
                s["properties"] = {self.key(): self.schema(depth - 1) for _ in range(rng.randrange(4))}
            if self.maybe(0.4):
                s["required"] = [self.key() for _ in range(rng.randrange(3))]
            if self.maybe(0.2):
                s["additionalProperties"] = rng.choice([True, False, {"type": "string"}])
        if depth and self.maybe(0.06):
            s = {rng.choice(["anyOf", "oneOf", "allOf"]): [self.schema(depth - 1) for _ in range(2)]}
        if self.maybe(0.05):
            s[self.word()] = self.json(1)
        return s

    def tool(self):
        function = {"name": self.rng.choice(["lookup", "get_weather", "f", self.word()])}
        if self.maybe(0.9):
            function["description"] = self.text()
        if self.maybe(0.9):
            function["parameters"] = {"type": "object", "properties":
                                      {self.key(): self.schema() for _ in range(self.rng.randrange(4))}}
            if self.maybe(0.6):
                function["parameters"]["required"] = [
                    k for k in function["parameters"]["properties"] if self.maybe(0.5)]
        if self.maybe(0.1):
            function["return"] = {"type": "string"}
        if self.maybe(0.1):
            function["strict"] = True
        if self.maybe(0.03):
            return function
        return {"type": "function", "function": function}

    def content(self):
        rng = self.rng
        if self.maybe(0.12):
            parts = [{"type": "text", "text": self.text()} for _ in range(rng.randrange(0, 3))]
            if self.wildly(0.2):
                parts.append(rng.choice([self.text(), {"type": "image"}, {"type": "image_url", "image_url": {"url": "x"}},
                                         {"type": "input_text", "text": self.text()}]))
            return parts
        if self.wildly(0.06):
            return None
        return self.text()

    def call(self):
        rng = self.rng
        arguments = {self.key(): self.json() for _ in range(rng.randrange(4))}
        if self.maybe(0.3):
            arguments = json.dumps(arguments, ensure_ascii=self.maybe(0.5))
        elif self.wildly(0.1):
            arguments = rng.choice(["", "not json", "[1]", None, "{\"a\": 1"])
        function = {"name": rng.choice(["lookup", "get_weather", self.word()]), "arguments": arguments}
        if self.wildly(0.1):
            return function
        call = {"type": "function", "function": function}
        if not self.wildly(0.3):
            call = {"id": "abcdefghi" if self.has_short_ids else rng.choice(["call_1", self.word(), ""]), **call}
        return call

    def message(self, role):
        m = {"role": role}
        if not self.wildly(0.04):
            m["content"] = self.content()
        if role == "assistant":
            if self.wildly(0.3):
                m["tool_calls"] = [self.call() for _ in range(self.rng.randrange(0, 4))]
                if self.maybe(0.4):
                    m["content"] = None if self.has_null else ""
            if self.maybe(0.25):
                m[self.rng.choice(["reasoning_content", "reasoning", "thinking"])] = self.rng.choice(
                    [self.text(), self.text(), self.text(), "", None])
        if role == "tool":
            if self.maybe(0.8):
                m["tool_call_id"] = self.rng.choice(["abcdefghi", "call_1", self.word()])
            if self.maybe(0.4):
                m["name"] = self.rng.choice(["lookup", "get_weather", self.word()])
            if self.wildly(0.2):
                m["content"] = self.json()
        if self.maybe(0.03):
            m[self.rng.choice(["name", "weight", "prefix", "train"])] = self.json(0)
        return m

    def messages(self):
        rng = self.rng
        roles = []
        if self.maybe(0.4):
            roles.append("developer" if self.wildly(0.3) else "system")
        for _ in range(rng.randrange(0, 4)):
            roles.append("user")
            if self.has_tools and self.maybe(0.6):
                roles += ["assistant"] + ["tool"] * rng.randrange(1, 3)
            roles.append("assistant")
        if not self.wildly(0.4):
            roles.append("user")
        if self.wildly(0.4) and roles:  # wrong orders
            i = rng.randrange(len(roles))
            roles.insert(i, rng.choice(["system", "user", "assistant", "tool", "narrator", "developer", "documents"]))
        messages = [self.message(r) for r in roles]
        # Tool results usually follow calls.
        for a, b in zip(messages, messages[1:]):
            if a["role"] == "assistant" and b["role"] == "tool" and not self.wildly(0.2):
                calls = a.setdefault("tool_calls", [self.call()])
                if calls and "id" in calls[0] and not self.wildly(0.3):
                    b["tool_call_id"] = calls[0]["id"]
                if self.maybe(0.4):
                    a["content"] = None if self.has_null else ""
        return messages

    def variables(self, needs_tokens):
        rng = self.rng
        v = {"messages": self.messages()}
        if needs_tokens and not self.wildly(0.3):
            v.update(bos_token="<s>", eos_token="</s>")
        if self.maybe(0.4):
            v["tools"] = [self.tool() for _ in range(rng.choice([0, 1, 1, 2, 3]))]
        if self.maybe(0.6):
            v["add_generation_prompt"] = self.maybe(0.8)
        choices = {
            "enable_thinking": lambda: self.maybe(0.5),
            "thinking": lambda: rng.choice([True, False, "enabled"]),
            "reasoning_effort": lambda: rng.choice(["low", "medium", "high", "none", self.word()]),
            "documents": lambda: [{"doc_id": i, "title": self.text(), "text": self.text()} for i in range(rng.randrange(3))],
            "date_string": lambda: rng.choice(["1 Jan 2025", self.word()]),
            "current_date": lambda: "2025-08-05",
            "tools_in_user_message": lambda: self.maybe(0.5),
            "builtin_tools": lambda: rng.choice([["browser"], ["browser", "python"], [], ["code_interpreter"]]),
            "model_identity": self.text,
            "controls": lambda: rng.choice([{}, {"citations": True, "hallucinations": True}, {"length": "long"}]),
            "system_message": self.text,
            "xml_tools": lambda: [self.tool()],
            "custom_tools": lambda: [self.tool()],
            "keep_past_thinking": lambda: self.maybe(0.5),
            "clear_thinking": lambda: self.maybe(0.5),
            "continue_final_message": lambda: self.maybe(0.5),
            "functions": lambda: json.dumps([self.tool() for _ in range(2)]),
            "datetime": lambda: rng.choice(["2025-08-05", self.word()]),
            "custom": self.json,
        }
        for name, make in choices.items():
            if self.maybe(0.7 if name in ("functions", "datetime") else 0.12):
                v[name] = make()
        return v


# ---- comparing --------------------------------------------------------------------------------

def lenient_environment():
    env = reference.environment(SandboxedEnvironment)

    def tojson(x, ensure_ascii=False, indent=None, separators=None, sort_keys=False):
        def to_list(v):
            if not isinstance(v, types.GeneratorType):
                raise TypeError("no JSON")
            return list(v)
        return json.dumps(x, ensure_ascii=ensure_ascii, indent=indent, separators=separators,
                          sort_keys=sort_keys, default=to_list)

    env.filters["tojson"] = tojson
    return env


LENIENT = lenient_environment()


class Template:
    """One template on the reference's side: compiled once."""

    def __init__(self, source, defaults):
        self.iterates = reference.iterates_over_content(source)
        self.template = reference.ENV.from_string(source)
        self.lenient = LENIENT.from_string(source)
        self.defaults = defaults
        self.takes_objects = reference.takes_objects(source)
        self.takes_tools = "tools" in {
            n.name for n in reference.ENV.parse(source).find_all(jinja2.nodes.Name) if n.ctx == "load"}

    def render(self, variables, is_lenient=False):
        """(text, None), (None, message of raise_exception) or (None, None)"""
        if variables.get("tools") and not self.takes_tools:
            return None, None  # the engine never drops tools silently
        everything = {"tools": None, "documents": None, "add_generation_prompt": False}
        everything.update(self.defaults)
        try:
            everything.update(reference.normalize(variables, self.iterates, self.takes_objects))
            text = (self.lenient if is_lenient else self.template).render(**everything)
            return text.encode(), None
        except jinja2.exceptions.TemplateError as e:
            return None, e.message if type(e) is jinja2.exceptions.TemplateError else None
        except Exception:
            return None, None


def plain(message):
    """A message as the library may say it: one line, at most so many bytes."""
    return "".join(c if c.isprintable() else "?" for c in message)[:100]


def compare(wanted, raised, text, detail):
    """None, or what differs."""
    if (wanted is None) != (text is None):
        return f"reference {wanted if wanted is not None else 'fails'!r}, here {text if text is not None else detail!r}"
    if wanted is None:
        if raised is not None and plain(detail) != plain(str(raised)):
            return f"reference raised {raised!r}, here {detail!r}"
        return None
    if wanted != text:
        at = next((i for i, (a, b) in enumerate(zip(wanted, text)) if a != b), min(len(wanted), len(text)))
        return f"differs at byte {at}: reference ...{wanted[max(0, at - 60):at + 60]!r}, here ...{text[max(0, at - 60):at + 60]!r}"
    begin = 0
    for end, from_input in detail:
        if not from_input and any(is_private(c) for c in text[begin:end].decode(errors="replace")):
            return f"bytes {begin}..{end} are input, but not marked: {text[begin:end]!r}"
        begin = end
    if begin != len(text):
        return f"runs end at {begin} of {len(text)} bytes"
    return None


def sources(paths):
    for path in paths:
        if path.endswith(".jinja"):
            yield path, open(path, newline="").read(), {}
        else:
            for name, source, defaults in reference.model_sources(path):
                yield os.path.join(path, name), source, defaults


def open_here(library, path, folder, number):
    """Templates inside a packed tokenizer_config.json are unpacked first."""
    if path.endswith(".xz"):
        import lzma
        place = os.path.join(folder, str(number))
        os.makedirs(place, exist_ok=True)
        with open(os.path.join(place, "tokenizer_config.json"), "wb") as f:
            f.write(lzma.open(path).read())
        path = place
    elif path.endswith("tokenizer_config.json"):
        path = os.path.dirname(path)
    return library.open(path)


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("library")
    parser.add_argument("sources", nargs="+")
    parser.add_argument("--renders", type=int, default=2000)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--show", type=int, default=3)
    parser.add_argument("--out")
    arguments = parser.parse_args()
    library = Library(arguments.library)
    now = int(time.mktime(reference.NOW.timetuple()))
    print(f"seed {arguments.seed}, {arguments.renders} renders of each template")
    import tempfile
    folder = tempfile.TemporaryDirectory()
    total = mismatches = 0
    kept = []
    for number, (path, source, defaults) in enumerate(sources(arguments.sources)):
        name = os.path.relpath(path)
        here, message = open_here(library, path, folder.name, number)
        try:
            there = Template(source, defaults)
        except jinja2.exceptions.TemplateError as e:
            print(f"{name}: the reference refuses it ({e}); here: {message}")
            mismatches += here is not None
            continue
        if here is None:
            print(f"{name}: MISMATCH, refused here: {message}")
            mismatches += 1
            continue
        wrong = errors = raised_here = lenient = 0
        for i in range(arguments.renders):
            variables = Maker(random.Random(f"{arguments.seed} {i}")).variables(not defaults)
            wanted, raised = there.render(variables)
            text, detail = library.render(here, json.dumps(variables, ensure_ascii=False), now)
            if wanted is None and text is not None:
                wanted, raised = there.render(variables, is_lenient=True)
                lenient += wanted is not None
            errors += wanted is None and text is None
            raised_here += raised is not None
            difference = compare(wanted, raised, text, detail)
            if difference:
                wrong += 1
                if wrong <= arguments.show:
                    print(f"  {name} #{i}: {difference}")
                    kept.append({"file": path, "variables": variables, "difference": difference})
        total += arguments.renders
        mismatches += wrong
        print(f"{name}: {arguments.renders} renders, {errors} errors ({raised_here} raised), {lenient} lenient, {wrong} mismatches", flush=True)
    print(f"{total} renders, {mismatches} mismatches")
    if arguments.out:
        json.dump(kept, open(arguments.out, "w"), ensure_ascii=False, indent=1)
    sys.exit(mismatches > 0)


if __name__ == "__main__":
    main()
