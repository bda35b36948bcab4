//! What cases have in common: they build, fail, or are refused.

use std::net::TcpListener;
use std::path::PathBuf;

use garden_build::{BuildRequest, Builder, BuiltImage, Error, ErrorKind, Event};
use kube::Client;

use super::image::{Files, files};
use super::{Mode, Seen};
use crate::site::{Project, build_with_events, recording_client, registry, shown};

/// A project that builds in one mode.
pub(super) struct Case<'a> {
    pub(super) mode: Mode,
    pub(super) project: &'a mut Project,
}

impl Case<'_> {
    pub(super) fn builder(&self) -> Builder {
        self.builder_with(self.project.client.clone())
    }

    /// A builder that asks the cluster by way of `client`.
    pub(super) fn builder_with(&self, client: Client) -> Builder {
        self.mode.builder(self.project, client, None)
    }

    pub(super) fn request(&self) -> BuildRequest {
        self.project.request()
    }

    /// Builds, and makes sure that the image's name stands for it in the registry.
    pub(super) async fn build(&self, request: BuildRequest) -> BuiltImage {
        self.build_and_watch(request).await.0
    }

    /// The same, and returns what was told meanwhile.
    pub(super) async fn build_and_watch(&self, request: BuildRequest) -> (BuiltImage, Vec<Event>) {
        let (image, events) = build_with_events(&self.builder(), request).await;
        let image = image.unwrap_or_else(|error| panic!("{error:?}\n{}", shown(&events)));
        registry::assert_has(&image).await;
        (image, events)
    }

    /// Builds, and returns the files of the image.
    pub(super) async fn build_files(&self, request: BuildRequest) -> Files {
        files(&self.build(request).await.reference).await
    }

    /// Builds what cannot succeed.
    pub(super) async fn fail(&self, request: BuildRequest) -> Error {
        let (outcome, events) = build_with_events(&self.builder(), request).await;
        let Err(error) = outcome else { panic!("the build must fail:\n{}", shown(&events)) };
        assert!(!error.is_retryable(), "{error:?}");
        error
    }

    /// Makes sure that the builder is not given the Dockerfile: for something in it, which it would pass over.
    pub(super) async fn refuse_dockerfile(&self) -> Seen {
        let error = self.fail(self.request()).await;
        assert_eq!(error.kind(), ErrorKind::Unsupported, "{error:?}");
        assert!(error.hint().is_some(), "{error:?}");
        let left = self.project.leftovers().await;
        assert!(left.is_empty(), "{left:?}");
        let (place, what) = error.message().split_once(": ").unwrap();
        assert!(place.starts_with("Dockerfile, line "), "{error:?}");
        Seen::Refused(what.to_owned())
    }

    /// Makes sure that `request` is refused before anybody is asked: neither the cluster, nor the registry, nor
    /// a Docker daemon, nor the context.
    pub(super) async fn refuse(&mut self, mut request: BuildRequest) -> Seen {
        // It stands for the registry and for the daemon.
        let server = TcpListener::bind("127.0.0.1:0").unwrap();
        server.set_nonblocking(true).unwrap();
        let address = server.local_addr().unwrap().to_string();
        self.project.use_registry(&address);
        self.project.registry().insecure = true;
        request.directory = PathBuf::from("/no/such/directory");
        let (client, calls) = recording_client().await;
        let builder = self.mode.builder(self.project, client, Some(&format!("tcp://{address}")));
        let error = builder.build(request).await.expect_err("beyond this mode");
        assert_eq!(error.kind(), ErrorKind::Unsupported, "{error:?}");
        assert!(error.hint().is_some(), "{error:?}");
        assert_eq!(*calls.lock().unwrap(), Vec::<String>::new());
        let asked = server.accept().expect_err("nobody asked the registry or the daemon");
        assert_eq!(asked.kind(), std::io::ErrorKind::WouldBlock);
        Seen::Refused(error.message().to_owned())
    }
}
