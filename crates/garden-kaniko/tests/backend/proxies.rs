//! Pods behind proxies.

use garden_cluster::BuilderProxies;
use garden_config::{ContextDelivery, ProxyOptions};

use crate::site::{Site, settings, succeed};

#[tokio::test(start_paused = true)]
async fn the_password_of_a_proxy_is_in_the_builds_secret_alone_and_goes_with_it() {
    let mut options = ProxyOptions::default();
    options.http_proxy = Some("http://proxy.example:3128".into());
    options.https_proxy = Some("http://who:s3cret@proxy.example:3129".into());
    let mut settings = settings(ContextDelivery::Stdin);
    settings.proxies = BuilderProxies::new(&options);
    // Nothing else needs a Secret.
    settings.target.certificate_authority = None;
    let site = Site::stdin(async |pod| succeed(&pod)).with(settings);
    let seen = site.build().await;
    assert!(seen.outcome.is_ok(), "{:?}", seen.outcome);

    let requests = site.fake.requests();
    let applied = |resource: &str| {
        let mut applied = requests.iter().filter(|it| it.verb() == "patch" && it.resource() == resource);
        applied.next().expect("applied").json().unwrap()
    };
    let (pod, secret) = (applied("pods"), applied("secrets"));
    let env = pod["spec"]["containers"][0]["env"].as_array().unwrap();
    let variable = |name: &str| env.iter().find(|it| it["name"] == name).unwrap();
    for name in ["HTTPS_PROXY", "https_proxy"] {
        let source = &variable(name)["valueFrom"]["secretKeyRef"];
        assert_eq!(source["name"], secret["metadata"]["name"]);
        assert!(secret["data"][source["key"].as_str().unwrap()].is_string(), "{source}");
    }
    assert_eq!(variable("http_proxy")["value"], "http://proxy.example:3128");
    assert!(variable("no_proxy")["value"].as_str().unwrap().contains(".svc"));
    let shown = format!("{pod} {:?}", seen.events);
    assert!(!shown.contains("s3cret"), "{shown}");
    assert_eq!(site.left(), Vec::<String>::new());
}
