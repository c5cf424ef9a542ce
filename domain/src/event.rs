//! Any event of any aggregate: name, version, and the one place that lists them all.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::aggregate::Kind;
use crate::{account, campaign, product, program, purchase, sale, wallet};

/// A fact of any kind, serialised as `{"PointsIssued": {…}}`: what the log stores in `payload`.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(untagged)]
pub enum Event {
    /// About an account.
    Account(account::event::Event),
    /// About a campaign.
    Campaign(campaign::Event),
    /// About a product.
    Product(product::event::Event),
    /// About a program.
    Program(program::Event),
    /// About a purchase.
    Purchase(purchase::event::Event),
    /// About a sale.
    Sale(sale::Event),
    /// About a wallet.
    Wallet(wallet::event::Event),
}

impl Event {
    /// Which kind of stream it belongs to.
    #[must_use]
    pub const fn kind(&self) -> Kind {
        match self {
            Self::Account(_) => Kind::Account,
            Self::Campaign(_) => Kind::Campaign,
            Self::Product(_) => Kind::Product,
            Self::Program(_) => Kind::Program,
            Self::Purchase(_) => Kind::Purchase,
            Self::Sale(_) => Kind::Sale,
            Self::Wallet(_) => Kind::Wallet,
        }
    }

    /// The event's name and present version, as stored in `event_type` and `event_version`.
    /// A released version is never edited, only followed by the next and an upcaster.
    #[must_use]
    pub const fn name(&self) -> (&'static str, u32) {
        use account::event::Event as A;
        use campaign::Event as C;
        use product::event::Event as I;
        use program::Event as P;
        use purchase::event::Event as O;
        use sale::Event as S;
        use wallet::event::Event as W;
        match self {
            Self::Account(event) => match event {
                A::AccountOpened { .. } => ("AccountOpened", 1),
                A::PointsIssued { .. } => ("PointsIssued", 1),
                A::PointsRedeemed { .. } => ("PointsRedeemed", 1),
                A::PointsCredited { .. } => ("PointsCredited", 1),
                A::PointsDebited { .. } => ("PointsDebited", 1),
                A::PointsReversed { .. } => ("PointsReversed", 1),
                A::DebtRepaid { .. } => ("DebtRepaid", 1),
                A::HoldPlaced { .. } => ("HoldPlaced", 1),
                A::HoldCaptured { .. } => ("HoldCaptured", 1),
                A::HoldReleased { .. } => ("HoldReleased", 1),
                A::PointsExpired { .. } => ("PointsExpired", 1),
                A::PointsRestored { .. } => ("PointsRestored", 1),
            },
            Self::Campaign(event) => match event {
                C::CampaignCreated { .. } => ("CampaignCreated", 1),
                C::CampaignRulesReplaced { .. } => ("CampaignRulesReplaced", 1),
                C::CampaignActivated {} => ("CampaignActivated", 1),
                C::CampaignPaused {} => ("CampaignPaused", 1),
                C::CampaignRetired {} => ("CampaignRetired", 1),
            },
            Self::Product(event) => match event {
                I::ProductCreated { .. } => ("ProductCreated", 1),
                I::ProductChanged { .. } => ("ProductChanged", 1),
                I::ProductRetired {} => ("ProductRetired", 1),
                I::StockAdjusted { .. } => ("StockAdjusted", 1),
                I::StockHeld { .. } => ("StockHeld", 1),
                I::StockCaptured { .. } => ("StockCaptured", 1),
                I::StockReleased { .. } => ("StockReleased", 1),
            },
            Self::Program(event) => match event {
                P::ProgramConfigured { .. } => ("ProgramConfigured", 1),
            },
            Self::Purchase(event) => match event {
                O::PurchasePlaced { .. } => ("PurchasePlaced", 1),
                O::PurchaseStepStarted { .. } => ("PurchaseStepStarted", 1),
                O::PurchaseStepDone { .. } => ("PurchaseStepDone", 1),
                O::PurchaseStepRefused { .. } => ("PurchaseStepRefused", 1),
                O::PurchaseStepDelayed { .. } => ("PurchaseStepDelayed", 1),
                O::PurchaseActionRequired { .. } => ("PurchaseActionRequired", 1),
                O::PurchaseStepUndone { .. } => ("PurchaseStepUndone", 1),
                O::PurchaseCancelled { .. } => ("PurchaseCancelled", 1),
                O::PurchaseTimedOut {} => ("PurchaseTimedOut", 1),
                O::PurchaseStuck { .. } => ("PurchaseStuck", 1),
                O::PurchaseRetried { .. } => ("PurchaseRetried", 1),
                O::PurchaseStepAbandoned { .. } => ("PurchaseStepAbandoned", 1),
                O::PurchaseCompleted { .. } => ("PurchaseCompleted", 1),
                O::PurchaseRejected { .. } => ("PurchaseRejected", 1),
                O::PurchaseRefundRequested { .. } => ("PurchaseRefundRequested", 1),
                O::PurchaseRefunded { .. } => ("PurchaseRefunded", 1),
                O::PurchaseRefundFailed { .. } => ("PurchaseRefundFailed", 1),
            },
            Self::Sale(event) => match event {
                S::SaleRecorded { .. } => ("SaleRecorded", 1),
                S::SaleReturned { .. } => ("SaleReturned", 1),
            },
            Self::Wallet(event) => match event {
                W::WalletToppedUp { .. } => ("WalletToppedUp", 1),
                W::WalletMoneyHeld { .. } => ("WalletMoneyHeld", 1),
                W::WalletMoneyCaptured { .. } => ("WalletMoneyCaptured", 1),
                W::WalletMoneyReleased { .. } => ("WalletMoneyReleased", 1),
                W::WalletRefunded { .. } => ("WalletRefunded", 1),
            },
        }
    }

