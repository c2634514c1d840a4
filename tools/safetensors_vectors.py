#!/usr/bin/env python3
"""Writes the accept/reject vectors of the safetensors reader: tests/data/safetensors/.

    python3 tools/safetensors_vectors.py [FOLDER]

Each vector is a whole small file; MANIFEST has one line for each:

    <file> <accept|reject> <status> <rule>

status is the name of the mica_status (format, limit, ok), rule the number that the error must cite
(2 stands for the rules 2 to 5, which the JSON reader enforces; 0: none). Everything is written by
hand here, without a safetensors library, so that broken files can be written at all. There is
nothing random in it: the same script gives the same bytes.
"""
import os
import struct
import sys

BITS = {
    "F4": 4, "F6_E2M3": 6, "F6_E3M2": 6, "BOOL": 8, "U8": 8, "I8": 8, "F8_E5M2": 8, "F8_E4M3": 8,
    "F8_E8M0": 8, "F8_E4M3FNUZ": 8, "F8_E5M2FNUZ": 8, "I16": 16, "U16": 16, "F16": 16, "BF16": 16,
    "I32": 32, "U32": 32, "F32": 32, "C64": 64, "F64": 64, "I64": 64, "U64": 64,
}

vectors = []


def add(name, verdict, status, rule, data):
    vectors.append((name + ".safetensors", verdict, status, rule, data))


def file_of(header, n_data, length=None):
    """A file of this header text (str or bytes) and n_data bytes 0, 1, 0, 1, ..."""
    header = header.encode() if isinstance(header, str) else header
    length = len(header) if length is None else length
    return struct.pack("<Q", length) + header + bytes(i & 1 for i in range(n_data))


def accept(name, header, n_data):
    add(name, "accept", "ok", 0, file_of(header, n_data))


def reject(name, rule, header, n_data, status="format"):
    add(name, "reject", status, rule, file_of(header, n_data))


def tensor(name, dtype, shape, begin, end):
    return '"%s":{"dtype":"%s","shape":%s,"data_offsets":[%d,%d]}' % (name, dtype, shape, begin, end)


ONE = tensor("a", "U8", "[4]", 0, 4)  # with 4 bytes of data


def rule_1():
    add("length_empty_file", "reject", "format", 1, b"")
    add("length_seven_bytes", "reject", "format", 1, b"\2\0\0\0\0\0\0")
    add("length_zero", "reject", "format", 1, struct.pack("<Q", 0))
    add("length_one", "reject", "format", 1, file_of("{", 0))
    add("length_past_end", "reject", "format", 1, file_of("{}", 0, 3))
    add("length_past_limit", "reject", "limit", 1, file_of("{}", 0, 100000001))
    add("length_all_ones", "reject", "limit", 1, file_of("{}", 0, 2**64 - 1))
    add("length_sign_bit", "reject", "limit", 1, file_of("{}", 0, 2**63 + 2))
    lfs = b"version https://git-lfs.github.com/spec/v1\noid sha256:" + b"0" * 64 + b"\nsize 4\n"
    add("lfs_pointer", "reject", "format", 0, lfs)
    accept("no_tensors", "{}", 0)
    accept("one_tensor", "{" + ONE + "}", 4)


def rules_2_to_5():
    u8 = '{"%s":{"dtype":"U8","shape":[4],"data_offsets":[0,4]}}'
    raw = lambda name: (u8 % "@").encode().replace(b"@", name)
    reject("utf8_stray_byte", 2, raw(b"a\xff"), 4)
    reject("utf8_overlong", 2, raw(b"a\xc1\xa1"), 4)
    reject("utf8_surrogate", 2, raw(b"\xed\xa0\x80"), 4)
    reject("utf8_past_unicode", 2, raw(b"\xf4\x90\x80\x80"), 4)
    reject("escape_lone_surrogate", 2, u8 % "\\ud800", 4)
    reject("escape_unknown", 2, u8 % "\\x41", 4)
    reject("control_byte", 2, raw(b"a\nb"), 4)
    reject("byte_order_mark", 2, b"\xef\xbb\xbf" + (u8 % "a").encode(), 4)
    accept("utf8_name", (u8 % "h\u00e4\U0001f600"), 4)
    accept("escaped_pair", u8 % "\\ud83d\\ude00", 4)
    accept("white_space", " \t\r\n{" + ONE + "} \n\t  ", 4)
    reject("padding_nul", 2, "{" + ONE + "}\0\0\0", 4)
    reject("padding_letter", 2, "{" + ONE + "}x", 4)
    reject("two_objects", 2, "{" + ONE + "}{}", 4)
    reject("top_array", 2, "[]", 0)
    reject("top_string", 2, '"a"', 0)
    reject("not_closed", 2, "{" + ONE, 4)
    reject("trailing_comma", 2, "{" + ONE + ",}", 4)
    reject("comment", 2, "{/**/" + ONE + "}", 4)
    reject("duplicate_name", 2, "{" + ONE + "," + ONE + "}", 4)
    reject("duplicate_zero_size", 2, "{%s,%s}" % ((tensor("a", "U8", "[0]", 0, 0),) * 2), 0)
    reject("duplicate_escaped", 2,
           "{%s,%s}" % (tensor("w", "U8", "[0]", 0, 0), tensor("\\u0077", "U8", "[0]", 0, 0)), 0)
    reject("duplicate_dtype", 2, '{"a":{"dtype":"U8","dtype":"U8","shape":[4],"data_offsets":[0,4]}}', 4)
    reject("duplicate_offsets", 2,
           '{"a":{"dtype":"U8","shape":[4],"data_offsets":[0,4],"data_offsets":[0,4]}}', 4)
    reject("duplicate_metadata", 2, '{"__metadata__":{},"__metadata__":{}}', 0)
    reject("duplicate_metadata_key", 2, '{"__metadata__":{"a":"b","\\u0061":"c"}}', 0)


