//! What templates come to, in tables.

mod functions;
mod generations;
mod hostile;

use serde_json::{Value, json};

use super::{Fault, LookedUp, Scope, TemplateProblem, resolve};
use crate::project::Generation;

/// Looks keys up in a value.
struct Variables(Value);

impl Scope for Variables {
    fn look_up(&self, path: &[String]) -> Result<LookedUp, Fault> {
        let mut value = &self.0;
        for key in path {
            let inner = match value {
                Value::Object(entries) => entries.get(key),
                Value::Array(items) => key.parse().ok().and_then(|index: usize| items.get(index)),
                _ => return Err(Fault::new(format!("`{key}` is looked up in {value}"))),
            };
            let Some(inner) = inner else {
                let missing = Fault::new(format!("there is no `{}`", path.join(".")));
                return Ok(LookedUp::Missing(missing.hint(format!("define `{key}`"))));
            };
            value = inner;
        }
        Ok(LookedUp::Found(value.clone()))
    }
}

fn variables() -> Variables {
    Variables(json!({
        "a": "A", "empty": "", "yes": true, "no": false, "nothing": null, "two": 2, "half": 0.5,
        "list": [1, "two", [3]], "mapping": { "key": "value", "my-key": 1, "1": "one", "with.dot": 2 },
        "name": "key", "git": { "branch": "feature/ABC-123_fix-Höhe-and-then-some" }, "if": 1,
        "$weird_ключ": "ok",
    }))
}

fn resolved_by(generation: Generation, template: &str) -> Result<Option<Value>, TemplateProblem> {
    resolve(template, generation, &variables())
}

fn resolved(template: &str) -> Result<Option<Value>, TemplateProblem> {
    resolve(template, Generation::V0, &variables())
}

#[track_caller]
fn assert_values(table: &[(&str, Value)]) {
    for (template, expected) in table {
        match resolved(template) {
            Ok(Some(value)) => assert_eq!(value, *expected, "{template}"),
            Ok(None) => panic!("{template} comes to nothing"),
            Err(problem) => panic!("{template}: {problem:?}"),
        }
    }
}

/// Each row: a template, the part of it that is pointed at, the message.
#[track_caller]
fn assert_problems(table: &[(&str, &str, &str)]) {
    for (template, pointed_at, message) in table {
        let problem = resolved(template).expect_err(template);
        assert_eq!(problem.message, *message, "{template}");
        assert_eq!(&template[problem.span.clone()], *pointed_at, "{template}");
    }
}

#[test]
fn a_template_that_is_one_placeholder_keeps_the_type_of_its_value() {
    assert_values(&[
        ("${a}", json!("A")),
        ("${ two }", json!(2)),
        ("${\n\ttwo\n}", json!(2)),
        ("${half}", json!(0.5)),
        ("${yes}", json!(true)),
        ("${nothing}", json!(null)),
        ("${list}", json!([1, "two", [3]])),
        ("${mapping.key}", json!("value")),
        ("${a}?", json!("A")),
    ]);
    assert_eq!(resolved("${missing}?"), Ok(None));
    assert_eq!(resolved("${mapping.missing}?"), Ok(None));
    assert_eq!(resolved("${missing.deeper}?"), Ok(None));
}

#[test]
fn anything_else_becomes_text() {
    assert_values(&[
        ("", json!("")),
        ("just text, $ and } and ?", json!("just text, $ and } and ?")),
        ("x-${a}", json!("x-A")),
        ("${two}${yes}${nothing}${half}", json!("2truenull0.5")),
        (" ${two}", json!(" 2")),
        ("ü${a}ü$", json!("üAü$")),
        ("a${missing}?b", json!("ab")),
        ("${a}?b${a}??", json!("AbA?")),
        ("${ 1e21 } ${ 0.1 + 0.2 } ${ 1e-7 }", json!("1e+21 0.30000000000000004 1e-7")),
    ]);
    assert_problems(&[
        ("x${list}", "list", "a list cannot be part of a text"),
        ("x${mapping}", "mapping", "a mapping cannot be part of a text"),
        ("x${missing}", "missing", "there is no `missing`"),
    ]);
}

