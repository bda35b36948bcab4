//! What the OCI distribution specification lets a client rely on, tried at every registry in every guard.

mod authentication;
mod listing;
mod pull;
mod push;
mod referrers;

/// Makes a test of each case for each registry, which is started for it.
macro_rules! on_every_registry {
    ($($case:ident),+ $(,)?) => {$(
        mod $case {
            crate::conformance::on_every_registry! { @ $case:
                docker_registry_open DockerRegistry Open,
                docker_registry_basic DockerRegistry Basic,
                docker_registry_token DockerRegistry Token,
                docker_registry_tls DockerRegistry Tls,
                distribution_open Distribution Open,
                distribution_basic Distribution Basic,
                distribution_token Distribution Token,
                distribution_tls Distribution Tls,
            }
        }
    )+};
    (@ $case:ident: $($name:ident $program:ident $guard:ident,)+) => {$(
        #[tokio::test]
        async fn $name() {
            use crate::{process::Program, registry::{Guard, Registry}};
            if garden_test_programs::lacks(Program::$program.needs()) {
                return;
            }
            super::$case(&Registry::start(Program::$program, Guard::$guard).await).await;
        }
    )+};
}

use on_every_registry;
