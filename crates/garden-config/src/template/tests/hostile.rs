//! Templates that were not written to be resolved.

use std::thread;
use std::time::Duration;

use garden_test_programs::cpu_time;
use proptest::prelude::*;
use serde_json::{Value, json};

use super::{Variables, resolved};
use crate::project::Generation;
use crate::template::{Fault, LookedUp, Scope, escape, resolve};

/// Runs on a quarter of the stack that a thread has by default, so that a scope can resolve templates
/// while others are being resolved.
fn on_a_small_stack(run: impl FnOnce() + Send + 'static) {
    let thread = thread::Builder::new().stack_size(512 * 1024).spawn(run).expect("thread");
    thread.join().expect("no panic");
}

#[test]
fn nesting_is_bounded_before_the_stack_overflows() {
    fn nested(open: &str, inner: &str, close: &str, levels: usize) -> String {
        format!("${{{}{inner}{}}}", open.repeat(levels), close.repeat(levels))
    }
    on_a_small_stack(|| {
        for (open, inner, close) in [
            ("(", "1", ")"),
            ("[", "1", "]"),
            ("!", "1", ""),
            ("typeof ", "1", ""),
            ("mapping[", "1", "]"),
            ("string(", "1", ")"),
            ("1 ? ", "1", " : 1"),
            ("0 ? 1 : ", "1", ""),
            ("[(1 ? !string(", "1", ") : 0)]"),
            ("1 + (", "1", ")"),
            ("0 || 1 && 1 != 1 <= 2 + 3 * 'x' contains (", "1", ")"),
        ] {
            for levels in [33, 1000, 10_000] {
                let problem = resolved(&nested(open, inner, close, levels)).expect_err(open);
                assert_eq!(problem.message, "this is nested too deep", "{open}");
                let unclosed = nested(open, "", "", levels);
                assert_eq!(resolved(&unclosed).expect_err(open).message, "this is nested too deep", "{open}");
            }
            let deepest = nested(open, inner, close, if open.starts_with("[(") { 6 } else { 32 });
            if let Err(problem) = resolved(&deepest) {
                assert_ne!(problem.message, "this is nested too deep", "{open}");
            }
        }
        let mut quoted = "${a}".to_owned();
        for _ in 0..14 {
            quoted = format!("${{'{}'}}", quoted.replace('\\', "\\\\").replace('\'', "\\'"));
        }
        assert_eq!(resolved(&quoted), Ok(Some("A".into())));
        let blocks = |levels| format!("{}x{}", "${if yes}".repeat(levels), "${endif}".repeat(levels));
        assert_eq!(resolved(&blocks(32)), Ok(Some("x".into())));
        assert_eq!(resolved(&blocks(10_000)).expect_err("deep").message, "this is nested too deep");
    });
}

#[test]
fn long_templates_take_little_time() {
    on_a_small_stack(|| {
        const COUNT: usize = 4_000;
        let begun = cpu_time();
        for (start, repeated, end) in [
            ("${", "missing||", "1}"),
            ("${", "a + ", "a}"),
            ("${", "a contains ", "a}"),
            ("${[", "a,", "a]}"),
            ("", "${a}", ""),
            ("", "${", ""),
            ("${", "[[[[", "}"),
            ("${", "((((", ""),
            ("${", "a ? ", "}"),
            ("${", "a.", "}"),
            ("${", "a[1]", "}"),
            ("${", "'", "}"),
            ("${", "'\\", "}"),
            ("", "$", "${a}"),
            ("", "$${", ""),
            ("", "$${}", ""),
            ("", "${if yes}${endif}", ""),
            ("", "${if yes}", ""),
            ("${", "!", "1}"),
            ("${", "1", "}"),
            ("${", "1e", "}"),
            ("${", " ", ""),
            ("${'", "${", "'}"),
            ("${", "'a\n", "}"),
            ("${", "\"'", "}"),
        ] {
            let text = format!("{start}{}{end}", repeated.repeat(COUNT));
            let _ = resolved(&text);
            assert_eq!(resolved(&escape(&text)), Ok(Some(text.as_str().into())), "{repeated}");
        }
        let used = cpu_time().saturating_sub(begun);
        assert!(used < Duration::from_secs(30), "{used:?}");
    });
}