#[test]
fn reads_literals() {
    assert_values(&[
        ("${1}", json!(1)),
        ("${1.50}", json!(1.5)),
        ("${1.}", json!(1)),
        ("${.5}", json!(0.5)),
        ("${1e3}", json!(1000)),
        ("${25E-1}", json!(2.5)),
        ("${0xFf}", json!(255)),
        ("${true}", json!(true)),
        ("${false}", json!(false)),
        ("${null}", json!(null)),
        (r#"${"it's"}"#, json!("it's")),
        (r#"${'say "x"'}"#, json!("say \"x\"")),
        (r"${'it\'s \u00fc }'}", json!("it's ü }")),
        ("${'}'}", json!("}")),
        ("${[]}", json!([])),
        ("${[1, 'two', [a,],]}", json!([1, "two", ["A"]])),
        ("${[null]}", json!([null])),
        ("${[1,.5]}", json!([1, 0.5])),
    ]);
    assert_problems(&[
        ("${12ab}", "12ab", "`12ab` is neither a number nor a name"),
        ("${01}", "01", "`01` is neither a number nor a name"),
        ("${1e999}", "1e999", "`1e999` is too large a number"),
        ("${0x10000000000000000}", "0x10000000000000000", "`0x10000000000000000` is too large a number"),
        (r"${'\u12'}", r"'\u12'", r"`\u12` is not an escape"),
        (r"${'\x\x1b'}", r"'\x\x1b'", r"`\x\x` is not an escape"),
        ("${'a}", "'", "the text that starts with `'` is never closed"),
        ("${a || \"b}", "\"", "the text that starts with `\"` is never closed"),
        ("${'a\nb'}", "'", "the text that starts with `'` is never closed"),
    ]);
}

#[test]
fn looks_up_keys() {
    assert_values(&[
        ("${mapping.my-key}", json!(1)),
        ("${mapping.1}", json!("one")),
        ("${mapping['key']}", json!("value")),
        ("${mapping[\"with.dot\"]}", json!(2)),
        ("${mapping[name]}", json!("value")),
        ("${mapping['${name}']}", json!("value")),
        ("${mapping[ 'k' + 'ey' ]}", json!("value")),
        ("${mapping[1]}", json!("one")),
        ("${list[1]}", json!("two")),
        ("${list.2.0}", json!(3)),
        ("${list[2].0}", json!(3)),
        ("${list[2][0]}", json!(3)),
        ("${list[1 + 1][0] + 1}", json!(4)),
        ("${$weird_ключ}", json!("ok")),
    ]);
    assert_problems(&[
        ("${ missing }", "missing", "there is no `missing`"),
        ("${mapping.a.b}", "mapping.a.b", "there is no `mapping.a.b`"),
        ("x ${mapping[ missing ]}", "missing", "there is no `missing`"),
        ("${a.b}", "a.b", "`b` is looked up in \"A\""),
        ("${a.b || 1}", "a.b", "`b` is looked up in \"A\""),
        ("${list[list]}", "list", "a key must be text or a number, not a list"),
        ("${list[nothing]}", "nothing", "a key must be text or a number, not `null`"),
    ]);
    let problem = resolved("ü ${mapping[a].b}").expect_err("missing");
    assert_eq!((problem.span, problem.hint.as_deref()), (5..17, Some("define `A`")));
}

#[test]
fn operators_do_as_in_javascript() {
    assert_values(&[
        ("${1 + 2 * 3}", json!(7)),
        ("${(1 + 2) * (3 + 4)}", json!(21)),
        ("${7 - 2 - 1}", json!(4)),
        ("${7 / 2}", json!(3.5)),
        ("${4/2}", json!(2)),
        ("${(0 - 7) % 4}", json!(-3)),
        ("${two*two == 4 && 1 < 2}", json!(true)),
        ("${'a' + 'b'}", json!("ab")),
        ("${list + [4]}", json!([1, "two", [3], 4])),
        ("${1 < 2 == true}", json!(true)),
        ("${2 <= 2}", json!(true)),
        ("${2 >= 3}", json!(false)),
        ("${2 > 1}", json!(true)),
        ("${a == 'A'}", json!(true)),
        ("${a != 'A'}", json!(false)),
        ("${1 == '1'}", json!(false)),
        ("${1 == 1.0}", json!(true)),
        ("${list == null}", json!(false)),
        ("${nothing == null}", json!(true)),
        ("${!a}", json!(false)),
        ("${!!empty}", json!(false)),
        ("${![]}", json!(false)),
        ("${!missing}", json!(true)),
        ("${typeof a}", json!("string")),
        ("${typeof two + '!'}", json!("number!")),
        ("${typeof yes}", json!("boolean")),
        ("${typeof list}", json!("object")),
        ("${typeof nothing}", json!("object")),
        ("${typeof missing}", json!("undefined")),
        ("${typeof'x'}", json!("string")),
        ("${'foobar' contains 'oba'}", json!(true)),
        ("${'x-0' contains 0}", json!(true)),
        ("${list contains 'two'}", json!(true)),
        ("${list contains 3}", json!(false)),
        ("${mapping contains 1}", json!(true)),
        ("${mapping contains 'x'}", json!(false)),
        ("${'a'contains'a'}", json!(true)),
        ("${!(a contains 'A')}", json!(false)),
    ]);
    assert_problems(&[
        ("${1 + 'a'}", "1 + 'a'", "`+` takes two numbers, two texts or two lists, not a number and text"),
        ("${'a' * 2}", "'a' * 2", "`*` takes two numbers, not text and a number"),
        ("${a < 'b'}", "a < 'b'", "`<` takes two numbers, not text and text"),
        ("x${two / 0}", "two / 0", "`/` cannot take 0 on its right"),
        ("${two % 0}", "two % 0", "`%` cannot take 0 on its right"),
        ("${1e300 * 1e300}", "1e300 * 1e300", "the result is too large a number"),
        ("${list == [1]}", "list == [1]", "lists and mappings cannot be compared with `==`"),
        ("${list != mapping}", "list != mapping", "lists and mappings cannot be compared with `!=`"),
        ("${missing == 1}", "missing", "there is no `missing`"),
        ("${1 + missing}", "missing", "there is no `missing`"),
        ("${[missing]}", "missing", "there is no `missing`"),
        ("${list contains list}", "list contains list", "`contains` cannot take a list on its right"),
        (
            "${two contains 2}",
            "two contains 2",
            "`contains` takes text, a list or a mapping on its left, not a number",
        ),
    ]);
}

#[test]
fn logic_makes_up_for_missing_keys_and_computes_only_what_it_needs() {
    assert_values(&[
        ("${missing || 'default'}", json!("default")),
        ("${missing||empty||two}", json!(2)),
        ("${mapping[missing] || 1}", json!(1)),
        ("${empty || nothing}", json!(null)),
        ("${a || missing}", json!("A")),
        ("${a || 1 / 0}", json!("A")),
        ("${a || nonsense()}", json!("A")),
        ("${missing && a}", json!(false)),
        ("${a && missing}", json!(false)),
        ("${empty && a}", json!("")),
        ("${a && two}", json!(2)),
        ("${no && 1 / 0}", json!(false)),
        ("${no || yes && two}", json!(2)),
        ("${yes ? 1 : missing}", json!(1)),
        ("${missing ? 1 : 2}", json!(2)),
        ("${no ? 1 : no ? 2 : 3}", json!(3)),
        ("${yes ? yes ? 1 : 2 : 3}", json!(1)),
        ("${a == 'A' ? '=${a}' : b}", json!("=A")),
        ("${a?two:1}", json!(2)),
        ("${yes?.5:1}", json!(0.5)),
        ("${missing ? replace(missing, ' ', ',') : null}", json!(null)),
    ]);
    assert_eq!(resolved("${missing || missing}?"), Ok(None));
    assert_eq!(resolved("${yes ? missing : 1}?"), Ok(None));
    assert_problems(&[
        ("${missing || mapping.other}", "mapping.other", "there is no `mapping.other`"),
        ("${yes ? missing : 1}", "missing", "there is no `missing`"),
    ]);
}

#[test]
fn texts_in_quotes_are_templates_too() {
    assert_values(&[
        ("${'x-${a}'}", json!("x-A")),
        ("${'${two}'}", json!(2)),
        ("${'$${a}'}", json!("${a}")),
        ("${'${missing}?' || 1}", json!(1)),
        ("${a || '${missing}'}", json!("A")),
    ]);
    assert_problems(&[
        ("${'x-${missing}'}", "missing", "there is no `missing`"),
        ("${ 'x-${1 + }' }", "+", "expected a value after `+`"),
        // Within a text with escapes, only the text as a whole can be pointed at.
        (r"${ '\'${missing}' }", r"'\'${missing}'", "there is no `missing`"),
        // Garden fails here too: only the key itself can be made up for.
        ("${'${missing}' || 1}", "missing", "there is no `missing`"),
    ]);
}

#[test]
fn blocks_choose_between_texts() {
    assert_values(&[
        ("a ${if yes}b ${endif}c", json!("a b c")),
        ("a ${if no}b ${endif}c", json!("a c")),
        ("${if two == 2}x${else}y${endif}", json!("x")),
        ("${if two == 3}x${else}y${endif}", json!("y")),
        ("${ if yes }x${ else }y${ endif }", json!("x")),
        ("${if yes}1${if no}2${else}3${if yes}4${endif}${endif}${else}5${endif}6", json!("1346")),
        ("${if no}${1 / 0}${endif}", json!("")),
        ("${if yes}${nothing}${endif}", json!("null")),
        ("${if!no}x${endif}", json!("x")),
        ("${if missing || no}x${endif}?", json!("?")),
    ]);
    assert_problems(&[
        ("x ${if yes}y", "${if yes}", "this block is never closed"),
        ("${if yes}", "${if yes}", "this block is never closed"),
        ("${if yes}${if no}x${endif}", "${if yes}", "this block is never closed"),
        ("x ${endif}", "${endif}", "there is no `${if …}` before this `${endif}`"),
        ("x ${else} y", "${else}", "there is no `${if …}` before this `${else}`"),
        ("${if no}${else}${ else }${endif}", "${ else }", "this block has a second `${else}`"),
        ("${if yes}?x${endif}", "}?", "`?` cannot follow `${if …}`"),
        ("${if missing}x${endif}", "missing", "there is no `missing`"),
        ("${if}x${endif}", "if", "expected a value after `if`"),
        ("${if yes}x${else if no}y${endif}", "if", "`if` cannot follow `else`"),
    ]);
}

#[test]
fn two_dollar_signs_keep_a_placeholder_as_it_is() {
    assert_values(&[
        ("$${a}", json!("${a}")),
        ("x$${not an expression!}y${a}", json!("x${not an expression!}yA")),
        ("$$${a}", json!("$${a}")),
        ("$${a ${a}}", json!("${a ${a}}")),
        ("$${a}?", json!("${a}?")),
        ("${a}$${a}", json!("A${a}")),
        // As in Garden, without a brace it is not an escape, and the rest stays as it is.
        ("x$${a ${", json!("x$${a ${")),
        ("${'$'}{a}", json!("${a}")),
    ]);
}

#[test]
fn says_what_is_wrong_with_an_expression_and_where() {
    assert_problems(&[
        ("ü ${a", "${", "`${` is never closed"),
        ("${", "${", "`${` is never closed"),
        ("${}", "${", "expected a value after `${`"),
        ("${ a || }", "||", "expected a value after `||`"),
        ("${(}", "(", "expected a value after `(`"),
        ("${a[]}", "]", "expected a value after `[`, not `]`"),
        ("${[,]}", ",", "expected a value after `[`, not `,`"),
        ("${a == || b}", "||", "expected a value after `==`, not `||`"),
        ("${a ? : b}", ":", "expected a value after `?`, not `:`"),
        ("${a b}", "b", "`b` cannot follow `a`"),
        ("${'a' 'b'}", "'b'", "`'b'` cannot follow `'a'`"),
        ("${a = b}", "=", "`=` cannot follow `a`"),
        ("${a === b}", "=", "expected a value after `==`, not `=`"),
        ("${a # b}", "#", "`#` cannot follow `a`"),
        ("${a\u{1b}}", "\u{1b}", "`\u{1b}` cannot follow `a`"),
        ("${a)}", ")", "`)` cannot follow `a`"),
        ("${(a}", "(", "`(` is never closed"),
        ("${(a, b)}", ",", "`,` cannot follow `a`"),
        ("${[a}", "[", "`[` is never closed"),
        ("${[a,}", "[", "`[` is never closed"),
        ("${a[1}", "[", "`[` is never closed"),
        ("${lower(a}", "(", "`(` is never closed"),
        ("${a ? b}", "?", "`?` has no `:`"),
        ("${a -b}", "-", "`-` needs white space on both sides"),
        ("${1+ 2}", "+", "`+` needs white space on both sides"),
        ("${-1}", "-", "expected a value after `${`, not `-`"),
        ("${a.}", ".", "`.` cannot follow `a`"),
        ("${a..b}", ".", "`.` cannot follow `a`"),
        ("${[a].b}", "].b", "`.b` cannot follow a list"),
        ("${lower(a).b}", ".", "`.` cannot follow `)`"),
        ("${mapping.lower(a)}", "(", "`(` cannot follow `mapping.lower`"),
        ("${a${name}b}", "${", "`${` cannot follow `a`"),
        ("${${a}}", "${", "expected a value after `${`, not `${`"),
    ]);
    let long = format!("${{a '{}'}}", "x".repeat(100));
    let message = resolved(&long).expect_err("two values").message;
    assert_eq!(message, format!("`'{}…` cannot follow `a`", "x".repeat(29)));
    for (template, hint) in [
        ("${a = b}", "values are compared with `==`"),
        ("${a b}", "put an operator between the two"),
        ("${-1}", "there are no negative numbers: write `(0 - 1)`"),
        ("${a", "add the `}`, or write `${'$'}{` if the characters themselves are meant"),
        ("${a${name}b}", "keys within a placeholder stand alone: `${a[b]}`, not `${a[${b}]}`"),
    ] {
        assert_eq!(resolved(template).expect_err(template).hint.as_deref(), Some(hint), "{template}");
    }
}
