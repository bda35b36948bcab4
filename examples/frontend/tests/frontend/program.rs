//! The front end with the backend of these tests, in a process of its own.

use std::io::Write as _;
use std::process::{Child, Command, Stdio};
use std::sync::Arc;
use std::{env, fs};

use clap::Parser as _;
use garden_build::Caches;
use garden_build_frontend::{Arguments, run};
use rustix::process::{Pid, Signal, kill_process};
use tempfile::TempDir;

use crate::backend::{Does, MadeUp, registry};

/// The arguments of the program, one in a line, and what the backend does.
const ARGUMENTS: &str = "FRONTEND_ARGUMENTS";
const DOES: &str = "FRONTEND_DOES";
/// Whether the terminal of its standard error is to send it Ctrl-C.
const HAS_TERMINAL: &str = "FRONTEND_HAS_TERMINAL";

/// What the program prints before anything else. A terminal is empty after that; before it stands what runs tests.
pub(crate) const BEGINNING: &str = "\x1b[2J\x1b[H=== the front end\n\x1b[2J\x1b[H";

/// Is the program, if this process was started for that. Then it never returns.
pub(crate) fn be_the_program() {
    let (Ok(arguments), Ok(does)) = (env::var(ARGUMENTS), env::var(DOES)) else { return };
    if env::var_os(HAS_TERMINAL).is_some() {
        rustix::process::setsid().unwrap();
        rustix::process::ioctl_tiocsctty(std::io::stderr()).unwrap();
    }
    let backend = Arc::new(MadeUp::new(Does::named(&does).unwrap()));
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build().unwrap();
    let registry = runtime.block_on(registry(Arc::clone(&backend)));
    write_project(&registry);
    std::io::stdout().write_all(BEGINNING.as_bytes()).unwrap();
    std::io::stdout().flush().unwrap();
    let words = std::iter::once("frontend").chain(arguments.lines());
    let code = run(&Arguments::parse_from(words), |options| {
        options.caches(Caches::none()).backend(backend).connect()
    });
    std::process::exit(code.into());
}

/// Writes a project and a context, `app`, to this process's own directory.
fn write_project(registry: &str) {
    let (host, port) = registry.split_once(':').unwrap();
    let project = format!(
        "kind: Project\nname: demo\nenvironments: [{{ name: dev }}]\nproviders:\n  - name: kubernetes\n    \
         deploymentRegistry: {{ hostname: {host}, port: {port}, insecure: true }}\n"
    );
    fs::write("project.garden.yml", project).unwrap();
    fs::create_dir("app").unwrap();
    fs::write("app/Dockerfile", "FROM scratch\nCOPY . /\n").unwrap();
}

/// Returns the program, ready to start, and the directory that it runs in.
pub(crate) fn program(arguments: &[&str], does: Does) -> (Command, TempDir) {
    let directory = TempDir::new().unwrap();
    let mut command = Command::new(env::current_exe().unwrap());
    command.args(["piped::the_program_prints_what_it_did_and_ends_with_its_code", "--exact", "--nocapture"]);
    command.current_dir(directory.path());
    command.env(ARGUMENTS, arguments.join("\n")).env(DOES, format!("{does:?}"));
    command.env_remove("NO_COLOR").env_remove("CLICOLOR_FORCE").env_remove("CLICOLOR");
    command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
    (command, directory)
}

/// Lets the program's standard error be a terminal that it belongs to.
pub(crate) fn on_terminal(command: &mut Command) -> &mut Command {
    command.env(HAS_TERMINAL, "yes").env("TERM", "xterm-256color")
}

pub(crate) fn signal(child: &Child, signal: Signal) {
    kill_process(Pid::from_child(child), signal).unwrap();
}

/// Makes a text the same in every run: without times, ports and the identifiers of builds.
pub(crate) fn masked(text: &str) -> String {
    let mut masked = text.split('\n').map(masked_line).collect::<Vec<_>>().join("\n");
    if let Some((_, rest)) = text.split_once("127.0.0.1:") {
        let port: String = rest.chars().take_while(char::is_ascii_digit).collect();
        masked = masked.replace(&port, "PORT");
    }
    masked
}

/// Durations are `0.0s`, and as far from what stands before them in every run.
fn masked_line(line: &str) -> String {
    if let Some((_, image)) = line.strip_prefix("build ").and_then(|rest| rest.split_once(" of ")) {
        return format!("build ID of {image}");
    }
    let mut words = Vec::new();
    for word in line.split(' ') {
        let number = word.trim_start_matches('(').trim_end_matches([',', ')', ':']).strip_suffix('s');
        let Some(number) = number.filter(|number| number.parse::<f64>().is_ok()) else {
            words.push(word.to_owned());
            continue;
        };
        while words.last().is_some_and(String::is_empty) {
            words.pop();
        }
        words.push(word.replace(number, "0.0"));
    }
    words.join(" ")
}
