//! Registries behind the proxies of a network: Debian's tinyproxy (HTTP) and microsocks (SOCKS 5).

use garden_build_core::with_causes;
use garden_registry::{Proxies, Resolution};
use garden_test_programs::NetworkProxy;

use crate::images::Image;
use crate::process::Program;
use crate::registry::{Guard, Registry};

fn through(url: &str) -> Proxies {
    Proxies::all_through(url, "the test").expect("a proxy")
}

/// Pushes an image through the proxy, and asks for it.
async fn push_and_resolve(registry: &Registry, proxy: &str) {
    let client = registry.builder().proxies(through(proxy)).build().expect("valid");
    let image = Image::new("proxied", &[5_000, 3_000_000]);
    let reference = registry.image("team/proxied", "1");
    image.push(&client, &reference).await;
    let found = client.resolve(&reference).await.expect("an answer");
    assert_eq!(found, Resolution::Exists(image.manifest.digest()));
}

#[tokio::test(flavor = "multi_thread")]
async fn registries_are_reached_through_an_http_proxy() {
    garden_test_programs::needs!(DockerRegistry, Tinyproxy);
    let tls = Registry::start(Program::DockerRegistry, Guard::Tls).await;
    let plain = Registry::start(Program::DockerRegistry, Guard::Open).await;
    // tinyproxy takes letters and few other characters. A URL may write each of them as an escape.
    for (user, in_url) in [(None, ""), (Some(("who", "p-ss")), "who:p%2Dss@")] {
        let proxy = NetworkProxy::tinyproxy(user, tls.address().port());
        push_and_resolve(&tls, &proxy.url("http", in_url)).await;
        push_and_resolve(&plain, &proxy.url("http", in_url)).await;
        let log = proxy.log();
        assert!(log.contains(&format!("CONNECT {}", tls.name())), "{log}");
        // Not by a tunnel, which this proxy does not make there.
        assert!(log.contains(&format!("HEAD http://{}/v2/", plain.name())), "{log}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn registries_are_reached_through_a_socks_proxy() {
    garden_test_programs::needs!(DockerRegistry, Microsocks);
    let tls = Registry::start(Program::DockerRegistry, Guard::Tls).await;
    let plain = Registry::start(Program::DockerRegistry, Guard::Open).await;
    for (user, in_url, scheme) in [(None, "", "socks5"), (Some(("who", "p@ss")), "who:p%40ss@", "socks5h")] {
        let proxy = NetworkProxy::microsocks(user);
        push_and_resolve(&tls, &proxy.url(scheme, in_url)).await;
        push_and_resolve(&plain, &proxy.url(scheme, in_url)).await;
        let url = proxy.url(scheme, in_url);
        drop(proxy);
        let client = tls.builder().proxies(through(&url)).build().expect("valid");
        let error = client.resolve(&tls.image("team/proxied", "1")).await.expect_err("nobody listens");
        assert!(with_causes(&error).contains("makes no connection"), "{error:?}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_proxy_that_refuses_is_named_and_its_password_is_not() {
    garden_test_programs::needs!(DockerRegistry, Tinyproxy, Microsocks);
    let registry = Registry::start(Program::DockerRegistry, Guard::Tls).await;
    let asks_for_password = NetworkProxy::tinyproxy(Some(("who", "right")), registry.address().port());
    let other_port = NetworkProxy::tinyproxy(None, 443);
    let socks = NetworkProxy::microsocks(Some(("who", "right")));
    for (proxy, url) in [
        (&asks_for_password, asks_for_password.url("http", "who:secret@")),
        (&other_port, other_port.url("http", "who:secret@")),
        (&socks, socks.url("socks5", "who:secret@")),
    ] {
        let client = registry.builder().proxies(through(&url)).build().expect("valid");
        let error = client.resolve(&registry.image("team/api", "1")).await.expect_err("refused");
        let said = with_causes(&error);
        assert!(
            said.contains(&format!("the proxy {}", proxy.url(&url[..url.find(':').unwrap_or(0)], ""))),
            "{said}"
        );
        assert!(said.contains(&registry.name()) && !said.contains("secret"), "{said}");
    }
}
