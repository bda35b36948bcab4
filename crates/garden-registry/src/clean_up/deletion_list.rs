use std::collections::BTreeMap;
use std::fmt::Write as _;

use garden_build_core::{Digest, ImageReference};
use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use super::deletion::Deletion;
use super::plan::CleanUpPlan;

/// How many manifests are deleted in one go. The registry takes no pushes meanwhile.
const MOST: usize = 10_000;

/// How much of a registry's own words about a failure is shown.
const COMPLAINT: usize = 300;

/// What became of the deletions of a plan.
#[derive(Clone, PartialEq, Eq, Debug, Default, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
#[non_exhaustive]
pub struct Deletions {
    /// What is deleted now, by whomever.
    pub deleted: Vec<Deletion>,
    /// What could not be deleted.
    pub failed: Vec<FailedDeletion>,
}

/// A manifest that could not be deleted.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
#[non_exhaustive]
pub struct FailedDeletion {
    /// The repository.
    pub repository: String,
    /// The manifest's digest.
    pub digest: Digest,
    /// Its tags.
    pub tags: Vec<String>,
    /// Why it is still there.
    pub reason: String,
}

/// What a registry is to delete, as [`SCRIPT`](Self::SCRIPT) reads it. The registry carries it out while nobody pushes, so
/// that it can tell what has changed since the plan was made, and keep that.
///
/// The default deletes nothing.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct DeletionList {
    text: String,
    /// One for each line of the text but the first.
    listed: Vec<Deletion>,
    /// What is not in it.
    left_out: Vec<FailedDeletion>,
}

impl CleanUpPlan {
    /// Returns what is to be deleted, parents first, and ten thousand manifests at most. `read_at` is when the storage was begun
    /// to be listed that the plan is about.
    pub fn deletion_list(&self, read_at: Timestamp) -> DeletionList {
        let mut list = DeletionList::default();
        let mut lines = String::new();
        for deletion in self.in_order().into_iter().flatten() {
            if list.listed.len() == MOST {
                list.left_out.push(failed(
                    deletion,
                    format!("a clean-up deletes {MOST} at most; the next one goes on"),
                ));
            } else if let Some(line) = line(deletion) {
                lines.push_str(&line);
                list.listed.push(deletion.clone());
            } else {
                list.left_out.push(failed(deletion, "its repository or a tag has no valid name".to_owned()));
            }
        }
        if !list.listed.is_empty() {
            list.text = format!("{}\n{lines}", read_at.as_second());
        }
        list
    }
}

impl DeletionList {
    /// The shell script that deletes what stands in a list, and prints what [`outcome`](Self::outcome) reads. Its arguments are the
    /// storage's directory, the file with the list, and the file with [`StorageListing::SCRIPT`](super::StorageListing::SCRIPT).
    pub const SCRIPT: &str = include_str!("delete.sh");

    /// Returns the text that the script reads; empty if nothing is to be deleted.
    pub fn as_str(&self) -> &str {
        &self.text
    }

    /// Reads what the script has printed: what is deleted, and why the rest is not. What it says nothing about counts as not
    /// deleted.
    pub fn outcome(&self, report: &str) -> Deletions {
        let verdicts: BTreeMap<usize, &str> = report
            .lines()
            .filter_map(|line| line.split_once(' '))
            .filter_map(|(number, verdict)| Some((number.parse().ok()?, verdict)))
            .collect();
        let silence = if report.lines().any(|line| line == "= expired") {
            "it had to wait for so long that it may be in use by now"
        } else {
            "the registry did not come to it"
        };
        let mut done = Deletions { deleted: Vec::new(), failed: self.left_out.clone() };
        for (index, deletion) in self.listed.iter().enumerate() {
            match verdicts.get(&(index + 1)) {
                // That it was gone already is as good.
                Some(&("deleted" | "gone")) => done.deleted.push(deletion.clone()),
                Some(verdict) => done.failed.push(failed(deletion, reason(verdict))),
                None => done.failed.push(failed(deletion, silence.to_owned())),
            }
        }
        done
    }
}

/// `None` if the script would refuse it.
fn line(deletion: &Deletion) -> Option<String> {
    let Deletion { repository, digest, tags, pushed, after, .. } = deletion;
    ImageReference::tagged("registry.example", repository, "tag").ok()?;
    let mut line = format!("{repository} {} {}", digest.hex(), pushed.as_second());
    for tag in tags {
        ImageReference::is_tag(tag).then_some(())?;
        write!(line, " tag:{tag}").ok()?;
    }
    for other in after {
        write!(line, " after:{}", other.hex()).ok()?;
    }
    line.push('\n');
    Some(line)
}

fn failed(deletion: &Deletion, reason: String) -> FailedDeletion {
    let Deletion { repository, digest, tags, .. } = deletion.clone();
    FailedDeletion { repository, digest, tags, reason }
}

/// Explains what a verdict of the script means.
fn reason(verdict: &str) -> String {
    let (word, detail) = verdict.split_once(' ').unwrap_or((verdict, ""));
    let detail: String = detail.chars().take(COMPLAINT).collect();
    match word {
        "moved" => format!("its tag `{detail}` has come to stand for another image since"),
        "tagged" => format!("the tag `{detail}` has come to stand for it since"),
        "pushed" => "it was pushed again since".to_owned(),
        "named" => "an image that was pushed since refers to it".to_owned(),
        "needed" => format!("sha256:{detail}, which belongs to it, is kept"),
        "unreadable" => "something in its repository cannot be read".to_owned(),
        "failed" => format!("the registry could not delete it: {detail}"),
        _ => format!("the registry refused it: {word} {detail}"),
    }
}
