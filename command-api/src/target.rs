//! Targets: what the path of a call names. In an envelope the same names are fields.

use accrue_domain::id::{AccountId, CampaignId, HoldId, ProductId, PurchaseId, SaleId, WalletId};
use accrue_http::saga_name::SagaName;
use serde::Deserialize;
use utoipa::IntoParams;

/// The path parameters of a kind of command.
pub(crate) trait Target: Sized {
    /// Their names, in the path's order.
    const KEYS: &'static [&'static str];

    /// From an envelope's fields; the name of the first that is missing otherwise.
    fn take(named: &mut Named) -> Result<Self, &'static str>;

    /// Its ids in the path's order, for the fingerprint.
    fn ids(&self) -> [&str; 2];
}

/// An envelope's fields that stand for path parameters.
#[derive(Debug, Default)]
pub(crate) struct Named {
    pub(crate) account: Option<AccountId>,
    pub(crate) campaign: Option<CampaignId>,
    pub(crate) hold: Option<HoldId>,
    pub(crate) product: Option<ProductId>,
    pub(crate) purchase: Option<PurchaseId>,
    pub(crate) saga: Option<SagaName>,
    pub(crate) sale: Option<SaleId>,
    pub(crate) wallet: Option<WalletId>,
}

/// No path parameters: the body says it all.
#[derive(Debug)]
pub(crate) struct Nothing;

/// `/v1/accounts/{account}/…`
#[derive(Debug, Deserialize, IntoParams)]
#[into_params(parameter_in = Path)]
pub(crate) struct OfAccount {
    /// The account; it opens with its first command.
    #[param(value_type = String, example = "17850")]
    pub(crate) account: AccountId,
}

/// `/v1/accounts/{account}/holds/{hold}/…`
#[derive(Debug, Deserialize, IntoParams)]
#[into_params(parameter_in = Path)]
pub(crate) struct OfHold {
    /// The account.
    #[param(value_type = String, example = "17850")]
    pub(crate) account: AccountId,
    /// The hold.
    #[param(value_type = String, example = "booking-5")]
    pub(crate) hold: HoldId,
}

/// `/v1/campaigns/{campaign}/…`
#[derive(Debug, Deserialize, IntoParams)]
#[into_params(parameter_in = Path)]
pub(crate) struct OfCampaign {
    /// The campaign.
    #[param(value_type = String, example = "tenth")]
    pub(crate) campaign: CampaignId,
}

/// `/v1/products/{product}/…`
#[derive(Debug, Deserialize, IntoParams)]
#[into_params(parameter_in = Path)]
pub(crate) struct OfProduct {
    /// The product.
    #[param(value_type = String, example = "1")]
    pub(crate) product: ProductId,
}

/// `/v1/products/{product}/holds/{hold}/…`
#[derive(Debug, Deserialize, IntoParams)]
#[into_params(parameter_in = Path)]
pub(crate) struct OfStockHold {
    /// The product.
    #[param(value_type = String, example = "1")]
    pub(crate) product: ProductId,
    /// The hold.
    #[param(value_type = String, example = "basket-5")]
    pub(crate) hold: HoldId,
}

/// `/v1/purchases/{purchase}/…`
#[derive(Debug, Deserialize, IntoParams)]
#[into_params(parameter_in = Path)]
pub(crate) struct OfPurchase {
    /// The purchase.
    #[param(value_type = String, example = "p-1")]
    pub(crate) purchase: PurchaseId,
}

/// `/v1/sagas/{saga}/…`
#[derive(Debug, Deserialize, IntoParams)]
#[into_params(parameter_in = Path)]
pub(crate) struct OfSaga {
    /// The saga: its kind and the id of what it is about.
    #[param(value_type = String, example = "purchase:p-1")]
    pub(crate) saga: SagaName,
}

/// `/v1/sales/{sale}/…`
#[derive(Debug, Deserialize, IntoParams)]
#[into_params(parameter_in = Path)]
pub(crate) struct OfSale {
    /// The sale.
    #[param(value_type = String, example = "536365")]
    pub(crate) sale: SaleId,
}

/// `/v1/wallets/{wallet}/…`
#[derive(Debug, Deserialize, IntoParams)]
#[into_params(parameter_in = Path)]
pub(crate) struct OfWallet {
    /// The wallet; it opens with the first money that comes in.
    #[param(value_type = String, example = "ada")]
    pub(crate) wallet: WalletId,
}

