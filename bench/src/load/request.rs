//! Prebuilt requests, patched in place: an account number and a key are all that differs.

use std::fmt::Write as _;
use std::net::SocketAddr;

/// Digits of an account number in a path: enough for 100 million accounts.
const ACCOUNT_DIGITS: usize = 8;

/// Small, fast and seeded (splitmix64): every run asks for the same accounts in the same order.
#[derive(Debug, Clone)]
pub(crate) struct Chance(u64);

impl Chance {
    pub(crate) fn new(seed: u64) -> Self {
        Self(seed)
    }

    pub(crate) fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut mixed = self.0;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        mixed ^ (mixed >> 31)
    }

    pub(crate) fn below(&mut self, limit: u64) -> u64 {
        self.next() % limit.max(1)
    }

    /// A version 4 UUID as text, which is what clients send as a key.
    pub(crate) fn uuid(&mut self, text: &mut [u8]) {
        let random = (u128::from(self.next()) << 64) | u128::from(self.next());
        uuid::Builder::from_random_bytes(random.to_be_bytes())
            .into_uuid()
            .hyphenated()
            .encode_lower(text);
    }
}

const UUID_CHARS: usize = uuid::fmt::Hyphenated::LENGTH;

/// The id of an account in a load.
pub(crate) fn account_id(number: u64) -> String {
    format!("m{number:0width$}", width = ACCOUNT_DIGITS)
}

/// A stream of like requests.
#[derive(Debug, Clone)]
pub(crate) struct Requests {
    bytes: Vec<u8>,
    account_at: Option<usize>,
    key_at: Option<usize>,
    accounts: u64,
    chance: Chance,
}

impl Requests {
    /// Issues 100 points to one of so many accounts; with 1, to the same each time.
    pub(crate) fn issue(host: SocketAddr, accounts: u64) -> Self {
        let body = r#"{"points":100,"reference":"bench"}"#;
        let key = "0".repeat(UUID_CHARS);
        let text = format!(
            "POST /v1/accounts/{}/points/issue HTTP/1.1\r\nHost: {host}\r\n\
             Content-Type: application/json\r\nIdempotency-Key: {key}\r\n\
             Content-Length: {}\r\n\r\n{body}",
            account_id(0),
            body.len(),
        );
        Self::patched(text, accounts, Some(&key))
    }

    /// Reads `prefix` + account id.
    pub(crate) fn get(host: SocketAddr, prefix: &str, accounts: u64) -> Self {
        let text = format!("GET {prefix}{} HTTP/1.1\r\nHost: {host}\r\n\r\n", account_id(0));
        Self::patched(text, accounts, None)
    }

    fn patched(text: String, accounts: u64, key: Option<&str>) -> Self {
        let account_at = text.find(&account_id(0)).map(|at| at + 1);
        let key_at = key.and_then(|key| text.find(key));
        let chance = Chance::new(0);
        Self { bytes: text.into_bytes(), account_at, key_at, accounts, chance }
    }

    /// The same requests with chances of their own, so that connections do not repeat each other.
    pub(crate) fn seeded(&self, seed: u64) -> Self {
        let mut spread = Chance::new(seed);
        Self { chance: Chance::new(spread.next()), ..self.clone() }
    }

    /// The account that the last request was about.
    pub(crate) fn account(&self) -> String {
        let at = self.account_at.unwrap_or_default();
        format!("m{}", String::from_utf8_lossy(&self.bytes[at..at + ACCOUNT_DIGITS]))
    }

    /// Patches in the next account and key.
    pub(crate) fn next(&mut self) -> &[u8] {
        let mut account = self.chance.below(self.accounts);
        if let Some(at) = self.account_at {
            for digit in self.bytes[at..at + ACCOUNT_DIGITS].iter_mut().rev() {
                *digit = b"0123456789"[usize::try_from(account % 10).unwrap_or_default()];
                account /= 10;
            }
        }
        if let Some(at) = self.key_at {
            self.chance.uuid(&mut self.bytes[at..at + UUID_CHARS]);
        }
        &self.bytes
    }
}

/// A bulk request: so many envelopes, one a line.
pub(crate) fn bulk(host: SocketAddr, envelopes: &[(String, u64)]) -> Vec<u8> {
    let mut lines = String::with_capacity(envelopes.len() * 120);
    for (id, account) in envelopes {
        let account = account_id(*account);
        writeln!(
            lines,
            r#"{{"id":"{id}","type":"issue_points","account":"{account}","points":100}}"#
        )
        .expect("a String takes all that is written to it");
    }
    let mut request = format!(
        "POST /v1/commands HTTP/1.1\r\nHost: {host}\r\nContent-Type: application/x-ndjson\r\n\
         Content-Length: {}\r\n\r\n",
        lines.len(),
    );
    request.push_str(&lines);
    request.into_bytes()
}

#[cfg(test)]
mod tests {
    use super::{Requests, account_id, bulk};
    use std::net::SocketAddr;

    fn host() -> SocketAddr {
        ([127, 0, 0, 1], 80).into()
    }

    fn next(requests: &mut Requests) -> String {
        String::from_utf8(requests.next().to_vec()).unwrap()
    }

    fn part<'a>(text: &'a str, before: &str, after: &str) -> &'a str {
        text.split_once(before).unwrap().1.split_once(after).unwrap().0
    }

    #[test]
    fn each_issue_has_a_fresh_key_and_an_account_in_range() {
        let mut requests = Requests::issue(host(), 1000).seeded(7);
        let mut keys = std::collections::HashSet::new();
        for _ in 0..100 {
            let text = next(&mut requests);
            let account: u64 = part(&text, "/accounts/m", "/points").parse().unwrap();
            assert!(account < 1000);
            assert_eq!(requests.account(), account_id(account));
            let key = part(&text, "Idempotency-Key: ", "\r\n");
            assert_eq!(uuid::Uuid::parse_str(key).unwrap().get_version_num(), 4);
            assert!(keys.insert(key.to_owned()));
        }
    }

    #[test]
    fn one_account_is_always_the_same_account() {
        let mut requests = Requests::issue(host(), 1).seeded(7);
        for _ in 0..10 {
            assert!(next(&mut requests).starts_with("POST /v1/accounts/m00000000/points/issue "));
        }
    }

    #[test]
    fn connections_do_not_repeat_each_other() {
        let requests = Requests::issue(host(), 1000);
        assert_ne!(requests.seeded(1).next(), requests.seeded(2).next());
        assert_eq!(requests.seeded(1).next(), requests.seeded(1).next());
    }

    #[test]
    fn lengths_are_those_of_the_bodies() {
        let issue = next(&mut Requests::issue(host(), 10));
        let envelopes = [("k-1".to_owned(), 5), ("k-2".to_owned(), 6)];
        let bulk = String::from_utf8(bulk(host(), &envelopes)).unwrap();
        for text in [&issue, &bulk] {
            let (head, body) = text.split_once("\r\n\r\n").unwrap();
            assert!(head.ends_with(&format!("Content-Length: {}", body.len())));
        }
        assert_eq!(bulk.lines().filter(|line| line.contains("issue_points")).count(), 2);
    }

    #[test]
    fn a_read_needs_no_key() {
        let text = next(&mut Requests::get(host(), "/v1/accounts/", 1));
        assert_eq!(text, "GET /v1/accounts/m00000000 HTTP/1.1\r\nHost: 127.0.0.1:80\r\n\r\n");
    }
}
