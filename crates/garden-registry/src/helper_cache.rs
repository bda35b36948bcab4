use std::collections::HashMap;
use std::fmt;
use std::time::Duration;

use futures::future::BoxFuture;
use tokio::sync::Mutex;
use tokio::time::Instant;

use crate::helper_answer::{HelperName, HelperProblem, failed};
use crate::login::Login;

/// How long a helper may take. `BuildKit`'s daemon waits 30 seconds for us.
const PATIENCE: Duration = Duration::from_secs(20);

/// How long an answer is used before the helper is asked again. The shortest-lived tokens known, those
/// of Google's workload identity, last five minutes.
const KEPT: Duration = Duration::from_secs(60);

/// Runs credential helpers, wherever they are installed.
pub trait RunHelper: Send + Sync {
    /// Has `helper` `get` what to log in to `server` with. Is dropped when that takes too long.
    fn run<'a>(
        &'a self,
        helper: &'a HelperName,
        server: &'a str,
    ) -> BoxFuture<'a, Result<Login, HelperProblem>>;
}

/// Credential helpers, and what they answered within the last minute.
///
/// One helper runs at a time: some hang when they are asked for two things at once
/// (docker/cli, issue 1862).
pub struct HelperCache<R> {
    helpers: R,
    answers: Mutex<HashMap<(HelperName, String), Kept>>,
}

struct Kept {
    answer: Result<Login, HelperProblem>,
    until: Instant,
}

impl<R: RunHelper> HelperCache<R> {
    /// Remembers what `helpers` answer. Nothing is asked yet.
    pub fn new(helpers: R) -> Self {
        Self { helpers, answers: Mutex::default() }
    }

    /// Asks `helper` for what to log in to `server` with, unless it was asked a moment ago.
    ///
    /// # Errors
    /// Why it has no login. One that does not answer within 20 seconds has failed.
    pub async fn ask(&self, helper: &HelperName, server: &str) -> Result<Login, HelperProblem> {
        let question = (helper.clone(), server.to_owned());
        let mut answers = self.answers.lock().await;
        answers.retain(|_, kept| kept.until > Instant::now());
        if let Some(kept) = answers.get(&question) {
            return kept.answer.clone();
        }
        let answer = match tokio::time::timeout(PATIENCE, self.helpers.run(helper, server)).await {
            Ok(answer) => answer,
            Err(_) => Err(failed(&format!("it did not answer within {} s", PATIENCE.as_secs()))),
        };
        answers.insert(question, Kept { answer: answer.clone(), until: Instant::now() + KEPT });
        answer
    }

    /// Forgets what `helper` answered, because the registry refuses it.
    pub(crate) async fn forget(&self, helper: &HelperName, server: &str) {
        self.answers.lock().await.remove(&(helper.clone(), server.to_owned()));
    }

    /// Forgets all answers, so that helpers are asked anew: one of them was refused.
    pub async fn forget_all(&self) {
        self.answers.lock().await.clear();
    }
}

impl<R: fmt::Debug> fmt::Debug for HelperCache<R> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("HelperCache").field("helpers", &self.helpers).finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicU32, Ordering};

    use super::*;

    /// Counts how often it is asked, and does not answer for `slow.example`.
    #[derive(Default)]
    struct Counting(AtomicU32);

    impl RunHelper for Counting {
        fn run<'a>(
            &'a self,
            _: &'a HelperName,
            server: &'a str,
        ) -> BoxFuture<'a, Result<Login, HelperProblem>> {
            Box::pin(async move {
                self.0.fetch_add(1, Ordering::Relaxed);
                if server == "slow.example" {
                    std::future::pending::<()>().await;
                }
                Err(HelperProblem::NoLogin)
            })
        }
    }

    #[tokio::test(start_paused = true)]
    async fn an_answer_is_used_for_a_minute_unless_it_is_forgotten() {
        let cache = HelperCache::new(Counting::default());
        let helper = HelperName::parse("ecr-login").expect("a name");
        let asked = async |server: &str| {
            assert_eq!(cache.ask(&helper, server).await.expect_err("no login"), HelperProblem::NoLogin);
            cache.helpers.0.load(Ordering::Relaxed)
        };
        assert_eq!((asked("a.example").await, asked("a.example").await), (1, 1));
        assert_eq!(asked("b.example").await, 2);
        cache.forget(&helper, "a.example").await;
        assert_eq!((asked("b.example").await, asked("a.example").await), (2, 3));
        tokio::time::advance(KEPT + Duration::from_secs(1)).await;
        assert_eq!(asked("b.example").await, 4);
        cache.forget_all().await;
        assert_eq!(asked("b.example").await, 5);
    }

    #[tokio::test(start_paused = true)]
    async fn a_helper_that_does_not_answer_is_given_up() {
        let cache = HelperCache::new(Counting::default());
        let helper = HelperName::parse("gcr").expect("a name");
        let problem = cache.ask(&helper, "slow.example").await.expect_err("no answer");
        assert!(matches!(problem, HelperProblem::Failed { reason } if reason.contains("20 s")));
    }
}
