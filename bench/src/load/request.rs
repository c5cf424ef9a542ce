//! Prebuilt requests, patched in place: numbers of accounts and products, and a key, are all that
//! differs.

use std::net::SocketAddr;

/// Digits of an account's or a product's number: enough for 100 million.
const NUMBER_DIGITS: usize = 8;

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
    format!("m{number:0width$}", width = NUMBER_DIGITS)
}

/// The id of a product in a load.
pub(crate) fn product_id(number: u64) -> String {
    format!("p{number:0width$}", width = NUMBER_DIGITS)
}

/// Something in a request that each sending fills anew.
#[derive(Debug, Clone)]
struct Blank {
    /// Where it stands, more than once perhaps.
    at: Vec<usize>,
    value: Value,
}

#[derive(Debug, Clone, Copy)]
enum Value {
    /// The number of an account or a product, below this.
    Number(u64),
    /// A key of its own.
    Key,
}

/// A stream of like requests.
#[derive(Debug, Clone)]
pub(crate) struct Requests {
    bytes: Vec<u8>,
    /// The account first, where there is one.
    blanks: Vec<Blank>,
    wanted: Option<&'static str>,
    chance: Chance,
}

impl Requests {
    /// Issues 100 points to one of so many accounts; with 1, to the same each time. The baseline's
    /// answer has no events in it, so none are asked for.
    pub(crate) fn issue(host: SocketAddr, accounts: u64) -> Self {
        let body = r#"{"points":100,"reference":"bench"}"#;
        let key = no_key();
        let text = format!(
            "POST /v1/accounts/{}/points/issue HTTP/1.1\r\nHost: {host}\r\n\
             Content-Type: application/json\r\nIdempotency-Key: {key}\r\n\
             Prefer: return=minimal\r\nContent-Length: {}\r\n\r\n{body}",
            account_id(0),
            body.len(),
        );
        Self::with_blanks(text, &[(&account_id(0), Value::Number(accounts)), (&key, Value::Key)])
    }

    /// Buys one unit of one of so many products from the wallet of one of so many accounts, and
    /// waits until it is completed: nothing else is a good answer.
    pub(crate) fn purchase(host: SocketAddr, products: u64, accounts: u64) -> Self {
        let (key, account, product) = (no_key(), account_id(0), product_id(0));
        let body = format!(
            r#"{{"id":"{key}","account":"{account}","lines":[{{"product":"{product}","quantity":1}}],"tenders":[{{"kind":"wallet","wallet":"{account}"}}]}}"#
        );
        let text = format!(
            "POST /v1/purchases HTTP/1.1\r\nHost: {host}\r\nContent-Type: application/json\r\n\
             Prefer: wait=30\r\nContent-Length: {}\r\n\r\n{body}",
            body.len(),
        );
        let blanks = [
            (&*account, Value::Number(accounts)),
            (&*product, Value::Number(products)),
            (&*key, Value::Key),
        ];
        Self { wanted: Some(r#""state":"completed""#), ..Self::with_blanks(text, &blanks) }
    }

    /// Reads `prefix` + account id.
    pub(crate) fn get(host: SocketAddr, prefix: &str, accounts: u64) -> Self {
        let text = format!("GET {prefix}{} HTTP/1.1\r\nHost: {host}\r\n\r\n", account_id(0));
        Self::with_blanks(text, &[(&account_id(0), Value::Number(accounts))])
    }

    fn with_blanks(text: String, blanks: &[(&str, Value)]) -> Self {
        let blank = |(found, value): &(&str, Value)| {
            // The letter before a number stays.
            let letters = usize::from(matches!(value, Value::Number(_)));
            let at = text.match_indices(found).map(|(at, _)| at + letters).collect();
            Blank { at, value: *value }
        };
        let blanks = blanks.iter().map(blank).collect();
        Self { bytes: text.into_bytes(), blanks, wanted: None, chance: Chance::new(0) }
    }

    /// The same requests to other accounts, none of which the first ask for.
    pub(crate) fn elsewhere(mut self) -> Self {
        let accounts = self.blanks.first().map(|blank| blank.at.clone()).unwrap_or_default();
        for at in accounts {
            // The letter before the number.
            self.bytes[at - 1] = b'n';
        }
        self
    }

    /// The same requests with chances of their own, so that connections do not repeat each other.
    pub(crate) fn seeded(&self, seed: u64) -> Self {
        let mut spread = Chance::new(seed);
        Self { chance: Chance::new(spread.next()), ..self.clone() }
    }

    /// The account that the last request was about.
    pub(crate) fn account(&self) -> String {
        let at = self.blanks.first().and_then(|blank| blank.at.first()).copied();
        let at = at.unwrap_or_default();
        format!("m{}", String::from_utf8_lossy(&self.bytes[at..at + NUMBER_DIGITS]))
    }

    /// What the body of a good answer has in it, where a good status does not say enough.
    pub(crate) const fn wanted(&self) -> Option<&'static str> {
        self.wanted
    }

    /// Fills the blanks anew.
    pub(crate) fn next(&mut self) -> &[u8] {
        let mut text = [0; UUID_CHARS];
        for Blank { at, value } in &self.blanks {
            let filled = match value {
                Value::Key => {
                    self.chance.uuid(&mut text);
                    &text[..]
                }
                Value::Number(limit) => {
                    digits(self.chance.below(*limit), &mut text[..NUMBER_DIGITS]);
                    &text[..NUMBER_DIGITS]
                }
            };
            for at in at {
                self.bytes[*at..at + filled.len()].copy_from_slice(filled);
            }
        }
        &self.bytes
    }
}

/// What stands where a key will stand.
fn no_key() -> String {
    "0".repeat(UUID_CHARS)
}

fn digits(mut number: u64, text: &mut [u8]) {
    for digit in text.iter_mut().rev() {
        *digit = b"0123456789"[usize::try_from(number % 10).unwrap_or_default()];
        number /= 10;
    }
}

/// What a bulk request is made of; the number of a command says what it is about.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Commands {
    /// Points, spread evenly over so many accounts.
    Issue { accounts: u64 },
    /// A product each.
    CreateProducts,
    /// Goods for each product, more than any run sells.
    FillStock,
    /// Money for the wallet of each account, more than any run spends.
    FillWallets,
}

