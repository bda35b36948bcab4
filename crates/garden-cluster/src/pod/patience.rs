use tokio::time::Instant;

use crate::api::ClusterError;
use crate::diagnosis::Trouble;

/// Bears what keeps a pod from starting for as long as its grace.
#[derive(Clone, Debug, Default)]
pub(crate) struct Patience {
    trouble: Option<(Trouble, Instant)>,
}

impl Patience {
    /// Takes note of the present trouble; `None` if there is none, which ends an earlier one.
    ///
    /// # Errors
    /// With the trouble, if it has outlasted its grace.
    pub(crate) fn bear(&mut self, trouble: Option<Trouble>) -> Result<(), ClusterError> {
        let Some(trouble) = trouble else {
            self.trouble = None;
            return Ok(());
        };
        let same = |known: &&(Trouble, Instant)| known.0.diagnosis.kind == trouble.diagnosis.kind;
        let since = self.trouble.as_ref().filter(same).map_or_else(Instant::now, |(_, since)| *since);
        if since.elapsed() >= trouble.grace {
            return Err(ClusterError::Pod(trouble.diagnosis));
        }
        self.trouble = Some((trouble, since));
        Ok(())
    }

    /// Waits until the grace of the present trouble is over, for ever if there is none.
    pub(crate) async fn exhausted(&self) {
        match &self.trouble {
            Some((trouble, since)) => tokio::time::sleep_until(*since + trouble.grace).await,
            None => std::future::pending().await,
        }
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use garden_build_core::ErrorKind;

    use super::*;
    use crate::diagnosis::Diagnosis;

    fn trouble(kind: ErrorKind) -> Trouble {
        let diagnosis = Diagnosis::other(kind, "", "");
        Trouble { diagnosis, grace: Duration::from_secs(10) }
    }

    #[tokio::test(start_paused = true)]
    async fn a_trouble_is_borne_for_its_grace_and_a_new_one_anew() {
        let mut patience = Patience::default();
        assert!(patience.bear(Some(trouble(ErrorKind::ImagePull))).is_ok());
        tokio::time::advance(Duration::from_secs(9)).await;
        assert!(patience.bear(Some(trouble(ErrorKind::ImagePull))).is_ok());
        assert!(patience.bear(Some(trouble(ErrorKind::Unschedulable))).is_ok());
        patience.exhausted().await;
        assert!(patience.bear(Some(trouble(ErrorKind::Unschedulable))).is_err());
    }

    #[tokio::test(start_paused = true)]
    async fn a_trouble_that_passed_is_forgotten() {
        let mut patience = Patience::default();
        assert!(patience.bear(Some(trouble(ErrorKind::ImagePull))).is_ok());
        tokio::time::advance(Duration::from_secs(9)).await;
        assert!(patience.bear(None).is_ok());
        tokio::time::advance(Duration::from_secs(9)).await;
        assert!(patience.bear(Some(trouble(ErrorKind::ImagePull))).is_ok());
    }
}
