//! What an answer, or the lack of one, says about what happened.

use reqwest::StatusCode;

use super::wire;
use crate::payment::names::PaymentId;
use crate::payment::{NotDone, Outcome, Payment, Refund, RefundState, Refusal, State, Trouble};

/// A call without a whole answer. Only while connecting is it sure that nothing was sent.
pub(super) fn of_transport(error: &reqwest::Error) -> NotDone {
    if error.is_connect() {
        return NotDone::NoEffect(Trouble::Connect);
    }
    if error.is_builder() {
        return NotDone::Refused(invalid("request_not_sendable"));
    }
    let trouble = if error.is_timeout() { Trouble::Timeout } else { Trouble::Broken };
    NotDone::Unknown(trouble)
}

/// An answer that cannot be read says that something happened, and not what.
pub(super) fn not_understood() -> NotDone {
    NotDone::Unknown(Trouble::Answer)
}

/// An answer whose status is no success.
pub(super) fn of_answer(status: StatusCode, body: &[u8]) -> NotDone {
    let error = serde_json::from_slice::<wire::Failure>(body).ok().map(|it| it.error);
    let trouble = Trouble::Status(status.as_u16());
    match (status.as_u16(), error) {
        // 429 turns the call away at the door, and so do a wrong key (401) and missing rights
        // (403), which end when somebody corrects our settings.
        (401 | 403 | 429, _) => NotDone::NoEffect(trouble),
        // Another call is at work on the same key or intent, perhaps our own earlier attempt.
        (409, _) => NotDone::Unknown(trouble),
        // What a proxy on the way says, whatever its words: it may have got through before that.
        (408 | 425 | 499, _) => NotDone::Unknown(trouble),
        (402, Some(error)) => NotDone::Refused(declined(error)),
        (400..=499, Some(error)) => NotDone::Refused(invalid(&word(&error))),
        // A proxy on the way, or Stripe in trouble: it may have got through before that.
        _ => NotDone::Unknown(trouble),
    }
}

/// The intent of an answer that refuses to cancel it because it is cancelled.
pub(super) fn already_cancelled(body: &[u8]) -> Option<wire::Intent> {
    let error = serde_json::from_slice::<wire::Failure>(body).ok()?.error;
    error.payment_intent.filter(|it| it.status == wire::Status::Canceled)
}

/// An intent that was to be authorised.
pub(super) fn of_authorisation(intent: wire::Intent) -> Outcome<Payment> {
    let url = intent.url();
    let payment = intent.payment()?;
    match payment.state {
        State::Authorised => Ok(payment),
        State::CustomerAction => {
            Err(NotDone::Refused(Refusal::CustomerAction { payment: Some(payment.id), url }))
        }
        State::Declined => {
            Err(NotDone::Refused(Refusal::Declined { code: "requires_payment_method".to_owned() }))
        }
        State::InProgress => Err(NotDone::Unknown(Trouble::InProgress)),
        // Neither can follow from what was asked for: whoever looks it up sees what it is.
        State::Captured | State::Voided => Err(not_understood()),
    }
}

/// A payment that was to be brought into a state.
pub(super) fn expect_state(payment: Payment, state: State) -> Outcome<Payment> {
    if payment.state == state {
        return Ok(payment);
    }
    Err(match payment.state {
        State::InProgress => NotDone::Unknown(Trouble::InProgress),
        _ => not_understood(),
    })
}

/// A refund that was to be made.
pub(super) fn of_refund(refund: wire::Refund, payment: &PaymentId) -> Outcome<Refund> {
    let refund = refund.refund(payment)?;
    match refund.state {
        RefundState::Failed { code } => Err(NotDone::Refused(Refusal::Declined { code })),
        RefundState::Settled | RefundState::UnderWay => Ok(refund),
    }
}

fn declined(error: wire::Error) -> Refusal {
    let word = word(&error);
    if word != "authentication_required" {
        return Refusal::Declined { code: word };
    }
    // How an issuer asks for 3-D Secure where the customer was said to be absent.
    let intent = error.payment_intent;
    let url = intent.as_ref().and_then(wire::Intent::url);
    Refusal::CustomerAction { payment: intent.and_then(|it| PaymentId::parse(&it.id).ok()), url }
}

fn invalid(code: &str) -> Refusal {
    Refusal::Invalid { code: code.to_owned() }
}

/// The most precise word of an error.
fn word(error: &wire::Error) -> String {
    let code = error.code.as_deref();
    // `card_declined` is the frame, the reason is the issuer's.
    let word = match (code, error.decline_code.as_deref()) {
        (Some("card_declined") | None, Some(decline)) => decline,
        (Some(code), _) => code,
        (None, None) => &error.kind,
    };
    word.to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn verdict(status: u16, body: &str) -> NotDone {
        of_answer(StatusCode::from_u16(status).unwrap(), body.as_bytes())
    }

    fn refused(code: &str) -> NotDone {
        NotDone::Refused(invalid(code))
    }

    #[test]
    fn every_status_has_its_verdict() {
        let error = r#"{"error": {"type": "invalid_request_error", "code": "resource_missing"}}"#;
        for status in [400, 404, 422] {
            assert_eq!(verdict(status, error), refused("resource_missing"), "{status}");
        }
        for status in [401, 403, 429] {
            let expected = NotDone::NoEffect(Trouble::Status(status));
            assert_eq!(verdict(status, error), expected, "{status}");
        }
        for status in [302, 409, 500, 502, 503, 504] {
            let expected = NotDone::Unknown(Trouble::Status(status));
            assert_eq!(verdict(status, error), expected, "{status}");
        }
    }

    #[test]
    fn what_is_not_stripes_own_refusal_is_none() {
        for body in ["", "<html>", "{}", r#"{"error": "no"}"#] {
            assert_eq!(verdict(402, body), NotDone::Unknown(Trouble::Status(402)), "{body}");
            assert_eq!(verdict(404, body), NotDone::Unknown(Trouble::Status(404)), "{body}");
        }
    }

    #[test]
    fn a_decline_is_named_by_the_issuers_reason() {
        let declined = |error: &str| verdict(402, &format!(r#"{{"error": {{{error}}}}}"#));
        let expected = |code: &str| NotDone::Refused(Refusal::Declined { code: code.to_owned() });
        assert_eq!(
            declined(r#""code": "card_declined", "decline_code": "insufficient_funds""#),
            expected("insufficient_funds")
        );
        assert_eq!(
            declined(r#""code": "expired_card", "decline_code": "expired_card""#),
            expected("expired_card")
        );
        assert_eq!(declined(r#""type": "card_error""#), expected("card_error"));
        assert_eq!(
            declined(r#""code": "authentication_required""#),
            NotDone::Refused(Refusal::CustomerAction { payment: None, url: None })
        );
    }

    #[test]
    fn a_refund_that_failed_is_declined_and_one_under_way_is_not_settled() {
        let refund = |status: &str| {
            let json = format!(
                r#"{{"id": "re_1", "amount": 5, "currency": "gbp", "status": "{status}"}}"#
            );
            of_refund(serde_json::from_str(&json).unwrap(), &PaymentId::parse("pi_1").unwrap())
        };
        assert_eq!(refund("succeeded").unwrap().state, RefundState::Settled);
        assert_eq!(refund("pending").unwrap().state, RefundState::UnderWay);
        let code = "refund_failed".to_owned();
        assert_eq!(refund("failed"), Err(NotDone::Refused(Refusal::Declined { code })));
    }
}
