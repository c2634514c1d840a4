#!/usr/bin/env python3
"""Makes the expected outputs of the chat template tests with Jinja2.

    template_cases.py features OUT.json        snippets written for this project (tests/data/template)
    template_cases.py models DATA_FOLDER OUT.json
                                               real templates under DATA_FOLDER with many inputs;
                                               outputs are kept as hashes
    template_cases.py demo DEMO_FOLDER OUT.json
                                               the demo model's own template
    template_cases.py own FOLDER SEED OUT.json the templates of FOLDER (tests/data/template) with
                                               conversations of tools/template_grid.py
    template_cases.py random N SEED OUT.json   random expressions, for comparing by hand

Needs Python 3 with jinja2 (tested: 3.1.6). The environment is set up as transformers does it:
immutable sandbox, trim_blocks, lstrip_blocks, loop controls, tojson without HTML escaping,
raise_exception, strftime_now and the generation tag. Neither build nor tests need this script.

Output: {"inputs": [JSON texts], "cases": [...]}; a case is {"name", "template", "input" (number),
"expected"}, or has "error": true in place of "expected", with the "message" that the template raised. Model cases have "file" for "template", and
the real ones "fnv" (64-bit hash) for the text.
The clock stands at 2025-08-05 12:34:56 local time.
"""
import copy
import datetime
import json
import lzma
import os
import random
import sys

import jinja2
from jinja2.ext import Extension, loopcontrols
from jinja2.sandbox import ImmutableSandboxedEnvironment

NOW = datetime.datetime(2025, 8, 5, 12, 34, 56)


class Generation(Extension):
    tags = {"generation"}

    def parse(self, parser):
        lineno = next(parser.stream).lineno
        body = parser.parse_statements(["name:endgeneration"], drop_needle=True)
        return jinja2.nodes.CallBlock(self.call_method("_support"), [], [], body).set_lineno(lineno)

    def _support(self, caller):
        return caller()


def environment(base=ImmutableSandboxedEnvironment):
    env = base(
        trim_blocks=True, lstrip_blocks=True, extensions=[Generation, loopcontrols])

    def raise_exception(message):
        raise jinja2.exceptions.TemplateError(message)

    def tojson(x, ensure_ascii=False, indent=None, separators=None, sort_keys=False):
        return json.dumps(x, ensure_ascii=ensure_ascii, indent=indent, separators=separators,
                          sort_keys=sort_keys)

    env.filters["tojson"] = tojson
    env.filters["from_json"] = json.loads
    env.globals["raise_exception"] = raise_exception
    env.globals["strftime_now"] = NOW.strftime
    return env


ENV = environment()


def part_text(part):
    if isinstance(part, str):
        return part
    if part.get("type") not in ("text", "input_text", "output_text"):
        raise ValueError("no text part")
    return part["text"]


def normalize(variables, iterates, takes_objects=True):
    """What the engine does to messages before rendering (src/text/chat_messages.h)."""
    variables = copy.deepcopy(variables)
    for message in variables.get("messages") or []:
        if not isinstance(message, dict):
            continue
        content = message.get("content")
        if isinstance(content, list) and not iterates:
            message["content"] = "\n".join(part_text(p) for p in content)
        for call in (message.get("tool_calls") or []) if takes_objects else []:
            function = call.get("function") or call
            if isinstance(function.get("arguments"), str):
                try:
                    parsed = json.loads(function["arguments"])
                    if isinstance(parsed, dict):
                        function["arguments"] = parsed
                except ValueError:
                    pass
        names = ["reasoning_content", "reasoning", "thinking"]
        text = next((message[n] for n in names if isinstance(message.get(n), str)), None)
        if text is not None:
            for n in names:
                if message.get(n) is None:
                    message[n] = text
    return variables


def takes_objects(source):
    return "tojson" in source or "items" in source


def render(source, variables, defaults=None, iterates=False):
    everything = {"tools": None, "documents": None, "add_generation_prompt": False}
    everything.update(defaults or {})
    everything.update(normalize(variables, iterates, takes_objects(source)))
    return ENV.from_string(source).render(**everything)


def make_case(name, source, variables, known_error=None):
    case = {"name": name, "template": source, "variables": json.dumps(variables, ensure_ascii=False)}
    try:
        case["expected"] = render(source, variables)
        case["expected"].encode()
    except Exception as e:  # every failure of the reference is an error for us, too
        if os.environ.get("SHOW_ERRORS"):
            print(f"{name}: {source!r}: {type(e).__name__}: {e}", file=sys.stderr)
        case.pop("expected", None)
        case["error"] = True
    return case


VARIABLES = {
    "messages": [
        {"role": "system", "content": "Be brief."},
        {"role": "user", "content": "Hi <|end|> there"},
        {"role": "assistant", "content": "Hello!", "thinking": "a greeting"},
        {"role": "user", "content": "caf\u00e9 \U0001F600 \u65e5\u672c"},
    ],
    "s": "Hello, World", "u": "na\u00efve \u65e5\u672c\U0001F600x", "e": "", "sp": "  a b\t\n c  ",
    "q": "it's \"q\" \\ \u0007 \u00a0 \u200b \n", "lines": "one\ntwo\r\nthree\n\nfive\n",
    "n": 7, "z": 0, "neg": -7, "f": 2.5, "big": 123456789012, "t": True, "no": False, "nil": None,
    "l": [3, 1, 2], "w": ["b", "A", "c", "a"], "ll": [[1, 2], [3, 4]], "el": [],
    "d": {"b": 1, "a": 2, "C": 3}, "ed": {}, "nested": {"x": {"y": [10, {"z": "deep"}]}},
    "people": [{"name": "Ann", "age": 31, "tags": ["x"]}, {"name": "bob", "age": 25, "tags": []},
               {"name": "Cy", "age": 31}],
    "floats": [1.0, 0.1, 1e-05, 1e16, 123456.789, -0.0, 1e22, 5e-324],
    "mixed": [1, "a", None, True, 2.5, [1], {"k": "v"}],
    "items_key": {"items": [1], "keys": 2, "type": "object"},
    "schema": {"type": "object", "properties": {"a": {"type": "string", "enum": ["x", "y"]},
               "b": {"type": "array", "items": {"type": "integer"}}}, "required": ["a"]},
}

