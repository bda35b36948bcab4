//! Where a trace goes on in another program.
//!
//! Why: docs/decisions/22-the-caller-names-the-span.md

use std::fmt;

use thiserror::Error;

/// How many members a `tracestate` may have. Source: W3C Trace Context, section 3.3.1.1.
const MOST_MEMBERS: usize = 32;

/// How long a `tracestate` may be, in bytes. W3C asks everybody to pass on at least 512 and names no limit.
const LONGEST_STATE: usize = 4096;

/// The flags that are passed on: `sampled`, and `random-trace-id` of Level 2. W3C has the others set to zero.
const KNOWN_FLAGS: u8 = 0b11;

/// The parent span of work in another program, as [W3C Trace Context](https://www.w3.org/TR/trace-context-2/) passes it on.
///
/// It is only made from what fits the standard's grammar, so it can be sent to anybody. It contains no secret and is not part of an image's version.
/// Builders may show it to RUN steps.
///
/// ```
/// use garden_build_core::TraceContext;
///
/// let context = TraceContext::new("00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01", "congo=t61rcWkgMzE")?;
/// assert_eq!(context.trace_id(), "4bf92f3577b34da6a3ce929d0e0e4736");
/// assert_eq!(context.span_id(), "00f067aa0ba902b7");
/// assert!(context.is_sampled());
/// # Ok::<(), garden_build_core::TraceContextError>(())
/// ```
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct TraceContext {
    /// Always of version 00, so always of the same length.
    parent: String,
    state: String,
}

/// Why a text is not a trace context. Does not repeat the text, which may come from an untrusted source.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Error)]
#[non_exhaustive]
pub enum TraceContextError {
    /// The `traceparent` does not fit the grammar.
    #[error(
        "a `traceparent` is a version, 32 hexadecimal digits for the trace, 16 for the span and 2 for flags, in lower case and joined by `-`"
    )]
    Parent,
    /// The identifier of the trace or of the span is all zeros, which stands for none.
    #[error("the trace and the span of a `traceparent` must not be all zeros")]
    Zero,
    /// The `tracestate` does not fit the grammar, or has a key twice.
    #[error("a `tracestate` is a list of `key=value` with commas between them, in ASCII, each key once")]
    State,
    /// The `tracestate` has too many members or bytes.
    #[error("a `tracestate` has at most {MOST_MEMBERS} members and, here, {LONGEST_STATE} bytes")]
    StateTooLong,
}

impl TraceContext {
    /// Reads the values of the headers `traceparent` and `tracestate`. The second may be empty. Several headers `tracestate` are one, joined by commas.
    ///
    /// A `traceparent` of a later version than 00 is read as far as version 00 goes, as W3C asks.
    ///
    /// # Errors
    /// If one of them is not what the standard allows. W3C lets a program drop a wrong `tracestate` and go on with the `traceparent`: call this again with an empty one.
    pub fn new(traceparent: &str, tracestate: &str) -> Result<Self, TraceContextError> {
        Ok(Self { parent: parent(traceparent)?, state: state(tracestate)? })
    }

    /// Returns the value of the header `traceparent`, of version 00: 55 characters.
    pub fn traceparent(&self) -> &str {
        &self.parent
    }

    /// Returns the value of the header `tracestate`; empty if there is none.
    pub fn tracestate(&self) -> &str {
        &self.state
    }

    /// Returns the identifier of the trace: 32 hexadecimal digits.
    pub fn trace_id(&self) -> &str {
        &self.parent[3..35]
    }

    /// Returns the identifier of the span: 16 hexadecimal digits.
    pub fn span_id(&self) -> &str {
        &self.parent[36..52]
    }

    /// Whether the caller records the trace. A program that is handed a trace which nobody records does not record its part of it either, as a rule.
    pub fn is_sampled(&self) -> bool {
        self.parent.ends_with(['1', '3'])
    }
}

/// The `traceparent`.
impl fmt::Display for TraceContext {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.parent)
    }
}

