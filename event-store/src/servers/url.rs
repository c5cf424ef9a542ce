//! A URL with several hosts, as libpq reads it. sqlx knows one host a URL, so it is taken apart
//! into a URL a host.

use std::str::FromStr;

use sqlx::postgres::PgConnectOptions;

use super::Needed;

/// Why a URL says of no database where it is.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub struct Invalid(String);

/// What a URL says.
#[derive(Debug)]
pub(super) struct Parsed {
    /// At least one.
    pub(super) hosts: Vec<PgConnectOptions>,
    /// None where it does not say.
    pub(super) needed: Option<Needed>,
}

pub(super) fn parse(url: &str) -> Result<Parsed, Invalid> {
    let (urls, attributes) = apart(url)?;
    let needed = attributes.map(|it| needed(&it)).transpose()?;
    let hosts = urls.iter().map(|url| PgConnectOptions::from_str(url));
    let hosts = hosts.collect::<Result<Vec<_>, _>>();
    Ok(Parsed { hosts: hosts.map_err(|error| Invalid(error.to_string()))?, needed })
}

fn needed(attributes: &str) -> Result<Needed, Invalid> {
    match attributes {
        "read-write" | "primary" => Ok(Needed::ReadWrite),
        "any" => Ok(Needed::Any),
        other => Err(Invalid(format!(
            "expected target_session_attrs to be read-write, primary or any, got {other}"
        ))),
    }
}

/// A URL a host, and `target_session_attrs` where it is said.
fn apart(url: &str) -> Result<(Vec<String>, Option<String>), Invalid> {
    let (scheme, rest) = url.split_once("://").ok_or_else(|| Invalid("not a URL".to_owned()))?;
    let (rest, query) = rest.split_once('?').unwrap_or((rest, ""));
    let (authority, path) = rest.split_at(rest.find('/').unwrap_or(rest.len()));
    // The last `@`: a password may hold one itself.
    let (user, addresses) = match authority.rsplit_once('@') {
        Some((user, addresses)) => (format!("{user}@"), addresses),
        None => (String::new(), authority),
    };
    let (mut attributes, mut folders, mut others) = (None, Vec::new(), Vec::new());
    for pair in query.split('&').filter(|pair| !pair.is_empty()) {
        match pair.split_once('=') {
            Some(("target_session_attrs", value)) => attributes = Some(value.to_owned()),
            Some(("host", value)) => {
                folders = value.replace("%2C", ",").split(',').map(str::to_owned).collect();
            }
            _ => others.push(pair.to_owned()),
        }
    }
    let addresses: Vec<&str> = addresses.split(',').collect();
    if addresses.len() > 1 && !folders.is_empty() {
        let detail = "expected several hosts in the address or in the parameter host, not in both";
        return Err(Invalid(detail.to_owned()));
    }
    let written = |address: &str, folder: Option<&String>| {
        let host = folder.map(|folder| format!("host={folder}"));
        let query: Vec<String> = others.iter().cloned().chain(host).collect();
        let query = if query.is_empty() { String::new() } else { format!("?{}", query.join("&")) };
        format!("{scheme}://{user}{address}{path}{query}")
    };
    let urls = if folders.is_empty() {
        addresses.iter().map(|address| written(address, None)).collect()
    } else {
        folders.iter().map(|folder| written(addresses[0], Some(folder))).collect()
    };
    Ok((urls, attributes))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn several_hosts_are_told_apart_and_share_the_rest() {
        let url = "postgres://a:p%40s@one:1,two:2,[::1]/d?target_session_attrs=any&sslmode=disable";
        let (urls, attributes) = apart(url).unwrap();
        assert_eq!(attributes.as_deref(), Some("any"));
        assert_eq!(
            urls,
            [
                "postgres://a:p%40s@one:1/d?sslmode=disable",
                "postgres://a:p%40s@two:2/d?sslmode=disable",
                "postgres://a:p%40s@[::1]/d?sslmode=disable",
            ]
        );
        let parsed = parse(url).unwrap();
        assert_eq!(parsed.needed, Some(Needed::Any));
        let ports: Vec<u16> = parsed.hosts.iter().map(PgConnectOptions::get_port).collect();
        assert_eq!(ports, [1, 2, 5432]);
    }

    #[test]
    fn folders_of_sockets_are_hosts_too() {
        let (urls, _) = apart("postgres://a@localhost:7/d?host=%2Fx,/y&sslmode=disable").unwrap();
        assert_eq!(
            urls,
            [
                "postgres://a@localhost:7/d?sslmode=disable&host=%2Fx",
                "postgres://a@localhost:7/d?sslmode=disable&host=/y",
            ]
        );
        let one = apart("postgres://a@localhost/d").unwrap();
        assert_eq!(one, (vec!["postgres://a@localhost/d".to_owned()], None));
    }

    #[test]
    fn what_makes_no_sense_is_refused() {
        for (url, said) in [
            ("localhost", "not a URL"),
            ("postgres://a,b/d?host=/x", "not in both"),
            ("postgres://a/d?target_session_attrs=standby", "got standby"),
            ("postgres://a:b:c/d", "invalid"),
        ] {
            let error = parse(url).unwrap_err().to_string();
            assert!(error.contains(said), "{url}: {error}");
        }
    }
}