EXPRESSIONS = r"""
1 + 2 * 3|(1 + 2) * 3|7 // 2|-7 // 2|7 % 3|-7 % 3|7 % -3|7 / 2|6 / 2|2 ** 10|2 ** -1|2 ** 3 ** 2|-2 ** 2|1.5 + 1|7.5 // 2|-7.5 % 2|1.0 // 0.1|1e3|1.5e-7
3 - 2 - 1|2 * 3 % 4|n + n|n - f|n * f|-n|+n|- -n|true + true|true == 1|1 == 1.0|"1" == 1|none == none|none == false|undefined_x == undefined_y|1 / 0|1 // 0|1 % 0
9223372036854775807|9223372036854775806 + 1|1_000|0x1f|0b101|0o17|1.0|100000000000000000.0|0.1 + 0.2|1e16|12345678.9|1e-05
"a" + "b"|"a" "b"|"a" + 1|1 + "a"|none + "a"|"a" ~ 1 ~ none ~ true ~ 1.0|"ab" * 3|3 * "ab"|"ab" * 0|"ab" * -1|[1] * 3|[1] + [2]|(1,) + (2,)|[1] + (2,)|"x" ~ undefined_x ~ "y"|undefined_x + "y"
1 < 2|1 < 2 < 3|1 < 3 < 2|"a" < "b"|"a" < 1|none < 1|[1, 2] < [1, 3]|1 <= 1.0|2 >= 3|1 != 2|"Z" < "a"|[1] == [1.0]|(1,) == [1]|{"a": 1} == {"a": 1.0}|undefined_x < 1|true < 2
1 in [1, 2]|1 not in [1, 2]|"a" in "cat"|"" in "cat"|1 in "cat"|"a" in d|"x" in d|1 in d|[1] in ll|[1, 2] in ll|"x" in undefined_x|1 in none|1 in 5|none in [none]|undefined_x in "a"
not true|not 0|not ""|true and false|1 and 2|0 and 2|0 or 3|1 or 2|not true == false|not (true == false)|1 and not 2|"" or "d"|none or []|true or 1 / 0|false and 1 / 0
1 if true else 2|1 if false else 2|1 if false|"a" if n > 5 else "b" if n > 3 else "c"|(1 if true) is defined|[1 if false] |1 if undefined_x else 2
s[0]|s[-1]|s[100]|s[1:3]|s[:-1]|s[::-1]|s[::2]|s[5:1]|s[5:1:-1]|s[-3:]|s[10:100]|s[100:]|s["a"]|s[1.0]|u[2]|u[-1]|u[2:8]|u[::-1]|u[::3]|u[1:-1]|u|length|s[::0]|s[:"a"]
l[0]|l[-1]|l[5]|l["x"]|l[1:]|l[::-1]|l[true]|d["a"]|d.a|d["zz"]|d.zz|d[0]|d.zz.y|nested.x.y[1].z|nested["x"]["y"][0]|nil.foo|n.foo|undefined_x|undefined_x.foo|undefined_x["foo"]|undefined_x[1:]|nil[1:]|l.0|l[none]|d[none]|d[[1]]
ll.0.1|people[0].name|people[-1]["name"]|messages[0].role|messages[1:]|length|messages[::-1][0].content|items_key.type|items_key["items"]|items_key.keys is callable|items_key["keys"]|d.items is callable
[1, "a", none, true, 1.5]|[]|()|(1,)|(1, 2)|1, 2|{}|{"a": 1, 2: "b"}|{"a": [1, {"b": none}]}|["it's", 'q"q', "both'\""]|[q]|[u]|["\u200b\u00e9\x7f\x01"]|mixed|floats|[undefined_x]|d|nested|{"a": 1, "a": 2}|{1: 1, true: 2, 1.0: 3}|{[1]: 2}
"a\nb"|"a\tb\\c\'d\"e"|'\x41\u00e9\U0001F600'|"\d\q"|"\101\60"|"a\
b"|"{{ }} {% %}"|'%}'
s|upper|s|lower|"hello world-foo bar"|title|"HELLO wORLD"|capitalize|"they're bill's"|title|"they're bill's".title()|u|upper|"stra\u00dfe"|upper|"\u00c9A"|lower|5|upper|undefined_x|upper|none|upper|"(a [b {c <d"|title
sp|trim|"xxaxx"|trim("x")|"\u00a0a\u3000"|trim|5|trim|none|trim|undefined_x|trim|"abcba".strip("ab")|"abcba".lstrip("ab")|"abcba".rstrip("ab")|sp.strip()|sp.lstrip()|sp.rstrip()|"\n\nx\n".strip("\n")|"aXb".strip(none)|"\u00e9a\u00e9".strip("\u00e9")|"a".strip(1)
s|length|u|length|l|length|d|length|undefined_x|length|n|length|none|length|(1, 2)|length|d.items()|length|l|count|range(5)|length
l|join|l|join(", ")|l|join(1)|w|join("-")|[1, none, true, 1.5, "x"]|join("|")|people|join(", ", attribute="name")|u|join("-")|undefined_x|join|n|join|[]|join(",")|d|join(",")|", ".join(w)|"".join([])|", ".join([1])|"-".join("abc")
x|default("d")|undefined_x|default|undefined_x|default("d")|none|default("d")|none|default("d", true)|""|default("d", boolean=true)|""|default("d")|undefined_x|d("k")|0|default(5, true)|d.zz|default("m")|undefined_x.y|default("m")|undefined_x|default(default_value="k")
d|tojson|nested|tojson|mixed|tojson|floats|tojson|u|tojson|q|tojson|u|tojson(ensure_ascii=true)|d|tojson(indent=2)|nested|tojson(indent=4)|nested|tojson(indent=0)|d|tojson(sort_keys=true)|d|tojson(separators=(",", ":"))|nested|tojson(indent=2, separators=(",", "="))|d|tojson(indent="--")|[]|tojson(indent=2)|{}|tojson(indent=2)|undefined_x|tojson|[undefined_x]|tojson|"<a>&'"|tojson|(1, 2)|tojson|true|tojson|none|tojson|1.0|tojson|{1: 2, none: 3, true: 4, 1.5: 5}|tojson|{(1, 2): 3}|tojson|d.items()|tojson|range(3)|tojson|"\x7f\x1f\b\f"|tojson|schema|tojson|d|tojson(true)|d|tojson(nope=1)
"[1, 2.0, {\"a\": null}]"|from_json|"{\"b\":1,\"a\":[true,false]}"|from_json|"nope"|from_json|("5"|from_json) + 1|"1e400"|from_json|"\"x\""|from_json
"12"|int|"12.7"|int|"x"|int|"x"|int(5)|"x"|int(default=6)|"ff"|int(base=16)|"0xff"|int(0, 16)|" 42 "|int|"1_000"|int|3.9|int|-3.9|int|true|int|none|int|undefined_x|int|""|int|"-7"|int|"+7"|int|[1]|int|"1e3"|int
"1.5"|float|"x"|float|"x"|float(2.5)|3|float|none|float|"1e3"|float|" 2 "|float|".5"|float|"5."|float|"-1.25"|float|undefined_x|float|"."|float
2.567|round(2)|2.5|round|3.5|round|2.1|round(0, "ceil")|2.9|round(method="floor")|42|round|42.55|round|-2.5|round|1234.5|round(-2)|1.005|round(2)|7|round(2, "floor")|"x"|round|2.675|round(2)|0.5|round|1.5|round|true|round
-5|abs|5.5|abs|-2.5|abs|"x"|abs|true|abs|undefined_x|abs
l|first|l|last|el|first|el|last|s|first|u|last|d|first|undefined_x|first|n|first|[none]|first|range(3)|last
l|sort|w|sort|w|sort(case_sensitive=true)|l|sort(reverse=true)|people|sort(attribute="age")|map(attribute="name")|list|people|sort(attribute="age,name")|map(attribute="name")|list|people|sort(attribute="age", reverse=true)|map(attribute="name")|list|mixed|sort|undefined_x|sort|d|sort|s|sort|join|[[2, 1], [1, 2]]|sort
d|dictsort|d|dictsort(true)|d|dictsort(by="value")|d|dictsort(reverse=true)|d|dictsort(case_sensitive=true)|d|dictsort(by="x")|l|dictsort
l|reverse|list|s|reverse|u|reverse|d|reverse|list|l|list|s|list|u|list|d|list|undefined_x|list|n|list|range(4)|list|(1, 2)|list
[1, 2, 1, 3, 2]|unique|list|w|unique|list|["a", "A"]|unique|list|["a", "A"]|unique(case_sensitive=true)|list|people|unique(attribute="age")|map(attribute="name")|list|[1, 1.0, true]|unique|list
l|min|l|max|w|min|w|max|el|min|people|max(attribute="age")|l|sum|el|sum|people|sum(attribute="age")|l|sum(start=10)|w|sum|[1.5, 2]|sum|w|max(case_sensitive=true)|["b", "a"]|min
l|batch(2)|list|l|batch(2, 0)|list|el|batch(2)|list|range(7)|batch(3, "x")|list
people|map(attribute="name")|list|people|map(attribute="tags")|list|people|map(attribute="tags", default="none")|list|w|map("upper")|list|l|map("string")|join(",")|people|map(attribute="tags.0")|list|ll|map("first")|list|ll|map("join", "-")|list|ll|map(attribute=1)|list|w|map("replace", "a", "b")|list|undefined_x|map("upper")|list|[" a "]|map("trim")|first|["1", "x"]|map("int", default=9)|list
people|selectattr("tags")|map(attribute="name")|list|people|selectattr("age", "equalto", 31)|map(attribute="name")|list|people|rejectattr("age", "eq", 31)|map(attribute="name")|list|people|selectattr("tags", "defined")|list|length|people|selectattr("age", "gt", 30)|list|length|people|rejectattr("tags")|list|length|l|select("odd")|list|l|reject("odd")|list|mixed|select|list|mixed|reject|list|l|select("greaterthan", 1)|list|w|select("in", ["a", "b"])|list|l|select(">", 1)|list|people|selectattr("name", "in", ["Ann"])|list|length|messages|selectattr("role", "equalto", "user")|list|length
"a-b-c"|replace("-", "+")|"a-b-c"|replace("-", "+", 1)|"aaa"|replace("a", "")|"abc"|replace("", "-")|"a1"|replace(1, 2)|5|replace("5", "6")|"a-b"|replace(old="-", new="_")|"a.b.c".replace(".", "", 1)|"abc".replace("", "-")|"abc".replace("", "-", 2)|"x".replace("x", 1)
lines|indent|lines|indent(2)|lines|indent(2, true)|lines|indent(2, first=true)|lines|indent(2, blank=true)|"a\n\nb"|indent(width=">> ")|""|indent|""|indent(2, true)|"a\n"|indent(2)|5|indent|undefined_x|indent
"abc"|center(10)|"abc"|center(9)|"ab"|center(7)|"abc"|center(2)|"<a href='x'>&\""|e|5|escape|"x"|safe|5|safe|5|string|none|string|undefined_x|string|d|string|true|string
"%s and %s"|format("a", 1)|"%d items"|format(5)|"%05.2f|%-5s|%5s|%x"|format(3.14159, "ab", "cd", 255)|"%(a)s-%(b)d"|format(a="x", b=2)|"%s" % "x"|"%s %s" % ("a", "b")|"%s" % d|"%%"|format|"%s"|format|"%d"|format("x")|"a"|format(1)|"%r" % "it's"|"%s" % l|"%+d % d" % (5, 6)|"%e" % 12345.678|"%g" % 0.0001|"%.3s" % "abcdef"|"%c" % "x"|"%i" % 3.9|"%5d|%-5d|%05d" % (42, 42, -42)|"%(b)s" % d
"{} {}".format(1, "a")|"{0} {1} {0}".format("x", "y")|"{a}-{b}".format(a=1, b=2)|"{:>5}|{:<5}|{:^5}|{:*^7}".format("a", "b", "c", "d")|"{:05d}|{:+d}|{:,}|{:x}".format(42, 42, 1234567, 255)|"{:.2f}|{:8.3f}|{:e}".format(3.14159, 2.5, 1234.5)|"{{}}".format()|"{".format()|"{}".format()|"{!r}".format("a")|"{:.1%}".format(0.256)|"{x}".format(y=1)|"{:.3}".format("abcdef")|"{}".format(1.0)|"{}".format(true)|"{:5}|{:5}".format(1, "a")|"{:b} {:o} {:#x}".format(5, 8, 255)
s.split(", ")|s.split("l", 1)|s.split("x")|"a  b c".split()|"a  b c ".split(none, 1)|" a b ".split(" ")|"".split()|"".split(",")|"a,b,c".rsplit(",", 1)|"a b  c ".rsplit(none, 1)|"a,b".split("")|"aXbX".split("X")|"a</t>b</t>".split("</t>")[-1]|u.split(" ")|"a,b,c".rsplit(",")|"aaa".rsplit("aa")|"a b c".split(maxsplit=1)
lines.splitlines()|lines.splitlines(true)|"".splitlines()|"a\x0bb\x0cc\u2028d".splitlines()|"a\n\n".splitlines()
s.startswith("Hell")|s.endswith("ld")|s.startswith(("x", "H"))|s.startswith("")|s.endswith(("a",))|s.startswith(1)|s.find("o")|s.find("zz")|s.find("o", 5)|s.find("o", 5, 7)|u.find("x")|s.rfind("o")|s.index("W")|s.index("zz")|s.count("l")|s.count("")|s.count("l", 4)|u.count("")|u.rfind("\u672c")|s.find("")
s.upper()|s.lower()|"aBC dE".capitalize()|"ab cd-ef".title()|"a=b=c".partition("=")|"abc".partition("=")|"prefix-x".removeprefix("prefix-")|"x.py".removesuffix(".py")|"123".isdigit()|"12a".isdigit()|"".isdigit()|"abc".isalpha()|"ab1".isalnum()|" \t".isspace()|"ABC".isupper()|"abc1".islower()|"a_b".isalnum()
d.items()|d.keys()|d.values()|d.items()|list|d.keys()|list|d.get("a")|d.get("zz")|d.get("zz", 5)|d.get([1])|ed.items()|list|d.zz()|d.foo("x")|s.nope()|n.items()|d.items()[0]|d.keys()|join(",")|d|items|list|undefined_x|items|list|nested.x.items()|list|d.copy()
l.index(1)|l.index(9)|l.count(1)|(1, 2, 1).count(1)|["a", "b"].index("b")|undefined_x.items()|undefined_x()|n()|"a"()|l.copy()
range(3)|range(1, 5)|list|range(5, 0, -2)|list|range(0)|list|range(1, 10, 3)|list|range(3)[1]|range(3)[-1]|range(10)[2:8:2]|list|range(100001)|range(1, 2, 0)|2 in range(3)|range("a")|range(3) == range(0, 3)|range(2.5)
namespace(a=1).a|namespace(a=1).b|namespace(d).a|namespace(d, a=9).a|dict(a=1, b=2)|dict(d, z=1)|dict([("a", 1)])|dict()|namespace()|namespace({"x": 1}).x|dict(1)
strftime_now("%Y-%m-%d")|strftime_now("%d %b %Y")|strftime_now("%B %d, %Y")|strftime_now("%H:%M:%S %p %I %j %A %a %y %%")|strftime_now("%e %-d %-m %F %T %D %R %U %W %V %u %w %C %h %Z%z.")|strftime_now("plain")|strftime_now()|strftime_now("%x|%X|%c")
raise_exception("boom")|raise_exception()|true and raise_exception("x")|false and raise_exception("x")
undefined_x is defined|s is defined|d.zz is defined|d.a is defined|undefined_x is undefined|nil is none|nil is not none|s is string|n is string|d is mapping|l is mapping|l is iterable|s is iterable|d is iterable|n is iterable|undefined_x is iterable|l is sequence|s is sequence|d is sequence|n is sequence|undefined_x is sequence|d.items() is sequence|d.items() is iterable|range(3) is sequence|(1, 2) is sequence
t is boolean|n is boolean|t is true|no is false|1 is true|t is number|n is number|f is number|s is number|n is integer|t is integer|f is integer|f is float|n is float|n is odd|z is even|n is divisibleby 7|n is divisibleby(2)|n is not divisibleby 2|s is odd|f is odd
n is eq 7|n is equalto(7)|n is ne 7|n is lt 8|n is le 7|n is gt 6|n is ge 8|n is in [7]|n is not in [7]|"a" is in "abc"|n is sameas n|no is sameas false|nil is sameas none|1 is sameas 1|1 is sameas true|l is sameas l|range is callable|n is callable|s.upper is callable|undefined_x is callable|"abc" is lower|"ABC" is upper|"aB" is lower|"1" is upper|n is greaterthan 3|n is lessthan 3|"upper" is filter|"nope" is filter|"odd" is test|s is escaped
n is defined and s is defined|not n is defined|n is defined is defined|n is defined or x|n + 1 is defined|n is eq 7 and true|n is eq(7) if true else 0|n is none or n > 3|s is not string or true|-1|abs|-n|abs|(-n)|abs|n|abs + 1|"a" ~ n|string ~ "b"|"a" + n|string|1 + 2|string|1 ~ 2 + 3|"a" ~ "b" == "ab"|2 * 3 ~ 4|not n in l|n in l == false|1 < 2 == true
s|upper|lower|title|l|sort|join(",")|upper|d|items|map("first")|list|d.items()|map("last")|sum|u|list|reverse|join|(s|upper)[0]|s|upper[0]|(l|sort)[0]|l|sort|first|s.upper().lower().title()|people|map(attribute="name")|map("lower")|sort|join(" ")|"a,b"|replace(",", "|")|lines|trim|length
"\ud83d\ude00" | length|"\u00e9" == "\xe9"|"e\u0301"|length|"A" < "a"|"\u00e9" > "z"|["b", "\u00e9", "a"]|sort|"x" * 3 ~ "y"|""|length|" "|trim|length
"ab"[5]|default("z")|l[10]|default("q")|people[9].name|(people|first).name|(people|last).tags|people[0]["tags"][0]|nested.x.y|last|nested.x.y[1]["z"]|upper|people[0].tags is defined|people[2].tags is defined|messages[0]["role"] == "system"|messages[-1].content|length|(messages|last)["content"]|messages[9] is defined|messages[0].content.split()[0]
u|capitalize|"\u00df"|capitalize|"\u01c6x"|title|"\u01c6x".title()|"\u0130"|length|"1a2b".title()|"o'neil mc-x".title()|"A\u00c9\u00e9"|lower|"\u00e9t\u00e9"|upper|"\u03a3x"|lower
[] is sameas []|{} == {}|[] == []|() == ()|[1, [2]] == [1, [2]]|1 in {1: 2}|"1" in {1: 2}|{"a": undefined_x}|[true, false, none] == [1, 0, none]|none is none is true|(n is odd) is true
big // 7|big % 1000|2 ** 62|2 ** 0.5|0 ** 0|10 ** 2|10 ** -2|1 - 2|5 % 3.5|-5 // 2.0|0.0 == -0.0|-0.0|7 // -2|7.0 // -2|1e308 * 10
"%s" % undefined_x|"%s" % none|"%s %s" % "a"|"%d" % true|"%d%%" % 50|"%s" % (1,)|"%s" % [1, 2]|"%x" % -255|"%o" % 8|"%X" % 255|"%#x" % 255|"%5.1f" % 2.25|"%s" % 1.0|"%5s|" % "\u00e9"|"%(x)s" % {"x": 1}|"%(x)s" % {"y": 1}
"a".join(["1", "2"])|"-".join(d)|"-".join(d.values())|u[3:]|u[:3]|u[-3:]|u[0:0]|u[99:]|u[::2]|u[::-2]|u[5:0:-2]|l[::2]|l[-2:]|l[:10]|l[1:1]|(1, 2, 3)[::-1]|(1, 2, 3)[0]|[1, 2, 3][-9]|[1, 2, 3][-9:2]
("<a>"|safe) + "<b>"|"<b>" + ("<a>"|safe)|("<a>"|safe) ~ "<b>"|("<a>"|e) + "<b>"|("<a>"|e)|e|("<a>"|safe)|upper + "<b>"|("<a>"|safe)[1:] + "<b>"|("<a>"|safe)|replace("a", "<b>")|("<a>"|safe).replace("a", "<b>") + "&"|["<a>"|safe]|("<a>"|safe) * 2 + "<"|("%s"|safe)|format("<b>") + "<"|("%s%d"|safe) % ("<b>", 5)|("{}"|safe).format("<b>") + "<"|(","|safe).join(["<a>", "b"]) + "<"|["<a>", "b"]|join(","|safe) + "<"|("<a>"|safe)|string + "<"|(" <a> "|safe)|trim + "<"|("<a> b"|safe).split()[0] + "<"|(5|safe) + "<"|("<a>"|safe)|default("x") + "<"|("<a>"|safe)|first + "<"|("<a>"|safe)|list|("a"|safe)|title + "<"|("a"|safe).title() + "<"|("a"|safe)|capitalize + "<"|("a\nb"|safe)|indent + "<"|("a"|safe)|center(3) + "<"|("ab"|safe)|reverse + "<"|("a"|safe) is escaped|"a" is escaped|("a"|e) is escaped|("a<"|safe)|tojson|("a"|safe) + 1|("a"|safe) + undefined_x|(["<a>"|safe, "<b>"]|join) + "<"|("a"|safe) == "a"|("a<"|safe) in "a<b"|{"a<"|safe: 1}["a<"]|("<a>"|safe)|string|e|"<"|e ~ "<"|("x"|safe)|length
"\u0130x"|lower|"\u0130"|upper|"\ufb01x \u00df\u1f80"|upper|"\ufb01x"|title|"\ufb01x \u01c6x \u00dfx".title()|"\u0149"|capitalize|"\u1fe4"|upper
"%c" % 60|"%c%c"|format(233, "x")|"%c" % "ab"|"%c" % -1|"%3c|" % "x"|"%c" % 1.5|"%s" % ("<"|safe) + "<"|"%5.1f|%-8s|%%" % (1.25, "ab")|"{:>5}{:^5}|".format("a"|safe, "b")
""".strip("\n").split("\n")

