//! Images whose lists hold lists.

use std::collections::BTreeMap;

use garden_build_core::Digest;
use garden_registry::{Location, Platform, Platforms, SaveError, save};
use serde_json::{Value, json};

use crate::support::{FakeServer, body, status, with};

const INDEX: &str = "application/vnd.oci.image.index.v1+json";
const MANIFEST: &str = "application/vnd.oci.image.manifest.v1+json";

/// What a registry has, by digest and by tag: texts with their types.
#[derive(Default)]
struct Content(BTreeMap<String, (&'static str, String)>);

impl Content {
    /// Keeps a document, and returns its descriptor.
    fn keep(&mut self, media_type: &'static str, document: &Value) -> Value {
        let text = document.to_string();
        let (digest, size) = (Digest::of(text.as_bytes()).to_string(), text.len());
        self.0.insert(digest.clone(), (media_type, text));
        json!({ "mediaType": media_type, "digest": digest, "size": size })
    }

    fn image(&mut self, architecture: &str) -> Value {
        let config =
            self.keep("application/vnd.oci.image.config.v1+json", &json!({ "architecture": architecture }));
        let image = json!({ "schemaVersion": 2, "mediaType": MANIFEST, "config": config, "layers": [] });
        let mut image = self.keep(MANIFEST, &image);
        image["platform"] = json!({ "architecture": architecture, "os": "linux" });
        image
    }

    fn list(&mut self, manifests: &[Value]) -> Value {
        self.keep(INDEX, &json!({ "schemaVersion": 2, "mediaType": INDEX, "manifests": manifests }))
    }

    /// Serves it, with `root` as the image of the tests.
    async fn serve(self, root: &Value) -> FakeServer {
        let root = root["digest"].as_str().expect("a digest").to_owned();
        FakeServer::start(move |seen| {
            let reference = seen.path.rsplit('/').next().unwrap_or_default();
            let digest = if reference.starts_with("sha256:") { reference } else { &root };
            match self.0.get(digest) {
                Some((media_type, text)) => with(body(200, text.clone()), "content-type", media_type),
                None => status(404),
            }
        })
        .await
    }
}

async fn saved(server: &FakeServer, architecture: &str) -> Result<Digest, SaveError> {
    let registry = server.plain().build().expect("valid");
    let source = Location { registry, image: server.image() };
    let mut platform = Platform::of_this_machine();
    architecture.clone_into(&mut platform.architecture);
    let saved = save(&source, &Platforms::Only(platform), &server.image(), &mut Vec::new()).await?;
    Ok(saved.root.digest)
}

#[tokio::test]
async fn the_image_for_a_platform_is_found_in_a_list_of_lists() {
    let mut content = Content::default();
    let (amd64, arm64) = (content.image("amd64"), content.image("arm64"));
    let [first, second] = [&amd64, &arm64].map(|image| content.list(std::slice::from_ref(image)));
    let root = content.list(&[first, second]);
    let server = content.serve(&root).await;
    for (architecture, image) in [("amd64", amd64), ("arm64", arm64)] {
        let digest = saved(&server, architecture).await.expect("it is there");
        assert_eq!(digest.to_string(), image["digest"].as_str().expect("a digest"));
    }
    let error = saved(&server, "s390x").await.expect_err("it is not there");
    assert!(
        error.to_string().ends_with("is not there for linux/s390x, but for linux/amd64, linux/arm64"),
        "{error}"
    );
}

#[tokio::test]
async fn lists_that_go_on_and_on_are_given_up() {
    let mut content = Content::default();
    let mut list = content.list(&[]);
    for _ in 0..200 {
        list = content.list(&[list.clone(), list]);
    }
    let server = content.serve(&list).await;
    assert!(matches!(saved(&server, "amd64").await, Err(SaveError::NoSuchPlatform { .. })));
    assert!(server.seen().len() < 100, "{}", server.seen().len());
}
