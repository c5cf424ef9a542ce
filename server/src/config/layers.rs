//! Where values come from, and which of them wins.

use std::fmt;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::path::{Path, PathBuf};
use std::str::FromStr;

use anyhow::{Context, Result, anyhow, bail};

use super::masked;
use super::settings::{AllFlags, ClientFlags, DatabaseFlags, KafkaFlags, SETTINGS, ServerFlags};

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

/// The table of a file that is passed on to the Kafka client as it is.
const PROPERTIES: [&str; 2] = ["kafka", "properties"];

/// The winning text of each setting.
#[derive(Clone)]
pub(crate) struct Layers {
    settings: Vec<(&'static str, String, Origin)>,
    /// Properties of the Kafka client, and the file that they stand in.
    properties: Vec<(String, String)>,
    file: Option<PathBuf>,
}

/// What a file says: settings, and properties of the Kafka client.
type Said = (Vec<(&'static str, String)>, Vec<(String, String)>);

impl fmt::Debug for Layers {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        // Properties hold secrets.
        f.debug_list().entries(self.shown()).finish()
    }
}

impl Layers {
    /// The layers of a command that serves.
    pub(crate) fn of_server(flags: &ServerFlags) -> Result<Self> {
        Self::read(&flags.given(), flags.database.config.as_deref())
    }

    /// The layers of a command that only needs the database.
    pub(crate) fn of_database(flags: &DatabaseFlags) -> Result<Self> {
        Self::read(&flags.given(), flags.config.as_deref())
    }

    /// The layers of a command that goes to a running server.
    pub(crate) fn of_client(flags: &ClientFlags) -> Result<Self> {
        Self::read(&flags.server.given(), flags.config.as_deref())
    }

    /// All of them.
    pub(crate) fn of_all(flags: &AllFlags) -> Result<Self> {
        let given = [flags.server.given(), flags.client.given()].concat();
        Self::read(&given, flags.server.database.config.as_deref())
    }

    /// The layers of a command that publishes the database's log.
    pub(crate) fn of_relay(
        database: &DatabaseFlags,
        kafka: &KafkaFlags,
        program: Option<&str>,
    ) -> Result<Self> {
        let program = program.map(|program| ("program", program.to_owned()));
        let flags = [database.given(), kafka.given(), program.into_iter().collect()].concat();
        Self::read(&flags, database.config.as_deref())
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
        let (from_file, properties) = match file {
            Some((path, text)) => read_file(path, text)?,
            None => Said::default(),
        };
        let winning = SETTINGS.iter().map(|setting| {
            let key = setting.key;
            let variable = variable(key);
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
        let settings = winning.collect();
        let file = file.map(|(path, _)| path.to_path_buf());
        let mut layers = Self { settings, properties, file };
        // Whoever serves elsewhere on this machine goes there, too. Port 0 is none.
        let address = layers.text("listen").trim().parse().ok().filter(IpAddr::is_loopback);
        let address = address.unwrap_or(IpAddr::V4(Ipv4Addr::LOCALHOST));
        if let Some(port) = layers.text("port").trim().parse().ok().filter(|port: &u16| *port > 0) {
            layers.default_to("url", &format!("http://{}", SocketAddr::new(address, port)));
        }
        Ok(layers)
    }

    fn entry(&self, key: &str) -> (&str, &Origin) {
        let found = self.settings.iter().find(|(name, ..)| *name == key);
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
        for (name, text, origin) in &mut self.settings {
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
        self.broken(key, &format!("expected {expected}"))
    }

    /// Which rule a setting breaks, in one line.
    pub(crate) fn broken(&self, key: &str, rule: &str) -> String {
        let (value, origin) = self.entry(key);
        format!("{key}: {rule}, got {:?} ({origin})", shown(key, value))
    }

    /// Of these variables those that look like settings and are none.
    pub(crate) fn unknown(variables: impl IntoIterator<Item = String>) -> Vec<String> {
        let is_known = |name: &str| {
            name == "ACCRUE_CONFIG" || SETTINGS.iter().any(|it| name == variable(it.key))
        };
        let names = variables.into_iter();
        names.filter(|name| name.starts_with("ACCRUE_") && !is_known(name)).collect()
    }

    /// Every setting: name, value for people, origin.
    pub(crate) fn shown(&self) -> Vec<Vec<String>> {
        let row = |(key, value, origin): &(&'static str, String, Origin)| {
            let value = shown(key, value);
            let value = if value.is_empty() { "-".to_owned() } else { value };
            vec![(*key).to_owned(), value, format!("({origin})")]
        };
        let mut rows: Vec<_> = self.settings.iter().map(row).collect();
        // Names only: nobody knows which of the values are secrets.
        rows.extend(self.properties.iter().map(|(name, _)| {
            let name = format!("{}.{name}", PROPERTIES.join("."));
            let file = self.file.clone().unwrap_or_default();
            vec![name, "(set)".to_owned(), format!("({})", Origin::File(file))]
        }));
        rows
    }

    /// Properties for the Kafka client.
    pub(crate) fn kafka_properties(&self) -> Vec<(String, String)> {
        self.properties.clone()
    }
}

/// What a setting is called in the environment.
fn variable(key: &str) -> String {
    format!("ACCRUE_{}", key.to_uppercase())
}

fn shown(key: &str, value: &str) -> String {
    match key {
        "database_url" | "read_database_url" | "url" => masked(value),
        "payments_key" | "payments_webhook_secret" if !value.is_empty() => "(secret)".to_owned(),
        _ => value.to_owned(),
    }
}

fn read_file(path: &Path, text: &str) -> Result<Said> {
    let name = path.display();
    let mut table: toml::Table = text.parse().map_err(|error: toml::de::Error| {
        let line = error.span().map_or(1, |span| text[..span.start].matches('\n').count() + 1);
        anyhow!("{name}, line {line}: {}", error.message())
    })?;
    let properties = kafka_properties(path, &mut table)?;
    let known = |key: &str| SETTINGS.iter().find(|setting| setting.key == key);
    let unknown: Vec<_> = table.keys().filter(|key| known(key).is_none()).cloned().collect();
    if !unknown.is_empty() {
        let all: Vec<_> = SETTINGS.iter().map(|setting| setting.key).collect();
        bail!("{name}: unknown settings: {} (known: {})", unknown.join(", "), all.join(", "));
    }
    let settings = table
        .iter()
        .filter_map(|(key, value)| known(key).map(|setting| (setting.key, value)))
        .map(|(key, value)| match value {
            toml::Value::String(text) => Ok((key, text.clone())),
            toml::Value::Integer(number) => Ok((key, number.to_string())),
            toml::Value::Boolean(switch) => Ok((key, switch.to_string())),
            other => bail!("{name}: {key}: expected a text or a number, got {}", other.type_str()),
        })
        .collect::<Result<_>>()?;
    Ok((settings, properties))
}

/// Takes `[kafka.properties]` out of the file's table.
fn kafka_properties(path: &Path, table: &mut toml::Table) -> Result<Vec<(String, String)>> {
    let name = path.display();
    let [outer, inner] = PROPERTIES;
    let Some(kafka) = table.remove(outer) else { return Ok(Vec::new()) };
    let toml::Value::Table(kafka) = kafka else { bail!("{name}: {outer}: expected a table") };
    if let Some(other) = kafka.keys().find(|key| *key != inner) {
        bail!("{name}: unknown settings: {outer}.{other} (known: {outer}.{inner})");
    }
    let Some(toml::Value::Table(properties)) = kafka.get(inner) else {
        bail!("{name}: {outer}.{inner}: expected a table");
    };
    let text = |(key, value): (&String, &toml::Value)| match value {
        toml::Value::String(text) => Ok((key.clone(), text.clone())),
        toml::Value::Integer(number) => Ok((key.clone(), number.to_string())),
        toml::Value::Boolean(truth) => Ok((key.clone(), truth.to_string())),
        other => bail!(
            "{name}: {outer}.{inner}.{key}: expected a text, a number or a truth, got {}",
            other.type_str()
        ),
    };
    properties.iter().map(text).collect()
}
