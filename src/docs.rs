#![doc = include_str!("docs/links.md")]
#![doc = include_str!("../docs/introduction.md")]
// The pages of `docs/` are here so that docs.rs shows them and their code is compiled. In a checkout, a link of a page leads to a file, by a
// definition at the page's end. That leads nowhere on docs.rs, so `links.md` stands before each page and defines the same links: the
// first definition of a link counts.

/// Makes a module of each page.
macro_rules! pages {
    ($($name:ident: $path:literal,)*) => {$(
        #[doc = include_str!("docs/links.md")]
        #[doc = include_str!(concat!("../docs/", $path))]
        pub mod $name {}
    )*};
}

pages! {
    caching: "caching.md",
    conformance: "conformance.md",
    cost: "cost.md",
    differences_from_garden: "differences-from-garden.md",
    errors: "errors.md",
    events: "events.md",
    figures: "figures.md",
    migrating: "migrating.md",
    operations: "operations.md",
    project_files: "project-files.md",
    promises: "promises.md",
    registries: "registries.md",
    requirements: "requirements.md",
    security: "security.md",
    tracing: "tracing.md",
    who_can_do_what: "who-can-do-what.md",
}

/// A program from nothing to its first image, for each kind of user.
pub mod guides {
    pages! {
        embed: "guides/embed.md",
        front_end: "guides/front-end.md",
        harness: "guides/harness.md",
    }
}

/// How each build mode builds, its options and its limits.
pub mod modes {
    pages! {
        cluster_buildkit: "modes/cluster-buildkit.md",
        cluster_docker: "modes/cluster-docker.md",
        kaniko: "modes/kaniko.md",
        local_docker: "modes/local-docker.md",
    }
}
