use garden_network::Proxies;
use kube::config::Kubeconfig;

/// Who named the proxy that is in messages.
const SOURCE: &str = "`proxy-url` in the kubeconfig";

/// Returns the proxies before the API server of `context`, or of the current one: `proxy-url` of its cluster, which counts
/// whatever the environment says, or the environment's. Source: `clientcmd` of Kubernetes' `client-go`.
///
/// A program in a cluster, which has no kubeconfig, asks the API server's Service directly: no proxy knows the way.
pub(crate) fn proxies(kubeconfig: Option<&Kubeconfig>, context: Option<&str>) -> Result<Proxies, String> {
    let Some(kubeconfig) = kubeconfig else { return Ok(Proxies::none()) };
    match proxy_url(kubeconfig, context).filter(|url| !url.is_empty()) {
        Some(url) => Proxies::all_through(url, SOURCE).map_err(|error| format!("{SOURCE}: {error}")),
        None => Ok(Proxies::from_environment()),
    }
}

fn proxy_url<'k>(kubeconfig: &'k Kubeconfig, context: Option<&str>) -> Option<&'k str> {
    let context = context.or(kubeconfig.current_context.as_deref())?;
    let context = kubeconfig.contexts.iter().find(|named| named.name == context)?.context.as_ref()?;
    let cluster = kubeconfig.clusters.iter().find(|named| named.name == context.cluster)?;
    cluster.cluster.as_ref()?.proxy_url.as_deref()
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn kubeconfig() -> Kubeconfig {
        let cluster = |name: &str, proxy: Option<&str>| json!({ "name": name, "cluster": { "server": "https://api.example:6443", "proxy-url": proxy } });
        let context =
            |name: &str| json!({ "name": name, "context": { "cluster": name, "user": "somebody" } });
        let kubeconfig = json!({
            "current-context": "through",
            "contexts": [context("through"), context("direct"), context("wrong")],
            "clusters": [
                cluster("through", Some("socks5://proxy.example:1080")),
                cluster("direct", None),
                cluster("wrong", Some("ftp://proxy.example")),
            ],
        });
        serde_json::from_value(kubeconfig).expect("a kubeconfig")
    }

    #[test]
    fn the_proxy_is_that_of_the_contexts_cluster() {
        let kubeconfig = kubeconfig();
        assert_eq!(proxy_url(&kubeconfig, None), Some("socks5://proxy.example:1080"));
        assert_eq!(proxy_url(&kubeconfig, Some("direct")), None);
        assert_eq!(proxy_url(&kubeconfig, Some("missing")), None);
    }

    #[test]
    fn a_proxy_that_cannot_be_one_is_refused_by_the_name_of_its_field() {
        let error = proxies(Some(&kubeconfig()), Some("wrong")).expect_err("not a proxy");
        assert!(error.contains("`proxy-url`") && error.contains("socks5://"), "{error}");
    }
}
