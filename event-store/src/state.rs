//! Any aggregate's state, dispatched by kind: the one place that knows all of them.

use accrue_domain::account::Account;
use accrue_domain::action::Action;
use accrue_domain::aggregate::{Aggregate, Context, Kind};
use accrue_domain::campaign::Campaign;
use accrue_domain::event::Event;
use accrue_domain::product::Product;
use accrue_domain::program::{self, Program};
use accrue_domain::purchase::Purchase;
use accrue_domain::sale::Sale;
use accrue_domain::wallet::Wallet;
use chrono::{DateTime, Utc};
use sha2::{Digest, Sha256};

use crate::chain::Hash;
use crate::receipt::Refusal;

/// The state of one stream.
#[derive(Debug, Clone)]
pub enum State {
    /// Of an account.
    Account(Account),
    /// Of a campaign.
    Campaign(Campaign),
    /// Of a product.
    Product(Product),
    /// Of a program.
    Program(Program),
    /// Of a purchase.
    Purchase(Box<Purchase>),
    /// Of a sale.
    Sale(Sale),
    /// Of a wallet.
    Wallet(Wallet),
}

impl State {
    /// The state before the first event.
    #[must_use]
    pub fn empty(kind: Kind) -> Self {
        match kind {
            Kind::Account => Self::Account(Account::default()),
            Kind::Campaign => Self::Campaign(Campaign::default()),
            Kind::Product => Self::Product(Product::default()),
            Kind::Program => Self::Program(Program::default()),
            Kind::Purchase => Self::Purchase(Box::default()),
            Kind::Sale => Self::Sale(Sale::default()),
            Kind::Wallet => Self::Wallet(Wallet::default()),
        }
    }

    /// Decides an action.
    ///
    /// # Errors
    /// The aggregate's typed refusal, in the form that the log keeps.
    ///
    /// # Panics
    /// When the action is for another kind: its stream key is made from the action itself.
    pub fn decide(&self, action: Action, context: &Context<'_>) -> Result<Vec<Event>, Refusal> {
        match (self, action) {
            (Self::Account(state), Action::Account(_, command)) => {
                decide(state, command, context, Event::Account)
            }
            (Self::Campaign(state), Action::Campaign(_, command)) => {
                decide(state, command, context, Event::Campaign)
            }
            (Self::Product(state), Action::Product(_, command)) => {
                decide(state, command, context, Event::Product)
            }
            (Self::Program(state), Action::Program(command)) => {
                decide(state, command, context, Event::Program)
            }
            (Self::Purchase(state), Action::Purchase(_, command)) => {
                decide(&**state, command, context, Event::Purchase)
            }
            (Self::Sale(state), Action::Sale(_, command)) => {
                decide(state, command, context, Event::Sale)
            }
            (Self::Wallet(state), Action::Wallet(_, command)) => {
                decide(state, command, context, Event::Wallet)
            }
            (state, action) => {
                unreachable!("a {:?} action reached {state:?}", action.kind())
            }
        }
    }

    /// Folds an event in. One of another kind, which no stream of ours holds, changes nothing.
    pub fn evolve(&mut self, event: &Event) {
        match (self, event) {
            (Self::Account(state), Event::Account(event)) => state.evolve(event),
            (Self::Campaign(state), Event::Campaign(event)) => state.evolve(event),
            (Self::Product(state), Event::Product(event)) => state.evolve(event),
            (Self::Program(state), Event::Program(event)) => state.evolve(event),
            (Self::Purchase(state), Event::Purchase(event)) => state.evolve(event),
            (Self::Sale(state), Event::Sale(event)) => state.evolve(event),
            (Self::Wallet(state), Event::Wallet(event)) => state.evolve(event),
            _ => {}
        }
    }

    /// When time itself will next change this state.
    #[must_use]
    pub fn next_deadline(&self) -> Option<DateTime<Utc>> {
        match self {
            Self::Account(state) => state.next_deadline(),
            Self::Campaign(state) => state.next_deadline(),
            Self::Product(state) => state.next_deadline(),
            Self::Program(state) => state.next_deadline(),
            Self::Purchase(state) => state.next_deadline(),
            Self::Sale(state) => state.next_deadline(),
            Self::Wallet(state) => state.next_deadline(),
        }
    }

