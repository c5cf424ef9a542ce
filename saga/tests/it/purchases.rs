//! Random orders with discounts, cancellations and refunds, with a payment provider that misbehaves,
//! two runners at work and a clock that jumps, against a model of money, stock and points, those
//! included that a campaign awards, that knows nothing of steps: only what was asked for, and what
//! each purchase says it has come to.

use std::collections::BTreeMap;

use accrue_domain::account::Account;
use accrue_domain::action::Action;
use accrue_domain::envelope::Envelope;
use accrue_domain::id::{AccountId, ProductId, PurchaseId, RefundId, WalletId};
use accrue_domain::money::{Currency, Minor, Money};
use accrue_domain::payment_method::PaymentMethod;
use accrue_domain::points::Amount;
use accrue_domain::product::command::{Command as OnProduct, New};
use accrue_domain::product::{Offering, Product};
use accrue_domain::program::{self, PointsRate, Settings};
use accrue_domain::purchase::command::{
    Asked, Command, DiscountAsked, Off, Offer, Place, Portion, Refund, RefundedLine,
};
use accrue_domain::purchase::refunds::Stage;
use accrue_domain::purchase::{Purchase, Status};
use accrue_domain::quantity::{Delta, Quantity};
use accrue_domain::wallet::Wallet;
use accrue_domain::wallet::command::Command as OnWallet;
use accrue_event_store::receipt::ExecuteError;
use accrue_gateways::payment::simulator::Totals;
use chrono::TimeDelta;
use serde_json::json;

use crate::provider::Provider;
use crate::world::{World, campaign, each, envelope, issue, noon};

/// Pence of one unit of each product.
const PRICES: [i64; 3] = [100, 333, 1_999];
const STOCK: i64 = 40;
const MONEY: i64 = 60_000;
const POINTS: i64 = 20_000;

/// Which runs; another number is another story.
const SEEDS: [u64; 6] = [1, 2, 3, 8, 13, 110];
const MOVES: usize = 60;

/// Numbers that look random and are the same for the same seed: splitmix64 (Steele, Lea, Flood,
/// 2014).
struct Dice(u64);

impl Dice {
    fn roll(&mut self, sides: i64) -> i64 {
        self.0 = self.0.wrapping_add(0x9E37_79B9_7F4A_7C15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
        i64::try_from((z ^ (z >> 31)) % u64::try_from(sides).unwrap()).unwrap()
    }
}

/// What was asked for.
struct Asking {
    /// Product and units, by line.
    lines: Vec<(usize, i64)>,
    discounts: Vec<Discount>,
    points: i64,
    wallet: i64,
    card: i64,
    refunds: BTreeMap<String, Portion>,
}

/// A discount in percent, or in pence; of a line, from 0, or of all.
struct Discount {
    percent: bool,
    size: i64,
    line: Option<usize>,
}

impl Discount {
    fn asked(&self) -> DiscountAsked {
        let off = match self.percent {
            true => Off::Percent(self.size.to_string().parse().unwrap()),
            false => Off::Amount(pounds(self.size)),
        };
        let line = self.line.map(|line| u32::try_from(line).unwrap() + 1);
        DiscountAsked { id: None, reason: "sale".to_owned(), off, line }
    }
}

impl Asking {
    /// What each line costs with the discounts taken off.
    fn costs(&self) -> Vec<i64> {
        let full = |(product, units): &(usize, i64)| PRICES[*product] * units;
        let mut costs: Vec<i64> = self.lines.iter().map(full).collect();
        for Discount { percent, size, line } in &self.discounts {
            let applies = |at: usize| line.is_none_or(|line| line == at);
            let whole: i64 = (0..costs.len()).filter(|at| applies(*at)).map(|at| costs[at]).sum();
            let off = if *percent { (whole * size + 50) / 100 } else { *size };
            let mut before = 0;
            for (_, cost) in costs.iter_mut().enumerate().filter(|(at, _)| applies(*at)) {
                let until = before + *cost;
                if whole > 0 {
                    *cost -= off * until / whole - off * before / whole;
                }
                before = until;
            }
        }
        costs
    }

    fn total(&self) -> i64 {
        self.costs().iter().sum()
    }

