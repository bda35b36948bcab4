use serde_json::json;

use super::{assert_problems, assert_values, resolved};

#[test]
fn calls_functions() {
    assert_values(&[
        (
            "_buildcache-${slice(kebabCase(git.branch), \"0\", \"30\")}",
            json!("_buildcache-feature-abc-123-fix-hohe-and-t"),
        ),
        ("${base64Encode('my value ü')}", json!("bXkgdmFsdWUgw7w=")),
        ("${base64Decode('bXkgdmFsdWUgw7w')}", json!("my value ü")),
        ("${camelCase('--foo-bar--')}", json!("fooBar")),
        ("${kebabCase('__FOO_BAR__')}", json!("foo-bar")),
        ("${concat(list, [null])}", json!([1, "two", [3], null])),
        ("${concat('', '')}", json!("")),
        ("${indent('a:\\n\\n  b\\n ', 2)}", json!("  a:\n\n    b\n ")),
        ("${isEmpty('')}", json!(true)),
        ("${isEmpty([1])}", json!(false)),
        ("${isEmpty(nothing)}", json!(true)),
        ("${isEmpty(missing)}", json!(true)),
        ("${isEmpty(mapping)}", json!(false)),
        ("${join(['a', 1, true, null, 'b'], '-')}", json!("a-1-true--b")),
        ("${join([], '-')}", json!("")),
        ("${jsonDecode('{\"a\": [1, 2.5]}')}", json!({"a": [1, 2.5]})),
        ("${jsonEncode([1.0, 1e21, 'ü\\n', null, mapping.key])}", json!("[1,1e+21,\"ü\\n\",null,\"value\"]")),
        ("${jsonEncode(jsonDecode('{\"b\": 1.0, \"a\": {}}'))}", json!("{\"a\":{},\"b\":1}")),
        ("${lower('ÄBC')}", json!("äbc")),
        ("${upper('straße')}", json!("STRASSE")),
        ("${range(1, 3)}", json!([1, 2, 3])),
        ("${range(2, 2)}", json!([2])),
        ("${range(1, 0)}", json!([])),
        ("${range(0 - 1, 1)}", json!([-1, 0, 1])),
        ("${replace('a.b.c', '.', '$&')}", json!("a$&b$&c")),
        (
            "${sha256('Some String')}",
            json!("7f0fd64653ba0bb1a579ced2b6bf375e916cc60662109ee0c0b24f0a750c3a6c"),
        ),
        ("${split('a,b,,c', ',')}", json!(["a", "b", "", "c"])),
        ("${string(1.50)}", json!("1.5")),
        ("${string(null)}", json!("null")),
        ("${trim(' \\n a b \\u00a0')}", json!("a b")),
        ("${trim('-_a-b_-', '_-')}", json!("a-b")),
        (
            "${yamlDecode('a: 1\\nb: [x, 0x1f, 0o17, 1.5, ~, true]')}",
            json!({"a": 1, "b": ["x", 31, 15, 1.5, null, true]}),
        ),
        ("${yamlDecode('')}", json!(null)),
        ("${yamlDecode('a: 1\\n---\\nb: 2\\n', true)}", json!([{"a": 1}, {"b": 2}])),
        ("${yamlEncode(jsonDecode('{\"my\": \"simple document\"}'))}", json!("my: simple document\n")),
        ("${yamlEncode(jsonDecode('[1.0, 1.50, 1e2, -0.0]'))}", json!("- 1\n- 1.5\n- 100\n- 0\n")),
        ("${yamlEncode(yamlDecode('[1.0, 0x10]'))}", json!("- 1\n- 16\n")),
        ("${yamlEncode([1, 'b'], true)}", json!("---\n1\n---\nb\n")),
        ("${lower (  'A' , )}", json!("a")),
    ]);
    let values = ["null", "[true, '', 'true', '1', ' x ', 'a: b', '# c', '\\n', 1.5]", "mapping"];
    for value in values {
        let there_and_back = resolved(&format!("${{yamlDecode(yamlEncode({value}))}}"));
        assert_eq!(there_and_back, resolved(&format!("${{{value}}}")), "{value}");
    }
}

