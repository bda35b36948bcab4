//! How much a daemon stores.

use http_body_util::{BodyExt as _, Empty};
use hyper::body::Bytes;
use hyper::client::conn::http1;
use hyper::{Request, StatusCode};
use hyper_util::rt::TokioIo;
use serde::Deserialize;

use crate::DockerError;
use crate::dial::Dial;

/// What a daemon says to `GET /system/df`. Up to API 1.51 it lists the images' layers and every record of the cache, since
/// 1.52 it sums them up; bollard knows the latter only. Source: moby, `api/docs/CHANGELOG.md`.
#[derive(Deserialize, Debug, Default)]
#[serde(rename_all = "PascalCase", default)]
struct DiskUsage {
    layers_size: Option<i64>,
    build_cache: Option<Vec<CacheRecord>>,
    image_usage: Option<Total>,
    build_cache_usage: Option<Total>,
}

#[derive(Deserialize, Debug)]
#[serde(rename_all = "PascalCase")]
struct CacheRecord {
    size: i64,
    /// It is a layer of an image, too, and counted there.
    #[serde(default)]
    shared: bool,
}

#[derive(Deserialize, Debug)]
#[serde(rename_all = "PascalCase")]
struct Total {
    total_size: i64,
}

impl DiskUsage {
    fn bytes(&self) -> u64 {
        let total = |usage: &Option<Total>| usage.as_ref().map(|usage| usage.total_size);
        let records = self.build_cache.iter().flatten().filter(|record| !record.shared);
        let images = total(&self.image_usage).or(self.layers_size).unwrap_or_default();
        let caches =
            total(&self.build_cache_usage).unwrap_or_else(|| records.map(|record| record.size).sum());
        // Docker says -1 for what it does not know.
        [images, caches].into_iter().map(|bytes| u64::try_from(bytes).unwrap_or_default()).sum()
    }
}

/// Returns how many bytes the daemon's images and caches take.
pub(super) async fn stored_bytes(dial: &dyn Dial) -> Result<u64, DockerError> {
    let broken = |reason: String| DockerError::Unclear {
        address: dial.address().to_owned(),
        what: "how much it stores",
        reason,
    };
    let stream = TokioIo::new(dial.dial().await?);
    let asking = async {
        let (mut sender, connection) = http1::handshake(stream).await.map_err(|error| error.to_string())?;
        let request = Request::get("/system/df").header("host", "docker").body(Empty::<Bytes>::new());
        let request = request.map_err(|error| error.to_string())?;
        let answer = async {
            let answer = sender.send_request(request).await?;
            let status = answer.status();
            answer.into_body().collect().await.map(|body| (status, body.to_bytes()))
        };
        tokio::select! {
            answer = answer => answer.map_err(|error| error.to_string()),
            ended = connection => Err(ended.err().map_or_else(|| "it closed the connection".to_owned(), |error| error.to_string())),
        }
    };
    let (status, body) = asking.await.map_err(broken)?;
    if status != StatusCode::OK {
        return Err(broken(format!("{status}: {}", String::from_utf8_lossy(&body).trim())));
    }
    let usage: DiskUsage = serde_json::from_slice(&body).map_err(|error| broken(error.to_string()))?;
    Ok(usage.bytes())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn layers_and_caches_are_counted_once_whatever_the_daemons_age() {
        for (text, bytes) in [
            // 20.10 and 28, with BuildKit.
            (
                r#"{"LayersSize":100,"Images":[],"BuildCache":[{"Size":5,"Shared":false},{"Size":7,"Shared":true}]}"#,
                105,
            ),
            (r#"{"LayersSize":100,"BuildCache":null}"#, 100),
            (r#"{"LayersSize":-1}"#, 0),
            // 29.
            (r#"{"ImageUsage":{"TotalSize":40},"BuildCacheUsage":{"TotalSize":2},"LayersSize":40}"#, 42),
        ] {
            assert_eq!(serde_json::from_str::<DiskUsage>(text).expect("JSON").bytes(), bytes, "{text}");
        }
    }
}
