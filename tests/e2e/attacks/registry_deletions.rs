//! A pod has the registry in the cluster delete what others need.

use garden_registry::Resolution;

use crate::in_cluster_registry::in_project_with_registry;
use crate::site::variable;

#[tokio::test]
async fn no_pod_deletes_an_image_from_the_registry_in_the_cluster() {
    in_project_with_registry("registry-delete", async |project| {
        project.dockerfile(&format!("RUN echo {}\nCMD echo kept\n", project.namespace));
        let image = project.builder().build(project.request()).await.unwrap();
        let registry = project.in_cluster_registry();
        let client = registry.client().await.unwrap();
        let reached = image.reference.in_registry(&registry.host()).unwrap();
        let manifest = client.manifest(&reached).await.unwrap().expect("it was pushed");
        let layer = manifest.layers().last().unwrap().digest;

        let name = registry.host();
        let (host, port) = name.split_once(':').unwrap();
        let of_manifest = |reference: &str| format!("manifests/{reference}");
        for path in [
            of_manifest(&image.digest.to_string()),
            of_manifest(image.reference.tag().unwrap()),
            format!("blobs/{layer}"),
        ] {
            let path = format!("/v2/{}/{path}", image.reference.repository());
            let request = format!("DELETE {path} HTTP/1.0\\r\\nHost: {host}:{port}\\r\\n\\r\\n");
            let attack = format!("printf '{request}' | nc {host} {port}");
            let answer = project.run(&variable("GARDEN_TEST_BASE_IMAGE"), &["sh", "-c", &attack], None).await;
            assert!(answer.lines().next().is_some_and(|status| status.contains(" 405 ")), "{path}: {answer}");
        }
        assert_eq!(client.resolve(&reached).await.unwrap(), Resolution::Exists(image.digest));
        assert!(client.has_blob(image.reference.repository(), layer).await.unwrap());
        assert!(project.run(&image.reference.to_string(), &[], None).await.contains("kept"));
    })
    .await;
}
