//! Stripe's webhooks: who sent one is proved by its signature, when is stated within it.
//!
//! A webhook may come twice, late, out of order, or before the answer to the call that caused it:
//! the caller keeps the ids it has seen, and looks the payment up rather than trusting the order.

use chrono::{DateTime, TimeDelta, Utc};
use hmac::{Hmac, KeyInit, Mac};
use serde::Deserialize;
use sha2::Sha256;

use crate::payment::names::PaymentId;

/// How old a signature may be, in seconds, as Stripe's own libraries have it.
pub const TOLERANCE_SECONDS: i64 = 300;

/// Most signatures that are compared: one for each secret in use, and a few to spare.
const SIGNATURES_MAX: usize = 16;

/// The secret that Stripe and one endpoint of ours share. `Debug` does not show it.
#[derive(Clone)]
pub struct Secret(String);

impl Secret {
    /// The text that Stripe shows for the endpoint, `whsec_…`, used as it is.
    #[must_use]
    pub fn new(secret: impl Into<String>) -> Self {
        Self(secret.into())
    }
}

impl std::fmt::Debug for Secret {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Secret(…)")
    }
}

/// What a webhook tells.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Event {
    /// Its name; the same when it is sent again.
    pub id: String,
    /// Such as `payment_intent.succeeded`. Ones that are not known are to be let pass.
    pub kind: String,
    /// When it happened, to the second.
    pub created: DateTime<Utc>,
    /// The payment it is about, if it is about one.
    pub payment: Option<PaymentId>,
}

/// Why a webhook is not taken.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum Invalid {
    /// The header is not `t=…,v1=…`.
    #[error("the signature header cannot be read")]
    Header,
    /// No signature fits the payload and the secret.
    #[error("no signature fits")]
    Signature,
    /// Signed too long ago, or in the future: a replay, or a clock that is wrong.
    #[error("signed too long ago or in the future")]
    Time,
    /// Signed by Stripe, but not an event as we know them.
    #[error("the payload is not an event")]
    Payload,
}

/// Checks that `payload`, the raw bytes of the body, was signed with `secret` within `tolerance`
/// of `now`, and reads it. `header` is that of `Stripe-Signature`.
///
/// # Errors
/// [`Invalid`] says what is wrong, and the event is then not to be used.
pub fn verify(
    payload: &[u8],
    header: &str,
    secret: &Secret,
    now: DateTime<Utc>,
    tolerance: TimeDelta,
) -> Result<Event, Invalid> {
    let signed = Signed::parse(header).ok_or(Invalid::Header)?;
    let mac = mac(secret, signed.time_text, payload).ok_or(Invalid::Signature)?;
    // `verify_slice` takes the same time wherever the first difference is. There are several
    // signatures while an endpoint's secret is being changed, one for each.
    if !signed.signatures.iter().any(|it| mac.clone().verify_slice(it).is_ok()) {
        return Err(Invalid::Signature);
    }
    let age = now.signed_duration_since(signed.time);
    if age.abs() > tolerance {
        return Err(Invalid::Time);
    }
    read(payload).ok_or(Invalid::Payload)
}

/// The header for a payload, as Stripe makes it.
#[must_use]
pub fn sign(payload: &[u8], secret: &Secret, at: DateTime<Utc>) -> String {
    let time = at.timestamp().to_string();
    let signature = mac(secret, &time, payload)
        .map(|it| hex::encode(it.finalize().into_bytes()))
        .unwrap_or_default();
    format!("t={time},v1={signature}")
}

fn mac(secret: &Secret, time: &str, payload: &[u8]) -> Option<Hmac<Sha256>> {
    let mut mac = Hmac::<Sha256>::new_from_slice(secret.0.as_bytes()).ok()?;
    mac.update(time.as_bytes());
    mac.update(b".");
    mac.update(payload);
    Some(mac)
}

struct Signed<'a> {
    /// As it stands in the header, since that is what was signed.
    time_text: &'a str,
    time: DateTime<Utc>,
    signatures: Vec<Vec<u8>>,
}

impl<'a> Signed<'a> {
    fn parse(header: &'a str) -> Option<Self> {
        let fields = || header.split(',').filter_map(|it| it.trim().split_once('='));
        let time_text = fields().find(|(name, _)| *name == "t")?.1;
        let time = DateTime::from_timestamp(time_text.parse().ok()?, 0)?;
        // Other schemes (`v0`) are for tests, and must not count.
        let signatures = fields()
            .filter(|(name, _)| *name == "v1")
            .filter_map(|(_, value)| hex::decode(value).ok())
            .take(SIGNATURES_MAX)
            .collect();
        Some(Self { time_text, time, signatures })
    }
}

