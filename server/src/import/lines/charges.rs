//! Which products are no goods: postage, fees and the like. They are lines like others, marked as
//! charges.

use std::convert::Infallible;
use std::str::FromStr;

use accrue_domain::sale::LineKind;

/// The codes that the shop of the sample data uses, and that its whole history knows.
pub(crate) const USUAL: &str = "POST,DOT,C2,M,D,S,B,PADS,CRUK,AMAZONFEE,BANK CHARGES,gift_*";

/// The code of a discount: money given away without anything coming back.
const DISCOUNT: &str = "D";

/// Codes that are charges, in whatever case they are written.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Charges(Vec<String>);

impl FromStr for Charges {
    type Err = Infallible;
    fn from_str(text: &str) -> Result<Self, Infallible> {
        let codes = text.split(',').map(str::trim).filter(|it| !it.is_empty());
        Ok(Self(codes.map(str::to_ascii_lowercase).collect()))
    }
}

impl Charges {
    /// What a line of this product stands for.
    pub(crate) fn kind(&self, product: &str) -> LineKind {
        let product = product.to_ascii_lowercase();
        let is = |code: &String| match code.strip_suffix('*') {
            Some(beginning) => product.starts_with(beginning),
            None => product == *code,
        };
        if self.0.iter().any(is) { LineKind::Charge } else { LineKind::Goods }
    }
}

/// Is that the code of a discount?
pub(super) fn is_discount(product: &str) -> bool {
    product.eq_ignore_ascii_case(DISCOUNT)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn charges(text: &str) -> Charges {
        text.parse().unwrap()
    }

    #[test]
    fn what_is_not_goods_is_known_by_its_code_in_any_case() {
        let usual = charges(USUAL);
        let codes = ["POST", "post", "D", "m", "DOT", "Bank Charges", "C2", "gift_0001_20"];
        for code in codes {
            assert_eq!(usual.kind(code), LineKind::Charge, "{code}");
        }
        for code in ["85123A", "85123a", "POSTER", "DOTS", "C20", "gift", "15056BL"] {
            assert_eq!(usual.kind(code), LineKind::Goods, "{code}");
        }
    }

    #[test]
    fn the_codes_are_the_shops_own() {
        let own = charges(" versand , rabatt*,");
        let kinds = ["Versand", "Rabatt10", "POST", ""].map(|code| own.kind(code).as_str());
        assert_eq!(kinds, ["charge", "charge", "goods", "goods"]);
        assert_eq!(charges("").kind("POST"), LineKind::Goods);
    }
}
