//! Ids: text chosen by clients, unique within a program, safe in a URL path and in a log line.

use std::borrow::Borrow;
use std::fmt;
use std::sync::Arc;

use schemars::JsonSchema;
use serde::de::{self, Visitor};
use serde::{Deserialize, Deserializer, Serialize};

/// Longest id in bytes. Ids are part of every index entry, so they stay short.
pub const ID_BYTES_MAX: usize = 100;

/// Longest command id (idempotency key) in bytes.
pub const COMMAND_ID_BYTES_MAX: usize = 200;

/// Why a text is no id.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Invalid {
    /// The text is empty.
    #[error("expected an id of 1 to {max} characters, got an empty text")]
    Empty {
        /// Most characters that are allowed.
        max: usize,
    },
    /// The text is too long.
    #[error("expected an id of at most {max} characters, got {actual}")]
    TooLong {
        /// Most characters that are allowed.
        max: usize,
        /// What came.
        actual: usize,
    },
    /// A character that is not allowed stands in it.
    #[error("expected {allowed}, got {character:?} at character {column}")]
    Character {
        /// What is allowed, in words.
        allowed: &'static str,
        /// The first character that is not.
        character: char,
        /// Where it stands, from 1.
        column: usize,
    },
    /// `.` and `..` would be eaten by URL normalisation.
    #[error("expected at least one character other than '.'")]
    OnlyDots,
}

fn check(
    text: &str,
    max: usize,
    ok: impl Fn(char) -> bool,
    allowed: &'static str,
) -> Result<(), Invalid> {
    if text.is_empty() {
        return Err(Invalid::Empty { max });
    }
    if text.len() > max {
        return Err(Invalid::TooLong { max, actual: text.len() });
    }
    // Whatever is allowed is ASCII, and a stored event is full of ids.
    if !text.bytes().all(|byte| byte.is_ascii() && ok(char::from(byte)))
        && let Some((at, character)) = text.chars().enumerate().find(|(_, c)| !ok(*c))
    {
        return Err(Invalid::Character { allowed, character, column: at.saturating_add(1) });
    }
    if text.bytes().all(|byte| byte == b'.') {
        return Err(Invalid::OnlyDots);
    }
    Ok(())
}

fn in_id(c: char) -> bool {
    c.is_ascii_alphanumeric() || matches!(c, '-' | '_' | '.' | ':' | '@' | '+' | '~')
}

const IN_ID: &str = "letters, digits and - _ . : @ + ~";

fn in_program(c: char) -> bool {
    c.is_ascii_lowercase() || c.is_ascii_digit() || matches!(c, '-' | '_')
}

const IN_PROGRAM: &str = "lower-case letters, digits, - and _";

fn in_key(c: char) -> bool {
    c.is_ascii_graphic()
}

const IN_KEY: &str = "visible ASCII characters";

macro_rules! text_id {
    ($(#[$doc:meta])* $name:ident, $max:expr, $ok:expr, $allowed:expr) => {
        $(#[$doc])*
        #[derive(Clone, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize)]
        pub struct $name(Arc<str>);

        impl $name {
            /// The id in a checked wrapper.
            ///
            /// # Errors
            /// [`Invalid`] says which rule the text breaks.
            pub fn new(text: &str) -> Result<Self, Invalid> {
                check(text, $max, $ok, $allowed)?;
                Ok(Self(Arc::from(text)))
            }

            /// The id as text.
            #[must_use]
            pub fn as_str(&self) -> &str {
                &self.0
            }

            /// The id as a text that is shared.
            #[must_use]
            pub fn as_shared(&self) -> &Arc<str> {
                &self.0
            }
        }

        impl TryFrom<Arc<str>> for $name {
            type Error = Invalid;
            fn try_from(text: Arc<str>) -> Result<Self, Invalid> {
                check(&text, $max, $ok, $allowed)?;
                Ok(Self(text))
            }
        }

        impl TryFrom<String> for $name {
            type Error = Invalid;
            fn try_from(text: String) -> Result<Self, Invalid> {
                Self::new(&text)
            }
        }

        impl std::str::FromStr for $name {
            type Err = Invalid;
            fn from_str(text: &str) -> Result<Self, Invalid> {
                Self::new(text)
            }
        }

        // By hand: by way of a `String` each would be copied twice.
        impl<'de> Deserialize<'de> for $name {
            fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
                struct Text;
                impl Visitor<'_> for Text {
                    type Value = $name;
                    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                        f.write_str("a string")
                    }
                    fn visit_str<E: de::Error>(self, text: &str) -> Result<$name, E> {
                        $name::new(text).map_err(E::custom)
                    }
                }
                deserializer.deserialize_str(Text)
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(&self.0)
            }
        }

        impl fmt::Debug for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                fmt::Debug::fmt(&self.0, f)
            }
        }

        impl JsonSchema for $name {
            fn schema_name() -> std::borrow::Cow<'static, str> {
                stringify!($name).into()
            }
            fn json_schema(_: &mut schemars::SchemaGenerator) -> schemars::Schema {
                schemars::json_schema!({
                    "type": "string",
                    "description": $allowed,
                    "minLength": 1,
                    "maxLength": $max
                })
            }
        }

        impl Borrow<str> for $name {
            fn borrow(&self) -> &str {
                &self.0
            }
        }
    };
}