/// Source: W3C Trace Context, sections 3.2.2 and 4.3.
fn parent(text: &str) -> Result<String, TraceContextError> {
    let mut fields = text.split('-');
    let mut field = |digits| fields.next().filter(|field| is_hexadecimal(field, digits));
    let (Some(version), Some(trace), Some(span), Some(flags)) = (field(2), field(32), field(16), field(2))
    else {
        return Err(TraceContextError::Parent);
    };
    if version == "ff" || (version == "00" && fields.next().is_some()) {
        return Err(TraceContextError::Parent);
    }
    if [trace, span].iter().any(|id| id.bytes().all(|digit| digit == b'0')) {
        return Err(TraceContextError::Zero);
    }
    let flags = u8::from_str_radix(flags, 16).map_err(|_| TraceContextError::Parent)? & KNOWN_FLAGS;
    Ok(format!("00-{trace}-{span}-{flags:02x}"))
}

fn is_hexadecimal(text: &str, digits: usize) -> bool {
    text.len() == digits && text.bytes().all(|byte| matches!(byte, b'0'..=b'9' | b'a'..=b'f'))
}

/// Source: W3C Trace Context Level 2, section 3.3.1.
fn state(text: &str) -> Result<String, TraceContextError> {
    if text.len() > LONGEST_STATE {
        return Err(TraceContextError::StateTooLong);
    }
    let mut members: Vec<(&str, &str)> = Vec::new();
    // Members may be empty, and are dropped.
    for member in
        text.split(',').map(|member| member.trim_matches([' ', '\t'])).filter(|member| !member.is_empty())
    {
        let (key, value) = member.split_once('=').ok_or(TraceContextError::State)?;
        if !is_key(key) || !is_value(value) || members.iter().any(|(other, _)| *other == key) {
            return Err(TraceContextError::State);
        }
        if members.len() == MOST_MEMBERS {
            return Err(TraceContextError::StateTooLong);
        }
        members.push((key, value));
    }
    let members: Vec<_> = members.iter().map(|(key, value)| format!("{key}={value}")).collect();
    Ok(members.join(","))
}

/// A name, or a tenant's at a system: `tenant@system`.
fn is_key(key: &str) -> bool {
    let is_char = |byte: u8| matches!(byte, b'a'..=b'z' | b'0'..=b'9' | b'_' | b'-' | b'*' | b'/');
    let is_name = |name: &str, longest: usize| name.len() <= longest && name.bytes().all(is_char);
    let begins_with = |name: &str, is_first: fn(&u8) -> bool| name.as_bytes().first().is_some_and(is_first);
    match key.split_once('@') {
        None => is_name(key, 256) && begins_with(key, u8::is_ascii_lowercase),
        Some((tenant, system)) => {
            is_name(tenant, 241)
                && begins_with(tenant, |byte| byte.is_ascii_lowercase() || byte.is_ascii_digit())
                && is_name(system, 14)
                && begins_with(system, u8::is_ascii_lowercase)
        }
    }
}