    /// The present version of an event of that name; none for a name that this build does not
    /// know.
    #[must_use]
    pub fn version_of(kind: Kind, name: &str) -> Option<u32> {
        let names: &[&str] = match kind {
            Kind::Account => &[
                "AccountOpened",
                "PointsIssued",
                "PointsRedeemed",
                "PointsCredited",
                "PointsDebited",
                "PointsReversed",
                "DebtRepaid",
                "HoldPlaced",
                "HoldCaptured",
                "HoldReleased",
                "PointsExpired",
                "PointsRestored",
            ],
            Kind::Campaign => &[
                "CampaignCreated",
                "CampaignRulesReplaced",
                "CampaignActivated",
                "CampaignPaused",
                "CampaignRetired",
            ],
            Kind::Product => &[
                "ProductCreated",
                "ProductChanged",
                "ProductRetired",
                "StockAdjusted",
                "StockHeld",
                "StockCaptured",
                "StockReleased",
            ],
            Kind::Program => &["ProgramConfigured"],
            Kind::Purchase => &[
                "PurchasePlaced",
                "PurchaseStepStarted",
                "PurchaseStepDone",
                "PurchaseStepRefused",
                "PurchaseStepDelayed",
                "PurchaseActionRequired",
                "PurchaseStepUndone",
                "PurchaseCancelled",
                "PurchaseTimedOut",
                "PurchaseStuck",
                "PurchaseRetried",
                "PurchaseStepAbandoned",
                "PurchaseCompleted",
                "PurchaseRejected",
                "PurchaseRefundRequested",
                "PurchaseRefunded",
                "PurchaseRefundFailed",
            ],
            Kind::Sale => &["SaleRecorded", "SaleReturned"],
            Kind::Wallet => &[
                "WalletToppedUp",
                "WalletMoneyHeld",
                "WalletMoneyCaptured",
                "WalletMoneyReleased",
                "WalletRefunded",
            ],
        };
        // Every event is at its first version; the first that is not gets its own arm here.
        names.contains(&name).then_some(1)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_event_is_listed_by_its_name_and_version() {
        for event in crate::samples::events() {
            let (name, version) = event.name();
            assert_eq!(Event::version_of(event.kind(), name), Some(version), "{name}");
            let stored = serde_json::to_value(&event).unwrap();
            let tag = stored.as_object().unwrap().keys().next().unwrap();
            assert_eq!(tag, name, "the tag in the log is the name");
            assert_eq!(serde_json::from_value::<Event>(stored).unwrap(), event);
        }
        assert_eq!(Event::version_of(Kind::Sale, "PointsIssued"), None);
    }

    #[test]
    fn every_event_has_one_sample() {
        let mut sampled: Vec<_> = crate::samples::events().iter().map(|e| e.name().0).collect();
        sampled.sort_unstable();
        let mut listed: Vec<_> = [
            schemars::schema_for!(account::event::Event),
            schemars::schema_for!(campaign::Event),
            schemars::schema_for!(product::event::Event),
            schemars::schema_for!(program::Event),
            schemars::schema_for!(purchase::event::Event),
            schemars::schema_for!(sale::Event),
            schemars::schema_for!(wallet::event::Event),
        ]
        .iter()
        .flat_map(variants)
        .collect();
        listed.sort_unstable();
        assert_eq!(sampled, listed);
    }

    /// The names of an enum's variants, as its schema has them.
    fn variants(schema: &schemars::Schema) -> Vec<String> {
        let variants = schema.get("oneOf").and_then(|all| all.as_array());
        let one = [schema.as_value().clone()];
        let variants = variants.map_or(&one[..], |all| &all[..]);
        let tag = |variant: &serde_json::Value| variant["required"][0].as_str().map(str::to_owned);
        variants.iter().filter_map(tag).collect()
    }
}