text_id!(
    /// One brand's loyalty program (the tenant). `default` where a client names none.
    ProgramId, 50, in_program, IN_PROGRAM
);
text_id!(
    /// A member's account.
    AccountId, ID_BYTES_MAX, in_id, IN_ID
);
text_id!(
    /// One credited amount within an account.
    LotId, ID_BYTES_MAX, in_id, IN_ID
);
text_id!(
    /// A hold within an account, a product or a wallet.
    HoldId, ID_BYTES_MAX, in_id, IN_ID
);
text_id!(
    /// A sale made elsewhere.
    SaleId, ID_BYTES_MAX, in_id, IN_ID
);
text_id!(
    /// A return within a sale.
    ReturnId, ID_BYTES_MAX, in_id, IN_ID
);
text_id!(
    /// A product: goods or a service.
    ProductId, ID_BYTES_MAX, in_id, IN_ID
);
text_id!(
    /// A wallet: a customer's stored value.
    WalletId, ID_BYTES_MAX, in_id, IN_ID
);
text_id!(
    /// A purchase. Shorter than other ids: holds and lots that it makes are named after it.
    PurchaseId, 80, in_id, IN_ID
);
text_id!(
    /// A refund within a purchase.
    RefundId, 80, in_id, IN_ID
);
text_id!(
    /// What a discount of an order comes from: an offer, a code.
    DiscountId, ID_BYTES_MAX, in_id, IN_ID
);
text_id!(
    /// A campaign.
    CampaignId, ID_BYTES_MAX, in_id, IN_ID
);
text_id!(
    /// A command: the client's `Idempotency-Key`, or one that the server made.
    CommandId, COMMAND_ID_BYTES_MAX, in_key, IN_KEY
);

impl Default for ProgramId {
    /// `default`, the program of clients that name none.
    fn default() -> Self {
        Self(Arc::from("default"))
    }
}

impl LotId {
    /// The lot that a command makes when its client named none: the command's own id where that
    /// is a lot id that clients can choose, else a name-based UUID of it, so that a retry names the
    /// same lot.
    #[must_use]
    pub fn of_command(command: &CommandId) -> Self {
        match Self::try_from(Arc::clone(&command.0)) {
            Ok(lot) if !lot.as_str().starts_with(OF_AWARD) => lot,
            _ => Self(named_by(command)),
        }
    }

    /// The lot of what a campaign awards for the event at a position of the log, by that very
    /// command.
    #[must_use]
    pub fn of_award(campaign: &CampaignId, event: i64, command: &CommandId) -> Self {
        let award = |name: &str| Self::new(&format!("{OF_AWARD}{name}"));
        award(&format!("{campaign}.{event}"))
            .or_else(|_| award(&named_by(command)))
            .unwrap_or_else(|_| Self(named_by(command)))
    }
}

impl ReturnId {
    /// The return that a command makes when its client named none; as [`LotId::of_command`].
    #[must_use]
    pub fn of_command(command: &CommandId) -> Self {
        Self::try_from(Arc::clone(&command.0)).unwrap_or_else(|_| Self(named_by(command)))
    }
}

impl RefundId {
    /// The refund that a command makes when its client named none; as [`LotId::of_command`].
    #[must_use]
    pub fn of_command(command: &CommandId) -> Self {
        Self::try_from(Arc::clone(&command.0)).unwrap_or_else(|_| Self(named_by(command)))
    }

    /// The return, in the sense of awards, that the refund is.
    #[must_use]
    pub fn as_return(&self) -> ReturnId {
        ReturnId(Arc::clone(&self.0))
    }
}

/// What the lots of awards begin with; clients cannot choose such ones.
pub const OF_AWARD: &str = "award:";