STATEMENTS = [
    # white space control
    "a\n{% if true %}\nb\n{% endif %}\nc\n", "a\n  {% if true %}  \n  b\n  {% endif %}\n  c", "a {%- if true -%} b {%- endif -%} c",
    "  {{ 1 }}  \n  {{ 2 }}\n", "{{- 1 -}}  \n {{- 2 -}} \n x", "a\n\n{{- 1 }}\n\n", "a\n\n", "a\n", "a\r\nb\rc\n", "",
    "\n", "\n\n", "  {# c #}  \n x", "x {# c #}\ny", "x {#- c -#} y", "x\n  {#- c #}\ny", "  {#+ c #}\n x", "{# {{ }} {% %} #}x", "{# a -#}\n b",
    "  {%+ if true %}\n b{% endif %}", "a{% if true +%}\n b{% endif %}", "{% if true +%}\nb\n{%+ endif %}\nc", "{{+ 1 }}",
    "{% raw %}{{ x }}{% if %}{% endraw %}", "a {%- raw -%}  {{ x }}  {%- endraw -%} b", "{% raw %}\n x\n{% endraw %}\ny", "  {% raw %}x{% endraw %}  ",
    "{% if true %}{% endif %}\n\nx", "{%- if true %}\n  x\n{%- endif %}\n", "x{% if true %} \n y{% endif %}", "{{ 1 }}\n{{ 2 }}", "{{ 1 }}{% if true %}\n\n x{% endif %}",
    "\t{% if true %}\tx\t{% endif %}\t\n", " a {% if true %}b{% endif %}\n  {% if true %}c{% endif %}", "\u00a0{% if true %}x{% endif %}", "a \u3000{%- if true -%}\u2003 b{% endif %}",
    "{{ '}}' }}", "{{ {'a': {'b': 1}} }}", "{{ {'a': {'b': 1}}}}", "{%if true%}x{%endif%}", "{%   if   true   %}x{%   endif   %}", "{% if true\n %}x{% endif %}", "{ { x } }", "{", "{{ 1 }}{", "a{b}c%}d}}e#}",
    "{% set x = 1 %}\n\n{{ x }}\n", "{# multi\nline #}\nx", "  x  {% if true %}  {% endif %}  y  ", "{%- set a = 1 -%}\n{%- set b = 2 -%}\n{{ a + b }}",
    # if
    "{% if n > 5 %}a{% elif n > 3 %}b{% else %}c{% endif %}", "{% if z %}a{% elif n == 7 %}b{% else %}c{% endif %}", "{% if z %}a{% elif no %}b{% else %}c{% endif %}", "{% if z %}a{% endif %}", "{% if undefined_x %}a{% else %}b{% endif %}",
    "{% if not s and n or t %}a{% endif %}", "{% if d.zz is defined and d.zz.y %}a{% else %}b{% endif %}", "{% if 1, %}t{% endif %}",
    # for
    "{% for x in l %}{{ x }},{% endfor %}", "{% for x in l %}{{ loop.index }}{{ loop.index0 }}{{ loop.revindex }}{{ loop.revindex0 }}{{ loop.first }}{{ loop.last }}{{ loop.length }};{% endfor %}",
    "{% for x in el %}a{% else %}empty{% endfor %}", "{% for x in undefined_x %}a{% else %}empty{% endfor %}", "{% for x in n %}a{% endfor %}", "{% for x in none %}a{% endfor %}",
    "{% for k, v in d.items() %}{{ k }}={{ v }};{% endfor %}", "{% for k in d %}{{ k }}{% endfor %}", "{% for c in u %}[{{ c }}]{% endfor %}", "{% for a, b in ll %}{{ a }}-{{ b }};{% endfor %}", "{% for a, (b, c) in [[1, [2, 3]]] %}{{ a }}{{ b }}{{ c }}{% endfor %}",
    "{% for a, b in [[1]] %}x{% endfor %}", "{% for a, b in [[1, 2, 3]] %}x{% endfor %}", "{% for x in l if x > 1 %}{{ loop.index }}:{{ x }}/{{ loop.length }};{% endfor %}", "{% for x in l if x > 9 %}a{% else %}none{% endfor %}", "{% for k, v in d.items() if k != 'a' %}{{ k }}{{ loop.last }}{% endfor %}",
    "{% for x in l %}{{ loop.previtem }}<{{ x }}>{{ loop.nextitem }};{% endfor %}", "{% for x in l %}{{ loop.previtem is defined }}{{ loop.nextitem is defined }};{% endfor %}", "{% for x in l %}{{ loop.cycle('a', 'b') }}{% endfor %}", "{% for x in [1, 1, 2] %}{{ loop.changed(x) }}{% endfor %}", "{% for x in l %}{{ loop.depth }}{{ loop.depth0 }}{% endfor %}",
    "{% for x in l %}{% if loop.first %}[{% endif %}{{ x }}{% if not loop.last %}, {% else %}]{% endif %}{% endfor %}", "{% for x in l %}{% for y in w %}{{ loop.index }}{% endfor %}{{ loop.index }};{% endfor %}", "{% for x in range(3) %}{{ x }}{{ loop.nextitem }}{{ loop.last }}{% endfor %}", "{% for x in [] %}{% endfor %}{{ x is defined }}{{ loop is defined }}", "{% for x in 1, 2, 3 %}{{ x }}{% endfor %}", "{% for x in (1, 2) %}{{ x }}{% endfor %}",
    "{% for x in l %}{% if x == 1 %}{% continue %}{% endif %}{{ x }}{% endfor %}", "{% for x in l %}{% if x == 1 %}{% break %}{% endif %}{{ x }}{% endfor %}", "{% for x in l %}{% for y in l %}{% if y == x %}{% break %}{% endif %}{{ y }}{% endfor %};{% endfor %}", "{% for x in l %}{% break %}{% else %}e{% endfor %}z", "{% break %}", "{% for x in l %}{% macro m() %}{% break %}{% endmacro %}{% endfor %}", "{% for x in el %}{% else %}{{ x is defined }}{% endfor %}", "{% for x in l recursive %}{% endfor %}" if False else "{% for x in l %}{{ x }}{% endfor %}{{ x is defined }}",
    "{% for m in messages %}{{ m.role }}: {{ m.content }}\n{% endfor %}", "{% for m in messages[1:] %}{{ m['role'] }}{% if not loop.last %},{% endif %}{% endfor %}", "{% for m in messages|reverse %}{{ m.role }};{% endfor %}", "{% for p in people|sort(attribute='name') %}{{ p.name }};{% endfor %}", "{% for x in l|reverse %}{{ loop.length }}{{ x }}{% endfor %}", "{% for x in {'a': 1}.items() %}{{ x }}{{ x[0] }}{% endfor %}",
    # set and scopes
    "{% set x = 1 %}{{ x }}", "{% set x = 1 %}{% for i in l %}{% set x = i %}{{ x }}{% endfor %}{{ x }}", "{% for i in l %}{{ x }}{% set x = i %}{{ x }};{% endfor %}", "{% set x = 1 %}{% for i in l %}{{ x }}{% set x = x + 1 %}{{ x }};{% endfor %}{{ x }}", "{% if true %}{% set x = 5 %}{% endif %}{{ x }}", "{% for i in [1] %}{% if true %}{% set x = 5 %}{% endif %}{{ x }}{% endfor %}{{ x }}", "{% set a, b = 1, 2 %}{{ a }}{{ b }}", "{% set (a, b) = [1, 2] %}{{ a }}{{ b }}", "{% set a, b = 1 %}", "{% set x = 1, 2 %}{{ x }}",
    "{% set ns = namespace(x=0) %}{% for i in l %}{% set ns.x = ns.x + i %}{% endfor %}{{ ns.x }}", "{% set ns = namespace() %}{% set ns.a = 1 %}{{ ns.a }}{{ ns.b is defined }}", "{% set ns = namespace(l=[]) %}{% for i in l %}{% set ns.l = ns.l + [i] %}{% endfor %}{{ ns.l }}", "{% set d.x = 1 %}", "{% set nope.x = 1 %}", "{% set ns = namespace(a=1) %}{{ ns['a'] }}{{ ns }}", "{% set n = n + 1 %}{{ n }}", "{% set messages = messages[1:] %}{{ messages|length }}", "{% set true = 1 %}", "{% set x %}a{{ n }}b{% endset %}{{ x }}|{{ x|length }}", "{% set x | upper %}abc{% endset %}{{ x }}", "{% set x | replace('a', 'b') | trim %} aa {% endset %}[{{ x }}]", "{% set x %}{% set y = 5 %}{{ y }}{% endset %}{{ x }}{{ y is defined }}", "{% set ns = namespace() %}{% set ns.x %}abc{% endset %}{{ ns.x }}", "{% set x %}{% endset %}[{{ x }}]", "{% set s = s|upper %}{{ s }}", "{% for i in l %}{% set s = s ~ i %}{{ s }};{% endfor %}{{ s }}",
    "{% with a = 1, b = 2 %}{{ a + b }}{% endwith %}{{ a is defined }}", "{% with %}{% set x = 1 %}{{ x }}{% endwith %}{{ x is defined }}", "{% set a = 1 %}{% with a = 2, b = a %}{{ a }}{{ b }}{% endwith %}{{ a }}",
    # macros
    "{% macro m(a, b=2, c=a) %}{{ a }}{{ b }}{{ c }}{% endmacro %}{{ m(1) }};{{ m(1, 3) }};{{ m(b=1, a=5) }};{{ m(1, c=9) }}", "{% macro m(a) %}[{{ a }}]{% endmacro %}{{ m() }}", "{% macro m(a) %}{{ a is defined }}{% endmacro %}{{ m() }}{{ m(none) }}", "{% macro m() %}x{% endmacro %}{{ m(1) }}", "{% macro m() %}x{% endmacro %}{{ m(a=1) }}", "{% macro m(a) %}x{% endmacro %}{{ m(1, a=1) }}", "{% macro m(a) %}{{ varargs }}{{ kwargs }}{% endmacro %}{{ m(1, 2, 3, k=4) }}", "{% macro f(n) %}{% if n > 1 %}{{ f(n - 1) }},{% endif %}{{ n }}{% endmacro %}{{ f(5) }}", "{% macro t(x) %}{% if x is mapping %}{ {%- for k, v in x.items() %}{{ k }}:{{ t(v) }}{% if not loop.last %},{% endif %}{% endfor -%} }{% else %}{{ x }}{% endif %}{% endmacro %}{{ t(nested) }}",
    "{% macro m() %}{{ n }}{{ i }}{% endmacro %}{% for i in l %}{{ m() }}{% endfor %}", "{% set x = 1 %}{% macro m() %}{{ x }}{% set x = 2 %}{{ x }}{% endmacro %}{{ m() }}{{ x }}", "{% macro m() %}{{ x }}{% endmacro %}{% set x = 3 %}{{ m() }}", "{% macro m(x) %}{{ x|upper }}{% endmacro %}{{ m('a') ~ m('b') }}{{ m('abc')|length }}", "{% macro m() -%}\n  a\n  {%- endmacro %}[{{ m() }}]", "{% macro m(a=[]) %}{{ a }}{% endmacro %}{{ m() }}{{ m([1]) }}", "{{ m() }}{% macro m() %}x{% endmacro %}", "{% macro m(a, a2=n) %}{{ a2 }}{% endmacro %}{{ m(1) }}", "{% for i in l %}{% macro q() %}{{ i }}{% endmacro %}{{ q() }}{% endfor %}", "{% macro a() %}A{{ b() }}{% endmacro %}{% macro b() %}B{% endmacro %}{{ a() }}", "{% macro m(a, b) %}{{ a }}{{ b }}{% endmacro %}{{ m(*[1, 2]) }}{{ m(**{'a': 3, 'b': 4}) }}", "{% macro m(a=1, b) %}{% endmacro %}", "{% macro loop_in(l) %}{% for x in l %}{{ x }}{{ loop.last }}{% endfor %}{% endmacro %}{% for y in [1] %}{{ loop_in(l) }}{{ loop.index }}{% endfor %}", "{{ n is callable }}{% macro m() %}{% endmacro %}{{ m is callable }}{{ m is defined }}",
    "{% macro w() %}<{{ caller() }}>{% endmacro %}{% call w() %}body{{ n }}{% endcall %}", "{% macro w(x) %}{% for i in x %}{{ caller(i) }};{% endfor %}{% endmacro %}{% call(i) w(l) %}{{ i * 2 }}{% endcall %}", "{% macro w() %}{{ caller is defined }}{% endmacro %}{{ w() }}{% call w() %}{% endcall %}", "{% macro w() %}<{{ caller(1, b=2) }}>{% endmacro %}{% call(a, b=5) w() %}{{ a }}{{ b }}{% endcall %}", "{% for i in l %}{% macro w() %}{{ caller() }}{% endmacro %}{% call w() %}{{ i }}{% endcall %}{% endfor %}", "{% macro w() %}x{% endmacro %}{% call w() %}b{% endcall %}",
    "{% filter upper %}abc{{ s }}{% endfilter %}", "{% filter replace('a', 'b')|upper %}banana{% endfilter %}", "{% filter trim %}  {% set x = 1 %}{{ x }} {% endfilter %}{{ x is defined }}", "{% filter indent(2) %}a\nb\n{% endfilter %}", "{% generation %}a{{ n }}{% set g = 1 %}{% endgeneration %}{{ g is defined }}", "{% for x in l %}{% generation %}{{ x }}{% endgeneration %}{% endfor %}",
    # errors
    "{% if %}", "{% if true %}", "{% endif %}", "{% for x l %}{% endfor %}", "{{ 1 + }}", "{{ }}", "{{ 1", "{% if true", "{{ x|nope }}", "{{ x is nope }}", "{% nope %}", "{{ 'abc }}", "{# x", "{% raw %}x", "{{ a b }}", "{{ (1 }}", "{{ [1 }}", "{{ 1) }}", "{{ {1} }}", "{{ x[ }}", "{{ x. }}", "{{ f(a=1, 2) }}", "{% set %}", "{% set 1 = 2 %}", "{% for 1 in l %}{% endfor %}", "{% macro %}{% endmacro %}", "{% macro m %}{% endmacro %}", "{% call %}{% endcall %}", "{% else %}", "{% elif x %}", "{% if true %}{% for x in l %}{% endif %}{% endfor %}", "{{ 1 ! 2 }}", "{{ @ }}", "{{ $x }}", "{{ x is }}", "{{ x| }}", "{{ 'a' if }}", "{{ not }}", "{{ \"\\x4\" }}", "{% include 'x' %}", "{% import 'x' as y %}", "{% extends 'x' %}",
    "{{ l.append(5) }}", "{{ d.update({'x': 1}) }}", "{{ messages.append(1) }}", "{{ d.pop('a') }}", "{{ l.pop() }}", "{{ messages[0].update({'a': 1}) }}",
    # whole small templates
    "{% for m in messages %}{{ '<|im_start|>' + m.role + '\\n' + m.content + '<|im_end|>' + '\\n' }}{% endfor %}{% if add_generation_prompt %}{{ '<|im_start|>assistant\\n' }}{% endif %}",
    "{{ bos_token }}{% for m in messages %}{% if m['role'] == 'user' %}{{ '[INST] ' + m['content'] + ' [/INST]' }}{% elif m['role'] == 'assistant' %}{{ m['content'] + eos_token }}{% endif %}{% endfor %}",
    "{%- if messages[0].role == 'system' -%}{%- set sys = messages[0].content -%}{%- set rest = messages[1:] -%}{%- else -%}{%- set sys = '' -%}{%- set rest = messages -%}{%- endif -%}{{ sys }}|{{ rest|length }}",
    "{%- set ns = namespace(found=false) -%}{%- for m in messages -%}{%- if m.role == 'assistant' -%}{%- set ns.found = true -%}{%- endif -%}{%- endfor -%}{{ ns.found }}",
    "{{ tools is none }}{{ documents is none }}{{ add_generation_prompt }}{{ bos_token is defined }}",
]


