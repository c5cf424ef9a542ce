//! One request to one aggregate, whatever its kind.

use crate::aggregate::Kind;
use crate::id::{AccountId, CampaignId, ProductId, PurchaseId, SaleId, WalletId};
use crate::{account, campaign, product, program, purchase, sale, wallet};

/// A request to one aggregate of the envelope's program.
#[derive(Debug, Clone, PartialEq)]
pub enum Action {
    /// To an account.
    Account(AccountId, account::command::Command),
    /// To a campaign.
    Campaign(CampaignId, campaign::Command),
    /// To a product.
    Product(ProductId, product::command::Command),
    /// To the program itself.
    Program(program::Command),
    /// To a purchase.
    Purchase(PurchaseId, purchase::command::Command),
    /// To a sale.
    Sale(SaleId, sale::Command),
    /// To a wallet.
    Wallet(WalletId, wallet::command::Command),
}

impl Action {
    /// The kind of stream it goes to.
    #[must_use]
    pub const fn kind(&self) -> Kind {
        match self {
            Self::Account(..) => Kind::Account,
            Self::Campaign(..) => Kind::Campaign,
            Self::Product(..) => Kind::Product,
            Self::Program(..) => Kind::Program,
            Self::Purchase(..) => Kind::Purchase,
            Self::Sale(..) => Kind::Sale,
            Self::Wallet(..) => Kind::Wallet,
        }
    }
}
