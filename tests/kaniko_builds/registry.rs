//! The registry of these builds: it has what was pushed, under whatever tag it was asked for.

use garden_build_testing::registry::{self, Fault, Image, Response};

/// The page of a proxy that lets through only addresses that it knows. It begins as Google's do.
const PAGE: &str = "<!doctype html><meta charset=\"utf-8\"><title>403</title>403 Forbidden";

#[derive(Clone)]
pub(crate) struct Registry(registry::Registry);

/// The digest of what is pushed.
pub(crate) fn digest() -> String {
    Image::new().digest().to_string()
}

impl Registry {
    pub(crate) async fn start() -> Self {
        Self(registry::Registry::start().await)
    }

    /// Returns its `host:port`.
    pub(crate) fn host(&self) -> String {
        self.0.host()
    }

    pub(crate) fn push(&self) {
        for request in self.0.requests() {
            if let Some(image) = request.path.strip_prefix("/v2/") {
                self.0.push_image(&image.replace("/manifests/", ":"), &Image::new());
            }
        }
    }

    pub(crate) fn questions(&self) -> usize {
        self.0.requests().len()
    }

    /// It answers with this `status` and these headers so many times, before it answers as it should.
    pub(crate) fn answer_with(
        &self,
        status: u16,
        headers: &'static [(&'static str, &'static str)],
        times: usize,
    ) {
        let answer = move |_: &_| {
            let answer =
                headers.iter().fold(http::Response::builder().status(status), |answer, (name, value)| {
                    answer.header(*name, *value)
                });
            answer.body("".into()).unwrap()
        };
        self.0.fault(Fault::answer("*", "*", answer).times(times));
    }

    /// Whoever asks sees the page of a proxy from now on.
    pub(crate) fn block(&self) {
        let page = |_: &_| {
            let mut page = Response::new(PAGE.into());
            *page.status_mut() = http::StatusCode::FORBIDDEN;
            page.headers_mut().insert("content-type", "text/html".parse().unwrap());
            page
        };
        self.0.fault(Fault::answer("*", "*", page).always());
    }

    pub(crate) fn set_password(&self, password: &'static str) {
        self.0.set_login("user", password);
    }
}
