//! What the words of a daemon mean to the one who wanted the image.

use garden_build_core::words::{fits, has_part};
use garden_build_core::{Error, ErrorKind, FailedStep, Remedy};
use garden_buildkit::{Advice, memory_perhaps};
use garden_registry::{ToldRefusal, is_complaint_about_tls, told_refusal};

use super::progress::{Progress, is_from};

/// What a shell reports of a command that was killed with signal 9.
const KILLED: i32 = 128 + 9;

/// Explains what it means that the classic builder failed with `words`.
///
/// Sources of the words: Docker 20.10 and 28.5, `builder/dockerfile/dispatchers.go` and `copy.go`, and for what the kernel says,
/// Go's `syscall`.
pub(crate) fn explain(words: &str, progress: &Progress, advice: &Advice) -> Error {
    let step = progress.instruction();
    let of_build = |exit_code, message| {
        Error::build_failed(FailedStep::new(step.map(str::to_owned), exit_code), message)
    };
    let subject = match step {
        Some(step) => format!("the step `{step}` failed"),
        None => "the build failed".to_owned(),
    };
    let whole = format!("{subject}: {words}");
    if let Some(exit_code) = exit_code(words) {
        let error = of_build(Some(exit_code), format!("{subject} with exit code {exit_code}"));
        let error = error.with_log_tail(progress.tail());
        if exit_code == KILLED {
            return error.with_hint(memory_perhaps(advice.memory));
        }
        return error;
    }
    if has_part(words, "no space left on device") {
        return of_build(None, whole).with_hint(advice.disk);
    }
    if has_part(words, "cannot allocate memory") {
        return Error::new(ErrorKind::OutOfMemory, whole).with_hint(advice.memory);
    }
    if let Some(path) = missing_file(words) {
        let message = format!("{subject}: `{path}` is not in the build context");
        return of_build(None, message).with_hint(
            "check the path, which starts at the context's root, and that no ignore file excludes it",
        );
    }
    if let Some(from) = step.filter(|step| is_from(step) && !is_bad_name(words)) {
        let message = format!("a base image cannot be pulled (`{from}`): {words}");
        let (kind, hint) = refusal(words, advice).unwrap_or((ErrorKind::Unreachable, advice.base_image));
        return Error::new(kind, message).with_hint(hint);
    }
    let error = of_build(None, whole).with_log_tail(progress.tail());
    if fits(words, &["the --", " option requires BuildKit."]) {
        return error.with_hint(
            "this daemon builds without BuildKit: use one that has it, or a Dockerfile without this",
        );
    }
    error
}

/// Explains what it means that the daemon could not push `image`.
pub(crate) fn explain_push(image: &str, words: &str, advice: &Advice) -> Error {
    let message = format!("{image} could not be pushed: {words}");
    let (kind, hint) = match refusal(words, advice) {
        Some((ErrorKind::Unauthorized, _)) => (ErrorKind::Unauthorized, advice.push),
        Some((ErrorKind::PermissionDenied, _)) => (ErrorKind::PermissionDenied, advice.push),
        Some((ErrorKind::Rejected, hint)) => (ErrorKind::PushFailed, hint),
        _ => (
            ErrorKind::PushFailed,
            Remedy::new("check that the daemon reaches this registry, and that the registry takes pushes"),
        ),
    };
    Error::new(kind, message).with_hint(hint)
}

/// How a registry refused the daemon, if one did, and what to do.
fn refusal(words: &str, advice: &Advice) -> Option<(ErrorKind, Remedy)> {
    if is_complaint_about_tls(words) {
        return Some((ErrorKind::Rejected, advice.registry));
    }
    let refusal = told_refusal(words)?;
    if let Some(remedy) = refusal.remedy() {
        return Some((ErrorKind::Rejected, remedy));
    }
    let kind = match refusal {
        ToldRefusal::Unauthorized => ErrorKind::Unauthorized,
        ToldRefusal::Denied => ErrorKind::PermissionDenied,
        ToldRefusal::Missing => ErrorKind::NotFound,
        _ => return None,
    };
    Some((kind, advice.base_image))
}

/// Whether a FROM does not name an image: `base name (…) should not be blank`, `invalid reference format`.
fn is_bad_name(words: &str) -> bool {
    has_part(words, "invalid reference format") || fits(words, &["base name (", ") should not be blank"])
}

/// `The command '/bin/sh -c make' returned a non-zero code: 2`.
fn exit_code(words: &str) -> Option<i32> {
    let (_, code) = words.strip_prefix("The command '")?.rsplit_once("' returned a non-zero code: ")?;
    code.trim().parse().ok()
}

/// `COPY failed: file not found in build context or excluded by .dockerignore: stat app.txt: file does not exist`.
fn missing_file(words: &str) -> Option<&str> {
    let words = words.strip_prefix("COPY failed: ").or_else(|| words.strip_prefix("ADD failed: "))?;
    let path = words.strip_prefix("file not found in build context or excluded by .dockerignore: stat ")?;
    path.strip_suffix(": file does not exist")
}

#[cfg(test)]
mod tests {
    use bollard::models::BuildInfo;
    use garden_build_core::{StepKind, event_channel};

    use super::super::sending::Sending;
    use super::*;

    const ADVICE: Advice = Advice {
        memory: Remedy::new("more memory"),
        disk: Remedy::new("more disk"),
        lost: Remedy::new("again"),
        push: Remedy::new("log in to push"),
        base_image: Remedy::new("look at FROM"),
        registry: Remedy::new("tell the daemon"),
    };

