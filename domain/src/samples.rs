//! One sample of every event: what golden files and schemas are made of.

mod purchases;

use chrono::{DateTime, TimeDelta, Utc};
use serde_json::json;

use crate::account::command::Source;
use crate::account::event::{Event as Account, Grace, Part, ReleaseReason};
use crate::event::Event;
use crate::expiry::period::Period;
use crate::expiry::zone::Zone;
use crate::expiry::{Policy, Round};
use crate::id::{AccountId, CampaignId, HoldId, LotId, ReturnId, SaleId};
use crate::money::{Currency, Minor, Money};
use crate::points::{Amount, Points};
use crate::product::Offering;
use crate::product::event::Event as Product;
use crate::program::{self, PointsRate, Settings};
use crate::quantity::{Delta, Quantity, Units};
use crate::sale::{Line, LineKind, ReturnedLine};
use crate::wallet::event::Event as Wallet;
use crate::{campaign, sale};

/// One sample of every event, each with all of its optional fields.
#[must_use]
pub fn events() -> Vec<Event> {
    let account = earning().into_iter().chain(spending()).chain(holding()).map(Event::Account);
    let campaign = campaigns().into_iter().map(Event::Campaign);
    let product = products().into_iter().map(Event::Product);
    let sale = sales().into_iter().map(Event::Sale);
    let program = [Event::Program(configured())];
    let purchase = purchases::events().into_iter().map(Event::Purchase);
    let wallet = wallets().into_iter().map(Event::Wallet);
    let selling = product.chain(purchase).chain(sale).chain(wallet);
    account.chain(campaign).chain(program).chain(selling).collect()
}

fn earning() -> [Account; 3] {
    [
        Account::AccountOpened {},
        Account::PointsIssued {
            lot: lot("award-1"),
            points: points(13),
            available_from: Some(day(14)),
            expires_at: Some(day(396)),
            source: Source::Campaign {
                campaign: id(CampaignId::new("tenth")),
                version: 1,
                event: 42,
                sale: Some(id(SaleId::new("536365"))),
            },
            reference: Some("welcome".to_owned()),
        },
        Account::PointsCredited {
            lot: lot("goodwill-1"),
            points: points(50),
            expires_at: Some(day(365)),
            reason: "late delivery".to_owned(),
            actor: "desk-7".to_owned(),
            reference: Some("case 991".to_owned()),
        },
    ]
}

fn spending() -> [Account; 5] {
    [
        Account::PointsRedeemed {
            points: points(20),
            lots: vec![part("award-1", 13), part("goodwill-1", 7)],
            reference: Some("order 17".to_owned()),
        },
        Account::PointsDebited {
            points: points(3),
            lots: vec![part("goodwill-1", 3)],
            reason: "credited twice".to_owned(),
            actor: "desk-7".to_owned(),
            reference: Some("case 992".to_owned()),
        },
        Account::PointsReversed {
            lot: lot("award-1"),
            points: points(13),
            lots: vec![part("goodwill-1", 10)],
            debt: points(3),
            return_id: Some(id(ReturnId::new("return-1"))),
            reference: Some("damaged".to_owned()),
        },
        Account::DebtRepaid { points: points(3), lots: vec![part("award-2", 3)] },
        Account::PointsExpired { points: points(30), lots: vec![part("goodwill-1", 30)] },
    ]
}

fn holding() -> [Account; 4] {
    [
        Account::HoldPlaced {
            hold: hold(),
            points: points(30),
            lots: vec![part("goodwill-1", 30)],
            until: Some(day(1)),
            reference: Some("seat 4F".to_owned()),
        },
        Account::HoldCaptured {
            hold: hold(),
            points: points(20),
            lots: vec![part("goodwill-1", 20)],
            released: vec![part("goodwill-1", 10)],
            reference: Some("seat 4F".to_owned()),
        },
        Account::HoldReleased {
            hold: hold(),
            points: points(30),
            lots: vec![part("goodwill-1", 30)],
            reason: ReleaseReason::Requested,
            reference: Some("cancelled".to_owned()),
        },
        Account::PointsRestored {
            hold: hold(),
            points: points(20),
            lots: vec![part("goodwill-1", 12)],
            grace: Some(Grace {
                lot: lot("order-17-undone"),
                points: points(8),
                expires_at: day(60),
            }),
            reference: Some("order 17 undone".to_owned()),
        },
    ]
}

fn campaigns() -> [campaign::Event; 5] {
    let rules = || json!([{ "when": [], "then": [] }]);
    [
        campaign::Event::CampaignCreated { name: "A tenth".to_owned(), version: 1, rules: rules() },
        campaign::Event::CampaignRulesReplaced { version: 2, rules: rules() },
        campaign::Event::CampaignActivated {},
        campaign::Event::CampaignPaused {},
        campaign::Event::CampaignRetired {},
    ]
}

