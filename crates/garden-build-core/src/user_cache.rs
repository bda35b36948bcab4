use std::path::PathBuf;

use etcetera::BaseStrategy as _;

/// Returns where the caches of this user called `name` are: `garden-build/<name>` in `$XDG_CACHE_HOME` or `~/.cache`, on
/// macOS in `~/Library/Caches`; `None` if the user has no such directory. It need not exist.
pub fn user_cache_directory(name: &str) -> Option<PathBuf> {
    let strategy = etcetera::base_strategy::choose_native_strategy().ok()?;
    Some(strategy.cache_dir().join("garden-build").join(name))
}
