//! Random purchases: what the saga and operators do with them, without a saga.

use accrue_domain::action::Action;
use accrue_domain::id::{AccountId, ProductId, ProgramId, PurchaseId, RefundId, WalletId};
use accrue_domain::payment_method::PaymentMethod;
use accrue_domain::product::Offering;
use accrue_domain::program::{self, PointsRate, Settings};
use accrue_domain::purchase::command::{
    Asked, Command, DiscountAsked, Off, Offer, Place, Portion, Refund, RefundedLine,
};
use accrue_domain::purchase::event::Effect;
use accrue_domain::purchase::order::Order;
use accrue_domain::purchase::step::{KeyNumber, Step, Turn, Way};
use accrue_domain::purchase::{Purchase, Status};
use accrue_domain::quantity::Quantity;
use chrono::{DateTime, TimeDelta, Utc};

use crate::harness::{Dice, World, amount, offer, pence, product};

/// What no table may have in it.
pub(crate) const TOKEN: &str = "pm_card_visa";

/// A command to a purchase, behind what tells an order its prices.
pub(crate) fn purchase(id: &str, command: Command) -> Vec<Action> {
    let quote = product("pen", accrue_domain::product::command::Command::Quote);
    vec![quote, Action::Purchase(PurchaseId::new(id).unwrap(), command)]
}

pub(crate) fn points() -> Offer {
    Offer::Points { points: Some(amount(5)), money: None }
}

pub(crate) fn wallet(id: &str, money: Option<i64>) -> Offer {
    Offer::Wallet { wallet: WalletId::new(id).unwrap(), money: money.map(pence) }
}

pub(crate) fn card() -> Offer {
    Offer::Card { payment_method: PaymentMethod::parse(TOKEN).unwrap(), money: None }
}

/// An order for some pens, which are 90 pence each.
pub(crate) fn order(account: Option<&str>, units: i64, tenders: Vec<Offer>) -> Command {
    let (product, quantity) = (ProductId::new("pen").unwrap(), Quantity::new(units).unwrap());
    let lines = vec![Asked { product, quantity, price: None }];
    let account = account.map(|id| AccountId::new(id).unwrap());
    let (discounts, quotes) = (Vec::new(), Vec::new());
    let (until, reference) = (None, None);
    let place = Place { account, lines, discounts, tenders, until, reference, quotes };
    Command::Place(Box::new(place))
}

pub(crate) fn done(turn: Turn) -> Command {
    let payment = turn.step.is_outside().then(|| "pi_1".to_owned());
    Command::Done { turn, payment, spent: Vec::new() }
}

/// A move on the way there.
pub(crate) fn there(step: Step) -> Turn {
    Turn { step, way: Way::Do, refund: None }
}

/// A move of a refund.
pub(crate) fn of_refund(step: Step, refund: &str) -> Turn {
    Turn { refund: RefundId::new(refund).ok(), ..there(step) }
}

pub(crate) fn refund(id: &str, portion: Portion) -> Command {
    Command::Refund(Refund { id: RefundId::new(id).ok(), portion, reference: None })
}

impl World {
    /// Pens are for sale, and a point is worth 2 pence.
    pub(crate) async fn open_shop(&mut self, program: &str) {
        let rate = PointsRate { points: amount(1), amount: pence(2).amount };
        let settings = Settings { points_rate: Some(rate), ..Settings::default() };
        let configure = Action::Program(program::Command::Configure(settings));
        self.act_in(program, vec![configure]).await.unwrap();
        let pen = product("pen", offer("Pen", Offering::Goods, 90));
        self.act_in(program, vec![pen]).await.unwrap();
    }

    pub(crate) async fn state_of(&self, id: &str) -> Option<(Purchase, i64)> {
        self.ledger.load::<Purchase>(&ProgramId::default(), id).await.unwrap()
    }

    /// Places an order and takes it to its end, step by step; the position of that.
    pub(crate) async fn complete(&mut self, id: &str, place: Command) -> i64 {
        let mut position = self.act(purchase(id, place)).await.unwrap().position;
        while let Some(step) = self.step_of(id).await {
            position = self.act(purchase(id, done(there(step)))).await.unwrap().position;
        }
        position
    }

    async fn step_of(&self, id: &str) -> Option<Step> {
        self.state_of(id).await?.0.open().map(|it| it.step)
    }

