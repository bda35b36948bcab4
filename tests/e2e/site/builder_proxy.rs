//! A proxy of the network that builders pull through, and builds that show which way everything goes.

use std::net::SocketAddr;

use garden_test_programs::NetworkProxy;

use super::{Project, build_with_events, own_address, shown, variable};

/// In the address of the proxy, and nowhere else.
const PASSWORD: &str = "s3cret";

impl Project {
    /// Starts a proxy with a password, which makes tunnels to the registry with TLS, and has builders use it. They push to the registry that
    /// only the cluster reaches.
    pub(crate) fn use_proxy(&mut self) -> NetworkProxy {
        let behind: SocketAddr = variable("GARDEN_TEST_REGISTRY_TLS").parse().unwrap();
        let proxy = NetworkProxy::tinyproxy_at(own_address(), Some(("who", PASSWORD)), behind.port());
        let url = proxy.url("http", &format!("who:{PASSWORD}@"));
        self.provider.proxies.http_proxy = Some(url.clone().into());
        self.provider.proxies.https_proxy = Some(url.into());
        self.use_registry(&variable("GARDEN_TEST_REGISTRY_CLUSTER"));
        self.registry().insecure = true;
        proxy
    }

    /// Builds with a base image that is behind `proxy`, and looks at what went which way.
    pub(crate) async fn build_through(&self, proxy: &NetworkProxy) {
        let registry = variable("GARDEN_TEST_REGISTRY_TLS");
        let address = proxy.url("http", "");
        let address = address.trim_start_matches("http://");
        let unique = std::time::UNIX_EPOCH.elapsed().unwrap().as_nanos();
        self.file(
            "Dockerfile",
            format!(
                "FROM {registry}/library/busybox:1.36\n\
                 RUN echo {unique}; test \"${{HTTPS_PROXY#*@}}\" = {address} && test \"$HTTP_PROXY\" = \"$http_proxy\" && \
                 echo \"$no_proxy\" | grep -F .svc\n\
                 CMD [\"env\"]\n"
            ),
        );
        let (image, events) = build_with_events(&self.builder(), self.request()).await;
        let image = image.unwrap_or_else(|error| panic!("{error:?}\n{}\n{}", shown(&events), proxy.log()));
        let said = shown(&events);
        assert!(!said.contains(PASSWORD), "{said}");
        let log = proxy.log();
        assert!(
            log.contains(&format!("CONNECT {registry} ")),
            "the base image comes through the proxy: {log}"
        );
        assert!(!log.contains(".svc"), "what is in the cluster is reached directly: {log}");
        let environment = self.run(&image.reference.to_string(), &[], None).await;
        assert!(!environment.to_lowercase().contains("_proxy="), "the image has none of it: {environment}");
    }
}