fn read(payload: &[u8]) -> Option<Event> {
    #[derive(Deserialize)]
    struct Body {
        id: String,
        #[serde(rename = "type")]
        kind: String,
        created: i64,
        data: Data,
    }
    #[derive(Deserialize)]
    struct Data {
        object: Object,
    }
    #[derive(Deserialize)]
    struct Object {
        #[serde(default)]
        id: Option<String>,
        #[serde(default)]
        object: Option<String>,
        /// On charges and refunds.
        #[serde(default)]
        payment_intent: Option<String>,
    }
    let body: Body = serde_json::from_slice(payload).ok()?;
    let it = body.data.object;
    let payment =
        if it.object.as_deref() == Some("payment_intent") { it.id } else { it.payment_intent };
    Some(Event {
        id: body.id,
        kind: body.kind,
        created: DateTime::from_timestamp(body.created, 0)?,
        payment: payment.and_then(|it| PaymentId::parse(&it).ok()),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    const PAYLOAD: &[u8] = br#"{"id": "evt_1", "type": "payment_intent.succeeded",
        "created": 1700000000, "data": {"object": {"id": "pi_1", "object": "payment_intent"}}}"#;

    fn secret() -> Secret {
        Secret::new("whsec_one")
    }

    fn at(seconds: i64) -> DateTime<Utc> {
        DateTime::from_timestamp(1_700_000_000 + seconds, 0).unwrap()
    }

    fn check(payload: &[u8], header: &str, now: DateTime<Utc>) -> Result<Event, Invalid> {
        verify(payload, header, &secret(), now, TimeDelta::seconds(TOLERANCE_SECONDS))
    }

    #[test]
    fn a_signed_event_is_read() {
        let event = check(PAYLOAD, &sign(PAYLOAD, &secret(), at(0)), at(1)).unwrap();
        assert_eq!(event.id, "evt_1");
        assert_eq!(event.kind, "payment_intent.succeeded");
        assert_eq!(event.created, at(0));
        assert_eq!(event.payment, PaymentId::parse("pi_1").ok());
    }

    #[test]
    fn the_signature_is_stripes() {
        // Made by: printf '%s' '12345.{}' | openssl dgst -sha256 -hmac whsec_test
        let time = DateTime::from_timestamp(12_345, 0).unwrap();
        assert_eq!(sign(b"{}", &Secret::new("whsec_test"), time), format!("t=12345,v1={OPENSSL}"));
    }
    const OPENSSL: &str = "f7d0d6f2476273381fa231a8ba13a821a0c87029e7b1bfae51e93d0240fb7c32";

    #[test]
    fn a_wrong_signature_is_refused() {
        let header = sign(PAYLOAD, &secret(), at(0));
        let other = sign(PAYLOAD, &Secret::new("whsec_two"), at(0));
        assert_eq!(check(PAYLOAD, &other, at(0)), Err(Invalid::Signature));
        assert_eq!(check(b"{}", &header, at(0)), Err(Invalid::Signature), "another payload");
        let moved = header.replace("t=1700000000", "t=1700000001");
        assert_eq!(check(PAYLOAD, &moved, at(0)), Err(Invalid::Signature), "another time");
        let cut = &header[..header.len() - 2];
        assert_eq!(check(PAYLOAD, cut, at(0)), Err(Invalid::Signature), "a part of it");
        let test_scheme = header.replace("v1=", "v0=");
        assert_eq!(check(PAYLOAD, &test_scheme, at(0)), Err(Invalid::Signature));
    }

    #[test]
    fn a_signature_counts_for_five_minutes() {
        let header = sign(PAYLOAD, &secret(), at(0));
        assert!(check(PAYLOAD, &header, at(300)).is_ok());
        assert_eq!(check(PAYLOAD, &header, at(301)), Err(Invalid::Time));
        assert!(check(PAYLOAD, &header, at(-300)).is_ok());
        assert_eq!(check(PAYLOAD, &header, at(-301)), Err(Invalid::Time));
    }

    #[test]
    fn one_of_several_signatures_is_enough() {
        let right = sign(PAYLOAD, &secret(), at(0));
        let wrong = sign(PAYLOAD, &Secret::new("whsec_two"), at(0));
        let (_, right_v1) = right.split_once(',').unwrap();
        let (_, wrong_v1) = wrong.split_once(',').unwrap();
        for header in [format!("{wrong},{right_v1}"), format!("{right}, {wrong_v1}")] {
            assert!(check(PAYLOAD, &header, at(0)).is_ok(), "{header}");
        }
        let wrong_twice = format!("{wrong},{wrong_v1}");
        assert_eq!(check(PAYLOAD, &wrong_twice, at(0)), Err(Invalid::Signature));
    }

    #[test]
    fn a_header_that_is_none_is_refused() {
        for header in ["", "t=", "v1=00", "t=x,v1=00", "t=99999999999999999,v1=00"] {
            assert_eq!(check(PAYLOAD, header, at(0)), Err(Invalid::Header), "{header}");
        }
        assert_eq!(check(PAYLOAD, "t=1700000000", at(0)), Err(Invalid::Signature));
    }

    #[test]
    fn a_signed_payload_that_is_no_event_is_refused() {
        for payload in [&b""[..], b"{}", b"[1]", b"\xff"] {
            let header = sign(payload, &secret(), at(0));
            assert_eq!(check(payload, &header, at(0)), Err(Invalid::Payload), "{payload:?}");
        }
    }
}
