//! What a user can do about an error: in words, and as data for front ends that have words of their own.

use std::fmt;

use serde::{Deserialize, Serialize};

/// What a user can do, as far as a front end can offer it: a field to fill in, a command to run, a button.
///
/// Serialised in kebab-case. A code that this version does not know is read as [`Other`](Self::Other).
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug, Default, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
#[non_exhaustive]
pub enum HintCode {
    /// Change [`options`](Hint::options) of the provider, as the project file spells them.
    SetOption,
    /// Change [`options`](Hint::options) of the request: those of a build or of a publish, as the project file spells them.
    SetRequest,
    /// Install what builds need in the cluster, or bring it up to date, with the facade's `init`. If there are
    /// [`options`](Hint::options), change them first.
    InstallServices,
    /// Free room in the registry and the daemon within the cluster, with the facade's `clean_up_registry`; or enlarge it by
    /// [`options`](Hint::options).
    CleanUpRegistry,
    /// Stop what nobody has used for long, with the facade's `sweep`.
    Sweep,
    /// Log in to the registry, with `docker login` or by [`options`](Hint::options).
    LogIn,
    /// Log in to the cluster, or correct the kubeconfig.
    LogInToCluster,
    /// Give this user more rights in the cluster.
    GrantRights,
    /// Build again.
    BuildAgain,
    /// Only the words of the hint have it.
    #[default]
    #[serde(other)]
    Other,
}

/// What a user can do about an error.
///
/// The words are a clause without a full stop. They name options, never methods of a program.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
#[non_exhaustive]
pub struct Hint {
    /// What to do, for programs.
    #[serde(default)]
    pub code: HintCode,
    /// What to do, for people.
    pub text: String,
    /// The options that `code` is about, as the project file spells them, such as `storage.registry.storageClass`.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub options: Vec<String>,
}

impl Hint {
    /// Shows `text`, to people only.
    pub fn new(text: impl Into<String>) -> Self {
        Self { code: HintCode::Other, text: text.into(), options: Vec::new() }
    }

    /// Describes what to do, for programs.
    #[must_use]
    pub fn with_code(self, code: HintCode) -> Self {
        Self { code, ..self }
    }

    /// Adds an option that the code is about.
    #[must_use]
    pub fn with_option(mut self, option: impl Into<String>) -> Self {
        self.options.push(option.into());
        self
    }

    /// Shows `text` to people instead, and the same to programs.
    #[must_use]
    pub fn with_text(self, text: impl Into<String>) -> Self {
        Self { text: text.into(), ..self }
    }
}

impl fmt::Display for Hint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.text)
    }
}

impl From<&str> for Hint {
    fn from(text: &str) -> Self {
        Self::new(text)
    }
}

impl From<String> for Hint {
    fn from(text: String) -> Self {
        Self::new(text)
    }
}

impl From<&Self> for Hint {
    fn from(hint: &Self) -> Self {
        hint.clone()
    }
}

impl From<Remedy> for Hint {
    fn from(remedy: Remedy) -> Self {
        let options = remedy.options.iter().map(ToString::to_string).collect();
        Self { code: remedy.code, text: remedy.text.to_owned(), options }
    }
}

/// A [`Hint`] that is known when the program is compiled: an entry in the tables of what to do about a failure.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Remedy {
    code: HintCode,
    text: &'static str,
    options: &'static [&'static str],
}

impl Remedy {
    /// Shows `text`, to people only.
    pub const fn new(text: &'static str) -> Self {
        Self { code: HintCode::Other, text, options: &[] }
    }

    /// States that `options` of the provider should be changed.
    pub const fn set(options: &'static [&'static str], text: &'static str) -> Self {
        Self { code: HintCode::SetOption, text, options }
    }

    /// States that `options` of the request should be changed.
    pub const fn request(options: &'static [&'static str], text: &'static str) -> Self {
        Self { code: HintCode::SetRequest, text, options }
    }

    /// States that what builds need in the cluster should be installed.
    pub const fn install(text: &'static str) -> Self {
        Self { code: HintCode::InstallServices, text, options: &[] }
    }

    /// States that `options` of the provider should be changed, and what builds need in the cluster installed with them.
    pub const fn set_and_install(options: &'static [&'static str], text: &'static str) -> Self {
        Self { code: HintCode::InstallServices, text, options }
    }

    /// States that room should be freed in the registry and the daemon within the cluster, or made by `options`.
    pub const fn clean_up(options: &'static [&'static str], text: &'static str) -> Self {
        Self { code: HintCode::CleanUpRegistry, text, options }
    }

    /// States that somebody has to log in to a registry, where `options` may take the login.
    pub const fn log_in(options: &'static [&'static str], text: &'static str) -> Self {
        Self { code: HintCode::LogIn, text, options }
    }

    /// States that the same build should be tried again.
    pub const fn build_again(text: &'static str) -> Self {
        Self { code: HintCode::BuildAgain, text, options: &[] }
    }

    /// Puts another code in place of what it was made with.
    #[must_use]
    pub const fn coded(self, code: HintCode) -> Self {
        Self { code, ..self }
    }

    /// Returns the words for people.
    pub const fn text(self) -> &'static str {
        self.text
    }
}

impl fmt::Display for Remedy {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.text)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_front_end_reads_code_and_options() {
        let remedy = Remedy::set_and_install(&["storage.registry.size"], "raise it, and install again");
        let written = serde_json::json!({
            "code": "install-services",
            "text": "raise it, and install again",
            "options": ["storage.registry.size"],
        });
        assert_eq!(serde_json::to_value(Hint::from(remedy)).expect("JSON"), written);
        assert_eq!(serde_json::from_value::<Hint>(written).expect("JSON"), remedy.into());
    }

    #[test]
    fn a_hint_of_a_newer_service_keeps_its_words() {
        let hint: Hint =
            serde_json::from_str(r#"{"code": "dance", "text": "dance", "tune": 1}"#).expect("JSON");
        assert_eq!(hint, Hint::new("dance"));
    }
}
