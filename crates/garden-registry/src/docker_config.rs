//! Reads and writes the credentials of a Docker `config.json`.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use base64::Engine as _;
use base64::alphabet;
use base64::engine::{DecodePaddingMode, GeneralPurpose, GeneralPurposeConfig};
use base64::prelude::BASE64_STANDARD;
use secrecy::{ExposeSecret as _, SecretString};
use serde::Deserialize;
use serde::de::DeserializeOwned;
use serde_json::{Map, Value, json};

use crate::allowed_helpers::AllowedHelpers;
use crate::entries::{Entries, Source};
use crate::helper_answer::HelperName;
use crate::key::Key;
use crate::login::{Entry, Helper, Login};

/// A Docker configuration that cannot be used. Says where it is, never what stands in it.
#[derive(Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum CredentialsError {
    /// It is not JSON.
    #[error("{origin} is not JSON: the error is in line {line}, column {column}")]
    NotJson {
        /// Where it was read.
        origin: String,
        /// The line, from 1.
        line: usize,
        /// The column, from 1.
        column: usize,
    },
    /// It is JSON, but not a Docker configuration.
    #[error("{origin} is not a Docker configuration: line {line}, column {column} has another form")]
    WrongForm {
        /// Where it was read.
        origin: String,
        /// The line, from 1.
        line: usize,
        /// The column, from 1.
        column: usize,
    },
    /// It has nothing about credentials at all, as happens when the older form is given as the newer.
    #[error("{origin} has none of `auths`, `credHelpers` and `credsStore`")]
    NoEntries {
        /// Where it was read.
        origin: String,
    },
    /// The `auth` of an entry is not `user:password` in base64.
    #[error("the `auth` of entry `{key}` in {origin} is not `user:password` in base64")]
    BadAuth {
        /// Where it was read.
        origin: String,
        /// The entry's key.
        key: String,
    },
    /// What is named as a credential helper can be none.
    #[error(
        "the {field} of {origin} is not the name of a credential helper: letters, digits, `-`, `_` and `.` only"
    )]
    BadHelper {
        /// Where it was read.
        origin: String,
        /// `credsStore`, or the entry of `credHelpers`.
        field: String,
    },
    /// The file is there, but cannot be read.
    #[error("{origin} cannot be read: {reason}")]
    Unreadable {
        /// The file.
        origin: String,
        /// What is wrong with it.
        reason: String,
    },
    /// The key of an entry names no host.
    #[error("{origin} has an entry whose key names no host")]
    BadKey {
        /// Where it was read.
        origin: String,
    },
}

garden_build_core::debug_with_causes!(CredentialsError);

/// Source: docker/cli, `cli/config/configfile/file.go`.
#[derive(Deserialize)]
struct ConfigFile {
    auths: Option<BTreeMap<String, Option<RawEntry>>>,
    #[serde(rename = "credHelpers")]
    cred_helpers: Option<BTreeMap<String, String>>,
    #[serde(rename = "credsStore")]
    creds_store: Option<String>,
}

/// Source: docker/cli, `cli/config/types/authconfig.go`.
#[derive(Deserialize)]
struct RawEntry {
    auth: Option<SecretString>,
    username: Option<String>,
    password: Option<SecretString>,
    identitytoken: Option<SecretString>,
    registrytoken: Option<SecretString>,
}

pub(crate) fn parse(bytes: &[u8], origin: &str) -> Result<Entries, CredentialsError> {
    let file: ConfigFile = from_json(bytes, origin)?;
    if file.auths.is_none() && file.cred_helpers.is_none() && file.creds_store.is_none() {
        return Err(CredentialsError::NoEntries { origin: origin.to_owned() });
    }
    read(file, origin)
}

fn read(file: ConfigFile, origin: &str) -> Result<Entries, CredentialsError> {
    let named = |helper: &str, field: &str| {
        let bad = || CredentialsError::BadHelper { origin: origin.to_owned(), field: field.to_owned() };
        let name = HelperName::parse(helper).ok_or_else(bad)?;
        let value = Helper { name, allowed: AllowedHelpers::none() };
        Ok(Entry { value, origin: Arc::from(origin) })
    };
    let mut entries = logins(file.auths.unwrap_or_default(), origin)?;
    let helpers = file.cred_helpers.unwrap_or_default();
    for (text, helper) in helpers.into_iter().filter(|(_, helper)| !helper.is_empty()) {
        let key = parse_key(&text, origin)?;
        let entry = named(&helper, &format!("entry `{key}` in `credHelpers`"))?;
        entries.helpers.insert(key, entry);
    }
    if let Some(store) = file.creds_store.filter(|store| !store.is_empty()) {
        entries.stores.push(named(&store, "`credsStore`")?);
    }
    Ok(entries)
}

/// Reads Docker's own configuration, which has other things in it as well, and may have nothing about
/// credentials.
pub(crate) fn parse_any(bytes: &[u8], origin: &str) -> Result<Entries, CredentialsError> {
    read(from_json(bytes, origin)?, origin)
}

pub(crate) fn parse_legacy(bytes: &[u8], origin: &str) -> Result<Entries, CredentialsError> {
    logins(from_json(bytes, origin)?, origin)
}

/// What `serde_json` says may quote the content, so only the place is kept.
fn from_json<T: DeserializeOwned>(bytes: &[u8], origin: &str) -> Result<T, CredentialsError> {
    serde_json::from_slice(bytes).map_err(|error| {
        let (origin, line, column) = (origin.to_owned(), error.line(), error.column());
        if error.is_data() {
            CredentialsError::WrongForm { origin, line, column }
        } else {
            CredentialsError::NotJson { origin, line, column }
        }
    })
}

