//! Who died, when a connection breaks?
//!
//! Why: docs/decisions/63-who-died-is-asked-with-one-patience.md

use std::time::Duration;

/// How long after a connection to a pod broke the pod's end may take to show, which then explains the break.
///
/// When a container ends, its connections break at once. That it has ended takes longer to be known: the kubelet looks at
/// its containers each second, writes what it found to the API server, and that tells whoever watches. On a node that
/// has run out of memory, which is where builders die, this takes several times as long; and if it was the API
/// server that ended, the watch itself first has to connect again. A break for another reason is rare, and costs this
/// time once before it is reported.
/// Source of the second: Kubernetes, `pkg/kubelet/kubelet.go`, `genericPlegRelistPeriod`.
pub const LAST_WORDS_PATIENCE: Duration = Duration::from_secs(10);

/// Returns how the other side of a broken connection has `ended`, if that shows within [`LAST_WORDS_PATIENCE`]: then the
/// break is only the echo of it.
pub async fn last_words<T>(ended: impl Future<Output = T>) -> Option<T> {
    tokio::time::timeout(LAST_WORDS_PATIENCE, ended).await.ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test(start_paused = true)]
    async fn an_end_that_shows_a_little_later_explains_the_break_and_a_silent_one_is_given_up() {
        let later = async {
            tokio::time::sleep(Duration::from_secs(3)).await;
            "out of memory"
        };
        assert_eq!(last_words(later).await, Some("out of memory"));
        assert_eq!(last_words(std::future::pending::<()>()).await, None);
    }
}
