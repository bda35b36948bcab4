use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use super::cluster::FakeCluster;
use super::refusal::Refusal;
use super::request::Request;
use crate::Gate;
use crate::turns::Turns;

/// What goes wrong with some of the requests. Of several faults that match a request, the one that was added last counts.
#[derive(Clone)]
pub struct Fault {
    verb: &'static str,
    resource: &'static str,
    name: Option<String>,
    turns: Turns,
    pub(crate) effect: Effect,
}

#[derive(Clone)]
pub(crate) enum Effect {
    Refuse(Refusal),
    Lose,
    Cut,
    Silent,
    Delay(Duration),
    Hold(Gate),
    Meddle(Arc<dyn Fn(&FakeCluster) + Send + Sync>),
    Forget(&'static str),
}

impl fmt::Debug for Fault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let effect = match &self.effect {
            Effect::Refuse(refusal) => format!("{refusal:?}"),
            Effect::Lose => "answer lost".to_owned(),
            Effect::Cut => "cut before it is carried out".to_owned(),
            Effect::Silent => "never answered".to_owned(),
            Effect::Delay(delay) => format!("late by {delay:?}"),
            Effect::Hold(_) => "held".to_owned(),
            Effect::Meddle(_) => "meddled with".to_owned(),
            Effect::Forget(field) => format!("without {field}"),
        };
        let Self { verb, resource, name, turns, .. } = self;
        write!(f, "{verb} {resource} {name:?} {turns}: {effect}")
    }
}

/// Something goes wrong with the next request of this `verb` (such as `create`) for this `resource` (such as `pods` or
/// `pods/log`); `*` stands for any.
impl Fault {
    fn new(verb: &'static str, resource: &'static str, effect: Effect) -> Self {
        Self { verb, resource, name: None, turns: Turns::one(), effect }
    }

    /// It is refused, and nothing happens.
    pub fn refuse(verb: &'static str, resource: &'static str, refusal: Refusal) -> Self {
        Self::new(verb, resource, Effect::Refuse(refusal))
    }

    /// It is carried out, and the connection breaks before the answer.
    pub fn lose_answer(verb: &'static str, resource: &'static str) -> Self {
        Self::new(verb, resource, Effect::Lose)
    }

    /// The connection breaks before it is carried out.
    pub fn cut(verb: &'static str, resource: &'static str) -> Self {
        Self::new(verb, resource, Effect::Cut)
    }

    /// It is not carried out, and never answered.
    pub fn silent(verb: &'static str, resource: &'static str) -> Self {
        Self::new(verb, resource, Effect::Silent)
    }

    /// It is carried out after a time, even if the client has gone by then.
    pub fn delay(verb: &'static str, resource: &'static str, by: Duration) -> Self {
        Self::new(verb, resource, Effect::Delay(by))
    }

    /// It is carried out when the test opens the gate, even if the client has gone by then.
    pub fn hold(verb: &'static str, resource: &'static str, gate: &Gate) -> Self {
        Self::new(verb, resource, Effect::Hold(gate.clone()))
    }

    /// Something happens in the cluster just before it is carried out.
    pub fn meddle(
        verb: &'static str,
        resource: &'static str,
        meddle: impl Fn(&FakeCluster) + Send + Sync + 'static,
    ) -> Self {
        Self::new(verb, resource, Effect::Meddle(Arc::new(meddle)))
    }

    /// It is carried out without a field, which is a JSON pointer such as `/spec/hostUsers`: as by an API server whose
    /// feature gate for that field is off. Nothing is said of it.
    pub fn forget(verb: &'static str, resource: &'static str, field: &'static str) -> Self {
        Self::new(verb, resource, Effect::Forget(field))
    }

    /// Only requests about the object of this name.
    #[must_use]
    pub fn named(mut self, name: impl Into<String>) -> Self {
        self.name = Some(name.into());
        self
    }

    /// Not yet the next requests, this many.
    #[must_use]
    pub fn after(mut self, spared: usize) -> Self {
        self.turns.spared = spared;
        self
    }

    /// So many requests.
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
        let is_meant = (self.verb == "*" || self.verb == request.verb())
            && (self.resource == "*" || self.resource == request.resource())
            && (self.name.is_none() || self.name == request.name());
        is_meant && self.turns.take()
    }
}