def split_line(line):
    """Expressions of a line stand between "|" without blanks around, which is also the filter sign:
    a part that names a filter belongs to the expression before it."""
    known = set(ENV.filters) | {"d", "e"}
    parts, depth, quote, start, i = [], 0, None, 0, 0
    while i < len(line):
        c = line[i]
        if quote:
            if c == "\\":
                i += 1
            elif c == quote:
                quote = None
        elif c in "'\"":
            quote = c
        elif c in "([{":
            depth += 1
        elif c in ")]}":
            depth -= 1
        elif c == "|" and depth == 0:
            word = ""
            for k in line[i + 1:].lstrip():
                if not (k.isalnum() or k == "_"):
                    break
                word += k
            after = line[i + 1:].lstrip()[len(word):len(word) + 1]
            is_filter = word in known and not (word in ("d", "e") and after != "(")
            if not is_filter:
                parts.append(line[start:i])
                start = i + 1
        i += 1
    parts.append(line[start:])
    return [p for p in parts if p.strip()]


def features():
    cases = []
    for row, line in enumerate(EXPRESSIONS):
        for column, text in enumerate(split_line(line)):
            cases.append(make_case(f"expression {row}.{column}", "[{{ " + text + " }}]", VARIABLES))
    for number, text in enumerate(STATEMENTS):
        cases.append(make_case(f"statement {number}", text, VARIABLES))
    return cases


