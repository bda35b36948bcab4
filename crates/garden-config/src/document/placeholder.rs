//! What tells a template from a text that stands for itself, without reading it.

/// Whether `text` is a template rather than just itself.
pub(crate) fn is_template(text: &str) -> bool {
    text.contains("${")
}

/// Writes the template that resolves to `text` itself.
///
/// Each `${` becomes `${'$'}{`. Garden's other way, `$${…}`, needs a closing brace and cannot express
/// `$${`. All dollar signs before a brace are quoted together, as one left in front would make the
/// quotation the start of such an escape.
pub(crate) fn escape(text: &str) -> String {
    let mut escaped = String::with_capacity(text.len());
    let mut rest = text;
    while let Some(brace) = rest.find("${").map(|dollar| dollar + 1) {
        let before = rest[..brace].trim_end_matches('$');
        let dollars = &rest[before.len()..brace];
        escaped.push_str(before);
        escaped.push_str("${'");
        escaped.push_str(dollars);
        escaped.push_str("'}{");
        rest = &rest[brace + 1..];
    }
    escaped + rest
}
