//! Which of several requests something happens to.

use std::fmt;

/// Counts requests: some are spared first, and then it is the turn of so many.
#[derive(Clone)]
pub(crate) struct Turns {
    pub(crate) spared: usize,
    /// `None` without an end.
    pub(crate) left: Option<usize>,
}

impl Turns {
    /// The next request, and no other.
    pub(crate) fn one() -> Self {
        Self { spared: 0, left: Some(1) }
    }

    /// Counts a request. Returns whether it is its turn.
    pub(crate) fn take(&mut self) -> bool {
        if self.left == Some(0) {
            return false;
        }
        if self.spared > 0 {
            self.spared -= 1;
            return false;
        }
        if let Some(left) = &mut self.left {
            *left -= 1;
        }
        true
    }
}

impl fmt::Display for Turns {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "(after {}, {:?} times)", self.spared, self.left)
    }
}