TOOLS = [
    {"type": "function", "function": {"name": "lookup", "description": "Looks a word up.",
     "parameters": {"type": "object", "properties": {"word": {"type": "string", "description": "the word"},
      "n": {"type": "integer", "default": 3}, "kind": {"type": "string", "enum": ["noun", "verb"], "default": "noun"}},
      "required": ["word"]}}},
    {"type": "function", "function": {"name": "now", "description": "The time.",
     "parameters": {"type": "object", "properties": {}}}},
    {"type": "function", "function": {"name": "deep", "description": "Nested types.", "parameters": {
      "type": "object", "properties": {
       "list": {"type": "array", "items": {"type": "object", "properties": {"a": {"type": "number"}, "b": {"type": "array", "items": {"type": "string"}}}, "required": ["a"]}, "description": "items"},
       "any": {"oneOf": [{"type": "string", "description": "text", "default": "x"}, {"type": "integer"}]},
       "union": {"type": ["string", "null"]}, "one": {"type": ["string"]}, "o": {"type": "object"},
       "flag": {"type": "boolean", "nullable": True, "default": False}, "s": {"type": "string", "nullable": True},
       "objs": {"oneOf": [{"type": "object"}, {"type": "string"}]}, "arr": {"type": "array"}, "bools": {"type": "array", "items": {"type": "boolean"}, "nullable": True}},
      "required": ["list", "flag"]}}},
]

