//! What a server says about a failure, made fit to be shown.

use serde::Deserialize;

/// More than any useful explanation has.
const LONGEST: usize = 300;

/// An error that a registry or a token server explains.
#[derive(Debug, PartialEq, Eq, Default)]
pub(crate) struct ServerMessage {
    code: String,
    message: String,
    is_page: bool,
}

/// Source: OCI distribution specification, section "Error Codes"; RFC 6749, section 5.2
/// (`error`, `error_description`); Docker Hub's token server says `details`.
#[derive(Deserialize, Default)]
#[serde(default)]
struct Body {
    errors: Vec<Described>,
    error: Option<String>,
    error_description: Option<String>,
    details: Option<String>,
    message: Option<String>,
}

#[derive(Deserialize, Default)]
#[serde(default)]
struct Described {
    code: Option<String>,
    message: Option<String>,
}

impl ServerMessage {
    /// Reads an error's body. A server may echo what it was sent, so a message in which one of
    /// `secrets` stands is dropped.
    pub(crate) fn read(body: &[u8], secrets: &[&str]) -> Self {
        let is_page = is_page(body);
        let body: Body = serde_json::from_slice(body).unwrap_or_default();
        let first = body.errors.into_iter().next().unwrap_or_default();
        let clean = |text: Option<String>| {
            let text: String = text.unwrap_or_default().chars().filter(|it| !it.is_control()).collect();
            // As it would be shown: what is taken out may have stood in the middle of a secret.
            let echoes = secrets.iter().any(|secret| !secret.is_empty() && text.contains(secret));
            if echoes { String::new() } else { text.chars().take(LONGEST).collect() }
        };
        Self {
            code: clean(first.code.or(body.error)),
            message: clean(first.message.or(body.error_description).or(body.details).or(body.message)),
            is_page,
        }
    }

    /// Returns whether it is a page for people. Registries and token servers have none; proxies that filter do.
    pub(crate) fn is_page(&self) -> bool {
        self.is_page
    }

    /// Returns whether the registry means that there is no such image.
    pub(crate) fn says_missing(&self) -> bool {
        ["NAME_UNKNOWN", "MANIFEST_UNKNOWN"].contains(&self.code.as_str())
    }

    /// Returns code and message, or `None` if the server did not say anything useful.
    pub(crate) fn text(&self) -> Option<String> {
        match (self.code.as_str(), self.message.as_str()) {
            ("", "") if self.is_page => Some("a web page instead of an answer".to_owned()),
            ("", "") => None,
            ("", text) | (text, "") => Some(text.to_owned()),
            (code, message) => Some(format!("{code}: {message}")),
        }
    }
}

fn is_page(body: &[u8]) -> bool {
    let text = body.trim_ascii_start();
    let begins = |tag: &[u8]| text.get(..tag.len()).is_some_and(|start| start.eq_ignore_ascii_case(tag));
    begins(b"<html") || begins(b"<!doctype html")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_the_forms_in_use() {
        for (body, expected) in [
            (r#"{"errors":[{"code":"DENIED","message":"not yours"}]}"#, Some("DENIED: not yours")),
            (r#"{"errors":[{"code":"DENIED"}]}"#, Some("DENIED")),
            (r#"{"error":"invalid_grant","error_description":"expired"}"#, Some("invalid_grant: expired")),
            (r#"{"details":"incorrect username or password"}"#, Some("incorrect username or password")),
            (r#"{"errors":[]}"#, None),
            ("oops", None),
            ("\r\n<!DOCTYPE HTML>\n<title>Blocked</title>", Some("a web page instead of an answer")),
            ("<html lang=en>", Some("a web page instead of an answer")),
        ] {
            assert_eq!(ServerMessage::read(body.as_bytes(), &[]).text().as_deref(), expected, "{body}");
        }
    }

    #[test]
    fn drops_echoed_secrets_and_terminal_control() {
        let body = br#"{"errors":[{"code":"DENIED","message":"bad Authorization: Basic czNjcmV0"}]}"#;
        assert_eq!(ServerMessage::read(body, &["", "czNjcmV0"]).text().as_deref(), Some("DENIED"));
        let body = br#"{"errors":[{"code":"DENIED","message":"czNj\u0007cmV0"}]}"#;
        assert_eq!(ServerMessage::read(body, &["czNjcmV0"]).text().as_deref(), Some("DENIED"));
        let body = b"{\"message\":\"\\u001b[2Jgone\"}";
        assert_eq!(ServerMessage::read(body, &[]).text().as_deref(), Some("[2Jgone"));
    }
}