impl Commands {
    /// Keeps the ids of one kind apart from those of the others.
    const fn seed(self) -> u64 {
        match self {
            Self::Issue { .. } => 0,
            Self::CreateProducts => 1 << 60,
            Self::FillStock => 2 << 60,
            Self::FillWallets => 3 << 60,
        }
    }

    /// The envelope of a command. Its id is a function of its number, so that it may be sent
    /// again.
    pub(crate) fn envelope(self, number: u64) -> String {
        let mut id = [0; UUID_CHARS];
        Chance::new((self.seed() | number).wrapping_mul(0x2545_f491_4f6c_dd1d)).uuid(&mut id);
        let id = String::from_utf8_lossy(&id);
        let (account, product) = (account_id(number), product_id(number));
        match self {
            Self::Issue { accounts } => {
                let account = account_id(number % accounts.max(1));
                format!(
                    r#"{{"id":"{id}","type":"issue_points","account":"{account}","points":100}}"#
                )
            }
            Self::CreateProducts => format!(
                r#"{{"id":"{id}","type":"create_product","product":"{product}","name":"Product {number}","kind":"goods","price":{{"amount":1000,"currency":"USD"}}}}"#
            ),
            Self::FillStock => format!(
                r#"{{"id":"{id}","type":"adjust_stock","product":"{product}","delta":10000000,"reason":"bench"}}"#
            ),
            Self::FillWallets => format!(
                r#"{{"id":"{id}","type":"top_up_wallet","wallet":"{account}","money":{{"amount":1000000000000,"currency":"USD"}}}}"#
            ),
        }
    }
}

/// A bulk request: so many envelopes, one a line.
pub(crate) fn bulk(host: SocketAddr, envelopes: &[String]) -> Vec<u8> {
    let mut lines = envelopes.join("\n");
    lines.push('\n');
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
    use super::{Commands, Requests, account_id, bulk, product_id};
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
        let envelopes = [5, 6].map(|number| Commands::Issue { accounts: 10 }.envelope(number));
        let bulk = String::from_utf8(bulk(host(), &envelopes)).unwrap();
        let purchase = next(&mut Requests::purchase(host(), 10, 10));
        for text in [&issue, &bulk, &purchase] {
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

    #[test]
    fn a_purchase_is_of_one_account_and_its_wallet_under_an_id_of_its_own() {
        let mut requests = Requests::purchase(host(), 100, 1000).seeded(7);
        let mut ids = std::collections::HashSet::new();
        let mut products = std::collections::HashSet::new();
        for _ in 0..100 {
            let text = next(&mut requests);
            let body: serde_json::Value =
                serde_json::from_str(text.split_once("\r\n\r\n").unwrap().1).unwrap();
            assert_eq!(body["account"], requests.account());
            assert_eq!(body["tenders"][0]["wallet"], body["account"]);
            let product = body["lines"][0]["product"].as_str().unwrap().to_owned();
            assert!(product < product_id(100));
            products.insert(product);
            assert!(ids.insert(body["id"].as_str().unwrap().to_owned()));
        }
        assert!(products.len() > 30, "{products:?}");
        assert_eq!(requests.wanted(), Some(r#""state":"completed""#));
    }

    #[test]
    fn commands_of_several_kinds_have_ids_of_their_own() {
        let kinds = [Commands::CreateProducts, Commands::FillStock, Commands::FillWallets];
        let ids = kinds.map(|kind| {
            let envelope: serde_json::Value = serde_json::from_str(&kind.envelope(7)).unwrap();
            envelope["id"].as_str().unwrap().to_owned()
        });
        assert_eq!(std::collections::HashSet::from(ids).len(), 3);
    }
}
