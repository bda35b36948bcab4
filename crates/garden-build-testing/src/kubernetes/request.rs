use bytes::Bytes;
use http::{HeaderMap, Method};
use serde_json::Value;

use super::path::Target;

/// A request, as the server received it.
#[derive(Clone, Debug)]
pub struct Request {
    /// Its method.
    pub method: Method,
    /// Its path.
    pub path: String,
    /// The parameters after the path, decoded, in order.
    pub query: Vec<(String, String)>,
    /// Its headers.
    pub headers: HeaderMap,
    /// Its body.
    pub body: Bytes,
    pub(crate) target: Option<Target>,
}

impl Request {
    pub(crate) fn new(parts: &http::request::Parts, body: Bytes) -> Self {
        let path = parts.uri.path().to_owned();
        let query = form_urlencoded::parse(parts.uri.query().unwrap_or_default().as_bytes());
        Self {
            method: parts.method.clone(),
            target: Target::parse(&path),
            query: query.into_owned().collect(),
            path,
            headers: parts.headers.clone(),
            body,
        }
    }

    /// What it asks for, as roles name it: `get`, `list`, `watch`, `create`, `update`, `patch`, `delete`, `deletecollection`.
    /// Source: Kubernetes, "Authorization", "Determine the request verb".
    pub fn verb(&self) -> &'static str {
        let is_whole = self.target.as_ref().is_some_and(|target| target.name.is_none());
        match self.method.as_str() {
            "GET" if self.is_watch() => "watch",
            "GET" if is_whole => "list",
            "POST" => "create",
            "PUT" => "update",
            "PATCH" => "patch",
            "DELETE" if is_whole => "deletecollection",
            "DELETE" => "delete",
            _ => "get",
        }
    }

    /// What it is about, as roles name it: `pods`, `pods/log`; empty if nothing is served at its path.
    pub fn resource(&self) -> String {
        let Some(target) = &self.target else { return String::new() };
        match &target.subresource {
            Some(subresource) => format!("{}/{subresource}", target.kind.plural),
            None => target.kind.plural.to_owned(),
        }
    }

    /// Its namespace, if it has one.
    pub fn namespace(&self) -> Option<&str> {
        self.target.as_ref()?.namespace.as_deref()
    }

    /// The name of the object that it is about: from its path, or from what is created.
    pub fn name(&self) -> Option<String> {
        let target = self.target.as_ref()?;
        target.name.clone().or_else(|| self.json().ok()?["metadata"]["name"].as_str().map(str::to_owned))
    }

    /// Returns a parameter's first value.
    pub fn parameter(&self, name: &str) -> Option<&str> {
        self.query.iter().find(|(key, _)| key == name).map(|(_, value)| value.as_str())
    }

    /// Returns a header, if it is text.
    pub fn header(&self, name: &str) -> Option<&str> {
        self.headers.get(name).and_then(|value| value.to_str().ok())
    }

    /// Returns its body as JSON; an empty one is `null`.
    ///
    /// # Errors
    /// If it is not JSON.
    pub fn json(&self) -> serde_json::Result<Value> {
        if self.body.is_empty() { Ok(Value::Null) } else { serde_json::from_slice(&self.body) }
    }

    /// Returns the words `verb resource namespace/name`, without what it does not have, to compare with what a test expects.
    pub fn words(&self) -> String {
        let name = self.name();
        let object = match (self.namespace(), name.as_deref()) {
            (Some(namespace), Some(name)) => format!(" {namespace}/{name}"),
            (Some(one), None) | (None, Some(one)) => format!(" {one}"),
            (None, None) => String::new(),
        };
        let resource = self.resource();
        let resource = if resource.is_empty() { &self.path } else { &resource };
        format!("{} {resource}{object}", self.verb())
    }

    /// Returns it without the field of its body that this JSON pointer leads to.
    pub(crate) fn without(mut self, field: &str) -> Self {
        let Ok(mut body) = self.json() else { return self };
        if let Some((parent, name)) = field.rsplit_once('/')
            && let Some(Value::Object(parent)) = body.pointer_mut(parent)
        {
            parent.remove(name);
            self.body = body.to_string().into();
        }
        self
    }

    pub(crate) fn is_true(&self, parameter: &str) -> bool {
        matches!(self.parameter(parameter), Some("true" | "1"))
    }

    pub(crate) fn is_watch(&self) -> bool {
        self.is_true("watch")
    }

    pub(crate) fn is_dry_run(&self) -> bool {
        self.parameter("dryRun").is_some()
    }
}