CONVERSATIONS = {
    "user": [{"role": "user", "content": "Hello there"}],
    "system": [{"role": "system", "content": "  Be brief.\n"}, {"role": "user", "content": "Hi"}],
    "developer": [{"role": "developer", "content": "Speak like a pirate."}, {"role": "user", "content": "Hi"}],
    "turns": [{"role": "user", "content": "One"}, {"role": "assistant", "content": "Two"},
              {"role": "user", "content": "Three"}, {"role": "assistant", "content": "Four"},
              {"role": "user", "content": "Five"}],
    "unicode": [{"role": "user", "content": "caf\u00e9 \U0001F600 \u65e5\u672c\u8a9e <|end|> \"q\" \\ \n\t"}],
    "thinking": [{"role": "user", "content": "2+2?"}, {"role": "assistant", "content": "4", "thinking": "easy sum"},
                 {"role": "user", "content": "3+3?"}],
    "think_tags": [{"role": "user", "content": "a"}, {"role": "assistant", "content": "<think>\nhm\n</think>\n\nb"}, {"role": "user", "content": "c"}],
    "tool": [{"role": "user", "content": "Define harbor"},
             {"role": "assistant", "content": None, "tool_calls": [{"id": "abcdefghi", "type": "function", "function": {"name": "lookup", "arguments": "{\"word\": \"harbor\", \"n\": 2}"}}]},
             {"role": "tool", "tool_call_id": "abcdefghi", "content": "{\"sense\": \"a port\"}"}],
    "tool_done": [{"role": "system", "content": "Use tools."}, {"role": "user", "content": "Define harbor"},
             {"role": "assistant", "content": "", "reasoning_content": "I will look.", "tool_calls": [{"id": "abcdefghi", "type": "function", "function": {"name": "lookup", "arguments": {"word": "harbor"}}}]},
             {"role": "tool", "tool_call_id": "abcdefghi", "content": "a port"},
             {"role": "assistant", "content": "A port."}, {"role": "user", "content": "Thanks"}],
    "parts": [{"role": "user", "content": [{"type": "text", "text": "first"}, {"type": "text", "text": "second"}]}],
    "empty": [{"role": "user", "content": ""}],
    "assistant_first": [{"role": "assistant", "content": "odd"}],
    "two_users": [{"role": "user", "content": "a"}, {"role": "user", "content": "b"}],
    "unknown_role": [{"role": "narrator", "content": "x"}],
    "bad_tool": [{"role": "tool", "content": "orphan"}],
    "none": [],
    "long": [{"role": ("user", "assistant")[i % 2], "content": f"message {i} " * (i % 7)} for i in range(41)],
}
KWARGS = [{}, {"add_generation_prompt": True}, {"add_generation_prompt": True, "enable_thinking": False},
          {"reasoning_effort": "high", "model_identity": "You are mica.", "builtin_tools": ["browser", "python"]},
          {"thinking": True, "documents": [{"doc_id": 1, "text": "A document."}], "controls": {"citations": True, "hallucinations": True}},
          {"date_string": "1 Jan 2025", "tools_in_user_message": False, "current_date": "2025-08-05"}]