pub(crate) fn parse_key(text: &str, origin: &str) -> Result<Key, CredentialsError> {
    Key::parse(text).ok_or_else(|| CredentialsError::BadKey { origin: origin.to_owned() })
}

fn logins(auths: BTreeMap<String, Option<RawEntry>>, origin: &str) -> Result<Entries, CredentialsError> {
    let mut entries = Entries::default();
    let shared: Arc<str> = Arc::from(origin);
    for (text, entry) in auths {
        let key = parse_key(&text, origin)?;
        // With a credential store, Docker leaves an empty entry behind to know where it is logged in.
        if let Some(login) = entry.map(|entry| login(entry, &key, origin)).transpose()?.flatten() {
            entries.logins.insert(key, Entry { value: login, origin: Arc::clone(&shared) });
        }
    }
    Ok(entries)
}

fn login(entry: RawEntry, key: &Key, origin: &str) -> Result<Option<Login>, CredentialsError> {
    let given =
        |secret: Option<SecretString>| secret.filter(|secret| !secret.expose_secret().trim().is_empty());
    // As in docker/cli and the kubelet, `auth` counts for more than the fields that say the same.
    let (username, password) = match given(entry.auth) {
        Some(auth) => {
            let decoded = decode(&auth).ok_or_else(|| CredentialsError::BadAuth {
                origin: origin.to_owned(),
                key: key.to_string(),
            })?;
            (Some(decoded.0), given(Some(decoded.1)))
        }
        None => (entry.username, given(entry.password)),
    };
    let username = username.filter(|username| !username.is_empty());
    let is_marker = username.as_deref() == Some("<token>");
    Ok(if let Some(token) = given(entry.registrytoken) {
        Some(Login::RegistryToken { token })
    } else if let Some(token) = given(entry.identitytoken) {
        Some(Login::IdentityToken { username: username.filter(|_| !is_marker), token })
    } else {
        match (username, password) {
            (Some(_), Some(token)) if is_marker => Some(Login::IdentityToken { username: None, token }),
            (Some(username), Some(password)) => Some(Login::Password { username, password }),
            _ => None,
        }
    })
}

/// Decodes `user:password`. Go's decoder, which others use, skips line ends; the kubelet takes it
/// without padding; docker/cli cuts off NUL characters.
fn decode(auth: &SecretString) -> Option<(String, SecretString)> {
    let lenient = GeneralPurposeConfig::new().with_decode_padding_mode(DecodePaddingMode::Indifferent);
    let packed: String = auth.expose_secret().split_ascii_whitespace().collect();
    let bytes = GeneralPurpose::new(&alphabet::STANDARD, lenient).decode(packed).ok()?;
    let text = String::from_utf8(bytes).ok()?;
    let (username, password) = text.split_once(':')?;
    Some((username.to_owned(), SecretString::from(password.trim_matches('\0'))))
}

/// Renders what `entries` have for `names_in_use`, and nothing else, for a builder that has the credential helpers `there`.
pub(crate) fn render(entries: &Entries, names_in_use: &[&str], there: &[&str]) -> SecretString {
    let (mut auths, mut cred_helpers): (Map<String, Value>, Map<String, Value>) = <_>::default();
    let mut decided = BTreeSet::new();
    for name in names_in_use {
        let (registry, repository) = name.split_once('/').unwrap_or((name, ""));
        let (host, whole) = (Key::exact(registry, ""), Key::exact(registry, repository));
        let mut sources = entries.sources(registry, repository).into_iter();
        // A store takes the place of all `auths`, so it is given to a builder as the helper of those
        // hosts that have no other.
        let usable = |source: &Source<'_>| match source {
            Source::Helper(question) => !question.is_store || there.contains(&question.helper.as_str()),
            Source::Login(..) => true,
        };
        match sources.find(usable) {
            Some(Source::Login(_, entry)) => {
                let login = render_login(&entry.value);
                if decided.insert(host.clone()) {
                    auths.insert(host.to_string(), login.clone());
                }
                if auths.get(&host.to_string()) != Some(&login) {
                    auths.insert(whole.to_string(), login);
                }
            }
            Some(Source::Helper(question)) if decided.insert(host.clone()) => {
                cred_helpers.insert(host.to_string(), Value::from(question.helper.as_str()));
            }
            _ => {}
        }
    }

    // Empty maps as well, so that a builder always finds a configuration of ours.
    SecretString::from(json!({ "auths": auths, "credHelpers": cred_helpers }).to_string())
}

/// Renders the passwords of `entries` for a repository, which are all that a node pulls with.
pub(crate) fn render_passwords(entries: &Entries, registry: &str, repository: &str) -> SecretString {
    let logins = entries.logins.iter().filter(|(key, entry)| {
        key.matches(registry, repository) && matches!(entry.value, Login::Password { .. })
    });
    let auths: Map<String, Value> =
        logins.map(|(key, entry)| (key.to_string(), render_login(&entry.value))).collect();
    SecretString::from(json!({ "auths": auths }).to_string())
}

pub(crate) fn render_login(login: &Login) -> Value {
    let encode = |username: &str, password: &str| BASE64_STANDARD.encode(format!("{username}:{password}"));
    match login {
        Login::Password { username, password } => {
            json!({ "auth": encode(username, password.expose_secret()) })
        }
        Login::IdentityToken { username: Some(username), token } => {
            json!({ "auth": encode(username, ""), "identitytoken": token.expose_secret() })
        }
        Login::IdentityToken { username: None, token } => json!({ "identitytoken": token.expose_secret() }),
        Login::RegistryToken { token } => json!({ "registrytoken": token.expose_secret() }),
    }
}

#[cfg(test)]
#[path = "docker_config_tests.rs"]
mod tests;