    /// What some units of a line cost, behind those that were given back before.
    fn cost(&self, line: usize, before: i64, units: i64) -> i64 {
        let (cost, all) = (self.costs()[line], self.lines[line].1);
        cost * (before + units) / all - cost * before / all
    }
}

struct Market {
    world: World,
    provider: Provider,
    dice: Dice,
    asked: Vec<Asking>,
    commands: usize,
}

fn product(at: usize) -> ProductId {
    ProductId::new(&format!("product-{at}")).unwrap()
}

fn purchase(at: usize) -> PurchaseId {
    PurchaseId::new(&format!("purchase-{at}")).unwrap()
}

fn pounds(pence: i64) -> Money {
    Money { amount: Minor::new(pence).unwrap(), currency: Currency::GBP }
}

fn wallet() -> WalletId {
    WalletId::new("w").unwrap()
}

impl Market {
    async fn open(seed: u64) -> Self {
        let (world, provider) = (World::new().await, Provider::start().await);
        let rate = PointsRate { points: Amount::new(1).unwrap(), amount: Minor::new(1).unwrap() };
        let settings = Settings { points_rate: Some(rate), ..Settings::default() };
        world.execute(Action::Program(program::Command::Configure(settings))).await;
        for (at, price) in PRICES.into_iter().enumerate() {
            let new = New {
                name: "a thing".to_owned(),
                kind: Offering::Goods,
                description: None,
                image: None,
                price: pounds(price),
            };
            world.execute(Action::Product(product(at), OnProduct::Create(new))).await;
            let delta = Delta::new(STOCK).unwrap();
            let (reason, reference) = ("delivery".to_owned(), None);
            let adjust = OnProduct::AdjustStock { delta, reason, reference };
            world.execute(Action::Product(product(at), adjust)).await;
        }
        let top_up = OnWallet::TopUp { money: pounds(MONEY), reference: None };
        world.execute(Action::Wallet(wallet(), top_up)).await;
        world.execute(issue("m", POINTS, None)).await;
        // A point for every ten pence.
        world.execute(campaign("tenth", each("$.amount*10"))).await;
        Self { world, provider, dice: Dice(seed), asked: Vec::new(), commands: 0 }
    }

    /// Sends a command that may be refused.
    async fn send(&mut self, action: Action) -> bool {
        self.commands += 1;
        let id = format!("move-{}", self.commands);
        self.send_all(envelope(&id, action)).await
    }

    async fn send_all(&self, envelope: Envelope) -> bool {
        match self.world.ledger.execute(envelope).await {
            Ok(_) => true,
            Err(ExecuteError::Refused { .. }) => false,
            Err(error) => panic!("{error}"),
        }
    }

    async fn order(&mut self) {
        let dice = &mut self.dice;
        let count = 1 + dice.roll(3);
        let line = |dice: &mut Dice| (usize::try_from(dice.roll(3)).unwrap(), 1 + dice.roll(5));
        let lines: Vec<(usize, i64)> = (0..count).map(|_| line(dice)).collect();
        let (discounts, refunds) = (Vec::new(), BTreeMap::new());
        let mut asking = Asking { lines, discounts, points: 0, wallet: 0, card: 0, refunds };
        for _ in 0..dice.roll(3) {
            let line = (dice.roll(2) == 0).then(|| usize::try_from(dice.roll(count)).unwrap());
            let left = line.map_or_else(|| asking.total(), |line| asking.costs()[line]);
            let (percent, size) = match dice.roll(4) {
                0 => (true, 100),
                1 => (true, 1 + dice.roll(99)),
                _ if left > 0 => (false, 1 + dice.roll(left)),
                _ => continue,
            };
            asking.discounts.push(Discount { percent, size, line });
        }
        let mut left = asking.total();
        if dice.roll(2) == 0 && left > 2 {
            asking.points = 1 + dice.roll(left / 2);
            left -= asking.points;
        }
        match dice.roll(3) {
            0 => asking.wallet = left,
            1 if left > 2 => asking.wallet = 1 + dice.roll(left - 1),
            _ => {}
        }
        asking.card = left - asking.wallet;
        let token = match dice.roll(8) {
            0 => "pm_card_chargeDeclined",
            1 => "pm_card_authenticationRequired",
            _ => "pm_card_visa",
        };
        let mut tenders = Vec::new();
        if let Ok(points) = Amount::new(asking.points) {
            tenders.push(Offer::Points { points: Some(points), money: None });
        }
        if asking.wallet > 0 {
            let money = Some(pounds(asking.wallet));
            tenders.push(Offer::Wallet { wallet: wallet(), money });
        }
        if asking.card > 0 {
            let payment_method = PaymentMethod::parse(token).unwrap();
            tenders.push(Offer::Card { payment_method, money: None });
        }
        let asked = |(at, units): &(usize, i64)| Asked {
            product: product(*at),
            quantity: Quantity::new(*units).unwrap(),
            price: None,
        };
        let place = Place {
            account: Some(AccountId::new("m").unwrap()),
            lines: asking.lines.iter().map(asked).collect(),
            discounts: asking.discounts.iter().map(Discount::asked).collect(),
            tenders,
            until: None,
            reference: None,
            quotes: Vec::new(),
        };
        let quotes = (0..PRICES.len()).map(|at| Action::Product(product(at), OnProduct::Quote));
        let order = Action::Purchase(purchase(self.asked.len()), Command::Place(Box::new(place)));
        let actions = quotes.chain([order.clone()]).collect();
        let id = format!("order-{}", self.asked.len());
        assert!(self.send_all(Envelope { actions, ..envelope(&id, order) }).await);
        self.asked.push(asking);
    }

