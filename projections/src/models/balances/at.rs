//! What an account had at an instant: the fold of its events recorded by then, settled as of then.

use std::collections::{BTreeMap, HashMap};

use accrue_domain::account::event::Event as Account;
use accrue_domain::account::lots::Lot;
use accrue_domain::account::{self, command::Command};
use accrue_domain::aggregate::{Aggregate, Context};
use accrue_domain::event::Event;
use accrue_domain::id::{CommandId, LotId};
use accrue_domain::program::Settings;
use accrue_event_store::codec::Codec;
use accrue_event_store::log::PAGE_EVENTS_MAX;
use accrue_event_store::log_query::read_stream_until;
use accrue_event_store::record::{Position, Recorded};
use accrue_event_store::stream::StreamKey;
use chrono::{DateTime, Utc};
use serde_json::value::{RawValue, to_raw_value};
use sqlx::PgConnection;

use super::balance::{Balance, EXPIRING_MAX, Expiring, LOTS_MAX, LotView};

/// What the state does not keep of a lot: its place in the order of issue, and what made it.
struct Origin {
    order: usize,
    source: Box<RawValue>,
}

#[derive(Default)]
struct History {
    state: account::Account,
    origins: HashMap<LotId, Origin>,
    version: i64,
    position: Position,
}

/// What the account of this stream had at an instant; none when it was not open yet.
///
/// # Errors
/// As Postgres gives them, and [`sqlx::Error::Decode`] for an event that this build does not
/// understand, or an account whose events contradict each other.
pub async fn at(
    conn: &mut PgConnection,
    codec: &Codec,
    stream: &StreamKey,
    at: DateTime<Utc>,
) -> sqlx::Result<Option<Balance>> {
    let mut history = History::default();
    loop {
        let page =
            read_stream_until(conn, codec, stream, history.version, at, PAGE_EVENTS_MAX).await?;
        let Some(last) = page.last() else { break };
        (history.version, history.position) = (last.sequence, last.position);
        for event in &page {
            history.take(event)?;
        }
    }
    if history.version == 0 {
        return Ok(None);
    }
    history.settle(at)?;
    Ok(Some(history.balance(stream.id(), at)))
}

fn decode(error: impl std::error::Error + Send + Sync + 'static) -> sqlx::Error {
    sqlx::Error::Decode(Box::new(error))
}

impl History {
    fn take(&mut self, it: &Recorded) -> sqlx::Result<()> {
        let decoded = it.decoded.as_ref().map_err(|error| decode(error.clone()))?;
        for event in decoded.events() {
            let Event::Account(event) = event else { continue };
            self.state.evolve(event);
            let (lot, source) = match event {
                Account::PointsIssued { lot, source, .. } => (lot, to_raw_value(source)),
                Account::PointsCredited { lot, reason, actor, .. } => {
                    (lot, to_raw_value(&super::adjustment(reason, actor)))
                }
                Account::PointsRestored { hold, grace: Some(grace), .. } => {
                    (&grace.lot, to_raw_value(&super::restored(hold)))
                }
                Account::PointsRestored { grace: None, .. }
                | Account::AccountOpened {}
                | Account::PointsRedeemed { .. }
                | Account::PointsDebited { .. }
                | Account::PointsReversed { .. }
                | Account::DebtRepaid { .. }
                | Account::HoldPlaced { .. }
                | Account::HoldCaptured { .. }
                | Account::HoldReleased { .. }
                | Account::PointsExpired { .. } => continue,
            };
            let origin = Origin { order: self.origins.len(), source: source.map_err(decode)? };
            self.origins.insert(lot.clone(), origin);
        }
        Ok(())
    }

    fn settle(&mut self, now: DateTime<Utc>) -> sqlx::Result<()> {
        let command_id = CommandId::new("as-it-was").map_err(decode)?;
        let settings = Settings::default();
        let context =
            Context { now, occurred_at: now, command_id: &command_id, settings: &settings };
        for event in self.state.decide(Command::Settle, &context).map_err(decode)? {
            self.state.evolve(&event);
        }
        Ok(())
    }

    fn balance(mut self, account: &str, now: DateTime<Utc>) -> Balance {
        let never = DateTime::<Utc>::MAX_UTC;
        let mut lots: Vec<(&LotId, &Lot)> =
            self.state.lots().iter().filter(|(_, lot)| !lot.free.is_zero()).collect();
        let order = |id: &LotId| self.origins.get(id).map_or(0, |origin| origin.order);
        lots.sort_by_key(|(id, lot)| (lot.expires_at.unwrap_or(never), order(id)));
        let mut dates = BTreeMap::<_, i64>::new();
        for (at, points) in lots.iter().filter_map(|(_, lot)| Some((lot.expires_at?, lot.free))) {
            *dates.entry(at).or_default() += points.get();
        }
        let expiring = dates.into_iter().take(EXPIRING_MAX);
        let lots_more = lots.len() > LOTS_MAX;
        lots.truncate(LOTS_MAX);
        let view = |(id, lot): (&LotId, &Lot)| {
            let source = self.origins.remove(id)?.source;
            Some(LotView {
                lot: id.as_str().to_owned(),
                issued: lot.issued.get(),
                remaining: lot.free.get(),
                held: lot.held.get(),
                available_from: lot.available_from,
                expires_at: lot.expires_at,
                source,
            })
        };
        Balance {
            account: account.to_owned(),
            available: self.state.available(now),
            pending: self.state.pending(now),
            held: self.state.held(),
            debt: self.state.debt().get(),
            lots: lots.into_iter().filter_map(view).collect(),
            lots_more,
            expiring: expiring.map(|(at, points)| Expiring { at, points }).collect(),
            version: self.version,
            position: self.position,
        }
    }
}