def rules_6_to_8():
    accept("metadata", '{"__metadata__":{"format":"pt","":"\\u0000"},' + ONE + "}", 4)
    accept("metadata_last", "{" + ONE + ',"__metadata__":{}}', 4)
    reject("metadata_null", 6, '{"__metadata__":null}', 0)
    reject("metadata_string", 6, '{"__metadata__":"pt"}', 0)
    reject("metadata_number_value", 6, '{"__metadata__":{"a":1}}', 0)
    reject("metadata_null_value", 6, '{"__metadata__":{"a":null}}', 0)
    reject("metadata_object_value", 6, '{"__metadata__":{"a":{}}}', 0)
    fields = ['"dtype":"U8"', '"shape":[4]', '"data_offsets":[0,4]']
    for i, what in enumerate(("dtype", "shape", "offsets")):
        reject("missing_" + what, 7, '{"a":{%s}}' % ",".join(fields[:i] + fields[i + 1:]), 4)
    reject("missing_all", 7, '{"a":{}}', 0)
    reject("unknown_field", 7, '{"a":{%s,"extra":[]}}' % ",".join(fields), 4)
    reject("field_case", 7, '{"a":{%s,"DType":"U8"}}' % ",".join(fields), 4)
    reject("array_form", 7, '{"a":["U8",[4],[0,4]]}', 4)
    reject("tensor_null", 7, '{"a":null}', 0)
    reject("dtype_unknown", 8, "{" + tensor("a", "U128", "[0]", 0, 0) + "}", 0)
    reject("dtype_case", 8, "{" + tensor("a", "u8", "[4]", 0, 4) + "}", 4)
    reject("dtype_empty", 8, "{" + tensor("a", "", "[0]", 0, 0) + "}", 0)
    reject("dtype_prefix", 8, "{" + tensor("a", "BF1", "[0]", 0, 0) + "}", 0)
    parts, at = [], 0
    for name, bits in sorted(BITS.items()):
        parts.append(tensor("t." + name, name, "[2,4]", at, at + bits))
        at += bits
    accept("all_dtypes", "{" + ",".join(parts) + "}", at)


def rules_9_to_11():
    def dims(shape, begin=0, end=0, dtype="U8"):
        return "{" + tensor("a", dtype, shape, begin, end) + "}"

    accept("rank_0", dims("[]", 0, 1), 1)
    accept("rank_8", dims("[1,1,1,1,1,1,1,4]", 0, 4), 4)
    reject("rank_9", 9, dims("[1,1,1,1,1,1,1,1,4]", 0, 4), 4, "limit")
    for name, text in (("minus", "-4"), ("minus_zero", "-0"), ("fraction", "4.0"), ("exponent", "4e0"),
                       ("leading_zero", "04"), ("plus", "+4"), ("string", '"4"'), ("null", "null"),
                       ("nested", "[4]"), ("true", "true"), ("past_u64", "18446744073709551620")):
        reject("dim_" + name, 9, dims("[%s]" % text, 0, 4), 4)
    accept("dim_largest", dims("[0,%d]" % (2**48 - 1)), 0)
    reject("dim_past_limit", 9, dims("[0,%d]" % 2**48), 0, "limit")
    reject("count_overflow", 10, dims("[4294967296,4294967296]"), 0)
    reject("count_overflow_three", 10, dims("[4194305,4194305,211106198978564]", 0, 4), 4)
    reject("count_overflow_zero_first", 10, dims("[0,4294967296,4294967296]"), 0)
    reject("count_overflow_zero_last", 10, dims("[4294967296,4294967296,0]"), 0)
    accept("count_zero_large", dims("[0,2147483648,2147483648]"), 0)
    reject("bits_overflow", 11, dims("[140737488355328,16384]", 0, 0, "F64"), 0)
    reject("bits_not_whole", 11, dims("[3]", 0, 1, "F4"), 1)
    reject("bits_not_whole_six", 11, dims("[2]", 0, 1, "F6_E2M3"), 1)
    accept("bits_whole", dims("[6]", 0, 3, "F4"), 3)
    reject("span_short", 11, dims("[4]", 0, 3), 3)
    reject("span_long", 11, dims("[4]", 0, 5), 5)
    reject("span_of_empty", 11, dims("[0]", 0, 4), 4)
    reject("span_wider_type", 11, dims("[4]", 0, 4, "BF16"), 4)


