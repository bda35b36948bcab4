//! One suite for all build modes: the same cases over each of them.
//!
//! Each case of each mode is a test of its own, such as `conformance::kaniko::build_args`. What a test
//! saw is in a file once it has passed; `cargo xtask conformance` makes the table in `docs/conformance.md` of these files.
//! A mode is an entry of [`Mode`] and a line below, a case is a line of the list and a function.

mod case;
mod context;
mod control;
mod dockerfile;
mod ends;
mod extras;
mod failures;
mod image;
mod interrupted;
mod mode;
mod newer;
mod rebuilds;
mod record;
mod registries;
mod ssh_agent;

use case::Case;
use mode::Mode;
use record::Seen;

use crate::site::in_project;

/// Lists the cases in the order of the table's rows, and makes the macro that has a test for each.
macro_rules! cases {
    ($($area:ident::$case:ident: $title:literal,)+) => {
        /// The names of the cases, and what the table calls them.
        const CASES: &[(&str, &str)] = &[$((stringify!($case), $title)),+];

        macro_rules! tests_in {
            ($mode:ident) => {
                $(
                    #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
                    async fn $case() {
                        let mode = super::Mode::$mode;
                        super::run(mode, stringify!($case), super::$area::$case).await;
                    }
                )+
            };
        }
    };
}

cases! {
    dockerfile::build_args: "build arguments, also in `FROM`",
    dockerfile::odd_values: "values with `$`, quotes, line ends, commas and `=` arrive as they are",
    dockerfile::target: "a target stage alone",
    dockerfile::multi_stage: "`COPY --from` a stage or an image",
    dockerfile::image_config: "`ENV`, `USER`, `CMD` …; labels of the request",
    dockerfile::extra_hosts: "extra hosts",
    dockerfile::one_platform: "another platform than the builder's",
    newer::platform_variables: "`TARGETARCH` and its kin, for the platform of the request",
    newer::texts: "`RUN <<EOF` and `COPY <<EOF`",
    newer::bind_mounts: "`RUN --mount=type=bind` of the context",
    newer::excluded_from_copy: "`COPY --exclude`",
    newer::copied_links: "a link as a source of `COPY` stands for its file",
    extras::several_platforms: "several platforms at once",
    extras::named_contexts: "named contexts",
    extras::secrets: "secrets for `RUN`, left nowhere",
    extras::ssh_agents: "SSH agents",
    context::ignore_rules: "`.dockerignore` with exceptions, include, exclude",
    context::dockerfile_elsewhere: "a Dockerfile elsewhere, with its own ignore file",
    context::file_fidelity: "executable bits, links, empty directories, odd names",
    context::raw_names: "names that are not UTF-8",
    context::sockets: "sockets and FIFOs are left out, with a warning",
    context::preserved_permissions: "permissions as they are, if asked for",
    context::unread_file: "a file that no instruction reads is no part of the version",
    context::changed_file: "of a changed context, only the change is sent",
    rebuilds::unchanged: "unchanged: found, and nothing created",
    rebuilds::cache: "a changed step runs, earlier ones are cached",
    rebuilds::no_cache: "`no_cache` runs every step",
    rebuilds::digest: "the digest is the tag's, also after `force`",
    rebuilds::parallel: "eight builds at once",
    registries::private_base: "a private base image",
    registries::push: "a registry with a password; a wrong one is told",
    failures::failing_step: "a failing step: exit code, end of its output",
    failures::missing_base: "a missing base image is named",
    failures::missing_source: "a missing file of `COPY` is named",
    failures::broken_dockerfile: "a syntax error is told with its line",
    failures::unknown_flag: "an unknown flag is refused",
    control::events: "steps and output as events",
    control::cancel: "cancelling leaves nothing, the next build works",
    control::timeout: "a time limit is kept",
    ends::signals: "Ctrl-C and SIGTERM leave nothing",
    ends::panics: "a panic leaves nothing behind if the builder is shut down afterwards",
    ends::runtime: "what a program leaves behind when it ends without waiting is removed later",
    ends::frozen: "a frozen API server is reported, and the build still ends",
    interrupted::killed_or_cut: "killed or cut off at any time: no image lacks anything, the next build works",
    interrupted::two_clients: "two clients may build the same at once",
}

mod kaniko {
    tests_in!(Kaniko);
}

mod cluster_buildkit {
    tests_in!(ClusterBuildkit);
}

mod cluster_buildkit_rootless {
    tests_in!(ClusterBuildkitRootless);
}

mod cluster_docker {
    tests_in!(ClusterDocker);
}

mod cluster_docker_buildkit {
    tests_in!(ClusterDockerBuildkit);
}

mod local_docker {
    tests_in!(LocalDocker);
}

mod local_docker_classic {
    tests_in!(LocalDockerClassic);
}

/// Runs a case in a project of its own, and records what it saw.
async fn run(mode: Mode, name: &str, test: impl AsyncFnOnce(&mut Case<'_>) -> Seen) {
    if interrupted::is_victim(mode).await || ends::is_program(mode).await {
        return;
    }
    record::forget(mode, name);
    in_project(&format!("cf-{}", name.replace('_', "-")), async |project| {
        mode.set_up(project).await;
        let seen = test(&mut Case { mode, project }).await;
        record::write(mode, name, &seen);
    })
    .await;
}