fn products() -> [Product; 7] {
    let price = |units| Money { amount: id(Minor::new(units)), currency: Currency::GBP };
    let quantity = |units| id(Quantity::new(units));
    let image = || Some("https://shop.example/unicorn.png".to_owned());
    [
        Product::ProductCreated {
            name: "Unicorn".to_owned(),
            kind: Offering::Goods,
            description: Some("White, one horn".to_owned()),
            image: image(),
            price: price(170_000),
        },
        Product::ProductChanged {
            name: "Unicorn, white".to_owned(),
            description: Some("One horn".to_owned()),
            image: image(),
            price: price(165_000),
        },
        Product::ProductRetired {},
        Product::StockAdjusted {
            delta: id(Delta::new(4)),
            reason: "delivery".to_owned(),
            reference: Some("note 12".to_owned()),
        },
        Product::StockHeld {
            hold: hold(),
            quantity: quantity(3),
            until: Some(day(1)),
            reference: Some("basket 5".to_owned()),
        },
        Product::StockCaptured {
            hold: hold(),
            quantity: quantity(2),
            released: id(Units::new(1)),
            reference: Some("order 17".to_owned()),
        },
        Product::StockReleased {
            hold: hold(),
            quantity: quantity(3),
            reason: ReleaseReason::Requested,
            reference: Some("cancelled".to_owned()),
        },
    ]
}

fn configured() -> program::Event {
    let period = id(Period::of_months(12));
    program::Event::ProgramConfigured {
        settings: Settings {
            currency: Currency::GBP,
            zone: Zone::from(chrono_tz::Europe::London),
            expiry: Policy::After { period, round: Round::MonthEnd },
            points_rate: Some(PointsRate { points: id(Amount::new(1)), amount: id(Minor::new(1)) }),
        },
    }
}

fn sales() -> [sale::Event; 2] {
    let account = || Some(id(AccountId::new("17850")));
    let minor = |units| id(Minor::new(units));
    let pounds = |units| Money { amount: minor(units), currency: Currency::GBP };
    [
        sale::Event::SaleRecorded {
            account: account(),
            total: pounds(13_912),
            lines: vec![Line {
                product: "85123A".to_owned(),
                quantity: 6,
                amount: minor(13_912),
                kind: LineKind::Goods,
            }],
            occurred_at: day(0),
            reference: Some("till 4".to_owned()),
        },
        sale::Event::SaleReturned {
            return_id: id(ReturnId::new("return-1")),
            account: account(),
            amount: pounds(2_318),
            returned: minor(2_318),
            total: minor(13_912),
            lines: vec![ReturnedLine { line: 1, quantity: 1 }],
            reference: Some("damaged".to_owned()),
        },
    ]
}

fn wallets() -> [Wallet; 5] {
    let minor = |units| id(Minor::new(units));
    let dollars = |units| Money { amount: minor(units), currency: id("USD".parse()) };
    [
        Wallet::WalletToppedUp { money: dollars(330_000), reference: Some("gift card".to_owned()) },
        Wallet::WalletMoneyHeld {
            hold: hold(),
            money: dollars(170_000),
            until: Some(day(1)),
            reference: Some("basket 5".to_owned()),
        },
        Wallet::WalletMoneyCaptured {
            hold: hold(),
            money: dollars(160_000),
            released: minor(10_000),
            reference: Some("order 17".to_owned()),
        },
        Wallet::WalletMoneyReleased {
            hold: hold(),
            money: dollars(170_000),
            reason: ReleaseReason::Requested,
            reference: Some("cancelled".to_owned()),
        },
        Wallet::WalletRefunded {
            money: dollars(160_000),
            reference: Some("order 17 undone".to_owned()),
        },
    ]
}

fn id<T, E: std::fmt::Debug>(checked: Result<T, E>) -> T {
    checked.expect("samples are valid")
}

fn hold() -> HoldId {
    id(HoldId::new("booking-5"))
}

fn lot(name: &str) -> LotId {
    id(LotId::new(name))
}

fn points(count: i64) -> Points {
    id(Points::new(count))
}

fn part(name: &str, count: i64) -> Part {
    Part { lot: lot(name), points: points(count) }
}

/// So many days behind 1 December 2010, 08:26.
fn day(days: i64) -> DateTime<Utc> {
    let start = DateTime::from_timestamp(1_291_191_960, 0).unwrap_or_default();
    start.checked_add_signed(TimeDelta::days(days)).unwrap_or_default()
}
