//! What of a Dockerfile the builder before `BuildKit` passes over without a word, though its parser knows it. What it refuses
//! itself, such as all flags of `RUN`, is not here.
//!
//! Source: Docker v28.5, `builder/dockerfile/dispatchers.go` and `copy.go`.

use garden_build_core::context::{Feature, Use};
use garden_build_core::{BuildJob, Error, ErrorKind, Result};

/// Refuses what the classic builder would make another image of.
pub(super) fn refuse(job: &BuildJob) -> Result<()> {
    let dockerfile = job.context.dockerfile();
    let unknown = |Use { feature, line, .. }: &Use| Some((what(feature)?, *line));
    let Some((what, line)) = dockerfile.uses(&job.request).iter().find_map(unknown) else { return Ok(()) };
    let message =
        format!("{}, line {line}: Docker's classic builder does not know `{what}`", dockerfile.path());
    let hint =
        "BuildKit does: `local-docker` with a daemon that has it, or `cluster-docker` with `enableBuildKit`";
    Err(Error::new(ErrorKind::Unsupported, message).with_hint(hint))
}

fn what(feature: &Feature) -> Option<String> {
    match feature {
        Feature::RunText { .. } => Some("RUN <<EOF".to_owned()),
        Feature::CopyText { .. } => Some("COPY <<EOF".to_owned()),
        Feature::Repository(source) => Some(format!("ADD {source}")),
        Feature::Flag { instruction, name, .. }
            if matches!(name.as_str(), "parents" | "exclude" | "checksum" | "unpack") =>
        {
            Some(format!("{instruction} --{name}"))
        }
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use std::fs;

    use garden_build_core::BuildRequest;
    use garden_build_core::context::Context;

    use super::*;

    fn refused(instruction: &str) -> Option<String> {
        let directory = tempfile::tempdir().expect("a directory");
        fs::write(directory.path().join("Dockerfile"), format!("FROM scratch\n{instruction}\n"))
            .expect("written");
        let request = BuildRequest::new("api", directory.path());
        let context = Context::scan(&request, &|| false).expect("a context");
        let job = BuildJob::new("id", request, context, "r.example/api:1".parse().expect("a name"));
        refuse(&job).err().map(|error| error.message().to_owned())
    }

    #[test]
    fn what_the_classic_builder_passes_over_is_refused() {
        for (instruction, what) in [
            ("RUN <<EOF\ntrue\nEOF", "RUN <<EOF"),
            ("COPY a <<EOF /x/\ntrue\nEOF", "COPY <<EOF"),
            ("COPY --parents a /", "COPY --parents"),
            ("COPY --exclude=b a /", "COPY --exclude"),
            ("ADD --checksum=sha256:0 https://x.example/a /", "ADD --checksum"),
            ("ADD https://x.example/a.git /", "ADD https://x.example/a.git"),
        ] {
            let expected = format!("Dockerfile, line 2: Docker's classic builder does not know `{what}`");
            assert_eq!(refused(instruction), Some(expected));
        }
        // The builder refuses the mount itself.
        for instruction in ["RUN true", "COPY a /", "RUN --mount=type=cache,target=/c true"] {
            assert_eq!(refused(instruction), None, "{instruction}");
        }
    }
}
