//! The contexts of a kubeconfig, where one is named that it does not have.

use kube::config::Kubeconfig;

/// How many contexts are named: a kubeconfig may come from a repository.
const MOST_NAMED: usize = 20;

/// Checks that `kubeconfig` has `context`, so that a user with a slip in its name reads which there are.
pub(crate) fn has(kubeconfig: &Kubeconfig, context: &str) -> Result<(), String> {
    let mut names: Vec<&str> = kubeconfig.contexts.iter().map(|named| named.name.as_str()).collect();
    if names.contains(&context) {
        return Ok(());
    }
    names.sort_unstable();
    let more = match names.len().saturating_sub(MOST_NAMED) {
        0 => String::new(),
        more => format!(" and {more} more"),
    };
    names.truncate(MOST_NAMED);
    let quoted: Vec<_> = names.iter().map(|name| format!("`{}`", name.escape_debug())).collect();
    let there_are = match quoted.len() {
        0 => "it has none".to_owned(),
        _ => format!("there are: {}{more}", quoted.join(", ")),
    };
    Err(format!("no context called `{}`; {there_are}", context.escape_debug()))
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn kubeconfig(names: &[String]) -> Kubeconfig {
        let context = |name| json!({ "name": name, "context": { "cluster": "c", "user": "u" } });
        let contexts: Vec<_> = names.iter().map(context).collect();
        serde_json::from_value(json!({ "contexts": contexts })).expect("a kubeconfig")
    }

    #[test]
    fn whoever_names_a_missing_context_reads_which_there_are() {
        let names = ["stage\u{1b}".to_owned(), "prod".to_owned()];
        let kubeconfig = kubeconfig(&names);
        assert_eq!(has(&kubeconfig, "prod"), Ok(()));
        let error = has(&kubeconfig, "prdo").expect_err("a slip");
        assert_eq!(error, "no context called `prdo`; there are: `prod`, `stage\\u{1b}`");
    }

    #[test]
    fn the_list_ends_and_an_empty_one_is_said() {
        let many: Vec<_> = (0..1000).map(|number| format!("c{number:03}")).collect();
        let error = has(&kubeconfig(&many), "d").expect_err("missing");
        assert!(error.ends_with("`c018`, `c019` and 980 more"), "{error}");
        let error = has(&kubeconfig(&[]), "d").expect_err("missing");
        assert_eq!(error, "no context called `d`; it has none");
    }
}