    async fn refund(&mut self) {
        let Ok(count @ 1..) = i64::try_from(self.asked.len()) else { return };
        let at = usize::try_from(self.dice.roll(count)).unwrap();
        let restock = self.dice.roll(2) == 0;
        let total = self.asked[at].total();
        let portion = match self.dice.roll(4) {
            0 => Portion::All { restock },
            1 => Portion::Amount(pounds(1 + self.dice.roll(total.max(1)))),
            _ => {
                let line = 1 + u32::try_from(self.dice.roll(2)).unwrap();
                let quantity = Quantity::new(1 + self.dice.roll(2)).unwrap();
                Portion::Lines(vec![RefundedLine { line, quantity, restock }])
            }
        };
        let id = format!("refund-{}", self.commands);
        let refund = Refund {
            id: Some(RefundId::new(&id).unwrap()),
            portion: portion.clone(),
            reference: None,
        };
        if self.send(Action::Purchase(purchase(at), Command::Refund(refund))).await {
            self.asked[at].refunds.insert(id, portion);
        }
    }

    async fn cancel(&mut self) {
        let Ok(count @ 1..) = i64::try_from(self.asked.len()) else { return };
        let at = usize::try_from(self.dice.roll(count)).unwrap();
        let cancel = Command::Cancel { reason: None, actor: None };
        self.send(Action::Purchase(purchase(at), cancel)).await;
    }

    async fn misbehave(&mut self) {
        let switches = match self.dice.roll(6) {
            0 => json!({"hang": 1}),
            1 => json!({"fail": {"status": 500, "times": 2}}),
            2 => json!({"drop_connection": 1}),
            3 => json!({"slow_ms": 20}),
            4 => json!({"decline": "generic_decline"}),
            _ => json!({}),
        };
        self.provider.switch(switches).await;
    }

    fn jump(&mut self) {
        let seconds = [1, 3, 30, 1_000][usize::try_from(self.dice.roll(4)).unwrap()];
        self.pass(seconds);
    }

    fn pass(&self, seconds: i64) {
        let now = accrue_event_store::clock::Clock::now(&*self.world.clock);
        self.world.clock.set(now + TimeDelta::seconds(seconds));
    }

    async fn make_move(&mut self) {
        match self.dice.roll(12) {
            0..=5 => self.order().await,
            6 | 7 => self.refund().await,
            8 => self.cancel().await,
            9 | 10 => self.misbehave().await,
            _ => self.jump(),
        }
    }

    async fn state(&self, at: usize) -> Purchase {
        self.world.load::<Purchase>(purchase(at).as_str()).await
    }

    /// With a provider that behaves and a clock that goes on, everything comes to its end.
    async fn come_to_an_end(&mut self) {
        self.provider.switch(json!({})).await;
        for _ in 0..2_000 {
            let mut open = 0;
            for at in 0..self.asked.len() {
                let state = self.state(at).await;
                let refunding = state.refunds().open().is_some();
                if state.status() == Status::Stuck {
                    let (reason, actor) = ("it behaves again".to_owned(), "desk".to_owned());
                    self.send(Action::Purchase(purchase(at), Command::Retry { reason, actor }))
                        .await;
                }
                open += usize::from(refunding || !state.status().is_final());
            }
            if open == 0 {
                return;
            }
            self.pass(5);
        }
        panic!("not everything came to an end");
    }