/// `/v1/wallets/{wallet}/holds/{hold}/…`
#[derive(Debug, Deserialize, IntoParams)]
#[into_params(parameter_in = Path)]
pub(crate) struct OfMoneyHold {
    /// The wallet.
    #[param(value_type = String, example = "ada")]
    pub(crate) wallet: WalletId,
    /// The hold.
    #[param(value_type = String, example = "basket-5")]
    pub(crate) hold: HoldId,
}

impl Target for Nothing {
    const KEYS: &'static [&'static str] = &[];
    fn take(_: &mut Named) -> Result<Self, &'static str> {
        Ok(Self)
    }
    fn ids(&self) -> [&str; 2] {
        ["", ""]
    }
}

impl Target for OfAccount {
    const KEYS: &'static [&'static str] = &["account"];
    fn take(named: &mut Named) -> Result<Self, &'static str> {
        Ok(Self { account: named.account.take().ok_or("account")? })
    }
    fn ids(&self) -> [&str; 2] {
        [self.account.as_str(), ""]
    }
}

impl Target for OfHold {
    const KEYS: &'static [&'static str] = &["account", "hold"];
    fn take(named: &mut Named) -> Result<Self, &'static str> {
        let account = named.account.take().ok_or("account")?;
        Ok(Self { account, hold: named.hold.take().ok_or("hold")? })
    }
    fn ids(&self) -> [&str; 2] {
        [self.account.as_str(), self.hold.as_str()]
    }
}

impl Target for OfCampaign {
    const KEYS: &'static [&'static str] = &["campaign"];
    fn take(named: &mut Named) -> Result<Self, &'static str> {
        Ok(Self { campaign: named.campaign.take().ok_or("campaign")? })
    }
    fn ids(&self) -> [&str; 2] {
        [self.campaign.as_str(), ""]
    }
}

impl Target for OfProduct {
    const KEYS: &'static [&'static str] = &["product"];
    fn take(named: &mut Named) -> Result<Self, &'static str> {
        Ok(Self { product: named.product.take().ok_or("product")? })
    }
    fn ids(&self) -> [&str; 2] {
        [self.product.as_str(), ""]
    }
}

impl Target for OfStockHold {
    const KEYS: &'static [&'static str] = &["product", "hold"];
    fn take(named: &mut Named) -> Result<Self, &'static str> {
        let product = named.product.take().ok_or("product")?;
        Ok(Self { product, hold: named.hold.take().ok_or("hold")? })
    }
    fn ids(&self) -> [&str; 2] {
        [self.product.as_str(), self.hold.as_str()]
    }
}

impl Target for OfPurchase {
    const KEYS: &'static [&'static str] = &["purchase"];
    fn take(named: &mut Named) -> Result<Self, &'static str> {
        Ok(Self { purchase: named.purchase.take().ok_or("purchase")? })
    }
    fn ids(&self) -> [&str; 2] {
        [self.purchase.as_str(), ""]
    }
}

impl Target for OfSaga {
    const KEYS: &'static [&'static str] = &["saga"];
    fn take(named: &mut Named) -> Result<Self, &'static str> {
        Ok(Self { saga: named.saga.take().ok_or("saga")? })
    }
    fn ids(&self) -> [&str; 2] {
        [self.saga.as_str(), ""]
    }
}

impl Target for OfSale {
    const KEYS: &'static [&'static str] = &["sale"];
    fn take(named: &mut Named) -> Result<Self, &'static str> {
        Ok(Self { sale: named.sale.take().ok_or("sale")? })
    }
    fn ids(&self) -> [&str; 2] {
        [self.sale.as_str(), ""]
    }
}

impl Target for OfWallet {
    const KEYS: &'static [&'static str] = &["wallet"];
    fn take(named: &mut Named) -> Result<Self, &'static str> {
        Ok(Self { wallet: named.wallet.take().ok_or("wallet")? })
    }
    fn ids(&self) -> [&str; 2] {
        [self.wallet.as_str(), ""]
    }
}

impl Target for OfMoneyHold {
    const KEYS: &'static [&'static str] = &["wallet", "hold"];
    fn take(named: &mut Named) -> Result<Self, &'static str> {
        let wallet = named.wallet.take().ok_or("wallet")?;
        Ok(Self { wallet, hold: named.hold.take().ok_or("hold")? })
    }
    fn ids(&self) -> [&str; 2] {
        [self.wallet.as_str(), self.hold.as_str()]
    }
}