# (number of kwargs, number of tools)
COMBINATIONS = [(0, 0), (1, 0), (2, 0), (3, 0), (4, 0), (5, 0), (0, 2), (1, 3), (5, 3)]


def fnv(data):
    h = 0xcbf29ce484222325
    for b in data:
        h = ((h ^ b) * 0x100000001b3) & 0xffffffffffffffff
    return f"{h:016x}"


def model_sources(folder):
    """(file name below the folder, source, default variables)"""
    found = []
    for root, _, files in sorted(os.walk(folder)):
        for name in sorted(files):
            path = os.path.join(root, name)
            config = os.path.join(root, "tokenizer_config.json")
            if name.endswith(".jinja"):
                found.append((path, open(path, newline="").read(), config))
            elif name in ("tokenizer_config.json", "tokenizer_config.json.xz"):
                opened = lzma.open(path, "rt") if name.endswith("xz") else open(path)
                source = json.load(opened).get("chat_template")
                if isinstance(source, str):
                    found.append((path, source, path))
    for path, source, config in found:
        defaults = {}
        if os.path.exists(config):
            opened = lzma.open(config, "rt") if config.endswith("xz") else open(config)
            for key, value in json.load(opened).items():
                if isinstance(value, dict):
                    value = value.get("content")
                if key.endswith("_token") and isinstance(value, str) and value:
                    defaults[key] = value
        yield os.path.relpath(path, folder), source, defaults