#[test]
fn values_cannot_fill_the_memory() {
    /// Looks each key up as what a template makes of the one before it: `a9` of `a8` and so on.
    struct Doubling(&'static str);
    impl Scope for Doubling {
        fn look_up(&self, path: &[String]) -> Result<LookedUp, Fault> {
            let level: u32 = path[0][1..].parse().expect("level");
            if level == 0 {
                return Ok(LookedUp::Found("0".repeat(200_000).into()));
            }
            let template = self.0.replace('#', &format!("a{}", level - 1));
            let resolved =
                resolve(&template, Generation::V2, self).map_err(|problem| Fault::new(problem.message))?;
            Ok(LookedUp::Found(resolved.into()))
        }
    }
    for (template, message) in [
        ("${#}${#}", "this becomes larger than 1 MiB"),
        ("${# + #}", "this becomes larger than 1 MiB"),
        ("${[#, #]}", "this becomes larger than 1 MiB"),
        ("${concat(#, #)}", "this becomes larger than 1 MiB"),
        ("${replace(#, '0', #)}", "this becomes larger than 1 MiB"),
        ("${join([#, #], #)}", "this becomes larger than 1 MiB"),
        ("${jsonEncode([#, #])}", "this becomes larger than 1 MiB"),
        ("${yamlEncode([#, #])}", "this becomes larger than 1 MiB"),
        ("${indent(#, 1e8)}", "this becomes larger than 1 MiB"),
    ] {
        let problem = resolve("${a3}", Generation::V2, &Doubling(template)).expect_err(template);
        assert_eq!(problem.message, message, "{template}");
    }
    let mut value = Variables(json!({ "a": [] }));
    let problem = (0..1000).find_map(|_| match resolve("${[a]}", Generation::V2, &value) {
        Ok(inner) => {
            value = Variables(json!({ "a": inner }));
            None
        }
        Err(problem) => Some(problem.message),
    });
    assert_eq!(problem.as_deref(), Some("this is nested too deep"));
}

/// Texts that are made of what means something in a template.
fn template_like() -> impl Strategy<Value = String> {
    let piece = prop_oneof![
        3 => Just("${"), 3 => Just("}"), 2 => Just("$"), 1 => Just("$${"), 1 => Just("}?"),
        2 => Just("'"), 2 => Just("\""), 1 => Just("\\"), 1 => Just("("), 1 => Just(")"),
        1 => Just("["), 1 => Just("]"), 1 => Just(","), 1 => Just("?"), 1 => Just(":"),
        1 => Just("if "), 1 => Just("else"), 1 => Just("endif"), 2 => Just("a"), 1 => Just("list"),
        1 => Just("lower"), 1 => Just("slice"), 1 => Just("."), 1 => Just("1"), 1 => Just("0x"),
        1 => Just(" + "), 1 => Just("-"), 1 => Just("||"), 1 => Just("&&"), 1 => Just("!"),
        1 => Just("typeof "), 1 => Just(" contains "), 1 => Just("=="), 1 => Just("{"), 1 => Just(" "),
        1 => Just("\n"), 1 => Just("ü"), 1 => Just("😀"), 1 => Just("\u{1b}"), 1 => Just("\\u12"),
    ];
    let pieces = prop::collection::vec(piece, 0..40).prop_map(|pieces| pieces.concat());
    prop_oneof![4 => pieces, 1 => any::<String>()]
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 2000, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn an_escaped_text_resolves_to_itself(text in template_like()) {
        let escaped = escape(&text);
        prop_assert_eq!(resolved(&escaped), Ok(Some(Value::String(text))), "{}", escaped);
    }

    #[test]
    fn any_text_resolves_or_is_told_apart_with_a_place_in_it(text in template_like()) {
        for text in [text.clone(), format!("${{{text}}}"), format!("${{'{text}'}}")] {
            if let Err(problem) = resolved(&text) {
                prop_assert!(text.get(problem.span.clone()).is_some_and(|part| !part.is_empty()), "{:?}", problem);
                prop_assert!(!problem.message.is_empty());
            }
        }
    }
}