    fn explained(step: &str, words: &str) -> Error {
        let (events, _stream) = event_channel();
        let sending = Sending::new(events.step(StepKind::Upload, "send"), 0);
        let mut progress = Progress::new(events, sending);
        let said = format!("Step 1/1 : {step}\nthe last line\n");
        progress.say(&BuildInfo { stream: Some(said), ..BuildInfo::default() });
        explain(words, &progress, &ADVICE)
    }

    #[test]
    fn a_failing_command_is_named_with_its_exit_code_and_its_last_words() {
        let error = explained("RUN make", "The command '/bin/sh -c make' returned a non-zero code: 2");
        assert_eq!(error.kind(), ErrorKind::BuildFailed);
        assert_eq!(error.failed_step(), Some(&FailedStep::new(Some("RUN make".to_owned()), Some(2))));
        assert_eq!(error.message(), "the step `RUN make` failed with exit code 2");
        assert_eq!((error.log_tail().join(" "), error.is_retryable()), ("the last line".to_owned(), false));
        let error = explained("RUN make", "The command '/bin/sh -c make' returned a non-zero code: 137");
        assert!(error.hint().is_some_and(|hint| hint.contains("more memory")), "{error:?}");
    }

    #[test]
    fn what_is_missing_is_named() {
        let words = "COPY failed: file not found in build context or excluded by .dockerignore: stat app.txt: file does not exist";
        let error = explained("COPY app.txt /", words);
        assert_eq!(
            error.message(),
            "the step `COPY app.txt /` failed: `app.txt` is not in the build context"
        );
        let words = "manifest for r.example/none:1 not found: manifest unknown: manifest unknown";
        let error = explained("FROM r.example/none:1", words);
        assert_eq!(error.kind(), ErrorKind::NotFound);
        assert!(error.message().contains("r.example/none:1"), "{error}");
    }

    #[test]
    fn names_and_commands_decide_nothing() {
        let kind = |step: &str, words: &str| explained(step, words).kind();
        let refused = "Get \"https://certificate.example/v2/denied/\": dial tcp 10.0.0.1:443: connect: connection refused";
        assert_eq!(kind("FROM certificate.example/denied", refused), ErrorKind::Unreachable);
        let missing = "COPY failed: stat \"The command returned a non-zero code: 2\": file does not exist";
        let error = explained("COPY --from=a x /", missing);
        assert_eq!(error.failed_step().map(|step| step.exit_code), Some(None), "{error:?}");
        let full = "failed to register layer: open /no space left on device: permission denied";
        assert_eq!(explained("COPY a /", full).hint(), None);
    }

    #[test]
    fn what_better_credentials_do_not_mend_is_not_blamed_on_them() {
        for (words, refusal) in [
            (
                "tag invalid: The image tag 'v-1' already exists in the 'a' repository and cannot be overwritten because the repository is immutable.",
                ToldRefusal::ImmutableTag,
            ),
            (
                "error parsing HTTP 403 response body: invalid character '<' looking for beginning of value: \"<html>\\r\\n<head>\"",
                ToldRefusal::Page,
            ),
        ] {
            let error = explain_push("r.example/a:v-1", words, &ADVICE);
            assert_eq!(
                (error.kind(), error.hint()),
                (ErrorKind::PushFailed, refusal.remedy().map(Remedy::text)),
                "{words}"
            );
        }
    }

    #[test]
    fn a_full_disk_and_lack_of_memory_are_told_apart() {
        let error = explained(
            "COPY a /",
            "Error processing tar file(exit status 1): write /a: no space left on device",
        );
        assert_eq!(error.hint(), Some("more disk"));
        let error = explained("RUN a", "fork/exec /bin/sh: cannot allocate memory");
        assert_eq!((error.kind(), error.hint()), (ErrorKind::OutOfMemory, Some("more memory")));
    }

    #[test]
    fn a_registry_s_refusal_is_of_its_kind() {
        for (words, pulled, pushed) in [
            ("unauthorized: authentication required", ErrorKind::Unauthorized, ErrorKind::Unauthorized),
            (
                "error from registry: authentication required - incorrect username or password",
                ErrorKind::Unauthorized,
                ErrorKind::Unauthorized,
            ),
            (
                "error from registry: unauthorized to access repository: p/x, action: push: unauthorized to access repository: p/x, action: push",
                ErrorKind::Unauthorized,
                ErrorKind::Unauthorized,
            ),
            (
                "errors:\ndenied: requested access to the resource is denied\nunauthorized: authentication required\n",
                ErrorKind::PermissionDenied,
                ErrorKind::PermissionDenied,
            ),
            ("unknown: artifact p/x:1 not found", ErrorKind::NotFound, ErrorKind::PushFailed),
            (
                "Get \"https://r.example/v2/\": no basic auth credentials",
                ErrorKind::Unauthorized,
                ErrorKind::Unauthorized,
            ),
            (
                "denied: requested access to the resource is denied",
                ErrorKind::PermissionDenied,
                ErrorKind::PermissionDenied,
            ),
            (
                "Get \"https://r.example/v2/\": http: server gave HTTP response to HTTPS client",
                ErrorKind::Rejected,
                ErrorKind::PushFailed,
            ),
            (
                "Get \"https://r.example/v2/\": dial tcp: lookup r.example: no such host",
                ErrorKind::Unreachable,
                ErrorKind::PushFailed,
            ),
        ] {
            assert_eq!(explained("FROM r.example/a:1", words).kind(), pulled, "{words}");
            let error = explain_push("r.example/a:1", words, &ADVICE);
            assert_eq!(error.kind(), pushed, "{words}");
            assert!(error.message().contains("r.example/a:1") && error.hint().is_some(), "{error}");
        }
        let words = "Get \"https://r.example/v2/\": tls: failed to verify certificate: x509: certificate signed by unknown authority";
        assert_eq!(explain_push("r.example/a:1", words, &ADVICE).hint(), Some("tell the daemon"));
    }
}
