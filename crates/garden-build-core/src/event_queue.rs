//! What waits for one reader, and what is kept for those who come later. Both are bounded: what is built decides how many events there are.

use std::collections::VecDeque;
use std::task::Waker;

use crate::event::Event;

/// Log lines and progress counters that wait for a slow reader before the oldest are dropped.
pub(crate) const CAPACITY: usize = 4096;

/// Events of any kind that wait. Steps and warnings must arrive, but what is built decides how many there are.
pub(crate) const MOST: usize = 4 * CAPACITY;

/// How much all that waits may hold, in bytes.
pub(crate) const LARGEST: usize = 32 * 1024 * 1024;

/// Steps and warnings that are kept for readers to come.
pub(crate) const MOST_KEPT: usize = 2000;

/// How much they may hold, in bytes.
pub(crate) const LARGEST_KEPT: usize = 1024 * 1024;

#[derive(Default, Debug)]
pub(crate) struct Queue {
    events: VecDeque<Event>,
    /// How many of `events` may be dropped.
    droppable: usize,
    /// How much `events` hold, in bytes.
    size: usize,
    /// How many were dropped since the reader last looked.
    missed: u64,
    /// Whoever waits for the next event.
    pub(crate) waker: Option<Waker>,
}

impl Queue {
    pub(crate) fn push(&mut self, event: Event) {
        if event.is_droppable() {
            if self.droppable == CAPACITY {
                self.drop_oldest();
            }
            self.droppable += 1;
        }
        self.size += event.size();
        self.events.push_back(event);
        while self.events.len() > MOST || (self.size > LARGEST && self.events.len() > 1) {
            self.drop_oldest();
        }
    }

    /// Drops the oldest event that may be dropped; if there is none, the oldest.
    fn drop_oldest(&mut self) {
        let droppable =
            if self.droppable > 0 { self.events.iter().position(Event::is_droppable) } else { None };
        if let Some(dropped) = self.events.remove(droppable.unwrap_or(0)) {
            self.taken(&dropped);
            self.missed += 1;
        }
    }

    /// Takes note that `event` waits no more.
    fn taken(&mut self, event: &Event) {
        self.size -= event.size();
        self.droppable -= usize::from(event.is_droppable());
    }

    pub(crate) fn pop(&mut self) -> Option<Event> {
        if self.missed > 0 {
            let count = std::mem::take(&mut self.missed);
            return Some(Event::Missed { count });
        }
        let event = self.events.pop_front()?;
        self.taken(&event);
        Some(event)
    }
}

/// The steps and warnings so far, which a reader who comes later gets first.
#[derive(Default, Debug)]
pub(crate) struct History {
    events: VecDeque<Event>,
    size: usize,
    /// How many were dropped to make room: the oldest.
    dropped: u64,
}

impl History {
    pub(crate) fn keep(&mut self, event: &Event) {
        if event.is_droppable() {
            return;
        }
        self.size += event.size();
        self.events.push_back(event.clone());
        while self.events.len() > MOST_KEPT || self.size > LARGEST_KEPT {
            let Some(dropped) = self.events.pop_front() else { return };
            self.size -= dropped.size();
            self.dropped += 1;
        }
    }

    /// What a reader who comes now has to read.
    pub(crate) fn replay(&self) -> Queue {
        let mut queue = Queue { missed: self.dropped, ..Queue::default() };
        self.events.iter().cloned().for_each(|event| queue.push(event));
        queue
    }
}
