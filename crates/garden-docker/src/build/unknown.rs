//! What of a Dockerfile the builder before `BuildKit` passes over without a word, though its parser knows it. What it refuses
//! itself, such as all flags of `RUN`, is not here.
//!
//! Source: Docker v28.5, `builder/dockerfile/dispatchers.go` and `copy.go`.

use garden_build_core::context::{Feature, Use};
use garden_build_core::{BuildJob, Caveat, Error, ErrorKind, Result, WarningCode, WarningData};

const INSTEAD: &str =
    "BuildKit does: `local-docker` with a daemon that has it, or `cluster-docker` with `enableBuildKit`";

/// Refuses what the classic builder would make another image of.
pub(super) fn refuse(job: &BuildJob) -> Result<()> {
    let dockerfile = job.context.dockerfile();
    let unknown = |Use { feature, line, .. }: &Use| Some((what(feature)?, *line));
    let Some((what, line)) = dockerfile.uses(&job.request).iter().find_map(unknown) else { return Ok(()) };
    let message =
        format!("{}, line {line}: Docker's classic builder does not know `{what}`", dockerfile.path());
    Err(Error::new(ErrorKind::Unsupported, message).with_hint(INSTEAD))
}

/// What does not change the image by itself: a checksum that nobody compares.
pub(super) fn caveats(job: &BuildJob) -> Vec<Caveat> {
    let dockerfile = job.context.dockerfile();
    let caveat = |Use { feature, line, .. }: Use| match feature {
        Feature::Flag { instruction, name, .. } if name == "checksum" => {
            let message = format!(
                "{}, line {line}: Docker's classic builder does not know `{instruction} --{name}`: what is fetched is not verified",
                dockerfile.path()
            );
            let place = WarningData::Dockerfile { line: u32::try_from(line).ok(), url: None };
            Some(Caveat::new(WarningCode::UnknownToBuilder, message, INSTEAD).with_data(place))
        }
        _ => None,
    };
    dockerfile.uses(&job.request).into_iter().filter_map(caveat).collect()
}

fn what(feature: &Feature) -> Option<String> {
    match feature {
        Feature::RunText { .. } => Some("RUN <<EOF".to_owned()),
        Feature::CopyText { .. } => Some("COPY <<EOF".to_owned()),
        Feature::Repository(source) => Some(format!("ADD {source}")),
        Feature::Flag { instruction, name, .. }
            if matches!(name.as_str(), "parents" | "exclude" | "unpack") =>
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

    fn job(instruction: &str) -> BuildJob {
        let directory = tempfile::tempdir().expect("a directory");
        fs::write(directory.path().join("Dockerfile"), format!("FROM scratch\n{instruction}\n"))
            .expect("written");
        let request = BuildRequest::new("api", directory.path());
        let context = Context::scan(&request, &|| false).expect("a context");
        BuildJob::new("id", request, context, "r.example/api:1".parse().expect("a name"))
    }

    fn refused(instruction: &str) -> Option<String> {
        refuse(&job(instruction)).err().map(|error| error.message().to_owned())
    }

    #[test]
    fn what_the_classic_builder_passes_over_is_refused() {
        for (instruction, what) in [
            ("RUN <<EOF\ntrue\nEOF", "RUN <<EOF"),
            ("COPY a <<EOF /x/\ntrue\nEOF", "COPY <<EOF"),
            ("COPY --parents a /", "COPY --parents"),
            ("COPY --exclude=b a /", "COPY --exclude"),
            ("ADD --unpack=false a.tar /", "ADD --unpack"),
            ("ADD --unpack https://x.example/a.tar /", "ADD --unpack"),
            ("ADD https://x.example/a.git /", "ADD https://x.example/a.git"),
        ] {
            let expected = format!("Dockerfile, line 2: Docker's classic builder does not know `{what}`");
            assert_eq!(refused(instruction), Some(expected));
        }
        // The builder refuses the mount itself.
        for instruction in [
            "RUN true",
            "COPY a /",
            "RUN --mount=type=cache,target=/c true",
            "ADD --unpack a.tar /",
            "ADD --unpack=false https://x.example/a.tar /",
        ] {
            assert_eq!(refused(instruction), None, "{instruction}");
        }
    }

    #[test]
    fn a_checksum_that_nobody_compares_is_a_warning() {
        let instruction = "ADD --checksum=sha256:0 https://x.example/a /";
        assert_eq!(refused(instruction), None);
        let caveats = caveats(&job(instruction));
        assert!(caveats.len() == 1 && caveats[0].message.contains("line 2"), "{caveats:?}");
        assert!(
            caveats[0].message.contains("`ADD --checksum`: what is fetched is not verified"),
            "{caveats:?}"
        );
        assert_eq!(super::caveats(&job("RUN true")), []);
    }
}