def rules_12_to_14():
    two = lambda a, b: "{%s,%s}" % (tensor("a", "U8", *a), tensor("b", "U8", *b))
    fields = '{"a":{"dtype":"U8","shape":[4],"data_offsets":%s}}'
    reject("hole", 12, two(("[2]", 0, 2), ("[2]", 3, 5)), 5)
    reject("hole_at_start", 12, "{" + tensor("a", "U8", "[2]", 2, 4) + "}", 4)
    reject("overlap", 12, two(("[3]", 0, 3), ("[3]", 1, 4)), 4)
    reject("overlap_same", 12, two(("[4]", 0, 4), ("[4]", 0, 4)), 4)
    reject("overlap_inside", 12, two(("[4]", 0, 4), ("[1]", 1, 2)), 4)
    reject("offsets_swapped", 12, fields % "[4,0]", 4)
    reject("offsets_one", 12, fields % "[4]", 4)
    reject("offsets_three", 12, fields % "[0,4,4]", 4)
    reject("offsets_none", 12, fields % "[]", 4)
    reject("offsets_minus", 12, fields % "[-4,0]", 4)
    reject("offsets_fraction", 12, fields % "[0.0,4]", 4)
    reject("offsets_string", 12, fields % '["0","4"]', 4)
    reject("offsets_past_u64", 12, fields % "[18446744073709551616,18446744073709551620]", 4)
    reject("offsets_near_u64", 12, fields % "[18446744073709551611,18446744073709551615]", 4)
    reject("file_cut", 13, "{" + ONE + "}", 3)
    reject("file_cut_all", 13, "{" + ONE + "}", 0)
    reject("file_longer", 13, "{" + ONE + "}", 5)
    reject("file_only_trailing", 13, "{}", 1)
    reject("empty_inside", 12, two(("[4]", 0, 4), ("[0]", 2, 2)), 4)
    reject("empty_past_end", 13, two(("[4]", 0, 4), ("[0]", 4, 4)), 3)
    reject("empty_behind_hole", 12, two(("[4]", 0, 4), ("[0]", 5, 5)), 4)
    parts = [("z", "F32", "[0,7]", 0, 0), ("a", "U8", "[2]", 0, 2), ("y", "U8", "[0]", 2, 2),
             ("b", "U8", "[2]", 2, 4), ("x", "U8", "[0]", 4, 4)]
    accept("empty_at_borders", "{" + ",".join(tensor(*part) for part in parts) + "}", 4)


def rules_15_and_16():
    accept("order_reversed", "{%s,%s}" % (tensor("b", "U8", "[1]", 4, 5), tensor("a", "F32", "[1]", 0, 4)), 5)
    accept("odd_offset", "{%s,%s}" % (tensor("a", "U8", "[1]", 0, 1), tensor("b", "F32", "[1]", 1, 5)), 5)
    name = lambda text: "{" + tensor(text, "U8", "[4]", 0, 4) + "}"
    reject("name_empty", 16, name(""), 4)
    reject("name_nul", 16, name("a\\u0000b"), 4)
    reject("name_escape_control", 16, name("a\\n"), 4)
    reject("name_delete", 16, name("a\x7f"), 4)
    reject("name_513", 16, name("n" * 513), 4, "limit")
    accept("name_512", name("n" * 512), 4)
    accept("name_like_a_path", name("../../x"), 4)
    accept("name_like_a_format", name("%s%n"), 4)


def main():
    folder = sys.argv[1] if len(sys.argv) > 1 else os.path.join(
        os.path.dirname(os.path.abspath(__file__)), "..", "tests", "data", "safetensors")
    os.makedirs(folder, exist_ok=True)
    for rules in (rule_1, rules_2_to_5, rules_6_to_8, rules_9_to_11, rules_12_to_14, rules_15_and_16):
        rules()
    names = [v[0] for v in vectors]
    assert len(names) == len(set(names)), "a vector's name is used twice"
    with open(os.path.join(folder, "MANIFEST"), "w") as manifest:
        manifest.write("# file verdict status rule; made by tools/safetensors_vectors.py\n")
        for name, verdict, status, rule, data in vectors:
            with open(os.path.join(folder, name), "wb") as out:
                out.write(data)
            manifest.write("%s %s %s %d\n" % (name, verdict, status, rule))
    print("%d vectors in %s" % (len(vectors), folder))


if __name__ == "__main__":
    main()
