use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use super::Registry;
use super::answer::{Response, error, response};
use super::request::Request;
use crate::Gate;
use crate::turns::Turns;

/// What goes wrong with some of the requests. Of several faults that match a request, the one that was added last counts.
///
/// Each is about the next request of a method, and of a path in which `*` stands for any text: see [`Request::matches`].
///
/// ```
/// use garden_build_testing::registry::Fault;
///
/// // The second manifest that is read is answered with 503, and so are the two that come after it.
/// let fault = Fault::refuse("GET", "/v2/team/api/manifests/*", 503).after(1).times(3);
/// ```
#[derive(Clone)]
pub struct Fault {
    method: String,
    path: String,
    turns: Turns,
    pub(crate) effect: Effect,
}

pub(crate) type Answer = dyn Fn(&Request) -> Response + Send + Sync;

pub(crate) type Meddle = dyn Fn(&Registry, &Request) + Send + Sync;

#[derive(Clone)]
pub(crate) enum Effect {
    Answer(Arc<Answer>),
    Cut,
    CutRequest(usize),
    CutAnswer(usize),
    Lose,
    Silent,
    Delay(Duration),
    Hold(Gate),
    Meddle(Arc<Meddle>),
    ForgetUploads,
}

impl fmt::Debug for Fault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let effect = match &self.effect {
            Effect::Answer(_) => "answered by the test".to_owned(),
            Effect::Cut => "cut before it is carried out".to_owned(),
            Effect::CutRequest(bytes) => format!("cut after {bytes} bytes of the request"),
            Effect::CutAnswer(bytes) => format!("cut after {bytes} bytes of the answer"),
            Effect::Lose => "answer lost".to_owned(),
            Effect::Silent => "never answered".to_owned(),
            Effect::Delay(delay) => format!("late by {delay:?}"),
            Effect::Hold(_) => "held".to_owned(),
            Effect::Meddle(_) => "meddled with".to_owned(),
            Effect::ForgetUploads => "uploads forgotten before".to_owned(),
        };
        let Self { method, path, turns, .. } = self;
        write!(f, "{method} {path} {turns}: {effect}")
    }
}

impl Fault {
    fn new(method: impl Into<String>, path: impl Into<String>, effect: Effect) -> Self {
        Self { method: method.into(), path: path.into(), turns: Turns::one(), effect }
    }

    /// It is not carried out, and `answer` makes what is answered: anything that a registry, or a proxy in front of it, could say. The
    /// length of the body is added, and there is none in answer to HEAD.
    pub fn answer(
        method: impl Into<String>,
        path: impl Into<String>,
        answer: impl Fn(&Request) -> Response + Send + Sync + 'static,
    ) -> Self {
        Self::new(method, path, Effect::Answer(Arc::new(answer)))
    }

    /// It is not carried out, and refused with this status, such as 503.
    ///
    /// # Panics
    /// If `status` is not one of errors, which are from 400 to 599.
    pub fn refuse(method: impl Into<String>, path: impl Into<String>, status: u16) -> Self {
        assert!((400..600).contains(&status), "{status} is not the status of a refusal");
        let code = match status {
            401 => "UNAUTHORIZED",
            403 => "DENIED",
            404 => "NOT_FOUND",
            429 => "TOOMANYREQUESTS",
            _ => "UNKNOWN",
        };
        Self::answer(method, path, move |_| error(status, code, "refused by a fault of the test"))
    }

    /// It is not carried out, and refused with `429 Too Many Requests` and `Retry-After`, in whole seconds, rounded up.
    pub fn busy(method: impl Into<String>, path: impl Into<String>, retry_after: Duration) -> Self {
        Self::answer(method, path, move |_| busy(retry_after))
    }

    /// It is not carried out, and sent to another address with `307 Temporary Redirect`.
    ///
    /// # Panics
    /// If `location` cannot stand in a header.
    pub fn redirect(method: impl Into<String>, path: impl Into<String>, location: &str) -> Self {
        let location: http::HeaderValue = location.parse().expect("an address");
        Self::answer(method, path, move |_| {
            let mut answer = response(307, "");
            answer.headers_mut().insert(http::header::LOCATION, location.clone());
            answer
        })
    }

    /// The connection breaks before it is carried out.
    pub fn cut(method: impl Into<String>, path: impl Into<String>) -> Self {
        Self::new(method, path, Effect::Cut)
    }

    /// The connection breaks when so many bytes of its body have arrived. Of a part of an upload (`PATCH`), the registry keeps those. Of anything else it
    /// keeps nothing. If the body is shorter, it is carried out.
    pub fn cut_request_after(method: impl Into<String>, path: impl Into<String>, bytes: usize) -> Self {
        Self::new(method, path, Effect::CutRequest(bytes))
    }

    /// It is carried out, and the connection breaks when so many bytes of the answer's body were sent. If that is shorter, nothing goes wrong.
    pub fn cut_answer_after(method: impl Into<String>, path: impl Into<String>, bytes: usize) -> Self {
        Self::new(method, path, Effect::CutAnswer(bytes))
    }

    /// It is carried out, and the connection breaks before the answer.
    pub fn lose_answer(method: impl Into<String>, path: impl Into<String>) -> Self {
        Self::new(method, path, Effect::Lose)
    }

    /// It is not carried out, and never answered.
    pub fn silent(method: impl Into<String>, path: impl Into<String>) -> Self {
        Self::new(method, path, Effect::Silent)
    }

    /// It is carried out after a time, by Tokio's clock, which a test can pause.
    pub fn delay(method: impl Into<String>, path: impl Into<String>, by: Duration) -> Self {
        Self::new(method, path, Effect::Delay(by))
    }

    /// It is carried out when the test opens the gate.
    pub fn hold(method: impl Into<String>, path: impl Into<String>, gate: &Gate) -> Self {
        Self::new(method, path, Effect::Hold(gate.clone()))
    }

    /// Something happens in the registry just before it is carried out: somebody else pushes an image, for example.
    pub fn meddle(
        method: impl Into<String>,
        path: impl Into<String>,
        meddle: impl Fn(&Registry, &Request) + Send + Sync + 'static,
    ) -> Self {
        Self::new(method, path, Effect::Meddle(Arc::new(meddle)))
    }

    /// The registry forgets all uploads under way just before it is carried out, as one that is restarted.
    pub fn forget_uploads(method: impl Into<String>, path: impl Into<String>) -> Self {
        Self::new(method, path, Effect::ForgetUploads)
    }

    /// Not yet the next requests, this many.
    #[must_use]
    pub fn after(mut self, spared: usize) -> Self {
        self.turns.spared = spared;
        self
    }

    /// So many requests. Default: 1.
    #[must_use]
    pub fn times(mut self, times: usize) -> Self {
        self.turns.left = Some(times);
        self
    }

    /// All requests from now on.
    #[must_use]
    pub fn always(mut self) -> Self {
        self.turns.left = None;
        self
    }

    /// Whether it happens to `request`, which counts.
    pub(crate) fn strikes(&mut self, request: &Request) -> bool {
        request.matches(&self.method, &self.path) && self.turns.take()
    }
}

/// Refuses a request that came too soon.
pub(crate) fn busy(retry_after: Duration) -> Response {
    let mut answer = error(429, "TOOMANYREQUESTS", "too many requests");
    let seconds = retry_after.as_secs() + u64::from(retry_after.subsec_nanos() > 0);
    answer.headers_mut().insert(http::header::RETRY_AFTER, seconds.into());
    answer
}
