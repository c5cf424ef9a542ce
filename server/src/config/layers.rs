//! Where values come from, and which of them wins.

use std::fmt;
use std::path::{Path, PathBuf};
use std::str::FromStr;

use anyhow::{Context, Result, anyhow, bail};

use super::masked;
use super::settings::{DatabaseFlags, SETTINGS, ServerFlags};

/// Read when no `--config` is given, if it is there.
const DEFAULT_FILE: &str = "./accrue.toml";

/// Where a value comes from.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Origin {
    Flag(String),
    Environment(String),
    File(PathBuf),
    Default,
}

impl fmt::Display for Origin {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Flag(name) => write!(f, "flag {name}"),
            Self::Environment(name) => write!(f, "environment {name}"),
            Self::File(path) => write!(f, "file {}", path.display()),
            Self::Default => f.write_str("default"),
        }
    }
}

/// The winning text of each setting.
#[derive(Debug, Clone)]
pub(crate) struct Layers(Vec<(&'static str, String, Origin)>);

impl Layers {
    /// The layers of a command that serves.
    pub(crate) fn of_server(flags: &ServerFlags) -> Result<Self> {
        Self::read(&flags.given(), flags.database.config.as_deref())
    }

    /// The layers of a command that only needs the database.
    pub(crate) fn of_database(flags: &DatabaseFlags) -> Result<Self> {
        Self::read(&flags.given(), flags.config.as_deref())
    }

    fn read(flags: &[(&'static str, String)], file: Option<&Path>) -> Result<Self> {
        let file = match file {
            Some(path) => Some(path),
            None => Some(Path::new(DEFAULT_FILE)).filter(|path| path.exists()),
        };
        let file = match file {
            Some(path) => {
                let text = std::fs::read_to_string(path)
                    .with_context(|| format!("cannot read {}", path.display()))?;
                Some((path, text))
            }
            None => None,
        };
        let file = file.as_ref().map(|(path, text)| (*path, text.as_str()));
        Self::merge(flags, |name| std::env::var(name).ok(), file)
    }

    /// Flags over environment over file over defaults.
    pub(super) fn merge(
        flags: &[(&'static str, String)],
        environment: impl Fn(&str) -> Option<String>,
        file: Option<(&Path, &str)>,
    ) -> Result<Self> {
        let from_file = match file {
            Some((path, text)) => read_file(path, text)?,
            None => Vec::new(),
        };
        let winning = SETTINGS.iter().map(|setting| {
            let key = setting.key;
            let variable = format!("ACCRUE_{}", key.to_uppercase());
            let named = |list: &[(&'static str, String)]| {
                list.iter().find(|(name, _)| *name == key).map(|(_, value)| value.clone())
            };
            // An empty variable is one that nobody meant to set.
            let from_environment = || environment(&variable).filter(|value| !value.is_empty());
            if let Some(value) = named(flags) {
                return (key, value, Origin::Flag(format!("--{}", key.replace('_', "-"))));
            }
            if let Some(value) = from_environment() {
                return (key, value, Origin::Environment(variable.clone()));
            }
            match (named(&from_file), file) {
                (Some(value), Some((path, _))) => (key, value, Origin::File(path.to_path_buf())),
                _ => (key, setting.default.to_owned(), Origin::Default),
            }
        });
        Ok(Self(winning.collect()))
    }

    fn entry(&self, key: &str) -> (&str, &Origin) {
        let found = self.0.iter().find(|(name, ..)| *name == key);
        found.map_or(("", &Origin::Default), |(_, value, origin)| (value, origin))
    }

    /// The text of a setting.
    pub(crate) fn text(&self, key: &str) -> String {
        self.entry(key).0.to_owned()
    }

    /// Where it comes from.
    pub(crate) fn origin(&self, key: &str) -> &Origin {
        self.entry(key).1
    }

    /// A setting that only this command has another default for.
    pub(crate) fn default_to(&mut self, key: &str, value: &str) {
        for (name, text, origin) in &mut self.0 {
            if *name == key && *origin == Origin::Default {
                value.clone_into(text);
            }
        }
    }

    /// The value of a setting.
    pub(crate) fn parse<T: FromStr>(&self, key: &str, expected: &str) -> Result<T> {
        self.text(key).trim().parse().map_err(|_| anyhow!(self.wrong(key, expected)))
    }

    /// What is wrong with a setting, in one line.
    pub(crate) fn wrong(&self, key: &str, expected: &str) -> String {
        let (value, origin) = self.entry(key);
        format!("{key}: expected {expected}, got {:?} ({origin})", shown(key, value))
    }

    /// Every setting: name, value for people, origin.
    pub(crate) fn shown(&self) -> Vec<Vec<String>> {
        let row = |(key, value, origin): &(&'static str, String, Origin)| {
            let value = shown(key, value);
            let value = if value.is_empty() { "-".to_owned() } else { value };
            vec![(*key).to_owned(), value, format!("({origin})")]
        };
        self.0.iter().map(row).collect()
    }
}

fn shown(key: &str, value: &str) -> String {
    match key {
        "database_url" | "read_database_url" => masked(value),
        "payments_key" | "payments_webhook_secret" if !value.is_empty() => "(secret)".to_owned(),
        _ => value.to_owned(),
    }
}

fn read_file(path: &Path, text: &str) -> Result<Vec<(&'static str, String)>> {
    let name = path.display();
    let table: toml::Table = text.parse().map_err(|error: toml::de::Error| {
        let line = error.span().map_or(1, |span| text[..span.start].matches('\n').count() + 1);
        anyhow!("{name}, line {line}: {}", error.message())
    })?;
    let known = |key: &str| SETTINGS.iter().find(|setting| setting.key == key);
    let unknown: Vec<_> = table.keys().filter(|key| known(key).is_none()).cloned().collect();
    if !unknown.is_empty() {
        let all: Vec<_> = SETTINGS.iter().map(|setting| setting.key).collect();
        bail!("{name}: unknown settings: {} (known: {})", unknown.join(", "), all.join(", "));
    }
    table
        .iter()
        .filter_map(|(key, value)| known(key).map(|setting| (setting.key, value)))
        .map(|(key, value)| match value {
            toml::Value::String(text) => Ok((key, text.clone())),
            toml::Value::Integer(number) => Ok((key, number.to_string())),
            toml::Value::Boolean(switch) => Ok((key, switch.to_string())),
            other => bail!("{name}: {key}: expected a text or a number, got {}", other.type_str()),
        })
        .collect()
}
