//! What is said of sockets and FIFOs, which are not sent.

use std::collections::BTreeMap;
use std::iter;

use garden_build_core::context::{LeftOut, Tree};
use garden_build_core::{Caveat, WarningCode, WarningData};

/// Reports once for all contexts of a build what is left out of them.
pub(super) fn caveat(context: &Tree, named: &BTreeMap<String, Tree>) -> Option<Caveat> {
    let named = named.iter().map(|(name, tree)| (Some(name.as_str()), tree.left_out()));
    let all = iter::once((None, context.left_out())).chain(named);
    of(all.filter_map(|(name, left_out)| Some((name, left_out?))))
}

fn of<'a>(mut all: impl Iterator<Item = (Option<&'a str>, &'a LeftOut)>) -> Option<Caveat> {
    let (name, LeftOut { first, kind, count, .. }) = all.next()?;
    let others = count - 1 + all.map(|(_, left_out)| left_out.count).sum::<usize>();
    let place = name.map(|name| format!(" in the context `{name}`")).unwrap_or_default();
    let it = match others {
        0 => "it is".to_owned(),
        1 => "it and one more socket or FIFO are".to_owned(),
        more => format!("it and {more} more sockets and FIFOs are"),
    };
    let file = WarningData::File { context: name.map(str::to_owned), path: first.to_string() };
    let caveat = Caveat::new(
        WarningCode::FileLeftOut,
        format!(
            "`{first}`{place} is a {kind}, of use only to the programs at its ends: {it} not in the image"
        ),
        format!("add `{}` to .dockerignore to hear no more of it", first.ignore_pattern()),
    );
    Some(caveat.with_data(file))
}