    /// The state as JSON, for a snapshot.
    ///
    /// # Errors
    /// When the state does not serialise, which is a defect of its type.
    pub fn to_json(&self) -> Result<String, serde_json::Error> {
        match self {
            Self::Account(state) => serde_json::to_string(state),
            Self::Campaign(state) => serde_json::to_string(state),
            Self::Product(state) => serde_json::to_string(state),
            Self::Program(state) => serde_json::to_string(state),
            Self::Purchase(state) => serde_json::to_string(state),
            Self::Sale(state) => serde_json::to_string(state),
            Self::Wallet(state) => serde_json::to_string(state),
        }
    }

    /// The state of a snapshot.
    ///
    /// # Errors
    /// When the JSON does not fit: the snapshot is then ignored.
    pub fn from_json(kind: Kind, json: &str) -> Result<Self, serde_json::Error> {
        Ok(match kind {
            Kind::Account => Self::Account(serde_json::from_str(json)?),
            Kind::Campaign => Self::Campaign(serde_json::from_str(json)?),
            Kind::Product => Self::Product(serde_json::from_str(json)?),
            Kind::Program => Self::Program(serde_json::from_str(json)?),
            Kind::Purchase => Self::Purchase(serde_json::from_str(json)?),
            Kind::Sale => Self::Sale(serde_json::from_str(json)?),
            Kind::Wallet => Self::Wallet(serde_json::from_str(json)?),
        })
    }

    /// A hash of the state's shape: a snapshot of another shape is never read.
    #[must_use]
    pub fn shape(kind: Kind) -> Hash {
        match kind {
            Kind::Account => shape::<Account>(),
            Kind::Campaign => shape::<Campaign>(),
            Kind::Product => shape::<Product>(),
            Kind::Program => shape::<Program>(),
            Kind::Purchase => shape::<Purchase>(),
            Kind::Sale => shape::<Sale>(),
            Kind::Wallet => shape::<Wallet>(),
        }
    }

    /// The product in it, when it is one.
    #[must_use]
    pub fn product(&self) -> Option<&Product> {
        if let Self::Product(product) = self { Some(product) } else { None }
    }

    /// The settings in it, when it is a program's.
    #[must_use]
    pub fn settings(&self) -> Option<&program::Settings> {
        match self {
            Self::Program(program) => Some(&program.settings),
            Self::Account(_)
            | Self::Campaign(_)
            | Self::Product(_)
            | Self::Purchase(_)
            | Self::Sale(_)
            | Self::Wallet(_) => None,
        }
    }
}

fn decide<A: Aggregate>(
    state: &A,
    command: A::Command,
    context: &Context<'_>,
    wrap: fn(A::Event) -> Event,
) -> Result<Vec<Event>, Refusal> {
    match state.decide(command, context) {
        Ok(events) => Ok(events.into_iter().map(wrap).collect()),
        Err(error) => Err(Refusal::of(&error)),
    }
}

fn shape<A: Aggregate>() -> Hash {
    let mut hasher = Sha256::new();
    hasher.update(A::STATE_VERSION.to_be_bytes());
    hasher.update(serde_json::to_string(&schemars::schema_for!(A)).unwrap_or_default());
    hasher.finalize().into()
}

/// The kinds' own types, for those who fold one kind only.
pub trait FromState: Aggregate {
    /// The state of this kind in it.
    fn from_state(state: State) -> Option<Self>;
    /// The event of this kind in it.
    fn from_event(event: &Event) -> Option<&Self::Event>;
    /// This kind's event as any event.
    fn into_event(event: Self::Event) -> Event;
}

macro_rules! from_state {
    ($kind:ident) => {
        impl FromState for $kind {
            fn from_state(state: State) -> Option<Self> {
                if let State::$kind(state) = state { Some(state) } else { None }
            }
            fn from_event(event: &Event) -> Option<&Self::Event> {
                if let Event::$kind(event) = event { Some(event) } else { None }
            }
            fn into_event(event: Self::Event) -> Event {
                Event::$kind(event)
            }
        }
    };
}
from_state!(Account);
from_state!(Campaign);
from_state!(Product);
from_state!(Program);
impl FromState for Purchase {
    fn from_state(state: State) -> Option<Self> {
        if let State::Purchase(state) = state { Some(*state) } else { None }
    }
    fn from_event(event: &Event) -> Option<&Self::Event> {
        if let Event::Purchase(event) = event { Some(event) } else { None }
    }
    fn into_event(event: Self::Event) -> Event {
        Event::Purchase(event)
    }
}
from_state!(Sale);
from_state!(Wallet);