def iterates_over_content(source):
    """The engine's static check, in the reference's syntax tree."""
    nodes = jinja2.nodes
    for loop in ENV.parse(source).find_all(nodes.For):
        node = loop.iter
        while isinstance(node, nodes.Filter):
            node = node.node
        if isinstance(node, nodes.Getattr) and node.attr == "content":
            return True
        if isinstance(node, nodes.Getitem) and isinstance(node.arg, nodes.Const) and node.arg.value == "content":
            return True
        if isinstance(node, nodes.Name) and node.name == "content":
            return True
    return False


def model_cases(folder, keep_text):
    cases = []
    for file, source, defaults in model_sources(folder):
        iterates = iterates_over_content(source)
        for name, messages in CONVERSATIONS.items():
            for number, with_tools in COMBINATIONS:
                kwargs = KWARGS[number]
                if with_tools and "tools" not in source:
                    continue
                variables = {"messages": messages, **kwargs}
                if with_tools:
                    variables["tools"] = TOOLS[:with_tools]
                case = {"name": f"{name} {number} {with_tools}", "file": file,
                        "variables": json.dumps(variables, ensure_ascii=False)}
                try:
                    text = render(source, variables, defaults, iterates)
                    if keep_text and number == 1:
                        case["expected"] = text
                    else:
                        case["fnv"] = fnv(text.encode())
                except Exception as e:
                    case["error"] = True
                cases.append(case)
    return cases


def own_cases(folder, seed):
    import template_grid  # it imports this file

    print(f"seed {seed}", file=sys.stderr)
    makers = [template_grid.Maker(random.Random(f"{seed} {i}")) for i in range(75)]
    inputs = [m.variables(needs_tokens=True) for m in makers]
    inputs = [v for v in inputs if len(json.dumps(v, ensure_ascii=False)) < 4000][:60]
    cases = []
    for file, source, defaults in model_sources(folder):
        template = template_grid.Template(source, defaults)
        for i, variables in enumerate(inputs):
            text, raised = template.render(variables)
            case = {"name": f"own {i}", "file": file,
                    "variables": json.dumps(variables, ensure_ascii=False)}
            if text is not None:
                case["fnv"] = fnv(text)
            else:
                case["error"] = True
                if raised and raised.isprintable():
                    case["message"] = raised
            cases.append(case)
    return cases


def random_expression(rng, depth):
    atoms = ["n", "z", "f", "s", "u", "e", "sp", "l", "w", "d", "ll", "t", "nil", "undefined_x", "people", "mixed", "nested",
             "1", "0", "-3", "2.5", "'a'", "'b c'", "true", "none", "[]", "{}", "[1, 2]", "(1, 'x')", "'<|end|>'"]
    if depth == 0 or rng.random() < 0.15:
        return rng.choice(atoms)
    sub = lambda: random_expression(rng, depth - 1)
    kind = rng.randrange(12)
    if kind == 0:
        return f"({sub()} {rng.choice(['+', '-', '*', '//', '%', '~', '/'])} {sub()})"
    if kind == 1:
        return f"({sub()} {rng.choice(['==', '!=', '<', '<=', '>', '>=', 'in', 'not in', 'and', 'or'])} {sub()})"
    if kind == 2:
        return f"({sub()} if {sub()} else {sub()})"
    if kind == 3:
        return f"({sub()})[{rng.choice(['0', '-1', '1:', ':-1', '::-1', '1:3', '::2', sub()])}]"
    if kind == 4:
        return f"({sub()}).{rng.choice(['name', 'a', 'x', 'upper()', 'lower()', 'strip()', 'split()', 'items()', 'keys()', 'title()', 'get(1)', 'count(1)'])}"
    if kind in (5, 6, 7):
        return f"({sub()})|{rng.choice(['length', 'upper', 'trim', 'tojson', 'list', 'first', 'last', 'join', 'string', 'int', 'float', 'default(5)', 'sort', 'unique|list', 'reverse|list', 'sum', 'min', 'max', 'abs', 'title', 'capitalize', 'replace(1, 2)', 'indent', 'round', 'items|list', 'dictsort', 'map(' + chr(39) + 'string' + chr(39) + ')|list', 'select|list', 'tojson(indent=2)', 'batch(2)|list'])}"
    if kind == 8:
        return f"({sub()}) is {rng.choice(['defined', 'string', 'mapping', 'none', 'iterable', 'sequence', 'number', 'integer', 'odd', 'true', 'boolean', 'upper', 'lower', 'float', 'callable', 'not none', 'in ' + sub()])}"
    if kind == 9:
        return f"[{sub()}, {sub()}]"
    if kind == 10:
        return "{" + f"{rng.choice(['1', chr(39) + 'k' + chr(39), 'none'])}: {sub()}" + "}"
    return f"(not {sub()})"


def random_cases(n, seed):
    rng = random.Random(seed)
    print(f"seed {seed}", file=sys.stderr)
    cases = []
    while len(cases) < n:
        source = "[{{ " + random_expression(rng, rng.randrange(1, 5)) + " }}]"
        case = make_case(f"random {len(cases)}", source, VARIABLES)
        text = case.get("expected", "")
        if " object at 0x" not in text and "built-in" not in text and "<bound" not in text and "&" not in text:
            cases.append(case)
    return cases


def main():
    kind = sys.argv[1]
    if kind == "features":
        cases = features()
    elif kind == "models":
        cases = model_cases(sys.argv[2], False)
    elif kind == "demo":
        cases = model_cases(sys.argv[2], True)
    elif kind == "own":
        cases = own_cases(sys.argv[2], int(sys.argv[3]))
    else:
        cases = random_cases(int(sys.argv[2]), int(sys.argv[3]))
    inputs = {}
    for c in cases:
        c["input"] = inputs.setdefault(c.pop("variables"), len(inputs))
    with open(sys.argv[-1], "w") as out:
        out.write('{"inputs": [\n' + ",\n".join(json.dumps(i) for i in inputs) + '\n],\n"cases": [\n'
                  + ",\n".join(json.dumps(c) for c in cases) + "\n]}\n")
    n_errors = sum("error" in c for c in cases)
    print(f"{len(cases)} cases, {n_errors} of them errors", file=sys.stderr)


if __name__ == "__main__":
    main()
