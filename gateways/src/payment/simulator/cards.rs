//! Stripe's test cards, by the tokens that stand for them.

/// What happens when a card is charged.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Card {
    /// The issuer agrees.
    Good,
    /// The issuer asks for 3-D Secure.
    CustomerAction,
    /// The issuer declines, with a code and, under `card_declined`, its reason.
    Declined { code: &'static str, decline_code: &'static str },
}

/// The card of a token, if there is one.
pub(super) fn card(token: &str) -> Option<Card> {
    let declined = |decline_code| Card::Declined { code: "card_declined", decline_code };
    // Stripe has these with the brand and without.
    let bare = token.strip_prefix("pm_card_")?;
    Some(match bare.strip_prefix("visa_").unwrap_or(bare) {
        "visa" | "visa_debit" | "mastercard" | "amex" | "gb" => Card::Good,
        "authenticationRequired" | "threeDSecure2Required" => Card::CustomerAction,
        "chargeDeclined" => declined("generic_decline"),
        "chargeDeclinedInsufficientFunds" => declined("insufficient_funds"),
        "chargeDeclinedLostCard" => declined("lost_card"),
        "chargeDeclinedStolenCard" => declined("stolen_card"),
        "chargeDeclinedFraudulent" => declined("fraudulent"),
        "chargeDeclinedExpiredCard" => {
            Card::Declined { code: "expired_card", decline_code: "expired_card" }
        }
        "chargeDeclinedIncorrectCvc" => {
            Card::Declined { code: "incorrect_cvc", decline_code: "incorrect_cvc" }
        }
        "chargeDeclinedProcessingError" => {
            Card::Declined { code: "processing_error", decline_code: "processing_error" }
        }
        _ => return None,
    })
}
