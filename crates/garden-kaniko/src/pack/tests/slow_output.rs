//! While the output is what takes the time, what is still to come is compressed better.

use std::io::{self, Write};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Condvar, Mutex};
use std::thread::{self, ThreadId};

use super::super::member::{Effort, Members};
use super::super::write::tasks_ahead;
use super::*;

/// How many blocks the only large file has: more than can be begun before something is written.
fn block_count() -> usize {
    2 * tasks_ahead() + 3
}

/// Knows which tasks have been begun, by how often the threads that compress ask whether to stop: once for each of the
/// three pieces of the first task (the two headers and the content of the Dockerfile), and once for each block that is
/// read, which is a task of its own.
struct Begun {
    asked: Mutex<usize>,
    more: Condvar,
    writer: ThreadId,
}

impl Begun {
    fn is_cancelled(&self) -> bool {
        if thread::current().id() != self.writer {
            *self.asked.lock().expect("no panic") += 1;
            self.more.notify_all();
        }
        false
    }

    /// Waits until `tasks` have been begun.
    fn wait_for(&self, tasks: usize) {
        let asked = self.asked.lock().expect("no panic");
        drop(self.more.wait_while(asked, |asked| *asked < tasks + 2).expect("no panic"));
    }
}

/// Takes something of a task only when all tasks have been begun that can be before it is written.
struct Slow<'a> {
    pack: Vec<u8>,
    begun: &'a Begun,
    written: &'a AtomicUsize,
}

impl Write for Slow<'_> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let ahead = self.written.load(Ordering::Relaxed) + tasks_ahead();
        self.begun.wait_for(ahead.min(1 + block_count()));
        self.pack.extend_from_slice(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// Returns how long the member of `block` is.
fn length(block: &[u8], effort: Effort) -> u64 {
    let mut member = Vec::new();
    Members::new().append(block, effort, &mut member).expect("appended");
    member.len() as u64
}

#[test]
fn a_slow_output_gets_the_same_in_fewer_bytes() {
    let words: Vec<String> = (0..100_000_u64).map(|number| format!("{:x} ", number * number)).collect();
    let block = &words.concat().into_bytes()[..BLOCK as usize];
    let project = Project::new(&[("large", &block.repeat(block_count()))]);
    let context = project.scan();

    let begun = Begun { asked: Mutex::new(0), more: Condvar::new(), writer: thread::current().id() };
    let written = AtomicUsize::new(0);
    let mut slow = Slow { pack: Vec::new(), begun: &begun, written: &written };
    let plan = Plan::of(&context, &KnownPacks::new());
    let mut one_more = |_| {
        written.fetch_add(1, Ordering::Relaxed);
    };
    let assembly = plan.write(&mut slow, &|| begun.is_cancelled(), &mut one_more).expect("written");
    assert!(decompressed(&slow.pack) == archive(&context));

    let index = assembly.new_pack.expect("a pack").index;
    let lengths: Vec<u64> = (3..index.piece_count()).map(|piece| index.length(piece..piece + 1)).collect();
    let (fast, dense) = (length(block, Effort::Fast), length(block, Effort::Dense));
    assert!(dense < fast, "{dense} and {fast}");
    // The first task is not one of the blocks, and the last one that can be begun ahead has time already.
    let in_a_hurry = tasks_ahead() - 2;
    let expected = [vec![fast; in_a_hurry], vec![dense; block_count() - in_a_hurry]].concat();
    assert_eq!(lengths, expected);
}
