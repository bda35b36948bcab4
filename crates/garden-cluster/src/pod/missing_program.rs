use garden_build_core::words::{fits, parts};

/// Returns what a container runtime says of a program that it was to run, if the image does not have that program.
///
/// Sources of the words: runc 1.3, `libcontainer/init_linux.go`, with Go's `os/exec`:
/// `… container process: exec: "PROGRAM": stat PROGRAM: no such file or directory: unknown`; crun 1, `src/libcrun/linux.c`:
/// ``executable file `PROGRAM` not found in $PATH: No such file or directory``.
pub fn missing_program(message: &str) -> Option<&str> {
    let by_crun = message.find("executable file `").map(|position| &message[position..]);
    if let Some(by_crun) = by_crun.filter(|words| fits(words, &["executable file `", "` not found"])) {
        return Some(by_crun);
    }
    let reason = &message[message.rfind("exec: \"")? + "exec: ".len()..];
    let (_, problem) = reason[1..].split_once("\": ")?;
    let is_missing = problem.starts_with("executable file not found in $PATH")
        || parts(problem).any(|part| part == "no such file or directory");
    is_missing.then_some(reason)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_the_runtime_s_own_words_tell_of_a_missing_program() {
        let runc = "failed to create containerd task: failed to create shim task: OCI runtime create failed: runc create failed: unable \
                    to start container process: error during container init: exec: \"/busybox/sh\": stat /busybox/sh: no such file or \
                    directory: unknown";
        assert!(missing_program(runc).is_some_and(|reason| reason.starts_with("\"/busybox/sh\": stat")));
        let on_path =
            "error executing command: exec: \"docker-credential-x\": executable file not found in $PATH";
        assert!(missing_program(on_path).is_some());
        let crun = "executable file `docker-credential-x` not found in $PATH: No such file or directory";
        assert_eq!(missing_program(crun), Some(crun));
        for other in [
            "exit code 1: open /x: no such file or directory",
            "exec: \"sh\": permission denied",
            "exit code 1",
        ] {
            assert_eq!(missing_program(other), None, "{other}");
        }
    }
}
