//! Reads `WWW-Authenticate`.

use http::HeaderMap;
use http::header::WWW_AUTHENTICATE;

/// One way in which a server lets a client authenticate.
///
/// Source: RFC 9110, sections 11.2 to 11.6.1: `scheme 1*SP #( name "=" ( token / quoted-string ) )`,
/// any number of challenges in a header, and any number of headers.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Challenge {
    /// The scheme in lower case.
    pub(crate) scheme: String,
    pub(crate) parameters: Vec<(String, String)>,
}

impl Challenge {
    /// Returns the parameter called `name` (lower case).
    pub(crate) fn parameter(&self, name: &str) -> Option<&str> {
        self.parameters.iter().find(|(known, _)| known == name).map(|(_, value)| value.as_str())
    }
}

/// Returns all challenges of an answer, in their order. What cannot be read is skipped.
pub(crate) fn challenges(headers: &HeaderMap) -> Vec<Challenge> {
    let values = headers.get_all(WWW_AUTHENTICATE).iter();
    values.filter_map(|value| std::str::from_utf8(value.as_bytes()).ok()).flat_map(parse).collect()
}

fn parse(header: &str) -> Vec<Challenge> {
    let mut challenges: Vec<Challenge> = Vec::new();
    let mut rest = Cursor(header);
    loop {
        rest.skip(|c| c == ',' || is_space(c));
        let word = rest.take(is_token);
        if word.is_empty() {
            // Either the end, or something that is not a token: go on after the next comma.
            rest.take(|c| c != ',');
            if rest.0.is_empty() {
                return challenges;
            }
            continue;
        }
        if let (Some(value), Some(challenge)) = (rest.value(), challenges.last_mut()) {
            challenge.parameters.push((word.to_ascii_lowercase(), value));
        } else {
            challenges.push(Challenge { scheme: word.to_ascii_lowercase(), parameters: Vec::new() });
            rest.skip_token68();
        }
    }
}

struct Cursor<'a>(&'a str);

impl<'a> Cursor<'a> {
    fn take(&mut self, belongs: impl Fn(char) -> bool) -> &'a str {
        let end = self.0.find(|c| !belongs(c)).unwrap_or(self.0.len());
        let (taken, rest) = self.0.split_at(end);
        self.0 = rest;
        taken
    }

    fn skip(&mut self, belongs: impl Fn(char) -> bool) {
        self.take(belongs);
    }

    /// Takes `= value`, if this is what follows.
    fn value(&mut self) -> Option<String> {
        let mut ahead = Cursor(self.0);
        ahead.skip(is_space);
        ahead.0 = ahead.0.strip_prefix('=')?;
        ahead.skip(is_space);
        let value = match ahead.0.strip_prefix('"') {
            Some(quoted) => {
                ahead.0 = quoted;
                ahead.quoted()
            }
            // More than a token may hold: some servers write a realm without quotes.
            None => ahead.take(|c| c != ',' && !is_space(c)).to_owned(),
        };
        self.0 = ahead.0;
        Some(value)
    }

    /// Takes the rest of a quoted string (RFC 9110, section 5.6.4).
    fn quoted(&mut self) -> String {
        let mut value = String::new();
        let mut characters = self.0.char_indices();
        while let Some((at, character)) = characters.next() {
            match character {
                '"' => {
                    self.0 = &self.0[at + 1..];
                    return value;
                }
                '\\' => value.extend(characters.next().map(|(_, escaped)| escaped)),
                _ => value.push(character),
            }
        }
        self.0 = "";
        value
    }

    /// Skips the single value that schemes such as `Negotiate` have in place of parameters.
    fn skip_token68(&mut self) {
        let mut ahead = Cursor(self.0);
        ahead.skip(is_space);
        ahead.skip(|c| is_token(c) || c == '/');
        ahead.skip(|c| c == '=');
        ahead.skip(is_space);
        if ahead.0.is_empty() || ahead.0.starts_with(',') {
            self.0 = ahead.0;
        }
    }
}

fn is_space(c: char) -> bool {
    c == ' ' || c == '\t'
}

/// Source: RFC 9110, section 5.6.2.
fn is_token(c: char) -> bool {
    c.is_ascii_alphanumeric() || "!#$%&'*+-.^_`|~".contains(c)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn shown(header: &str) -> Vec<String> {
        let show = |challenge: Challenge| {
            let parameters: Vec<_> =
                challenge.parameters.iter().map(|(name, value)| format!("{name}={value}")).collect();
            format!("{} {}", challenge.scheme, parameters.join(";")).trim().to_owned()
        };
        parse(header).into_iter().map(show).collect()
    }

    #[test]
    fn reads_what_registries_send() {
        let table: &[(&str, &[&str])] = &[
            (r#"Basic realm="Registry Realm""#, &["basic realm=Registry Realm"]),
            (
                r#"Bearer realm="https://auth.example/token",service="registry.example",scope="repository:a/b:pull,push""#,
                &[
                    "bearer realm=https://auth.example/token;service=registry.example;scope=repository:a/b:pull,push",
                ],
            ),
            (r#"BEARER Realm = "r" , SERVICE=s"#, &["bearer realm=r;service=s"]),
            (
                r"Bearer realm=https://auth.example/token,service=s",
                &["bearer realm=https://auth.example/token;service=s"],
            ),
            (
                r#"Basic realm="a, b", Bearer realm="c",error="d""#,
                &["basic realm=a, b", "bearer realm=c;error=d"],
            ),
            (r"Negotiate, Basic realm=x", &["negotiate", "basic realm=x"]),
            (r"Negotiate YII/a+b==, Basic realm=x", &["negotiate", "basic realm=x"]),
            (r#"Basic realm="say \"hi\" \\ ""#, &[r#"basic realm=say "hi" \ "#.trim_end()]),
            (r#"Basic realm="never closed"#, &["basic realm=never closed"]),
            (", ,Basic", &["basic"]),
            (r"(?), Basic realm=x", &["basic realm=x"]),
            ("", &[]),
        ];
        for (header, expected) in table {
            assert_eq!(shown(header), *expected, "{header}");
        }
    }

    #[test]
    fn reads_several_headers() {
        let mut headers = HeaderMap::new();
        headers.append(WWW_AUTHENTICATE, "Basic realm=a".parse().expect("a header"));
        headers.append(WWW_AUTHENTICATE, "Bearer realm=b".parse().expect("a header"));
        let schemes: Vec<_> = challenges(&headers).into_iter().map(|challenge| challenge.scheme).collect();
        assert_eq!(schemes, ["basic", "bearer"]);
    }
}
