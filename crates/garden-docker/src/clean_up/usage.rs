//! How much a daemon stores.

use http_body_util::{BodyExt as _, Empty, Limited};
use hyper::body::Bytes;
use hyper::client::conn::http1;
use hyper::{Request, StatusCode};
use hyper_util::rt::TokioIo;
use serde::Deserialize;

use crate::DockerError;
use crate::dial::Dial;

/// The longest answer that is read, in bytes: that of a hundred thousand images.
const LARGEST_ANSWER: usize = 64 << 20;

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
        let sizes = records.map(|record| record.size);
        let caches = total(&self.build_cache_usage).unwrap_or_else(|| sizes.fold(0, i64::saturating_add));
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
            let answer = sender.send_request(request).await.map_err(|error| error.to_string())?;
            let status = answer.status();
            let body = Limited::new(answer.into_body(), LARGEST_ANSWER).collect().await;
            body.map(|body| (status, body.to_bytes())).map_err(|error| error.to_string())
        };
        tokio::select! {
            answer = answer => answer,
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
    use futures::future::BoxFuture;
    use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};

    use super::*;
    use crate::dial::Connection;

    /// A daemon that answers more than anybody needs.
    #[derive(Debug)]
    struct Talkative;

    impl Dial for Talkative {
        fn address(&self) -> &'static str {
            "talkative"
        }

        fn is_local(&self) -> bool {
            false
        }

        fn dial(&self) -> BoxFuture<'_, Result<Box<dyn Connection>, DockerError>> {
            let (ours, mut theirs) = tokio::io::duplex(1 << 20);
            tokio::spawn(async move {
                // What comes before the question is not an answer.
                theirs.read_u8().await?;
                let mut sent = theirs.write_all(b"HTTP/1.1 200 OK\r\n\r\n").await;
                for _ in 0..=LARGEST_ANSWER >> 20 {
                    sent = sent.and(theirs.write_all(&vec![b' '; 1 << 20]).await);
                }
                sent
            });
            Box::pin(async { Ok(Box::new(ours) as Box<dyn Connection>) })
        }
    }

    #[tokio::test]
    async fn an_answer_that_is_far_too_long_is_not_read_to_its_end() {
        let error = stored_bytes(&Talkative).await.expect_err("too long").to_string();
        assert!(error.contains("length limit exceeded"), "{error}");
    }

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
            // None.
            (
                r#"{"LayersSize":0,"BuildCache":[{"Size":9223372036854775807},{"Size":9223372036854775807}]}"#,
                9_223_372_036_854_775_807,
            ),
            // 29.
            (r#"{"ImageUsage":{"TotalSize":40},"BuildCacheUsage":{"TotalSize":2},"LayersSize":40}"#, 42),
        ] {
            assert_eq!(serde_json::from_str::<DiskUsage>(text).expect("JSON").bytes(), bytes, "{text}");
        }
    }
}
