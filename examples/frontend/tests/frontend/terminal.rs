//! A pseudo-terminal, and what a person would see on it.

use std::fs::File;
use std::io::{Read as _, Write as _};
use std::os::fd::{AsFd as _, OwnedFd};
use std::process::{Child, Command};
use std::sync::{Arc, Condvar, Mutex};
use std::thread::{self, JoinHandle};

use rustix::fs::{Mode, OFlags};
use rustix::pty::{OpenptFlags, grantpt, openpt, ptsname, unlockpt};
use rustix::termios::{Winsize, tcsetwinsize};

/// A program on a terminal.
pub(crate) struct Terminal {
    child: Child,
    keyboard: File,
    shown: Arc<Shown>,
    reader: JoinHandle<()>,
}

struct Shown {
    state: Mutex<State>,
    changed: Condvar,
}

struct State {
    parser: vt100::Parser,
    has_ended: bool,
}

/// What was on a terminal at one time.
pub(crate) struct Screen(pub(crate) vt100::Screen);

impl Screen {
    /// The rows, without the empty ones at the end.
    pub(crate) fn rows(&self) -> Vec<String> {
        let (_, columns) = self.0.size();
        let mut rows: Vec<String> = self.0.rows(0, columns).map(|row| row.trim_end().to_owned()).collect();
        while rows.last().is_some_and(String::is_empty) {
            rows.pop();
        }
        rows
    }

    pub(crate) fn text(&self) -> String {
        self.rows().join("\n")
    }

    /// Whether anything on it has a colour.
    pub(crate) fn has_colours(&self) -> bool {
        let (rows, columns) = self.0.size();
        let cells = (0..rows).flat_map(|row| (0..columns).map(move |column| (row, column)));
        cells
            .filter_map(|(row, column)| self.0.cell(row, column))
            .any(|cell| cell.fgcolor() != vt100::Color::Default)
    }
}

impl Terminal {
    /// Starts `command` on a terminal of this size: all its output, and what is typed.
    pub(crate) fn start(command: &mut Command, rows: u16, columns: u16) -> Self {
        let master = openpt(OpenptFlags::RDWR | OpenptFlags::NOCTTY | OpenptFlags::CLOEXEC).unwrap();
        grantpt(&master).unwrap();
        unlockpt(&master).unwrap();
        let size = Winsize { ws_row: rows, ws_col: columns, ws_xpixel: 0, ws_ypixel: 0 };
        let name = ptsname(&master, Vec::new()).unwrap();
        let flags = OFlags::RDWR | OFlags::NOCTTY | OFlags::CLOEXEC;
        let slave: OwnedFd = rustix::fs::open(name.as_c_str(), flags, Mode::empty()).unwrap();
        tcsetwinsize(slave.as_fd(), size).unwrap();
        let end = || slave.try_clone().unwrap();
        let child = command.stdin(end()).stdout(end()).stderr(end()).spawn().unwrap();
        // Otherwise the terminal does not end with the program.
        let null = std::process::Stdio::null;
        command.stdin(null()).stdout(null()).stderr(null());
        drop(slave);
        let parser = vt100::Parser::new(rows, columns, 0);
        let shown = Arc::new(Shown {
            state: Mutex::new(State { parser, has_ended: false }),
            changed: Condvar::new(),
        });
        let keyboard = File::from(master);
        let reader = thread::spawn({
            let (mut output, shown) = (keyboard.try_clone().unwrap(), Arc::clone(&shown));
            move || shown.read(&mut output)
        });
        Self { child, keyboard, shown, reader }
    }

    /// Types these characters.
    pub(crate) fn type_in(&mut self, characters: &str) {
        self.keyboard.write_all(characters.as_bytes()).unwrap();
    }

    /// Waits until the screen is as it `is`.
    pub(crate) fn until(&self, is: impl Fn(&str) -> bool) -> Screen {
        let mut state = self.shown.state.lock().unwrap();
        loop {
            let screen = Screen(state.parser.screen().clone());
            if is(&screen.text()) {
                return screen;
            }
            assert!(!state.has_ended, "the program ended with this on the screen:\n{}", screen.text());
            state = self.shown.changed.wait(state).unwrap();
        }
    }

    /// Waits for the end of the program. Returns its exit code and what is on the screen then.
    pub(crate) fn end(mut self) -> (Option<i32>, Screen) {
        let code = self.child.wait().unwrap().code();
        self.reader.join().unwrap();
        let state = self.shown.state.lock().unwrap();
        (code, Screen(state.parser.screen().clone()))
    }
}

impl Shown {
    fn read(&self, output: &mut File) {
        let mut piece = [0; 4096];
        loop {
            // It is an error to read from a terminal that nobody has open any more.
            let length = output.read(&mut piece).unwrap_or(0);
            let mut state = self.state.lock().unwrap();
            state.parser.process(&piece[..length]);
            state.has_ended = length == 0;
            drop(state);
            self.changed.notify_all();
            if length == 0 {
                return;
            }
        }
    }
}
