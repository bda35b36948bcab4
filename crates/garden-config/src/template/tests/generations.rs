//! What the same template comes to in projects for different Gardens.

use serde_json::json;

use super::{Generation, resolved_by};

const ALL: [Generation; 3] = [Generation::V0, Generation::V1, Generation::V2];

#[test]
fn a_question_mark_behind_a_placeholder_is_a_character_since_0_14() {
    for (template, older, latest) in [
        ("https://x.example/${a}?b=c", "https://x.example/Ab=c", "https://x.example/A?b=c"),
        ("${a}?", "A", "A?"),
        ("${a}?${empty}?x", "Ax", "A??x"),
        ("${if yes}${a}?b${endif}", "Ab", "A?b"),
        ("${'<${a}?>'}", "<A>", "<A?>"),
    ] {
        for (generation, expected) in ALL.into_iter().zip([older, older, latest]) {
            assert_eq!(
                resolved_by(generation, template),
                Ok(Some(json!(expected))),
                "{generation:?} {template}"
            );
        }
    }
    for generation in [Generation::V0, Generation::V1] {
        assert_eq!(resolved_by(generation, "${x}?"), Ok(None));
        let problem = resolved_by(generation, "${if yes}?a${endif}").expect_err("no suffix of a block");
        assert_eq!(problem.message, "`?` cannot follow `${if …}`");
    }
    assert_eq!(resolved_by(Generation::V2, "${if yes}?a${endif}"), Ok(Some(json!("?a"))));
    let problem = resolved_by(Generation::V2, "${x}?").expect_err("missing");
    assert_eq!(problem.message, "there is no `x`");
    assert!(problem.hint.is_some_and(|hint| hint.contains("since Garden 0.14")));
}

#[test]
fn a_text_takes_what_is_added_to_it_since_0_14() {
    for (template, expected) in
        [("${a + two}", "A2"), ("${a + half}", "A0.5"), ("${a + yes}", "Atrue"), ("${a + nothing}", "Anull")]
    {
        assert_eq!(resolved_by(Generation::V2, template), Ok(Some(json!(expected))), "{template}");
        assert!(resolved_by(Generation::V1, template).is_err(), "{template}");
    }
    for template in ["${a + list}", "${two + a}"] {
        assert!(resolved_by(Generation::V2, template).is_err(), "{template}");
    }
}

#[test]
fn what_is_missing_is_passed_on_until_somebody_needs_it_since_0_14() {
    for (template, expected) in [
        ("${x == 'true' ? 'a' : 'b'}", json!("b")),
        ("${'true' != x ? 'a' : 'b'}", json!("b")),
        ("${x + 'suffix' || 'd'}", json!("d")),
        ("${(two * x - 1) || 'd'}", json!("d")),
        ("${x contains 'y' || 'd'}", json!("d")),
        ("${upper(x) || 'd'}", json!("d")),
        ("${join([a, x], ',') || 'd'}", json!("d")),
        ("${'<${x}>' || 'd'}", json!("d")),
        ("${mapping[x] || 'd'}", json!("d")),
        ("${mapping[lower(x)] || 'd'}", json!("d")),
        ("${isEmpty(x) ? 'a' : 'b'}", json!("b")),
        ("${!(x == 1)}", json!(true)),
        ("${typeof (x + 1)}", json!("undefined")),
        ("${(x > 1) && a}", json!(false)),
    ] {
        assert_eq!(resolved_by(Generation::V2, template), Ok(Some(expected)), "{template}");
    }
    // Nobody makes up for these.
    for template in
        ["${x == 'true'}", "${upper(x)}", "<${x}>", "${isEmpty(x)}", "${if x == 1}a${endif}", "${[x]}"]
    {
        let problem = resolved_by(Generation::V2, template).expect_err(template);
        assert_eq!(problem.message, "there is no `x`", "{template}");
    }
    // Before, an operator needed its operands.
    for generation in [Generation::V0, Generation::V1] {
        let problem = resolved_by(generation, "${x == 'true' ? 'a' : 'b'}").expect_err("missing");
        assert_eq!(problem.message, "there is no `x`");
        assert_eq!(resolved_by(generation, "${isEmpty(x)}"), Ok(Some(json!(true))));
    }
    // What is wrong is not missing.
    let problem = resolved_by(Generation::V2, "${two + a || 'd'}").expect_err("wrong");
    assert!(problem.message.starts_with("`+` takes"), "{problem:?}");
}
