//! A context as a rope of gzip members that a service keeps, so that only what is new is sent.
//!
//! A gzip file may have many members, and readers take them for one file. So the archive of a context
//! is cut into [pieces](Key), each of which becomes a member, and members that were sent before, for
//! whichever context, are used again as they are:
//!
//! * An entry's header is a piece, and so is each block of at most 512 KiB of a file's content. A piece's
//!   [`Key`] stands for its bytes and is known from the [`Manifest`](garden_build_core::context::Manifest), before any file
//!   is read.
//! * A pack is a file of members, one after the other, and its name is its digest. A [`PackIndex`] says
//!   which pieces it holds. Packs and their indexes never change.
//! * A [`Plan`] finds what [`KnownPacks`] hold of a context, and writes what they lack as a new pack. The
//!   concatenation of all [`PackRange`]s of the [`Assembly`] and of a [`tail`](tail()) is a gzip file of the
//!   same archive that a [`TarStream`](garden_build_core::context::TarStream) writes.
//! * What a service and its other clients say is not evidence: anybody may store a pack whose pieces are not what their keys
//!   stand for. So each [`Part`] of an assembly is [proven](Plan::prove): by the digest of its bytes where these were compressed
//!   here ([`Segments`]), and else by the digest of what it has to decompress to, which the files themselves tell.
//!
//! ```no_run
//! # use {garden_build_core::context::Context, garden_kaniko::pack::{KnownPacks, Plan, tail}};
//! # fn example(context: &Context, known: &KnownPacks) -> Result<(), Box<dyn std::error::Error>> {
//! let plan = Plan::of(context, known);
//! let assembly = match plan.assembly() {
//!     Some(assembly) => assembly,
//!     None => plan.write(&mut Vec::new(), &|| false, &mut |_| {})?,
//! };
//! for range in &assembly.rope {
//!     println!("{} bytes at {} of {}", range.length, range.offset, range.pack);
//! }
//! let end = tail(".garden-build", context.dockerfile().contents())?;
//! # Ok(())
//! # }
//! ```
//!
//! Why: docs/decisions/08-a-stored-context-is-gzip-members.md

#[cfg(any(test, fuzzing))]
pub(crate) mod fuzzing;
mod index;
mod known;
mod member;
mod piece;
mod plan;
mod proof;
mod queue;
mod runs;
mod segments;
mod tail;
#[cfg(test)]
mod tests;
mod write;

pub use index::{IndexError, PackIndex};
pub use known::KnownPacks;
pub use piece::Key;
pub use plan::{Assembly, NewPack, PackRange, Plan};
pub use proof::{Part, Proof};
pub use segments::Segments;
pub use tail::tail;
