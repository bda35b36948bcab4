//! Keeps one client for each registry.
//!
//! Why: docs/decisions/67-one-client-for-each-registry.md

use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use garden_registry::{Credentials, RegistryClient, RegistryError};
use tokio::time::Instant;

/// How many clients are kept. A project has to do with a handful of registries; whoever names more pays with connections.
const MOST: usize = 16;

/// A client that nobody has asked for so long is dropped, and with it the credentials in it.
const UNUSED: Duration = Duration::from_secs(10 * 60);

/// Which registry a client asks, and how. What differs in anything of this is another client.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(super) struct Reach {
    pub(super) host: String,
    pub(super) insecure: bool,
    /// Authorities that are trusted besides those of the system, in PEM form.
    pub(super) certificate_authority: Option<Vec<u8>>,
    /// Whether the credentials of the `docker` command count.
    pub(super) as_docker_command: bool,
}

/// One client for each registry, so that connections and tokens are used again. Cheap to clone; clones share them.
#[derive(Clone, Default, Debug)]
pub(super) struct Clients(Arc<Mutex<Vec<Kept>>>);

#[derive(Debug)]
struct Kept {
    reach: Reach,
    credentials: Arc<Credentials>,
    client: RegistryClient,
    used: Instant,
}

impl Clients {
    /// Returns the client that reaches a registry in this way with these very `credentials`. One with others is dropped: what
    /// a registry gave to those is never used again.
    ///
    /// # Errors
    /// If there is none, and it cannot be made.
    pub(super) fn get(
        &self,
        reach: Reach,
        credentials: Arc<Credentials>,
        make: impl FnOnce(&Reach, Credentials) -> Result<RegistryClient, RegistryError>,
    ) -> Result<RegistryClient, RegistryError> {
        let now = Instant::now();
        let mut clients = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        clients.retain(|kept| {
            let is_outdated = kept.reach == reach && !Arc::ptr_eq(&kept.credentials, &credentials);
            !is_outdated && now.duration_since(kept.used) < UNUSED
        });
        if let Some(kept) = clients.iter_mut().find(|kept| kept.reach == reach) {
            kept.used = now;
            return Ok(kept.client.clone());
        }
        let client = make(&reach, Credentials::clone(&credentials))?;
        if clients.len() >= MOST
            && let Some(oldest) = (0..clients.len()).min_by_key(|&index| clients[index].used)
        {
            clients.swap_remove(oldest);
        }
        clients.push(Kept { reach, credentials, client: client.clone(), used: now });
        Ok(client)
    }
}

#[cfg(test)]
mod tests {
    use std::cell::Cell;

    use super::*;

    fn reach(host: &str) -> Reach {
        Reach {
            host: host.to_owned(),
            insecure: false,
            certificate_authority: None,
            as_docker_command: false,
        }
    }

    /// Counts the clients that have to be made.
    #[derive(Default)]
    struct Counted {
        clients: Clients,
        made: Cell<usize>,
    }

    impl Counted {
        fn get(&self, reach: Reach, credentials: &Arc<Credentials>) {
            let make = |reach: &Reach, credentials| {
                self.made.set(self.made.get() + 1);
                RegistryClient::builder(&reach.host).credentials(credentials).build()
            };
            self.clients.get(reach, Arc::clone(credentials), make).expect("a client");
        }
    }

    #[tokio::test(start_paused = true)]
    async fn a_client_is_used_again_until_nobody_asks_for_it() {
        let (counted, credentials) = (Counted::default(), Arc::default());
        for _ in 0..3 {
            counted.get(reach("a.example"), &credentials);
            tokio::time::advance(UNUSED / 2).await;
        }
        assert_eq!(counted.made.get(), 1);
        tokio::time::advance(UNUSED).await;
        counted.get(reach("a.example"), &credentials);
        assert_eq!(counted.made.get(), 2);
    }

    #[tokio::test]
    async fn other_credentials_or_another_way_are_another_client() {
        let (counted, credentials) = (Counted::default(), Arc::default());
        counted.get(reach("a.example"), &credentials);
        counted.get(Reach { insecure: true, ..reach("a.example") }, &credentials);
        counted.get(Reach { certificate_authority: Some(Vec::new()), ..reach("a.example") }, &credentials);
        counted.get(Reach { as_docker_command: true, ..reach("a.example") }, &credentials);
        assert_eq!(counted.made.get(), 4);
        // Equal, and yet read anew because something has changed.
        counted.get(reach("a.example"), &Arc::default());
        assert_eq!((counted.made.get(), counted.clients.0.lock().expect("no panic").len()), (5, 4));
    }

    #[tokio::test(start_paused = true)]
    async fn of_too_many_the_one_goes_that_was_not_used_for_longest() {
        let (counted, credentials) = (Counted::default(), Arc::default());
        for index in 0..MOST {
            counted.get(reach(&format!("r{index}.example")), &credentials);
            tokio::time::advance(Duration::from_secs(1)).await;
        }
        counted.get(reach("r0.example"), &credentials);
        tokio::time::advance(Duration::from_secs(1)).await;
        counted.get(reach("one-more.example"), &credentials);
        assert_eq!((counted.made.get(), counted.clients.0.lock().expect("no panic").len()), (MOST + 1, MOST));
        counted.get(reach("r0.example"), &credentials);
        assert_eq!(counted.made.get(), MOST + 1);
        counted.get(reach("r1.example"), &credentials);
        assert_eq!(counted.made.get(), MOST + 2);
    }
}