/// Visible ASCII and blanks, but neither `,` nor `=`. Blanks around it are gone already.
fn is_value(value: &str) -> bool {
    (1..=256).contains(&value.len())
        && value.bytes().all(|byte| matches!(byte, b' '..=b'~') && !matches!(byte, b',' | b'='))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const PARENT: &str = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01";

    #[test]
    fn what_the_standard_allows_is_passed_on() {
        let state = "rojo=00f067aa0ba902b7,1a-2f@foo=opaque value!,congo=~";
        let context = TraceContext::new(PARENT, state).expect("valid");
        assert_eq!((context.traceparent(), context.tracestate()), (PARENT, state));
        assert_eq!(context.trace_id(), "4bf92f3577b34da6a3ce929d0e0e4736");
        assert_eq!(context.span_id(), "00f067aa0ba902b7");
        assert!(context.is_sampled());
        let spaced = TraceContext::new(PARENT, " a=1 ,,\tb=2,").expect("valid");
        assert_eq!(spaced.tracestate(), "a=1,b=2");
        assert_eq!(TraceContext::new(PARENT, "").expect("valid").tracestate(), "");
    }

    #[test]
    fn only_flags_that_are_known_are_passed_on() {
        let flagged =
            |flags: &str| TraceContext::new(&format!("{}{flags}", &PARENT[..53]), "").expect("valid");
        assert!(!flagged("00").is_sampled());
        assert!(!flagged("02").is_sampled());
        assert!(flagged("03").is_sampled());
        assert_eq!(flagged("ff").traceparent(), format!("{}03", &PARENT[..53]));
    }

    #[test]
    fn a_later_version_is_read_as_far_as_it_is_known() {
        let later = format!("cc{}-what-the-future-brings", &PARENT[2..]);
        assert_eq!(TraceContext::new(&later, "").expect("valid").traceparent(), PARENT);
    }

    #[test]
    fn what_is_no_traceparent_is_refused() {
        let zero_trace = format!("00-{}-00f067aa0ba902b7-01", "0".repeat(32));
        let zero_span = format!("00-4bf92f3577b34da6a3ce929d0e0e4736-{}-01", "0".repeat(16));
        for zero in [zero_trace, zero_span] {
            assert_eq!(TraceContext::new(&zero, ""), Err(TraceContextError::Zero), "{zero}");
        }
        let wrong = [
            String::new(),
            "-".repeat(55),
            PARENT.to_uppercase(),
            PARENT.replace("00-", "ff-"),
            format!("{PARENT}-"),
            format!("{PARENT}\r\nauthorization: x"),
            format!("{PARENT} "),
            PARENT[..54].to_owned(),
            PARENT.replace("4bf9", "4bé"),
            PARENT.replace('-', "_"),
            format!("cc{}x", &PARENT[2..]),
        ];
        for wrong in wrong {
            assert_eq!(TraceContext::new(&wrong, ""), Err(TraceContextError::Parent), "{wrong}");
        }
    }

    #[test]
    fn what_is_no_tracestate_is_refused() {
        let wrong = [
            "a",
            "=",
            "a=",
            "=1",
            "A=1",
            "1=1",
            "a=1,a=2",
            "a=1=2",
            "a=ä",
            "a=\u{7f}",
            "a=1\nb=2",
            "a=1\r\nx: y",
            "a=\0",
            "@b=1",
            "a@=1",
            "a@1=1",
            "a@b@c=1",
            "a b=1",
        ];
        for wrong in wrong {
            assert_eq!(TraceContext::new(PARENT, wrong), Err(TraceContextError::State), "{wrong:?}");
        }
        let long = [
            format!("{}=1", "a".repeat(257)),
            format!("a={}", "1".repeat(257)),
            format!("a@{}=1", "b".repeat(15)),
        ];
        for long in long {
            assert_eq!(TraceContext::new(PARENT, &long), Err(TraceContextError::State), "{long}");
        }
    }

    #[test]
    fn a_tracestate_has_a_bound() {
        let members =
            |count: usize| (0..count).map(|number| format!("k{number}=1")).collect::<Vec<_>>().join(",");
        assert!(TraceContext::new(PARENT, &members(32)).is_ok());
        assert_eq!(TraceContext::new(PARENT, &members(33)), Err(TraceContextError::StateTooLong));
        assert_eq!(TraceContext::new(PARENT, &",".repeat(4097)), Err(TraceContextError::StateTooLong));
    }

    proptest! {
        #[test]
        fn what_was_read_can_be_sent_and_read_again(parent in ".{0,60}", state in "[ -~]{0,40}|.{0,40}", flags: u8) {
            let parents = [parent, format!("{}{flags:02x}", &PARENT[..53])];
            for parent in parents {
                if let Ok(context) = TraceContext::new(&parent, &state) {
                    let (parent, state) = (context.traceparent(), context.tracestate());
                    prop_assert!(parent.bytes().chain(state.bytes()).all(|byte| (b' '..=b'~').contains(&byte)));
                    prop_assert_eq!(TraceContext::new(parent, state), Ok(context.clone()));
                }
            }
        }
    }
}