    /// So many random commands to some purchases, while time goes on; refusals are part of it.
    pub(crate) async fn buy(&mut self, seed: u64, steps: usize) {
        let mut dice = Dice(seed);
        for _ in 0..steps {
            let now = self.pass_little_time(&mut dice);
            let id = format!("order-{}", dice.roll(25));
            let state = self.state_of(&id).await.map(|(state, _)| state);
            let command = match &state {
                Some(state) => dice.purchase_command(state, now),
                None => dice.order(),
            };
            self.try_to(seed, purchase(&id, command)).await;
        }
    }

    /// Mostly less than orders last.
    fn pass_little_time(&self, dice: &mut Dice) -> DateTime<Utc> {
        let now = accrue_event_store::clock::Clock::now(&*self.clock);
        let minutes = if dice.roll(30) == 0 { 20 * 60 } else { dice.roll(3) };
        self.clock.set(now + TimeDelta::minutes(minutes));
        now + TimeDelta::minutes(minutes)
    }
}

impl Dice {
    fn order(&mut self) -> Command {
        let (small, rest) = (Some(1 + self.roll(80)), None);
        let tenders = match self.roll(6) {
            0 => vec![card()],
            1 => vec![wallet("w", rest)],
            2 => vec![points(), wallet("w", rest)],
            3 => vec![points(), card()],
            4 => vec![wallet("v", small), wallet("w", rest)],
            _ => vec![wallet("w", small), card()],
        };
        let account = (self.roll(4) > 0).then(|| format!("member-{}", self.roll(3)));
        let mut order = order(account.as_deref(), 1 + self.roll(4), tenders);
        if self.roll(3) == 0
            && let Command::Place(place) = &mut order
        {
            let (reason, off) = ("sale".to_owned(), Off::Percent("33.3".parse().unwrap()));
            place.discounts.push(DiscountAsked { id: None, reason, off, line: None });
        }
        order
    }

    fn purchase_command(&mut self, state: &Purchase, now: DateTime<Utc>) -> Command {
        let (reason, actor) = ("a reason".to_owned(), "desk".to_owned());
        match (state.open(), self.roll(40)) {
            (_, 0) => Command::Cancel { reason: None, actor: None },
            (_, 1) => Command::TimeOut,
            // Of money that was given back, where there is any: else it says nothing.
            (_, 2) => Command::RefundFailed {
                refund: state.refunds().iter().next().map(|it| it.id.clone()),
                key: KeyNumber::default(),
                detail: "lost_or_stolen_card".to_owned(),
            },
            (Some(open), 2..) if open.status == Status::Stuck => match self.roll(2) {
                0 => Command::Retry { reason, actor },
                _ => Command::Abandon { reason, actor },
            },
            (Some(open), 2..) => self.move_on(state.turn(open.step, open.way), now),
            (None, _) => match state.order() {
                Some(order) => self.refund(order),
                None => self.order(),
            },
            (Some(_), _) => Command::TimeOut,
        }
    }

    fn move_on(&mut self, turn: Turn, now: DateTime<Utc>) -> Command {
        let (step, way) = (turn.step, turn.way);
        let retry_at = (self.roll(3) > 0).then(|| now + TimeDelta::minutes(1 + self.roll(3)));
        let effect = if self.roll(2) == 0 { Effect::None } else { Effect::Unknown };
        match self.roll(10) {
            0 => {
                let (reason, detail) = ("insufficient_funds".to_owned(), "too little".to_owned());
                Command::Refused { turn, reason, detail }
            }
            1 | 2 if step.is_outside() => {
                Command::Delay { turn, effect, detail: "no answer".to_owned(), retry_at }
            }
            3 | 4 if step.is_outside() => {
                Command::Start { turn, until: now + TimeDelta::minutes(1) }
            }
            5 if step == Step::AuthoriseCard => Command::AskCustomer {
                payment: "pi_1".to_owned(),
                url: None,
                retry_at: now + TimeDelta::minutes(1),
            },
            _ if way == Way::Undo => Command::Undone { step },
            _ => done(turn),
        }
    }

    fn refund(&mut self, order: &Order) -> Command {
        let id = format!("refund-{}", self.roll(1_000));
        let restock = self.roll(2) == 0;
        let one = Quantity::new(1).unwrap();
        refund(
            &id,
            match self.roll(4) {
                0 => Portion::All { restock },
                1 => Portion::Lines(vec![RefundedLine { line: 1, quantity: one, restock }]),
                _ => Portion::Amount(pence(1 + self.roll(order.total.amount.get() / 2))),
            },
        )
    }
}