    /// The model: what must be where, given how each purchase ended.
    async fn check(&self, seed: u64) {
        let (mut stock, mut money, mut points, mut card) =
            (PRICES.map(|_| STOCK), MONEY, POINTS, 0);
        for (at, asking) in self.asked.iter().enumerate() {
            let state = self.state(at).await;
            if state.status() == Status::Rejected {
                assert_eq!(state.trail().done(), [], "seed {seed}: purchase-{at} left something");
                continue;
            }
            for (product, units) in &asking.lines {
                stock[*product] -= units;
            }
            money -= asking.wallet;
            points -= asking.points;
            card += asking.card;
            let (paid, mut returned) = (asking.wallet + asking.card, 0);
            let (mut left, mut units) = (asking.total(), asking.lines.clone());
            for refund in state.refunds().iter().filter(|it| it.stage == Stage::Done) {
                let (amount, goods) =
                    model_refund(&asking.refunds[refund.id.as_str()], asking, left, &mut units);
                left -= amount;
                for (product, count) in goods {
                    stock[product] += count;
                }
                // How the parts are shared is the purchase's; that they sum to it is not.
                let order = state.order().unwrap();
                let parts: Vec<_> = refund.tenders(order).collect();
                let sum: i64 = parts.iter().map(|(_, part)| part.money.get()).sum();
                assert_eq!(sum, amount, "seed {seed}: {} of purchase-{at}", refund.id);
                for (tender, part) in parts {
                    match tender.kind() {
                        "points" => points += part.points.get(),
                        "wallet" => money += part.money.get(),
                        _ => card -= part.money.get(),
                    }
                    returned += if tender.is_money() { part.money.get() } else { 0 };
                }
            }
            // Earned on what was paid in money, and taken back in proportion.
            let earned = paid / 10;
            points += earned - if paid > 0 { earned * returned / paid } else { 0 };
            assert!(left >= 0, "seed {seed}: more was given back than paid");
        }
        for (at, expected) in stock.into_iter().enumerate() {
            let product = self.world.load::<Product>(product(at).as_str()).await;
            let there = (product.available().get(), product.held().get());
            assert_eq!(there, (expected, 0), "seed {seed}: stock of product-{at}");
        }
        let wallet = self.world.load::<Wallet>("w").await;
        let balance = wallet.balance(Currency::GBP);
        let there = (balance.available.get(), balance.held.get());
        assert_eq!(there, (money, 0), "seed {seed}: wallet");
        let account = self.world.load::<Account>("m").await;
        let there = (account.balance(), account.held(), account.debt().get());
        assert_eq!(there, (points, 0, 0), "seed {seed}: points");
        let Totals { authorised, captured, refunded, released } = self.provider.totals().await;
        let there = (captured - refunded, authorised - captured - released);
        assert_eq!(there, (card, 0), "seed {seed}: card");
    }
}

/// How much a refund gives back in all, and which goods; `units` is what is not refunded yet.
fn model_refund(
    portion: &Portion,
    asking: &Asking,
    left: i64,
    units: &mut [(usize, i64)],
) -> (i64, Vec<(usize, i64)>) {
    match portion {
        Portion::Amount(amount) => (amount.amount.get(), Vec::new()),
        Portion::All { restock } => {
            let goods = if *restock { units.to_vec() } else { Vec::new() };
            units.iter_mut().for_each(|(_, count)| *count = 0);
            (left, goods)
        }
        Portion::Lines(lines) => {
            let (mut amount, mut goods) = (0, Vec::new());
            for line in lines {
                let at = usize::try_from(line.line).unwrap() - 1;
                let (product, count) = (asking.lines[at].0, line.quantity.get());
                amount += asking.cost(at, asking.lines[at].1 - units[at].1, count);
                units[at].1 -= count;
                if line.restock {
                    goods.push((product, count));
                }
            }
            (amount, goods)
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn money_stock_and_points_are_conserved_whatever_happens() {
    // How the two of them meet is up to the machine, so no single seed has all of it each time.
    let mut seen = [0; 4];
    for seed in SEEDS {
        let mut market = Market::open(seed).await;
        let config = || accrue_saga::Config {
            payments: market.provider.payments(),
            ..accrue_saga::Config::default()
        };
        // Two of them, as where two processes have the role.
        let (one, other) = (market.world.start_with(config()), market.world.start_with(config()));
        for _ in 0..MOVES {
            market.make_move().await;
        }
        market.come_to_an_end().await;
        market.world.caught_up(&one).await;
        one.end().await;
        other.end().await;
        market.check(seed).await;
        let count = |name| format!("SELECT count(*) FROM events WHERE event_type = '{name}'");
        let (completed, rejected) = (count("PurchaseCompleted"), count("PurchaseRejected"));
        let (completed, rejected) =
            (market.world.number(&completed).await, market.world.number(&rejected).await);
        let placed = i64::try_from(market.asked.len()).unwrap();
        assert_eq!(completed + rejected, placed, "seed {seed}: each ended once");
        let (awarded, reversed) = (count("PointsIssued"), count("PointsReversed"));
        let (awarded, reversed) =
            (market.world.number(&awarded).await, market.world.number(&reversed).await);
        let of_seed = [completed, rejected, awarded, reversed];
        seen.iter_mut().zip(of_seed).for_each(|(all, it)| *all += it);
        assert!(noon() < accrue_event_store::clock::Clock::now(&*market.world.clock));
    }
    assert!(seen.iter().all(|it| *it > 0), "completed, rejected, awarded, reversed: {seen:?}");
}