#[test]
fn slices_as_javascript_does_but_cuts_no_character_in_half() {
    assert_values(&[
        ("${slice('ThisIsALongStringThatINeedAPartOf', 11, '-7')}", json!("StringThatINeed")),
        ("${slice('.foo', 1)}", json!("foo")),
        ("${slice('abcdef', '0', '3')}", json!("abc")),
        ("${slice('abcdef', '-3')}", json!("def")),
        ("${slice('abcdef', 4, 2)}", json!("")),
        ("${slice('abcdef', 2, 100)}", json!("cdef")),
        ("${slice('abcdef', '-100', 2)}", json!("ab")),
        // An end of 0 counts as none.
        ("${slice('abcdef', 2, 0)}", json!("cdef")),
        ("${slice('abcdef', 2, '0')}", json!("cdef")),
        ("${slice('a😀b', 0, 1)}", json!("a")),
        ("${slice('a😀b', 0, 2)}", json!("a")),
        ("${slice('a😀b', 0, 3)}", json!("a😀")),
        ("${slice('a😀b', 2)}", json!("b")),
        ("${slice(list, 1)}", json!(["two", [3]])),
        ("${slice(list, 0, '-1')}", json!([1, "two"])),
    ]);
    assert_problems(&[
        ("${slice(a, 'x')}", "'x'", "argument `start` of `slice` must be a whole number"),
        ("${slice(a, 0, '1.5')}", "'1.5'", "argument `end` of `slice` must be a whole number"),
        ("${slice(a, 0.5)}", "0.5", "argument `start` of `slice` must be a whole number"),
        ("${slice(a, 0, null)}", "null", "argument `end` of `slice` must be a number, not `null`"),
        ("${slice(1, 0)}", "1", "argument `input` of `slice` must be text or a list, not a number"),
    ]);
}

#[test]
fn says_what_is_wrong_with_a_call() {
    assert_problems(&[
        ("x${kebapCase(a)}", "kebapCase(a)", "there is no function `kebapCase`"),
        ("${lower()}", "lower()", "`lower` needs the argument `string`"),
        ("${concat(a)}", "concat(a)", "`concat` needs the argument `arg2`"),
        ("${lower(a, two)}", "two", "`lower` takes only one argument"),
        ("${concat(a, a, two)}", "two", "`concat` takes only 2 arguments"),
        ("${lower(two)}", "two", "argument `string` of `lower` must be text, not a number"),
        ("${lower(missing)}", "missing", "there is no `missing`"),
        (
            "${concat(a, list)}",
            "list",
            "argument `arg2` of `concat` must be text, as the first is, not a list",
        ),
        ("${concat(list, a)}", "a", "argument `arg2` of `concat` must be a list, as the first is, not text"),
        ("${concat(two, a)}", "two", "argument `arg1` of `concat` must be a list or text, not a number"),
        ("${join(a, '')}", "a", "argument `input` of `join` must be a list, not text"),
        (
            "${join(list, '')}",
            "list",
            "argument `input` of `join` cannot hold a list, only text, numbers and booleans",
        ),
        ("${split(a, '')}", "''", "argument `separator` of `split` must not be empty"),
        ("${indent(a, half)}", "half", "argument `spaces` of `indent` must be a whole number"),
        ("${indent(a, 0 - 1)}", "0 - 1", "argument `spaces` of `indent` must not be negative"),
        (
            "${isEmpty(1)}",
            "1",
            "argument `value` of `isEmpty` must be text, a list or a mapping, not a number",
        ),
        ("${range(3, 1)}", "1", "argument `last` of `range` must not be less than `first`"),
        ("${range(1, 1e9)}", "range(1, 1e9)", "`range` gives at most 10000 numbers"),
        ("${base64Decode('?')}", "'?'", "argument `string` of `base64Decode` is not base64"),
        (
            "${base64Decode('--__')}",
            "'--__'",
            "argument `string` of `base64Decode` is base64 of something that is not text",
        ),
        (
            "${yamlDecode(a, 1)}",
            "1",
            "argument `multiDocument` of `yamlDecode` must be `true` or `false`, not a number",
        ),
        (
            "${yamlDecode('a: 1\\na: 2')}",
            "'a: 1\\na: 2'",
            "argument `string` of `yamlDecode` sets a key twice",
        ),
        (
            "${yamlDecode('--- 1\\n--- 2')}",
            "'--- 1\\n--- 2'",
            "argument `string` of `yamlDecode` holds several documents",
        ),
        (
            "${jsonDecode('{]}')}",
            "'{]}'",
            "argument `string` of `jsonDecode` is not JSON: key must be a string at line 1 column 2",
        ),
        (
            "${string(list)}",
            "list",
            "argument `value` of `string` must be text, a number, a boolean or `null`, not a list",
        ),
        ("${uuidv4()}", "uuidv4()", "`uuidv4` would give each build another configuration"),
        ("${uuidv4(1)}", "1", "`uuidv4` takes no arguments"),
    ]);
    let hint = resolved("${kebapCase(a)}").expect_err("unknown").hint;
    assert_eq!(hint.as_deref(), Some("did you mean `kebabCase`?"));
}