/// What ids begin with that follow from a purchase's; clients cannot choose such ones.
pub const OF_PURCHASE: &str = "purchase:";

impl PurchaseId {
    /// The hold that the purchase places, whatever on.
    #[must_use]
    pub fn hold(&self) -> HoldId {
        HoldId(self.prefixed())
    }

    /// The sale, in the sense of awards, that the purchase is.
    #[must_use]
    pub fn as_sale(&self) -> SaleId {
        SaleId(self.prefixed())
    }

    /// Short enough for any id: a purchase's own is at most 80 characters.
    fn prefixed(&self) -> Arc<str> {
        Arc::from(format!("{OF_PURCHASE}{self}"))
    }
}

/// A name-based UUID of a command's id: an id of any kind, the same for every retry.
fn named_by(command: &CommandId) -> Arc<str> {
    let name = uuid::Uuid::new_v5(&uuid::Uuid::NAMESPACE_URL, command.as_str().as_bytes());
    Arc::from(name.to_string())
}

#[cfg(test)]
mod tests {
    use super::*;
    use insta::assert_snapshot;

    #[test]
    fn an_id_has_1_to_100_safe_characters() {
        let read = |text: &str| match AccountId::new(text) {
            Ok(id) => id.to_string(),
            Err(error) => error.to_string(),
        };
        assert_snapshot!(read("17850"), @"17850");
        assert_snapshot!(read("a-b_c.d:e@f+g~h"), @"a-b_c.d:e@f+g~h");
        assert_eq!(read(&"x".repeat(100)), "x".repeat(100));
        assert_snapshot!(read(&"x".repeat(101)), @"expected an id of at most 100 characters, got 101");
        assert_snapshot!(read(""), @"expected an id of 1 to 100 characters, got an empty text");
        assert_snapshot!(read("a/b"), @"expected letters, digits and - _ . : @ + ~, got '/' at character 2");
        assert_snapshot!(read("é"), @"expected letters, digits and - _ . : @ + ~, got 'é' at character 1");
        assert_snapshot!(read(".."), @"expected at least one character other than '.'");
    }

    #[test]
    fn ids_that_a_client_left_open_follow_from_the_command() {
        let plain = CommandId::new("order-17").unwrap();
        assert_eq!(LotId::of_command(&plain).as_str(), "order-17");
        assert_eq!(ReturnId::of_command(&plain).as_str(), "order-17");
        // A key that is no lot's id: with a slash, or longer than an id.
        let slash = CommandId::new("order/17").unwrap();
        let long = CommandId::new(&"k".repeat(200)).unwrap();
        assert_snapshot!(LotId::of_command(&slash), @"35e1f488-5dba-5a98-9e4f-40a1b7562c95");
        assert_eq!(LotId::of_command(&slash).as_str(), ReturnId::of_command(&slash).as_str());
        assert_ne!(LotId::of_command(&slash), LotId::of_command(&long));
        assert_eq!(LotId::of_command(&long), LotId::of_command(&long));
    }

    #[test]
    fn no_command_of_a_client_makes_a_lot_that_is_named_like_an_award() {
        let command = CommandId::new("award/default/tenth/7").unwrap();
        let lot = |campaign: &str| {
            LotId::of_award(&CampaignId::new(campaign).unwrap(), 7, &command).to_string()
        };
        assert_eq!(lot("tenth"), "award:tenth.7");
        assert_snapshot!(lot(&"c".repeat(100)), @"award:88f331a0-6700-5e28-a29c-caa5f9346631");
        let same = CommandId::new("award:tenth.7").unwrap();
        assert_snapshot!(LotId::of_command(&same), @"df7b3935-ca20-5129-b33e-a2ea7254a49d");
        assert_eq!(ReturnId::of_command(&same).as_str(), same.as_str());
    }

    #[test]
    fn a_command_too_long_for_an_id_of_its_kind_gives_a_name_of_it() {
        fn kept(id: &str, bytes: usize) -> bool {
            id == "k".repeat(bytes)
        }
        let of = |bytes| CommandId::new(&"k".repeat(bytes)).unwrap();
        assert!(kept(LotId::of_command(&of(100)).as_str(), 100));
        assert!(!kept(LotId::of_command(&of(101)).as_str(), 101));
        assert!(kept(ReturnId::of_command(&of(100)).as_str(), 100));
        assert!(!kept(ReturnId::of_command(&of(101)).as_str(), 101));
        assert!(kept(RefundId::of_command(&of(80)).as_str(), 80));
        assert!(!kept(RefundId::of_command(&of(81)).as_str(), 81));
    }
}
